"""Containers of a local stack besides its cluster (bare metal, DNS server), made from a spec and adopted while the spec is the same.

They carry the labels of everything else of the stack, so `./hub destroy` sweeps them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from operations.errors import UserError
from providers.base import ProviderError
from providers.localcloud import docker_api, owned
from providers.localcloud.network import api_ipam
from providers.localcloud.sweep import RETAIN

STOP_TIMEOUT_S = 30


def ensure(
    stack: str, name: str, kind: str, spec: Mapping[str, Any], make: Callable[[str, dict[str, str]], Any]
) -> bool:
    """The container `name` of the stack runs as `spec` says; True when it was made now. `make` gets its Docker name and labels.

    `spec` never holds a secret: its digest is a label. Raises UserError.
    """
    docker_name = owned.object_name(stack, name)
    try:
        found = docker_api.inspect("container", docker_name)
        if found is not None:
            owned.require_ours("container", docker_name, found["Config"].get("Labels"))
            if found["Config"]["Labels"].get(owned.SPEC) == owned.spec_hash(spec):
                if not docker_api.alive(found):
                    with docker_api.explained(f"starting {docker_name}"):
                        docker_api.client().start(docker_name)
                return False
            stop(docker_name)
            docker_api.remove("container", docker_name)
        make(docker_name, owned.labels(stack, name, kind, spec))
    except ProviderError as error:
        raise UserError(str(error)) from None
    return True


def volume(stack: str, name: str, *, retain: bool = False) -> str:
    """A volume of the stack, made or adopted; its Docker name. Retained ones outlive a destroy, like the homes."""
    docker_name = owned.object_name(stack, name)
    found = docker_api.inspect("volume", docker_name)
    if found is not None:
        owned.require_ours("volume", docker_name, found.get("Labels"))
        return docker_name
    marks = owned.labels(stack, name, "volume", {"stack": stack, "name": name})
    with docker_api.explained(f"making the Docker volume {docker_name}"):
        docker_api.client().create_volume(docker_name, labels={**marks, RETAIN: str(retain).lower()})
    return docker_name


def network(stack: str, name: str, cidr: Callable[[], str]) -> tuple[str, str]:
    """A bridge network of the stack, made or adopted: its Docker name and CIDR. `cidr` is asked when it is made."""
    docker_name = owned.object_name(stack, name)
    found = docker_api.inspect("network", docker_name)
    if found is not None:
        owned.require_ours("network", docker_name, found.get("Labels"))
        return docker_name, str(found["IPAM"]["Config"][0]["Subnet"])
    subnet = cidr()
    marks = owned.labels(stack, name, "network", {"stack": stack, "name": name})
    with docker_api.explained(f"making the Docker network {docker_name} ({subnet})"):
        docker_api.client().create_network(
            docker_name, driver="bridge", check_duplicate=True, labels=marks, ipam=api_ipam(subnet)
        )
    return docker_name, subnet


def stop(docker_name: str) -> None:
    """So that a Docker inside ends its own containers: killed with them, it takes Docker longer than it waits for."""
    from docker.errors import APIError

    docker_api.thaw(docker_name)
    # Not running, or gone: then the removal by force says what matters.
    with contextlib.suppress(APIError):
        docker_api.client().stop(docker_name, timeout=STOP_TIMEOUT_S)


def remove(stack: str, names: Mapping[str, str]) -> list[str]:
    """Remove objects of the stack (name -> container, network or volume), this checkout's own only; what was removed."""
    gone = []
    for name, kind in names.items():
        docker_name = owned.object_name(stack, name)
        found = docker_api.inspect(kind, docker_name)
        if found is None:
            continue
        owned.require_ours(kind, docker_name, (found.get("Config") or found).get("Labels"))
        if kind == "container":
            stop(docker_name)
        if docker_api.remove(kind, docker_name):
            gone.append(f"{kind} {docker_name}")
    return gone
