"""Docker Swarm as the hub's cluster.

A student's server is a Swarm service with exactly one task. `Swarm` asks the Engine API; a *snapshot* of all tasks and
nodes is shared by everybody who polls, so that polling 1,500 servers costs two API calls, not 3,000.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException

from .cluster import LABEL_COURSE, LABEL_USER, NODES_AGE_S, SNAPSHOT_AGE_S, Cached, Node, Server, Snapshot, Task

MEMORY_RESOURCE = "student-memory-mib"
"""Generic resource that every worker advertises (daemon.json, `node-generic-resources`) and every server reserves."""

ApiCall = Callable[..., Awaitable[Any]]


def node_from_api(raw: Mapping[str, Any]) -> Node:
    """From one item of GET /nodes."""
    spec, status, description = raw.get("Spec", {}), raw.get("Status", {}), raw.get("Description", {})
    resources = description.get("Resources", {}).get("GenericResources") or []
    return Node(
        id=raw["ID"],
        name=description.get("Hostname", raw["ID"][:12]),
        address=status.get("Addr", ""),
        role=spec.get("Role", "worker"),
        state=status.get("State", "unknown"),
        availability=spec.get("Availability", "active"),
        memory_mib=_memory_mib(resources),
    )


def task_from_api(raw: Mapping[str, Any], target_port: int = 8888) -> Task:
    """From one item of GET /tasks."""
    status, spec = raw.get("Status", {}), raw.get("Spec", {})
    ports = (status.get("PortStatus") or {}).get("Ports") or []
    port = next((item.get("PublishedPort", 0) for item in ports if item.get("TargetPort") == target_port), 0)
    reserved = (spec.get("Resources") or {}).get("Reservations", {}).get("GenericResources") or []
    labels = (spec.get("ContainerSpec") or {}).get("Labels") or {}
    return Task(
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


class Swarm:
    """The Engine API of a Swarm manager, as far as the hub needs it (a `Cluster`).

    `call(method, *args, **kwargs)` runs a method of docker.APIClient without blocking the event loop.
    """

    kind = "Swarm"
    trouble: tuple[type[Exception], ...] = (DockerException, RequestException, OSError)

    def __init__(self, call: ApiCall, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._snapshot = Cached(self._fetch_snapshot, clock)
        self._nodes = Cached(self._fetch_nodes, clock)

    async def _fetch_nodes(self) -> dict[str, Node]:
        nodes = [node_from_api(raw) for raw in await self._call("nodes")]
        return {node.id: node for node in nodes}

    async def _fetch_snapshot(self) -> Snapshot:
        nodes = await self._nodes.get(0)
        tasks = [task_from_api(raw) for raw in await self._call("tasks")]
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

    async def task_of(self, server: str) -> Task | None:
        """The newest task of a service (id or name), asked for now. None: no such service, or no task yet."""
        try:
            raw = await self._call("tasks", filters={"service": server})
        except APIError as error:
            if error.status_code == 404:
                return None
            raise
        tasks = [task_from_api(item) for item in raw]
        return max(tasks, key=lambda task: (not task.ended, task.created), default=None)

    async def task(self, task_id: str) -> Task | None:
        """One task by id, asked for now."""
        raw = await self._call("tasks", filters={"id": task_id})
        return next((task_from_api(item) for item in raw if item["ID"] == task_id), None)

    async def server(self, name: str) -> Server | None:
        """The service of that name, or None when there is none."""
        try:
            raw = await self._call("inspect_service", name)
        except APIError as error:
            if error.status_code == 404:
                return None
            raise
        container = raw["Spec"]["TaskTemplate"]["ContainerSpec"]
        environment = dict(line.partition("=")[::2] for line in container.get("Env") or ())
        return Server(raw["ID"], environment, raw["Spec"].get("Labels", {}).get(LABEL_COURSE, ""))

    async def remove(self, server: str) -> bool:
        """Removes a service (id or name); its container gets SIGTERM and its grace period. False: was not there."""
        try:
            await self._call("remove_service", server)
        except APIError as error:
            if error.status_code == 404:
                return False
            raise
        return True
