"""The container a machine is: its flags, its disks, its cloud-init seed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from providers.base import ProviderError
from providers.localcloud import docker_api, host, owned

SEED = "/var/lib/cloud/seed/nocloud"
DOCKER_ROOT = "/var/lib/docker"

CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD")
"""What a Docker daemon inside needs beyond Docker's default ones. Not --privileged: that fails where this host itself
lacks CAP_SYS_RESOURCE (measured), and would give the host's devices away."""

PORT_KEYS = {443: "semesterhub:local.https_port", 5000: "semesterhub:local.registry_port"}
"""Which key of the stack file sets the host port for a port of the machine."""


def docker_volume(machine: str) -> str:
    """The volume at the machine's /var/lib/docker: overlay2 cannot lie on the container's own overlay."""
    return f"{machine}-docker"


def launch(name: str, inputs: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Create, seed and start the container; Docker's description of it. Nothing of that name exists yet."""
    _check_ports(inputs)
    api = docker_api.client()
    binds = [f"{m['volume']}:{m['path']}:{'ro' if m['read_only'] else 'rw'}" for m in inputs["mounts"]]
    if not any(m["path"] == DOCKER_ROOT for m in inputs["mounts"]):
        with docker_api.explained(f"making the volume of the machine {name}"):
            api.create_volume(docker_volume(name), labels={**labels, owned.KIND: "machine-docker"})
        binds.append(f"{docker_volume(name)}:{DOCKER_ROOT}:rw")
    try:
        return _launch(name, inputs, labels, binds)
    except BaseException:
        # Nothing half made stays behind: no state would know it.
        docker_api.remove("container", name)
        if docker_api.inspect("volume", docker_volume(name)) is not None:
            docker_api.remove("volume", docker_volume(name))
        raise


def _launch(name: str, inputs: Mapping[str, Any], labels: Mapping[str, str], binds: list[str]) -> dict[str, Any]:
    from docker.types import LogConfig

    api: Any = docker_api.client()
    with docker_api.explained(f"making the machine {name}"):
        host_config = api.create_host_config(
            binds=binds,
            cap_add=list(CAPABILITIES),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            cgroupns="private",
            restart_policy={"Name": "unless-stopped"},
            port_bindings=_port_bindings(inputs["ports"]),
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
        )
        # What `--security-opt systempaths=unconfined` means; the command line knows the word, the API does not.
        host_config.update({"MaskedPaths": [], "ReadonlyPaths": [], **_limits(inputs["memory_mib"], inputs["cpus"])})
        api.create_container(
            inputs["image"],
            name=name,
            hostname=inputs["name"],
            labels=dict(labels),
            ports=[(p["container_port"], "tcp") for p in inputs["ports"]],
            host_config=host_config,
            networking_config=api.create_networking_config(
                {inputs["network"]: api.create_endpoint_config(ipv4_address=inputs["ip"] or None)}
            ),
        )
    instance = owned.spec_hash({"user_data": inputs["user_data"], "name": name})
    meta_data = json.dumps({"instance-id": f"{name}-{instance}", "local-hostname": inputs["name"]}) + "\n"
    docker_api.put_files(
        name,
        {f"{SEED}/meta-data": (meta_data.encode(), 0o644), f"{SEED}/user-data": (inputs["user_data"].encode(), 0o600)},
        directories={"/var/lib/cloud": 0o755, "/var/lib/cloud/seed": 0o755, SEED: 0o755},
    )
    with docker_api.explained(f"starting the machine {name}"):
        api.start(name)
    found = docker_api.inspect("container", name)
    if found is None:
        raise ProviderError(f"the machine {name} was started, but is gone: someone removed it at the same time")
    return found


def resize(name: str, memory_mib: int, cpus: float) -> None:
    """Set the limits of a running container, if they differ."""
    found = docker_api.inspect("container", name)
    wanted = _limits(memory_mib, cpus)
    if found is None or all(found["HostConfig"].get(key) == value for key, value in wanted.items()):
        return
    api: Any = docker_api.client()
    with docker_api.explained(f"setting {name} to {memory_mib} MiB and {cpus:g} CPUs"):
        # docker-py's update_container does not know NanoCpus.
        answer = api._post_json(api._url("/containers/{0}/update", name), data=wanted)
        api._raise_for_status(answer)


def _port_bindings(ports: list[Mapping[str, Any]]) -> dict[int | str, Any]:
    """As docker-py wants them: one port of the machine may be published several times."""
    bindings: dict[int | str, Any] = {}
    for port in ports:
        bindings.setdefault(f"{port['container_port']}/tcp", []).append((port["host_ip"], port["host_port"]))
    return bindings


def limits_drift(host_config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs `memory_mib` and `cpus` as the container has them, where they are not as recorded."""
    wanted = _limits(inputs["memory_mib"], inputs["cpus"]) if "memory_mib" in inputs and "cpus" in inputs else {}
    drift: dict[str, Any] = {}
    if host_config["Memory"] != wanted.get("Memory"):
        drift["memory_mib"] = host_config["Memory"] // 2**20
    if host_config["NanoCpus"] != wanted.get("NanoCpus"):
        drift["cpus"] = host_config["NanoCpus"] / 1e9
    return drift


def _limits(memory_mib: int, cpus: float) -> dict[str, int]:
    most = os.cpu_count() or 1
    # Docker refuses more CPUs than the host has; a stack file made for a larger machine still runs, only slower.
    return {"Memory": memory_mib * 2**20, "MemorySwap": memory_mib * 2**20, "NanoCpus": round(min(cpus, most) * 1e9)}


def _check_ports(inputs: Mapping[str, Any]) -> None:
    for port in inputs["ports"]:
        holder = host.who_holds_port(port["host_ip"], port["host_port"])
        if holder:
            key = PORT_KEYS.get(port["container_port"], "the port under `semesterhub:local`")
            raise ProviderError(
                f"port {port['host_port']} on {port['host_ip']} is taken by {holder}. Set `{key}` in the stack file to a "
                "free port, or stop what holds it."
            )
