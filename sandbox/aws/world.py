"""What exists in an account before a stack comes, and what AWS makes by itself where moto does not.

Canonical's dated Ubuntu images and the campus' DNS zone are there; an EKS cluster has a security group of its own, and
a managed node group has an Auto Scaling group. Inside the emulator's process, on moto's own objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

DEFAULT_ACCOUNT = "123456789012"
"""Where the stack file names none."""
CANONICAL = "099720109477"
_UBUNTU = re.compile(r"ubuntu/images/hvm-ssd(?:-gp3)?/ubuntu-[a-z]+-\d\d\.\d\d-(?:amd64|arm64)-server-20\d{6}")


def wanted_image(call: str, body: bytes) -> str:
    """The dated Ubuntu build that a DescribeImages asks for by its name, else ""."""
    if call != "ec2:DescribeImages":
        return ""
    values = [
        v
        for name, found in parse_qs(body.decode("utf-8", "replace")).items()
        if name.startswith("Filter")
        for v in found
    ]
    return next((v for v in values if _UBUNTU.fullmatch(v)), "")


def make_image(account: str, region: str, name: str) -> None:
    """Canonical's image of that name. Its id follows from name and region."""
    from moto.ec2.models import ec2_backends
    from moto.ec2.models.amis import Ami

    backend = ec2_backends[account][region]
    id = "ami-" + hashlib.sha256(f"{region} {name}".encode()).hexdigest()[:17]
    if id not in backend.amis:
        image: Any = Ami(
            backend, ami_id=id, name=name, owner_id=CANONICAL, public=True, virtualization_type="hvm",
            architecture="arm64" if "arm64" in name else "x86_64", root_device_type="ebs", root_device_name="/dev/sda1",
            image_location=f"amazon/{name}", description="Canonical, Ubuntu", region_name=region,
        )  # fmt: skip
        backend.amis[id] = image


def make_zone(account: str, name: str) -> None:
    """A DNS zone that the campus has already."""
    from moto.route53.models import route53_backends

    backend = route53_backends[account]["aws"]
    if not any(zone.name.rstrip(".") == name for zone in backend.zones.values()):
        # With its last dot, as Route 53 keeps every name: moto finds a zone by its name only so.
        backend.create_hosted_zone(f"{name}.", private_zone=False, comment="the campus' own zone")


def after_eks(
    account: str, region: str, method: str, path: str, given: Mapping[str, Any], before: Mapping[str, Any]
) -> None:
    """What EKS makes, changes and takes away beside the thing that was asked for. `before`: the thing before a change."""
    if method == "POST" and path == "/clusters":
        _cluster_group(account, region, str(given["name"]))
    elif found := re.fullmatch(r"/clusters/([^/]+)/node-groups", path):
        if method == "POST":
            _scaling_group(account, region, found[1], str(given["nodegroupName"]))
    elif found := re.fullmatch(r"/clusters/([^/]+)/update-config", path):
        cluster = _eks(account, region).clusters[found[1]]
        cluster.resources_vpc_config = {**before, **(given.get("resourcesVpcConfig") or {})}
    elif found := re.fullmatch(r"/clusters/([^/]+)/node-groups/([^/]+)/update-config", path):
        sizes = given.get("scalingConfig")
        if sizes:
            _resize(account, region, _eks(account, region).clusters[found[1]].nodegroups[found[2]], sizes)


def before_eks(account: str, region: str, method: str, path: str) -> dict[str, Any]:
    """Does what must precede a deletion; returns a cluster's network settings before a change of them."""
    clusters = _eks(account, region).clusters
    if found := re.fullmatch(r"/clusters/([^/]+)/update-config", path):
        cluster = clusters.get(found[1])
        return dict(cluster.resources_vpc_config) if cluster else {}
    if method == "DELETE" and (found := re.fullmatch(r"/clusters/([^/]+)(?:/node-groups/([^/]+))?", path)):
        cluster = clusters.get(found[1])
        if cluster and found[2] in cluster.nodegroups:
            _drop_scaling_group(account, region, cluster.nodegroups[found[2]])
        elif cluster and not found[2] and not cluster.nodegroups:
            _ec2(account, region).delete_security_group(group_id=cluster.resources_vpc_config["clusterSecurityGroupId"])
    return {}


def _eks(account: str, region: str) -> Any:
    from moto.eks.models import eks_backends

    return eks_backends[account][region]


def _ec2(account: str, region: str) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[account][region]


def _scaling(account: str, region: str) -> Any:
    from moto.autoscaling.models import autoscaling_backends

    return autoscaling_backends[account][region]


