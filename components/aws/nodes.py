"""Workers of a Swarm: a launch template, an Auto Scaling group over both zones, and a hook that lets a node drain first.

Nodes join and leave by themselves: user-data joins them, and a node that the group ends waits in `Terminating:Wait` until
its agent says that the last student is gone. `desired_capacity` is the calendar's after the first deployment, so `up`
never changes the number of running nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import autoscaling, ec2

from components import cloud_sizes
from components.aws.machine_image import ROOT_DEVICE
from components.aws.scope import Scope

HOOK = "drain"
HEARTBEAT_MAX_S = 7200
"""The longest that one heartbeat of a lifecycle hook may last; a longer drain sends several."""
DRAIN_MARGIN_S = 300
"""For stopping what is left, leaving the Swarm and telling so."""
GRACE_S, WARM_UP_S = 600, 240


@dataclass(frozen=True)
class NodeGroupArgs:
    scope: Scope
    instance_type: str
    image_id: str
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    profile_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    user_data: pulumi.Input[str]
    """Base64, as cloud_init.encoded() gives it."""
    nodes_min: int
    nodes_max: int
    nodes_first: int
    """How many are started with the group; from then on the calendar decides."""
    drain_timeout_s: int
    before: Sequence[pulumi.Resource]
    """What a node needs while it boots: hub, bundle, routes, rights, mount targets."""


def group_name(scope: Scope) -> str:
    """Known before the group is: the workers' rights and their description name it."""
    return scope.name("nodes")


class NodeGroup(pulumi.ComponentResource):
    """`name` of the Auto Scaling group."""

    name: pulumi.Output[str]

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:NodeGroup", name, None, opts)
        scope = args.scope
        template = ec2.LaunchTemplate(
            "nodes",
            name=scope.name("nodes"),
            description="Workers: students' servers",
            image_id=args.image_id,
            instance_type=args.instance_type,
            update_default_version=True,
            iam_instance_profile={"arn": args.profile_arn},
            vpc_security_group_ids=[args.security_group_id],
            metadata_options=metadata_options(),
            block_device_mappings=[encrypted_disk(ROOT_DEVICE, args.key_arn)],
            tag_specifications=tag_specifications(scope, "node"),
            user_data=args.user_data,
            tags=scope.tagged("nodes"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        group = autoscaling.Group(
            "nodes",
            name=group_name(scope),
            min_size=args.nodes_min,
            max_size=args.nodes_max,
            desired_capacity=args.nodes_first,
            vpc_zone_identifiers=list(args.subnet_ids),
            launch_template={
                "id": template.id,
                "version": template.latest_version.apply(str),
            },
            health_check_type="EC2",
            health_check_grace_period=GRACE_S,
            default_instance_warmup=WARM_UP_S,
            termination_policies=["OldestLaunchTemplate", "NewestInstance"],
            # Moving a node to even out the zones would end the work of everybody on it.
            suspended_processes=["AZRebalance"],
            enabled_metrics=[
                autoscaling.Metric.GROUP_DESIRED_CAPACITY,
                autoscaling.Metric.GROUP_IN_SERVICE_INSTANCES,
                autoscaling.Metric.GROUP_TERMINATING_INSTANCES,
            ],
            instance_refresh={
                "strategy": "Rolling",
                "preferences": {
                    # A new node stands before an old one drains: a class never has fewer than it needs.
                    "min_healthy_percentage": 100,
                    "max_healthy_percentage": 150,
                    "instance_warmup": str(WARM_UP_S),
                    "auto_rollback": True,
                    "skip_matching": True,
                },
            },
            tags=[
                {"key": key, "value": value, "propagate_at_launch": True} for key, value in scope.tagged("node").items()
            ],
            wait_for_capacity_timeout="15m",
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.before),
                ignore_changes=["desired_capacity"],
                # Destroying waits for the nodes to drain.
                custom_timeouts=pulumi.CustomTimeouts(update="60m", delete=f"{60 + args.drain_timeout_s // 60}m"),
            ),
        )
        autoscaling.LifecycleHook(
            HOOK,
            name=HOOK,
            autoscaling_group_name=group.name,
            lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
            heartbeat_timeout=min(HEARTBEAT_MAX_S, args.drain_timeout_s + DRAIN_MARGIN_S),
            default_result="CONTINUE",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = group.name
        self.register_outputs({"name": self.name})


def metadata_options() -> ec2.LaunchTemplateMetadataOptionsArgsDict:
    """IMDSv2 only, one hop: what runs in a container gets no answer."""
    return {
        "http_endpoint": "enabled",
        "http_tokens": "required",
        "http_put_response_hop_limit": 1,
        "instance_metadata_tags": "disabled",
    }


def encrypted_disk(
    device: str, key_arn: pulumi.Input[str], size_gib: int = cloud_sizes.WORKER_DISK_GIB
) -> ec2.LaunchTemplateBlockDeviceMappingArgsDict:
    """A root disk under the stack's key, gone with its machine."""
    return {
        "device_name": device,
        "ebs": {
            "volume_type": "gp3",
            "volume_size": size_gib,
            "encrypted": "true",
            "kms_key_id": key_arn,
            "delete_on_termination": "true",
        },
    }


def tag_specifications(scope: Scope, part: str) -> list[ec2.LaunchTemplateTagSpecificationArgsDict]:
    """Of what a launch makes: the group tags machines, but not their disks and network interfaces."""
    return [
        {"resource_type": kind, "tags": scope.lasting(part)} for kind in ("instance", "volume", "network-interface")
    ]
