"""One student's server as a Swarm service: the Engine API's request, built from plain values.

Kept apart from the spawner so that what isolates and limits a student is in one place and can be tested as data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docker.types import ContainerSpec, EndpointSpec, Mount, Placement, Resources, RestartPolicy, TaskTemplate

from .cluster import LABEL_COURSE, LABEL_USER
from .homes import escaped
from .swarm import MEMORY_RESOURCE

SERVER_PORT = 8888
SERVER_USER = "1000:100"
HOME_MOUNT = "/home/jovyan"
PIDS_LIMIT = 1024
STOP_GRACE_S = 10
MAX_SERVICE_NAME_CHARS = 63
"""Swarm refuses longer names."""

MIB = 1024 * 1024
NANO = 1_000_000_000


@dataclass(frozen=True)
class ServerSpec:
    """What differs from one student's server to the next."""

    name: str
    user: str
    course: str
    image: str
    command: Sequence[str]
    env: Mapping[str, str]
    home: str
    memory_limit_mib: int
    memory_guarantee_mib: int
    cpu_limit: float
    cpu_guarantee: float
    constraints: Sequence[str] = ("node.role==worker",)


def service_name(username: str, server_name: str = "") -> str:
    """The service's name: at most 63 characters, different for every user and server name."""
    prefix = "server-"
    if not server_name:
        return prefix + escaped(username, MAX_SERVICE_NAME_CHARS - len(prefix))
    # one escaped text for both: '-2f' (the slash) cannot come from a user name, so no two pairs meet
    return prefix + escaped(f"{username}/{server_name}", MAX_SERVICE_NAME_CHARS - len(prefix))


def create_service_arguments(spec: ServerSpec) -> dict[str, Any]:
    """Keyword arguments for docker.APIClient.create_service."""
    labels = {LABEL_USER: spec.user, LABEL_COURSE: spec.course}
    container = ContainerSpec(
        image=spec.image,
        args=list(spec.command),
        env=dict(spec.env),
        user=SERVER_USER,
        labels=labels,
        mounts=[Mount(target=HOME_MOUNT, source=spec.home, type="bind")],
        stop_grace_period=STOP_GRACE_S * NANO,
        init=True,
        cap_drop=["ALL"],
    )
    resources = Resources(
        cpu_limit=int(spec.cpu_limit * NANO),
        mem_limit=spec.memory_limit_mib * MIB,
        cpu_reservation=int(spec.cpu_guarantee * NANO) if spec.cpu_guarantee > 0 else None,
        # Swarm takes all of a node's RAM for allocatable, so memory is reserved from what the node advertises instead
        generic_resources={MEMORY_RESOURCE: spec.memory_guarantee_mib},
    )
    resources["Limits"]["Pids"] = PIDS_LIMIT
    return {
        "name": spec.name,
        "labels": labels,
        "task_template": TaskTemplate(
            container_spec=container,
            resources=resources,
            # a server that ended is over: the hub tells the student and a new one starts with a new token
            restart_policy=RestartPolicy(condition="none"),
            placement=Placement(constraints=list(spec.constraints)),
        ),
        # no overlay network: the node publishes the container's port, and its firewall lets only the hub in
        "endpoint_spec": EndpointSpec(
            mode="dnsrr",
            ports=[{"Protocol": "tcp", "TargetPort": SERVER_PORT, "PublishMode": "host"}],  # pyright: ignore[reportArgumentType]
        ),
    }
