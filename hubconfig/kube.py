"""Kubernetes as the hub's cluster: a pod's state in the words of `cluster.py`, nodes, and a snapshot for everybody who polls.

Polling 1,500 servers costs one list of pods and one of nodes every few seconds, whoever asks.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException

from .cluster import LABEL_COURSE, NODES_AGE_S, SNAPSHOT_AGE_S, Cached, Node, Server, Snapshot, Task
from .kube_api import KubeApi
from .kube_manifests import ROLE_LABEL, SERVER
from .service_spec import SERVER_PORT
from .settings import KubernetesSettings

GONE_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.5
HOPELESS = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Why a container waits that will not run on this node by itself."""
_UNITS = {"": 1, "k": 1000, "Ki": 2**10, "M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30, "T": 10**12, "Ti": 2**40}


def mib(quantity: str) -> int:
    """MiB of a Kubernetes memory quantity, rounded down."""
    found = re.fullmatch(r"([0-9.]+)(m|[kMGT]i?|Ki)?", quantity)
    if not found:
        return 0
    if found[2] == "m":
        return int(float(found[1]) / 1000 / 2**20)
    return int(float(found[1]) * _UNITS[found[2] or ""] / 2**20)


def node_from_api(raw: Mapping[str, Any]) -> Node:
    """From one item of a list of nodes."""
    status, spec = raw.get("status", {}), raw.get("spec", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    name = raw["metadata"]["name"]
    return Node(
        id=name,
        name=name,
        address=addresses.get("InternalIP", ""),
        role="worker",
        state="ready" if ready else "down",
        availability="pause" if spec.get("unschedulable") else "active",
        memory_mib=mib((status.get("allocatable") or {}).get("memory", "0")),
    )


def task_from_api(raw: Mapping[str, Any]) -> Task:
    """From one pod."""
    meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
    state, error, exit_code = _state(raw)
    address = status.get("podIP", "") or ""
    requests = [(c.get("resources") or {}).get("requests") or {} for c in spec.get("containers") or ()]
    return Task(
        id=f"{meta['name']}/{meta['uid']}",
        service_id=meta["name"],
        node_id=spec.get("nodeName", "") or "",
        state=state,
        error=error,
        port=SERVER_PORT if address else 0,
        exit_code=exit_code,
        memory_mib=sum(mib(each.get("memory", "0")) for each in requests),
        created=meta.get("creationTimestamp", ""),
        is_server=(meta.get("labels") or {}).get(ROLE_LABEL) == SERVER,
        address=address,
    )


def _state(raw: Mapping[str, Any]) -> tuple[str, str, int]:
    """(state, error, exit code) in the words of a Swarm task."""
    status = raw.get("status", {})
    phase = status.get("phase", "Pending")
    container = next(iter(status.get("containerStatuses") or ()), {}).get("state") or {}
    ended, waiting = container.get("terminated"), container.get("waiting") or {}
    reason = ": ".join(text for text in (status.get("reason"), status.get("message")) if text)
    if ended or phase in {"Failed", "Succeeded"}:
        code = int((ended or {}).get("exitCode", 0) or 0)
        return (
            ("complete" if phase == "Succeeded" else "failed"),
            reason or (ended or {}).get("message", "") or "",
            code,
        )
    if raw["metadata"].get("deletionTimestamp"):
        return "shutdown", "its pod was removed", 0
    if not raw.get("spec", {}).get("nodeName"):
        no_room = next((c for c in status.get("conditions") or () if c.get("reason") == "Unschedulable"), None)
        return "pending", f"no suitable node ({no_room.get('message', '')})" if no_room else "", 0
    if waiting.get("reason") in HOPELESS:
        return "rejected", f"{waiting['reason']}: {waiting.get('message', '')}", 0
    if phase == "Running" and "running" in container:
        return "running", "", 0
    return "preparing", "", 0


class Kubernetes:
    """The cluster's API, as far as the hub needs it (a `Cluster`)."""

    kind = "Kubernetes cluster"
    trouble: tuple[type[Exception], ...] = (ApiException, aiohttp.ClientError, OSError)

    def __init__(
        self, api: KubeApi, settings: KubernetesSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._pods = f"/api/v1/namespaces/{settings.namespace}/pods"
        self._labels = ",".join(f"{key}={value}" for key, value in sorted(settings.node_labels.items()))
        self._snapshot = Cached(self._fetch_snapshot, clock)
        self._nodes = Cached(self._fetch_nodes, clock)

    async def _fetch_nodes(self) -> dict[str, Node]:
        query = {"labelSelector": self._labels} if self._labels else {}
        found = await self._api.call("GET", "/api/v1/nodes", query=query)
        return {node.id: node for node in map(node_from_api, found["items"])}

    async def _fetch_snapshot(self) -> Snapshot:
        nodes = await self._nodes.get(0)
        # From the API server's own cache: 1,500 pods every five seconds need not come from its database.
        query = {"labelSelector": f"{ROLE_LABEL}={SERVER}", "resourceVersion": "0"}
        found = await self._api.call("GET", self._pods, query=query)
        return Snapshot(nodes=nodes, tasks={task.id: task for task in map(task_from_api, found["items"])})

    async def snapshot(self, max_age_s: float = SNAPSHOT_AGE_S) -> Snapshot:
        """All nodes and servers, at most `max_age_s` old."""
        return await self._snapshot.get(max_age_s)

    @property
    def last_snapshot(self) -> Snapshot:
        """The newest snapshot without asking again (for metrics)."""
        return self._snapshot.last or Snapshot()

    async def nodes(self, max_age_s: float = NODES_AGE_S) -> Mapping[str, Node]:
        """All nodes by id, which is their name."""
        return await self._nodes.get(max_age_s)

    async def ready_workers(self) -> int:
        """How many nodes take student servers now."""
        return sum(node.takes_servers for node in (await self.nodes(5.0)).values())

    async def task_of(self, server: str) -> Task | None:
        """The pod of that name, asked for now."""
        found = await self._api.get(f"{self._pods}/{server}")
        return task_from_api(found) if found else None

    async def task(self, task_id: str) -> Task | None:
        """The same pod as when it was started, not a later one of its name."""
        found = await self.task_of(task_id.partition("/")[0])
        return found if found is not None and found.id == task_id else None

    async def server(self, name: str) -> Server | None:
        """What stands under that name."""
        found = await self._api.get(f"{self._pods}/{name}")
        if not found:
            return None
        environment = {item["name"]: item.get("value", "") for item in found["spec"]["containers"][0].get("env") or ()}
        return Server(name, environment, (found["metadata"].get("annotations") or {}).get(LABEL_COURSE, ""))

    async def remove(self, server: str) -> bool:
        """Removes a pod; its container gets SIGTERM and its grace period. False: was not there."""
        return await self._api.delete(f"{self._pods}/{server}")

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """Makes a pod, after the one of its name that is still ending has ended."""
        deadline = asyncio.get_running_loop().time() + GONE_TIMEOUT_S
        while True:
            try:
                await self._api.call("POST", self._pods, manifest)
                return
            except ApiException as error:
                if error.status != 409 or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)
