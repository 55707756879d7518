"""The "bare metal" of a local stack: one more machine container, in a network of its own, reached by SSH alone.

What a real campus machine has before `./hub fallback.up`: a Debian, sshd, the admin's key. Its SSH is published on the first
address of the semester's network, where the hub VM reaches it like a machine elsewhere, and this host too; its port 443 on the
address that the hub's name gets after a failover.
"""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from operations import images, local_containers, ssh
from operations.errors import UserError
from operations.fallback_folder import Folder
from operations.paths import admin_path
from operations.progress import note, step
from operations.scratch_stack import free_network
from providers.base import ProviderError
from providers.localcloud import docker_api, owned
from providers.localcloud.machine_container import launch
from providers.localcloud.sweep import RETAIN

if TYPE_CHECKING:
    from components.plan import Plan
    from components.semester import Semester

MACHINE, NETWORK = "metal", "metal-net"
VOLUMES = {
    "metal-homes": "/srv/semesterhub/homes",
    "metal-state": "/var/lib/semesterhub",
    "metal-registry": "/var/lib/docker-registry",
}
HOMES = "metal-homes"
START_TIMEOUT_S = 90
MIB_PER_GIB = 1024


def is_local(semester: Semester, plan: Plan) -> bool:
    """Whether the fallback is a machine container that this checkout makes: a local stack that names its own network's gateway,
    or one that runs on a loopback address alone."""
    if semester.cloud != "local" or semester.fallback is None:
        return False
    return semester.fallback.host.startswith("127.") if semester.alone else semester.fallback.host == plan.gateway_ip


def memory_mib(semester: Semester, plan: Plan) -> int:
    """As much as the hub VM and all workers together."""
    return round((plan.workers.count * plan.workers.memory_gib + semester.nodes.hub_memory_gib) * MIB_PER_GIB)


def ensure(stack: str, semester: Semester, plan: Plan) -> None:
    """The machine is there and its SSH answers; the admin's key is made when there is none. Raises UserError."""
    assert semester.fallback is not None
    if not semester.alone and docker_api.inspect("network", owned.object_name(stack, "net")) is None:
        raise UserError(
            f"the bare metal of stack '{stack}' is reached through the semester's network, which is not there yet.\n"
            f"  ./hub up --stack {stack}   and then run this again."
        )
    public_key = ensure_key(admin_path(semester.fallback.ssh_key))
    with step("machine image") as tell:
        image = images.build("machine", tell).tag
    spec = {
        "image": image,
        "key": public_key,
        "host": semester.fallback.host,
        "port": semester.fallback.port,
        "address": semester.fallback.address or semester.fallback.host,
        "https_port": semester.local.https_port,
        "memory_mib": memory_mib(semester, plan),
        "cpus": float(plan.workers.vcpus * plan.workers.count + plan.hub_vcpus),
    }

    def make(docker_name: str, labels: dict[str, str]) -> None:
        # Another machine has another host key.
        Folder(stack).known_hosts.unlink(missing_ok=True)
        wire, cidr = local_containers.network(stack, NETWORK, lambda: str(free_network()))
        volumes = {
            local_containers.volume(stack, name, retain=name == HOMES and semester.homes.protect): path
            for name, path in VOLUMES.items()
        }
        launch(docker_name, _inputs(spec, wire, cidr, volumes), {**labels, RETAIN: "false"})

    if local_containers.ensure(stack, MACHINE, "metal", spec, make):
        note(f"the machine {owned.object_name(stack, MACHINE)} stands for the bare metal")


def _inputs(spec: dict[str, Any], wire: str, cidr: str, volumes: dict[str, str]) -> dict[str, Any]:
    return {
        "name": MACHINE,
        "image": spec["image"],
        "network": wire,
        "ip": str(ipaddress.IPv4Network(cidr).network_address + 2),
        "user_data": user_data(spec["key"]),
        "memory_mib": spec["memory_mib"],
        "cpus": spec["cpus"],
        "mounts": [{"volume": name, "path": path, "read_only": False} for name, path in volumes.items()],
        "ports": [
            {"host_ip": spec["host"], "host_port": spec["port"], "container_port": 22},
            {"host_ip": spec["address"], "host_port": spec["https_port"], "container_port": 443},
        ],
    }


def user_data(public_key: str) -> str:
    """What an installer leaves on a campus machine: sshd, and the admin's key."""
    document = {
        # At every boot; a container has nobody else who would start it.
        "bootcmd": [["sh", "-c", "mkdir -p /run/sshd && ssh-keygen -A && { pidof sshd || /usr/sbin/sshd; }"]],
        "write_files": [
            {"path": "/root/.ssh/authorized_keys", "permissions": "0600", "content": public_key + "\n"},
        ],
    }
    return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False)


def ensure_key(path: Path) -> str:
    """The public half of the admin's key; both are made when there is none. Raises UserError."""
    public = path.with_name(path.name + ".pub")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        ssh.program()  # ssh-keygen comes with it
        fresh = path.with_name(f".{path.name}.new")
        for left in (fresh, fresh.with_name(fresh.name + ".pub")):
            left.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "semesterhub", "-f", str(fresh)],
            check=True, capture_output=True,
        )  # fmt: skip
        fresh.with_name(fresh.name + ".pub").replace(public)
        fresh.replace(path)
    if not public.exists():
        raise UserError(f"{public} is missing beside its private key. Remove {path}, and both are made anew.")
    return " ".join(public.read_text("utf-8").split()[:2])


def destroy(stack: str, *, delete_homes: bool) -> list[str]:
    """Remove machine and network, and the volumes but the homes (these too with `delete_homes`); what was removed."""
    docker_volume = f"{MACHINE}-docker"
    volumes = [name for name in VOLUMES if delete_homes or name != HOMES]
    objects = {MACHINE: "container", NETWORK: "network", docker_volume: "volume", **dict.fromkeys(volumes, "volume")}
    try:
        return local_containers.remove(stack, objects)
    except ProviderError as error:
        raise UserError(str(error)) from None
