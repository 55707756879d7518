"""The local cloud: a whole semester on this machine, on a real Docker Swarm of machine containers."""

from __future__ import annotations

from typing import Any

import pulumi

from components.hub_bundle import HUB_IMAGES, course_images
from components.local import hub, images, network, nodes, storage
from components.plan import Plan
from components.semester import Semester


def build(stack: str, semester: Semester, plan: Plan) -> dict[str, Any]:
    """Declare the semester's resources; the stack's outputs."""
    wire = network.Network("network", network.NetworkArgs(stack=stack, cidr=plan.cluster_cidr))
    disks = storage.Storage("storage", storage.StorageArgs(stack=stack, protect_homes=semester.homes.protect))
    machine_image = images.build(["machine"], pulumi.ResourceOptions())["machine"].tag
    manager = hub.machine(
        hub.HubMachineArgs(
            stack=stack,
            semester=semester,
            plan=plan,
            machine_image=machine_image,
            network=wire.network_name,
            mounts=disks.hub_mounts,
        ),
        pulumi.ResourceOptions(delete_before_replace=True),
    )
    courses = course_images(semester)
    registry = images.Images(
        "images",
        images.ImagesArgs(
            stack=stack,
            names=(*HUB_IMAGES, *courses),
            push_address=f"127.0.0.1:{semester.local.registry_port}",
            pull_address=f"{plan.hub_ip}:{plan.registry_port}",
        ),
        registry=manager,
    )
    workers = nodes.NodeGroup(
        "nodes",
        nodes.NodeGroupArgs(
            stack=stack,
            plan=plan,
            machine_image=machine_image,
            network=wire.network_name,
            mounts=disks.worker_mounts,
            images=[registry.references[name] for name in courses],
            drain_timeout_s=semester.nodes.drain_timeout_s,
        ),
        manager=manager,
    )
    # After the workers: when the hub opens, there is a place for everybody.
    jupyterhub = hub.Hub(
        "jupyterhub",
        hub.HubArgs(stack=stack, semester=semester, plan=plan, machine=manager, images=registry.references),
        pulumi.ResourceOptions(depends_on=list(workers.machines.values())),
    )
    outputs: dict[str, Any] = {
        "hub_url": semester.hub_url,
        "hub_host": semester.domain,
        "admin_user": semester.admins[0],
        "admin_password": jupyterhub.admin_password,
        "node_group": "nodes",
        "nodes": [worker.id for worker in workers.machines.values()],
        "homes": disks.homes,
        "images": registry.digests,
        "ca_certificate": jupyterhub.ca_certificate,
        "monthly_cost_usd": 0,
    }
    if jupyterhub.student_password is not None:
        outputs["student_password"] = jupyterhub.student_password
    return outputs
