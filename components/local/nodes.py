"""Machines of the semester: containers with a Docker of their own, booted by cloud-init like any cloud's VM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components import cloud_init
from components.local import resources
from components.local.storage import CLUSTER_PATH, Mount
from components.node_agent.config import NodeConfig
from components.plan import Plan

MIB_PER_GIB = 1024
HUB_API_PORT = 8081


def node_config(plan: Plan, role: str) -> NodeConfig:
    """What the machine's agent needs to know; the same for every worker."""
    return NodeConfig(
        role=role,
        hub_ip=plan.hub_ip,
        cluster_cidr=str(plan.cluster_cidr),
        bridge_cidr=str(plan.bridge_cidr),
        hub_api_port=HUB_API_PORT,
        registry_port=plan.registry_port,
        student_memory_mib=0 if role == "hub" else plan.workers.allocatable_memory_mib,
        secret_store=f"file:{CLUSTER_PATH}",
    )


@dataclass(frozen=True)
class NodeGroupArgs:
    stack: str
    plan: Plan
    machine_image: pulumi.Input[str]
    network: pulumi.Input[str]
    mounts: Sequence[Mount]
    images: Sequence[pulumi.Input[str]]
    """References that every worker holds before its first student arrives."""
    drain_timeout_s: int


class NodeGroup(pulumi.ComponentResource):
    """The workers. ``machines``: name -> machine; names and addresses stay when the group grows or shrinks."""

    machines: dict[str, resources.Machine]

    def __init__(
        self, name: str, args: NodeGroupArgs, manager: resources.Machine, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("semesterhub:local:NodeGroup", name, None, opts)
        pool = args.plan.workers
        user_data = cloud_init.user_data(node_config(args.plan, "worker"))
        self.machines = {
            worker: resources.Machine(
                worker,
                stack=args.stack,
                name=worker,
                image=args.machine_image,
                network=args.network,
                ip=address,
                role="worker",
                user_data=user_data,
                memory_mib=round(pool.memory_gib * MIB_PER_GIB),
                cpus=float(pool.vcpus),
                mounts=args.mounts,
                ports=[],
                images=list(args.images),
                drain_timeout_s=args.drain_timeout_s,
                manager=manager.id,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[manager], delete_before_replace=True),
            )
            for worker, address in zip(pool.names, pool.ips, strict=True)
        }
        self.register_outputs({"nodes": [machine.id for machine in self.machines.values()]})
