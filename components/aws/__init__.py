"""A semester in an AWS account: VPC, homes on EFS, hub VM, and nodes for Swarm or Kubernetes."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws as aws

from components.aws.encryption import Encryption, EncryptionArgs
from components.aws.endpoints import Endpoints, EndpointsArgs
from components.aws.firewall import Firewall, FirewallArgs
from components.aws.network import Network, NetworkArgs
from components.aws.provider import provider
from components.aws.registry import Registry, RegistryArgs
from components.aws.scope import Scope
from components.aws.storage import Storage, StorageArgs
from components.hub_bundle import HUB_IMAGES, course_images
from components.plan import Plan
from components.semester import Semester
from components.tags import tags

ZONES = 2


def build(stack: str, semester: Semester, plan: Plan) -> dict[str, Any]:
    """Declare the semester's resources; the stack's outputs."""
    assert plan.subnets is not None and semester.region is not None  # the model and the plan see to both
    own_tags = tags(stack, semester)
    cloud = provider(semester, own_tags)
    opts, ask = pulumi.ResourceOptions(providers=[cloud]), pulumi.InvokeOptions(provider=cloud)
    account = semester.account or aws.get_caller_identity(opts=ask).account_id
    scope = Scope(stack=stack, region=semester.region, account=account, tags=own_tags)
    kubernetes = semester.orchestrator == "kubernetes"

    key = Encryption("encryption", EncryptionArgs(scope=scope, retain=semester.homes.protect), opts)
    wire = Network(
        "network",
        NetworkArgs(
            scope=scope,
            cidr=str(plan.cluster_cidr),
            subnets=plan.subnets,
            zones=zones(ask),
            key_arn=key.key_arn,
            kubernetes=kubernetes,
        ),
        opts,
    )
    walls = Firewall(
        "firewall",
        FirewallArgs(
            scope=scope,
            vpc_id=wire.vpc_id,
            orchestrator=semester.orchestrator,
            admin_cidrs=[str(cidr) for cidr in semester.network.admin_cidrs],
        ),
        opts,
    )
    Endpoints(
        "endpoints",
        EndpointsArgs(
            scope=scope,
            vpc_id=wire.vpc_id,
            subnet_ids=wire.private_subnet_ids,
            route_table_ids=wire.route_table_ids,
            security_group_id=walls.endpoints,
            orchestrator=semester.orchestrator,
        ),
        opts,
    )
    disks = Storage(
        "storage",
        StorageArgs(
            scope=scope,
            subnet_ids=wire.private_subnet_ids,
            security_group_id=walls.homes,
            key_arn=key.key_arn,
            protect=semester.homes.protect,
        ),
        opts,
    )
    images = Registry(
        "registry",
        RegistryArgs(scope=scope, names=(*HUB_IMAGES, *course_images(semester)), key_arn=key.key_arn),
        opts,
    )
    return {
        "hub_url": semester.hub_url,
        "hub_host": semester.domain,
        "admin_user": semester.admins[0],
        "homes": disks.homes,
        "repositories": images.urls,
    }


def zones(ask: pulumi.InvokeOptions) -> list[str]:
    """The region's first two availability zones that need no opt-in, in the order of their names."""
    found = aws.get_availability_zones(
        state="available", filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}], opts=ask
    )
    return sorted(found.names)[:ZONES]
