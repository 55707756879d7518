"""EKS' managed node groups: two small machines for the cluster's own pods, and the students' pool.

Their system is EKS' own image, kept up by EKS; our launch template adds IMDSv2, encrypted disks, groups and tags. EKS
drains a node before it ends it, also when the calendar scales the pool in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, eks, iam

from components import cloud_sizes
from components.aws import policies
from components.aws.nodes import encrypted_disk, metadata_options, tag_specifications
from components.aws.scope import Scope
from components.cloud_nodes import STUDENT_LABEL, STUDENT_TAINT

AMI_TYPE = "AL2023_x86_64_STANDARD"
ROOT_DEVICE = "/dev/xvda"


@dataclass(frozen=True)
class NodePoolsArgs:
    scope: Scope
    cluster: eks.Cluster
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_ids: Sequence[pulumi.Input[str]]
    """The cluster's own group and the nodes'."""
    key_arn: pulumi.Input[str]
    instance_type: str
    nodes_min: int
    nodes_max: int
    nodes_first: int
    before: Sequence[pulumi.Resource]
    """The network addon and the ways out: without them a node never becomes ready."""


class NodePools(pulumi.ComponentResource):
    """`system` and `students` (node groups), `group` (the students' Auto Scaling group), `role_arn`."""

    system: eks.NodeGroup
    students: eks.NodeGroup
    group: pulumi.Output[str]
    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NodePoolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:NodePools", name, None, opts)
        self._args = args
        role, rights = self._role()
        self.role_arn = role.arn
        needs = [*rights, *args.before]
        count = cloud_sizes.SYSTEM_NODES
        self.system = eks.NodeGroup(
            "system",
            cluster_name=args.cluster.name,
            node_group_name_prefix="system-",
            node_role_arn=role.arn,
            subnet_ids=list(args.subnet_ids),
            ami_type=AMI_TYPE,
            instance_types=[cloud_sizes.SYSTEM_NODE_SIZE["aws"]],
            launch_template=self._template("system", cloud_sizes.HUB_ROOT_DISK_GIB),
            scaling_config={"min_size": count, "max_size": count + 1, "desired_size": count},
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={STUDENT_LABEL[0]: "core"},
            tags=args.scope.tagged("system"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )
        self.students = eks.NodeGroup(
            "students",
            cluster_name=args.cluster.name,
            node_group_name_prefix="students-",
            node_role_arn=role.arn,
            subnet_ids=list(args.subnet_ids),
            ami_type=AMI_TYPE,
            instance_types=[args.instance_type],
            launch_template=self._template("students", cloud_sizes.WORKER_DISK_GIB),
            scaling_config={
                "min_size": args.nodes_min,
                "max_size": args.nodes_max,
                "desired_size": args.nodes_first,
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={STUDENT_LABEL[0]: STUDENT_LABEL[1]},
            taints=[{"key": STUDENT_TAINT[0], "value": STUDENT_TAINT[1], "effect": "NO_SCHEDULE"}],
            tags=args.scope.tagged("students"),
            # The calendar's scheduled actions move the desired size.
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs, ignore_changes=["scalingConfig.desiredSize"]),
        )
        self.group = self.students.resources.apply(_group)
        self.register_outputs({"students": self.students.node_group_name, "group": self.group})

    def _role(self) -> tuple[iam.Role, list[pulumi.Resource]]:
        scope, child = self._args.scope, pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            "nodes",
            name=scope.name("nodes"),
            description="Machines of the EKS cluster; pods have identities of their own",
            assume_role_policy=pulumi.Output.json_dumps(policies.assumed_by("ec2.amazonaws.com")),
            tags=scope.tagged("nodes"),
            opts=child,
        )
        managed: list[pulumi.Resource] = [
            iam.RolePolicyAttachment(kind, role=role.name, policy_arn=scope.managed_policy(policy), opts=child)
            for kind, policy in (
                ("worker", "AmazonEKSWorkerNodePolicy"),
                ("pull", "AmazonEC2ContainerRegistryPullOnly"),
            )
        ]
        shell = iam.RolePolicy(
            "nodes",
            name="session-manager",
            role=role.name,
            policy=pulumi.Output.json_dumps(policies.document(policies.session_manager())),
            opts=child,
        )
        return role, [*managed, shell]

    def _template(self, part: str, disk_gib: int) -> eks.NodeGroupLaunchTemplateArgsDict:
        args = self._args
        template = ec2.LaunchTemplate(
            part,
            name=args.scope.name(part),
            description=f"Nodes of the cluster: {part}",
            update_default_version=True,
            vpc_security_group_ids=list(args.security_group_ids),
            metadata_options=metadata_options(),
            block_device_mappings=[encrypted_disk(ROOT_DEVICE, args.key_arn, disk_gib)],
            tag_specifications=tag_specifications(args.scope, part),
            tags=args.scope.tagged(part),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return {"id": template.id, "version": template.latest_version.apply(str)}


def _group(resources: Sequence[eks.outputs.NodeGroupResource]) -> str:
    """The Auto Scaling group that EKS made for a node group."""
    return next((group.name for made in resources for group in made.autoscaling_groups or [] if group.name), "")
