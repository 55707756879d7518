"""What the hub sees of a cluster, whichever it is: nodes, servers, and what a server's state means for its student.

States are those of Swarm's task life cycle; :mod:`hubconfig.kube` says a pod's state in the same words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LABEL_USER = "semesterhub.user"
LABEL_COURSE = "semesterhub.course"

STARTING_STATES = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
ENDED_STATES = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
"""With `running` these are all states of Swarm's task life cycle (swarmkit api/types.proto, TaskState)."""

SIGKILL_EXIT_CODE = 137
SNAPSHOT_AGE_S = 5.0
NODES_AGE_S = 2.0


@dataclass(frozen=True)
class Node:
    """One machine of the cluster."""

    id: str
    name: str
    address: str
    role: str
    state: str
    availability: str
    memory_mib: int
    """What it advertises for student servers, MiB; 0 on a hub VM that has workers."""

    @property
    def takes_servers(self) -> bool:
        """Whether Swarm would place a new student server here."""
        return self.memory_mib > 0 and self.state == "ready" and self.availability == "active"


@dataclass(frozen=True)
class Task:
    """One student's server as the cluster runs it: the one task of a Swarm service, or a pod."""

    id: str
    service_id: str
    node_id: str
    state: str
    error: str
    port: int
    """Port on the node, 0 while there is none."""
    exit_code: int
    memory_mib: int
    """Reserved for it, MiB."""
    created: str
    is_server: bool = True
    address: str = ""
    """Its own, where it has one (a pod); "" where its node's is used."""

    @property
    def ended(self) -> bool:
        """No process of it runs or will run."""
        return self.state in ENDED_STATES

    @property
    def no_room(self) -> bool:
        """Swarm found no node for it (so far)."""
        return self.state in {"new", "allocated", "pending"} and "no suitable node" in self.error

    @property
    def why(self) -> str:
        """One sentence about its end, for a log and for the student."""
        if self.exit_code == SIGKILL_EXIT_CODE:
            return "it was killed (exit code 137), usually because it used more memory than its limit"
        if self.error:
            return self.error
        return f"exit code {self.exit_code}" if self.exit_code else f"it ended ({self.state})"


@dataclass(frozen=True)
class Server:
    """What stands in the cluster under a server's name, running or not."""

    id: str
    environment: Mapping[str, str]
    course: str


@dataclass(frozen=True)
class Capacity:
    """How full the cluster is."""

    workers: int
    memory_mib: int
    reserved_mib: int
    running: int
    """Student servers that run."""

    @property
    def free_mib(self) -> int:
        """Memory that is not reserved on workers that take servers, MiB."""
        return max(0, self.memory_mib - self.reserved_mib)


@dataclass(frozen=True)
class Snapshot:
    """All nodes and all tasks at one moment."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """By task id."""

    def capacity(self) -> Capacity:
        """Counts servers and memory; a server on a node that is down counts as neither."""
        workers = {node.id: node for node in self.nodes.values() if node.takes_servers}
        alive = [task for task in self.tasks.values() if task.is_server and not task.ended]
        placed = [task for task in alive if task.node_id in workers]
        up = [task for task in alive if task.node_id in self.nodes and self.nodes[task.node_id].state != "down"]
        return Capacity(
            workers=len(workers),
            memory_mib=sum(node.memory_mib for node in workers.values()),
            reserved_mib=sum(task.memory_mib for task in placed),
            running=sum(task.state == "running" for task in up),
        )


class Cached:
    """A value fetched at most once at a time and kept for a while."""

    def __init__(self, fetch: Callable[[], Awaitable[Any]], clock: Callable[[], float]) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = asyncio.Lock()
        self._value: Any = None
        self._fetched = float("-inf")

    async def get(self, max_age_s: float) -> Any:
        wanted_after = self._clock() - max_age_s
        async with self._lock:
            # whoever waited for the lock gets the value fetched meanwhile
            if self._fetched < wanted_after:
                started = self._clock()
                self._value = await self._fetch()
                self._fetched = started
        return self._value

    @property
    def last(self) -> Any:
        return self._value


class Cluster(Protocol):
    """What the queue and the spawners ask. A method that cannot ask raises one of `trouble`."""

    kind: str
    """As people call it."""
    trouble: tuple[type[Exception], ...]

    async def snapshot(self, max_age_s: float = SNAPSHOT_AGE_S) -> Snapshot:
        """All nodes and tasks, at most `max_age_s` old."""
        ...

    @property
    def last_snapshot(self) -> Snapshot:
        """The newest snapshot without asking again (for metrics)."""
        ...

    async def nodes(self, max_age_s: float = NODES_AGE_S) -> Mapping[str, Node]:
        """All nodes by id."""
        ...

    async def ready_workers(self) -> int:
        """How many nodes take student servers now."""
        ...

    async def task_of(self, server: str) -> Task | None:
        """The newest task of a server (id or name), asked for now."""
        ...

    async def task(self, task_id: str) -> Task | None:
        """One task by id, asked for now."""
        ...

    async def server(self, name: str) -> Server | None:
        """What stands under that name."""
        ...

    async def remove(self, server: str) -> bool:
        """Removes a server (id or name); False: was not there."""
        ...