def _cluster_group(account: str, region: str, name: str) -> None:
    cluster, ec2 = _eks(account, region).clusters[name], _ec2(account, region)
    settings = cluster.resources_vpc_config
    vpc_id = ec2.get_subnet(settings["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(f"eks-cluster-sg-{name}", "EKS created security group", vpc_id=vpc_id)
    # What EKS fills in (its API reference, VpcConfigResponse).
    cluster.resources_vpc_config = {
        "endpointPublicAccess": True, "endpointPrivateAccess": False, "publicAccessCidrs": ["0.0.0.0/0"], "securityGroupIds": [],
        **settings, "clusterSecurityGroupId": group.id, "vpcId": vpc_id,
    }  # fmt: skip
    # One issuer a cluster; moto has one for all.
    id = hashlib.sha256(f"{account} {region} {name}".encode()).hexdigest()[:32].upper()
    cluster.identity = {"oidc": {"issuer": f"https://oidc.eks.{region}.amazonaws.com/id/{id}"}}


def _scaling_group(account: str, region: str, cluster: str, name: str) -> None:
    """The group behind a node group. It runs no machines: which ones would, EKS decides."""
    group = _eks(account, region).clusters[cluster].nodegroups[name]
    made = f"eks-{name}-{group.uuid}"
    sizes = group.scaling_config
    _make_group(_scaling(account, region), made, group.subnets, sizes)
    group.resources = {"autoScalingGroups": [{"name": made}]}


def _make_group(backend: Any, name: str, subnets: list[str], sizes: Mapping[str, int]) -> None:
    backend.create_launch_configuration(
        name=name, image_id="ami-12c6146b", key_name="", ramdisk_id="", kernel_id="", security_groups=[], user_data="",
        instance_type="t2.micro", instance_monitoring=False, instance_profile_name=None, spot_price=None, ebs_optimized=False,
        associate_public_ip_address=False, block_device_mappings={}, instance_id=None, metadata_options=None,
        classic_link_vpc_id=None, classic_link_vpc_security_groups=None,
    )  # fmt: skip
    made = backend.create_auto_scaling_group(
        name=name, availability_zones=[], desired_capacity=0, max_size=sizes["maxSize"], min_size=0,
        launch_config_name=name, launch_template={}, vpc_zone_identifier=",".join(subnets), default_cooldown=None,
        health_check_period=None, health_check_type=None, load_balancers=[], target_group_arns=[], placement_group=None,
        termination_policies=[], tags=[],
    )  # fmt: skip
    made.min_size, made.desired_capacity = sizes["minSize"], sizes["desiredSize"]


def _resize(account: str, region: str, group: Any, sizes: Mapping[str, int]) -> None:
    made = _scaling(account, region).autoscaling_groups.get(group.resources["autoScalingGroups"][0]["name"])
    if made is not None:
        made.min_size = sizes.get("minSize", made.min_size)
        made.max_size = sizes.get("maxSize", made.max_size)
        made.desired_capacity = sizes.get("desiredSize", made.desired_capacity)


def _drop_scaling_group(account: str, region: str, group: Any) -> None:
    backend, name = _scaling(account, region), group.resources["autoScalingGroups"][0]["name"]
    backend.autoscaling_groups.pop(name, None)
    backend.launch_configurations.pop(name, None)
    for action, made in list(getattr(backend, "scheduled_actions", {}).items()):
        if getattr(made, "asg_name", None) == name:
            backend.scheduled_actions.pop(action)


def tidy(account: str, region: str) -> None:
    """Takes away what AWS would not have: network interfaces of machines, gateways and endpoints that are gone, and a
    second root disk."""
    from moto.backup.models import backup_backends

    plans = backup_backends[account][region].plans
    for id in [id for id, plan in plans.items() if plan.deletion_date]:
        del plans[id]  # moto goes on refusing the name of a deleted plan
    ec2 = _ec2(account, region)
    gone = [i.id for i in ec2.enis.values() if i.instance is not None and i.instance._state.name == "terminated"]
    gone += [nat._eni.id for nat in ec2.nat_gateways.values() if nat.state == "deleted"]
    for endpoint in ec2.vpc_end_points.values():
        if endpoint.state == "deleted":
            gone += list(endpoint.network_interface_ids or [])
    for id in gone:
        ec2.enis.pop(id, None)
    for volume in list(ec2.volumes.values()):
        # A template's root disk takes the place of the one that moto makes by itself, and leaves that behind.
        machine = volume.attachment.instance if volume.attachment else None
        if machine is not None and volume.id not in {d.volume_id for d in machine.block_device_mapping.values()}:
            ec2.volumes.pop(volume.id)


UNTIDY = frozenset(
    {
        "autoscaling:CreateAutoScalingGroup",
        "backup:DeleteBackupPlan",
        "ec2:TerminateInstances",
        "ec2:DeleteNatGateway",
        "ec2:DeleteVpcEndpoints",
        "autoscaling:UpdateAutoScalingGroup",
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
    }
)
"""Calls after which moto needs `tidy`."""


def mind_conditions() -> None:
    """moto takes a statement with a Condition as one without: "deny without TLS" would deny everybody. Here such a
    statement says nothing, as for a request that comes through TLS to a service of AWS."""
    from moto.iam.access_control import IAMPolicyStatement, PermissionResult

    plain = IAMPolicyStatement.is_action_permitted

    def minding(self: Any, *arguments: Any, **more: Any) -> Any:
        if self._statement.get("Condition"):
            return PermissionResult.NEUTRAL
        return plain(self, *arguments, **more)

    IAMPolicyStatement.is_action_permitted = minding


def facts(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the session says of the stack: account, region, and the campus' zone."""
    return json.loads(environment.get("SEMESTERHUB_SANDBOX_STACK") or "{}")
