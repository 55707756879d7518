"""What a stack left behind although no state knows it: a run killed between making an object and recording it, followed
by a destroy instead of another `up` (which would have adopted it)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from providers.base import Context
from providers.localcloud import docker_api, owned

RETAIN = "semesterhub.retain"
"""Label of a volume: whether it was made to outlive its stack."""


def _mine(stack: str) -> list[str]:
    """The labels of everything that this checkout made for the stack."""
    return [f"{owned.STACK}={stack}", f"{owned.OWNER}={owned.owner_label()}"]


def leftovers(stack: str, keep_volumes: Collection[str] = ("homes",)) -> list[tuple[str, str]]:
    """(kind, Docker name) of every object of this checkout that carries the stack's label, in the order to remove them.

    Left out are volumes made to be retained, and those whose name within the stack is in `keep_volumes`: the label is
    from the volume's first day, and the wish to retain it may be younger.
    """
    api = docker_api.client()
    mine = {"label": _mine(stack)}
    with docker_api.explained(f"looking for what the stack {stack} left"):
        containers: list[dict[str, Any]] = api.containers(all=True, filters=mine)
        networks: list[dict[str, Any]] = api.networks(filters=mine)
        volumes: list[dict[str, Any]] = api.volumes(filters=mine).get("Volumes") or []
    kept = [
        v["Name"]
        for v in volumes
        if v["Labels"][owned.KIND] == "volume"
        and (v["Labels"].get(RETAIN) != "false" or v["Labels"][owned.NAME] in keep_volumes)
    ]
    return [
        *(("container", c["Names"][0].lstrip("/")) for c in containers),
        *(("network", n["Name"]) for n in networks),
        *(("volume", v["Name"]) for v in volumes if v["Name"] not in kept),
    ]


def release(ctx: Context, kind: str, docker_name: str, stack: str) -> None:
    """Remove the stack's machines that still use its network or volume, which is about to go, and tell it.

    Whatever the state knows of has gone before. These are of a run that was killed between making a machine and recording it.
    """
    api = docker_api.client()
    using = {"label": [*_mine(stack), f"{owned.KIND}=machine"], kind: docker_name}
    with docker_api.explained(f"looking for machines that use the Docker {kind} {docker_name}"):
        names = [c["Names"][0].lstrip("/") for c in api.containers(all=True, filters=using)]
    for name in names:
        if docker_api.remove("container", name):
            ctx.info(f"removed {name}, a machine that a killed run had left and that used the {kind} {docker_name}")


def sweep(stack: str, keep_volumes: Collection[str] = ("homes",)) -> list[str]:
    """Remove the leftovers; returns what was removed, as `container semesterhub-demo-hub`. For after a destroy only."""
    removed = [(kind, name) for kind, name in leftovers(stack, keep_volumes) if docker_api.remove(kind, name)]
    return [f"{kind} {name}" for kind, name in removed]
