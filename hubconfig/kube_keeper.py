"""Keeps the cluster as the hub needs it: `python -m hubconfig.kube_keeper`, a service under the hub.

At its start it applies what `kube_manifests.py` describes; then, each minute, it holds as many placeholder pods as the calendar
wants nodes, so that the cluster's autoscaler has them there before a class begins. It comes back when it ends: JupyterHub
starts its services again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from .kube_api import TROUBLE, KubeApi, connection, short
from .kube_manifests import PLACEHOLDER, ROLE_LABEL, cluster_of, manifests, placeholder, placeholder_name
from .settings import HubSettings, SettingsError, load_settings

EVERY_S = 60.0
AGAIN_S = 5.0

log = logging.getLogger("semesterhub.kubernetes")


def wanted(settings: HubSettings, now: datetime) -> int:
    """Nodes that the calendar wants now."""
    past = [step for step in cluster_of(settings).calendar if step.at <= now]
    return max(past, key=lambda step: step.at).nodes if past else 0


async def prepare(api: KubeApi, settings: HubSettings) -> None:
    """Applies every manifest. Raises ApiException."""
    for path, manifest in manifests(settings):
        await api.apply(path, manifest)


async def hold(api: KubeApi, settings: HubSettings, now: datetime) -> tuple[int, int]:
    """As many placeholders as the calendar wants: (made, removed)."""
    pods = f"/api/v1/namespaces/{cluster_of(settings).namespace}/pods"
    found = await api.call("GET", pods, query={"labelSelector": f"{ROLE_LABEL}={PLACEHOLDER}"})
    there = {item["metadata"]["name"]: item for item in found["items"]}
    ended = {name for name, item in there.items() if item.get("status", {}).get("phase") in {"Failed", "Succeeded"}}
    names = {placeholder_name(number): number for number in range(1, wanted(settings, now) + 1)}
    for name in sorted((there.keys() - names.keys()) | ended):
        await api.delete(f"{pods}/{name}")
    missing = [number for name, number in names.items() if name not in there]
    for number in missing:
        await api.call("POST", pods, placeholder(settings, number))
    return len(missing), len(there.keys() - names.keys())


async def keep(settings: HubSettings, folder: Path) -> None:
    """Does not return."""
    api = KubeApi(connection(cluster_of(settings), folder))
    prepared = False
    while True:
        try:
            if not prepared:
                await prepare(api, settings)
                prepared = True
                log.info("The cluster's namespace %s is as it should be", cluster_of(settings).namespace)
            await hold(api, settings, datetime.now(UTC))
        except TROUBLE as error:
            log.warning("The cluster could not be asked: %s", short(error))
        await asyncio.sleep(EVERY_S if prepared else AGAIN_S)


def main() -> int:
    """The service."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        settings = load_settings()
        with tempfile.TemporaryDirectory(prefix="semesterhub-kubernetes-") as folder:
            asyncio.run(keep(settings, Path(folder)))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
