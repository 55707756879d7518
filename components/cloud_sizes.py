"""Sizes of what stands beside the workers in a cloud: the hub VM, disks, the system's own nodes. Pure.

The components deploy these and `components/cost.py` counts them, so both read them here.
"""

from __future__ import annotations

from components.plan_nodes import INSTANCE_TYPES, NodeSize
from components.semester import Problem, Semester, SemesterError
from components.semester_errors import listing

HUB_ROOT_DISK_GIB = 30
HUB_STATE_DISK_GIB = 60
"""Database, secrets, Docker's and Swarm's state, and the hub's own images."""
WORKER_DISK_GIB = 80
"""Images of the courses (about 3 GiB each, twice while one is exchanged), container layers, logs."""
SYSTEM_NODES = 2
"""Kubernetes: machines for the cluster's own pods, one a zone."""
SYSTEM_NODE_SIZE = {"aws": "m6i.large", "azure": "Standard_D2as_v5"}

AWS_ENDPOINT_ZONES = 2
_AWS_ENDPOINTS = ("ssm", "ssmmessages", "ecr.api", "ecr.dkr")
_AWS_ENDPOINTS_OF = {"swarm": ("autoscaling",), "kubernetes": ("sts",)}


def aws_endpoints(orchestrator: str) -> tuple[str, ...]:
    """AWS services with an interface endpoint in each zone: those that the machines really talk to.

    Parameters, Session Manager and image manifests (image layers come through the free S3 gateway); a draining Swarm
    node reports to its Auto Scaling group; Kubernetes' pods trade their identity (IRSA) for credentials.
    """
    return _AWS_ENDPOINTS + _AWS_ENDPOINTS_OF[orchestrator]


def hub_size(semester: Semester) -> NodeSize:
    """The smallest machine of the cloud's table with `nodes.hub_vcpus` and `nodes.hub_memory_gib`. Raises `SemesterError`."""
    nodes = semester.nodes
    for size in INSTANCE_TYPES[semester.cloud]:
        if size.vcpus >= nodes.hub_vcpus and size.memory_gib >= nodes.hub_memory_gib:
            return size
    table = listing(
        [f"{size.name} ({size.vcpus} cores, {size.memory_gib:g} GiB)" for size in INSTANCE_TYPES[semester.cloud]]
    )
    key, value = (
        ("hub_memory_gib", f"{nodes.hub_memory_gib:g}")
        if nodes.hub_memory_gib > max(size.memory_gib for size in INSTANCE_TYPES[semester.cloud])
        else ("hub_vcpus", str(nodes.hub_vcpus))
    )
    problem = Problem(
        f"semesterhub:nodes.{key}",
        value,
        f"what one machine of the table has: {table}",
        "lower it: one hub serves 1,500",
    )
    raise SemesterError("the plan of this semester", [problem])
