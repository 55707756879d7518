"""Nodes of a cloud as their agent sees them: the description that cloud-init puts on a machine, for AWS and Azure."""

from __future__ import annotations

from components.node_agent.config import NodeConfig
from components.plan import Plan
from components.semester import Semester

HUB_API_PORT = 8081
SSH_PORT = 22

STUDENT_LABEL = ("hub.jupyter.org/node-purpose", "user")
STUDENT_TAINT = ("hub.jupyter.org/dedicated", "user")
"""Kubernetes: students' pods run on the nodes with this label, and nothing else does (effect NoSchedule). The names are
those of Zero to JupyterHub, "Using labels and taints to provide optimal autoscaling"."""


def node_config(
    semester: Semester,
    plan: Plan,
    role: str,
    *,
    secret_store: str,
    homes: str,
    bundle: str,
    registry: str,
    state_device: str = "",
    identity_client_id: str = "",
    node_group: str = "",
    lifecycle_hook: str = "",
) -> NodeConfig:
    """The description of one kind of machine (`hub` or `worker`), the same bytes for every machine of the kind.

    A worker's depends on nothing that changes with the class (image digests come with the bundle, student numbers
    only with the machine's size), so a new course does not replace running nodes. `open_ports` leaves SSH to the
    networks of `network.admin_cidrs` and to Azure Bastion: without any, port 22 is shut on the machine as well as in
    front of it.
    """
    is_hub = role == "hub"
    return NodeConfig(
        role=role,
        hub_ip=plan.hub_ip,
        cluster_cidr=str(plan.cluster_cidr),
        bridge_cidr=str(plan.bridge_cidr),
        hub_api_port=HUB_API_PORT,
        registry_port=plan.registry_port,
        student_memory_mib=0 if is_hub else plan.workers.allocatable_memory_mib,
        secret_store=secret_store,
        open_ports=(*((SSH_PORT,) if semester.network.admin_cidrs or semester.network.bastion else ()), 80, 443),
        cloud=semester.cloud,
        orchestrator=semester.orchestrator,
        region=semester.region or "",
        identity_client_id=identity_client_id,
        node_group=node_group,
        lifecycle_hook=lifecycle_hook,
        homes=homes,
        state_device=state_device if is_hub else "",
        bundle=bundle,
        registry=registry,
        drain_timeout_s=semester.nodes.drain_timeout_s,
    )
