"""Students' pods of a semester on Kubernetes: what a fenced site ends there, as it ends services on a Swarm."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from ..kube import node_from_api
from ..kube_api import TROUBLE, KubeApi, connection, short
from ..kube_manifests import ROLE_LABEL, SERVER, cluster_of
from ..settings import SettingsError, load_settings
from .errors import KeeperError

LOOK_EVERY_S = 0.5
ENDED = frozenset({"Succeeded", "Failed"})


def remove(within_s: float) -> dict[str, Any]:
    """Returns when no student's pod runs: how many were stopped, and which nodes could not be asked.

    A pod of a node that does not answer stays until the node does; the node's name is told. Raises KeeperError: the cluster does
    not answer, or pods still run after `within_s`.
    """
    try:
        return asyncio.run(_remove(within_s))
    except (*TROUBLE, SettingsError) as error:
        raise KeeperError(
            f"students' pods cannot be ended, the cluster's API does not answer as it should: {short(error)}. Run the same command "
            "again, or scale the cluster's node groups to 0 in the cloud's console and say so (--i-have-powered-it-off)"
        ) from None


async def _remove(within_s: float) -> dict[str, Any]:
    cluster = cluster_of(load_settings())
    pods = f"/api/v1/namespaces/{cluster.namespace}/pods"
    with tempfile.TemporaryDirectory(prefix="semesterhub-pods-") as folder:
        api = KubeApi(connection(cluster, Path(folder)))
        try:
            stopped: set[str] = set()
            until = time.monotonic() + within_s
            while True:
                found = await api.call("GET", pods, query={"labelSelector": f"{ROLE_LABEL}={SERVER}"})
                alive = [pod for pod in found["items"] if pod.get("status", {}).get("phase") not in ENDED]
                for pod in alive:  # also one that was being made while the hub ended
                    if not pod["metadata"].get("deletionTimestamp"):
                        await api.delete(f"{pods}/{pod['metadata']['name']}")
                        stopped.add(pod["metadata"]["uid"])
                down = await _silent_nodes(api) if alive else set()
                waiting = [pod for pod in alive if pod["spec"].get("nodeName", "") not in down]
                if not waiting:
                    return {
                        "servers_stopped": len(stopped),
                        "machines_down": sorted({pod["spec"]["nodeName"] for pod in alive}),
                    }
                if time.monotonic() > until:
                    raise KeeperError(
                        f"{len(waiting)} students' pods still run {within_s:.0f} s after they were told to end; run the same command "
                        f"again, and look at them (`kubectl -n {cluster.namespace} get pods`) if it says so again"
                    )
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await api.close()


async def _silent_nodes(api: KubeApi) -> set[str]:
    """Nodes whose kubelet has not been heard of; what runs there cannot be ended from here."""
    nodes = (await api.call("GET", "/api/v1/nodes"))["items"]
    return {node.name for node in map(node_from_api, nodes) if node.state == "down"}
