"""What the hub sees of Docker Swarm: nodes, tasks, and what a task's state means for a student's server.

A student's server is a Swarm service with exactly one task. `Swarm` asks the Engine API; a *snapshot* of all tasks and
nodes is shared by everybody who polls, so that polling 1,500 servers costs two API calls, not 3,000.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError

MEMORY_RESOURCE = "student-memory-mib"
"""Generic resource that every worker advertises (daemon.json, `node-generic-resources`) and every server reserves."""

LABEL_USER = "semesterhub.user"
LABEL_COURSE = "semesterhub.course"

STARTING_STATES = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
ENDED_STATES = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
"""With `running` these are all states of Swarm's task life cycle (swarmkit api/types.proto, TaskState)."""

SIGKILL_EXIT_CODE = 137
SNAPSHOT_AGE_S = 5.0
NODES_AGE_S = 2.0

ApiCall = Callable[..., Awaitable[Any]]


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
    """What it advertises for student servers, MiB."""

    @property
    def takes_servers(self) -> bool:
        """Whether Swarm would place a new student server here."""
        return self.role == "worker" and self.state == "ready" and self.availability == "active"

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Node:
        """From one item of GET /nodes."""
        spec, status, description = raw.get("Spec", {}), raw.get("Status", {}), raw.get("Description", {})
        resources = description.get("Resources", {}).get("GenericResources") or []
        return cls(
            id=raw["ID"],
            name=description.get("Hostname", raw["ID"][:12]),
            address=status.get("Addr", ""),
            role=spec.get("Role", "worker"),
            state=status.get("State", "unknown"),
            availability=spec.get("Availability", "active"),
            memory_mib=_memory_mib(resources),
        )


@dataclass(frozen=True)
class Task:
    """The one task of a student's service."""

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

    @classmethod
    def from_api(cls, raw: Mapping[str, Any], target_port: int = 8888) -> Task:
        """From one item of GET /tasks."""
        status, spec = raw.get("Status", {}), raw.get("Spec", {})
        ports = (status.get("PortStatus") or {}).get("Ports") or []
        port = next((item.get("PublishedPort", 0) for item in ports if item.get("TargetPort") == target_port), 0)
        reserved = (spec.get("Resources") or {}).get("Reservations", {}).get("GenericResources") or []
        labels = (spec.get("ContainerSpec") or {}).get("Labels") or {}
        return cls(
            id=raw["ID"],
            service_id=raw.get("ServiceID", ""),
            node_id=raw.get("NodeID", ""),
            state=str(status.get("State", "new")).lower(),
            error=status.get("Err", ""),
            port=port,
            exit_code=(status.get("ContainerStatus") or {}).get("ExitCode", 0) or 0,
            memory_mib=_memory_mib(reserved),
            created=raw.get("CreatedAt", ""),
            is_server=LABEL_USER in labels,
        )


def _memory_mib(resources: list[Mapping[str, Any]]) -> int:
    specs = (item.get("DiscreteResourceSpec") or {} for item in resources)
    return sum(int(spec.get("Value", 0)) for spec in specs if spec.get("Kind") == MEMORY_RESOURCE)


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


class _Cached:
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


class Swarm:
    """The Engine API of a Swarm manager, as far as the hub needs it.

    `call(method, *args, **kwargs)` runs a method of docker.APIClient without blocking the event loop.
    """

    def __init__(self, call: ApiCall, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._snapshot = _Cached(self._fetch_snapshot, clock)
        self._nodes = _Cached(self._fetch_nodes, clock)

    async def _fetch_nodes(self) -> dict[str, Node]:
        nodes = [Node.from_api(raw) for raw in await self._call("nodes")]
        return {node.id: node for node in nodes}

    async def _fetch_snapshot(self) -> Snapshot:
        nodes = await self._nodes.get(0)
        tasks = [Task.from_api(raw) for raw in await self._call("tasks")]
        return Snapshot(nodes=nodes, tasks={task.id: task for task in tasks})

    async def snapshot(self, max_age_s: float = SNAPSHOT_AGE_S) -> Snapshot:
        """All nodes and tasks, at most `max_age_s` old."""
        return await self._snapshot.get(max_age_s)

    @property
    def last_snapshot(self) -> Snapshot:
        """The newest snapshot without asking again (for metrics)."""
        return self._snapshot.last or Snapshot()

    async def nodes(self, max_age_s: float = NODES_AGE_S) -> Mapping[str, Node]:
        """All nodes by id."""
        return await self._nodes.get(max_age_s)

    async def ready_workers(self) -> int:
        """How many nodes take student servers now."""
        return sum(node.takes_servers for node in (await self.nodes(5.0)).values())

    async def task_of(self, service: str) -> Task | None:
        """The newest task of a service (id or name), asked for now. None: no such service, or no task yet."""
        try:
            raw = await self._call("tasks", filters={"service": service})
        except APIError as error:
            if error.status_code == 404:
                return None
            raise
        tasks = [Task.from_api(item) for item in raw]
        return max(tasks, key=lambda task: (not task.ended, task.created), default=None)

    async def task(self, task_id: str) -> Task | None:
        """One task by id, asked for now."""
        raw = await self._call("tasks", filters={"id": task_id})
        return next((Task.from_api(item) for item in raw if item["ID"] == task_id), None)

    async def service(self, name: str) -> Mapping[str, Any] | None:
        """GET /services/{name}, or None when there is none."""
        try:
            return await self._call("inspect_service", name)
        except APIError as error:
            if error.status_code == 404:
                return None
            raise

    async def remove_service(self, service: str) -> bool:
        """Removes a service (id or name); its container gets SIGTERM and its grace period. False: was not there."""
        try:
            await self._call("remove_service", service)
        except APIError as error:
            if error.status_code == 404:
                return False
            raise
        return True
