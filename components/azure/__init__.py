"""A semester on Azure, with Docker Swarm on a scale set or with AKS."""

from __future__ import annotations

from typing import Any

import pulumi

from components.azure import blobs, groups, network, storage
from components.azure.provider import provider
from components.azure.site import site
from components.plan import Plan
from components.semester import Semester


def build(stack: str, semester: Semester, plan: Plan) -> dict[str, Any]:
    """Declare the semester's resources; the stack's outputs. SemesterError before anything is declared."""
    if plan.subnets is None:
        raise AssertionError("a plan for a cloud has subnets")
    place = site(stack, semester)
    on_azure = pulumi.ResourceOptions(providers=[provider(place)])
    rooms = groups.Groups("groups", groups.GroupsArgs(site=place, protect=semester.homes.protect), on_azure)
    wire = network.Network(
        "network",
        network.NetworkArgs(
            site=place,
            group=rooms.main,
            cidr=plan.cluster_cidr,
            subnets=plan.subnets,
            hub_ip=plan.hub_ip,
            orchestrator=semester.orchestrator,
            admin_cidrs=semester.network.admin_cidrs,
        ),
        on_azure,
    )
    disks = storage.Storage(
        "storage",
        storage.StorageArgs(
            site=place,
            group=rooms.data,
            subnets=[wire.subnets["hub"], wire.subnets["nodes"]],
            size_gib=plan.homes_gib,
            protect=semester.homes.protect,
        ),
        on_azure,
    )
    blobs.Blobs(
        "blobs",
        blobs.BlobsArgs(
            site=place,
            group=rooms.main,
            data_group=rooms.data,
            subnets=[wire.subnets["hub"]],
            protect=semester.homes.protect,
        ),
        on_azure,
    )
    return {
        "hub_url": semester.hub_url,
        "hub_host": semester.domain,
        "admin_user": semester.admins[0],
        "homes": disks.share,
    }
