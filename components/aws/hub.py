"""The hub VM: one instance with a fixed private address, its own disk for database and secrets, and a public address.

A change of its user-data (a new node agent) replaces the machine, not its disk: the old one goes first, since both would
hold the same address and disk. The hub is away for about three minutes; students' servers go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ebs, ec2

from components import cloud_sizes
from components.aws.scope import Scope

DEVICE = "/dev/sdf"
STATE_DEVICE = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*"
"""How the agent finds the disk: on these machines EBS volumes are NVMe devices, whatever `DEVICE` says."""


@dataclass(frozen=True)
class HubArgs:
    scope: Scope
    instance_type: str
    image_id: str
    zone: str
    subnet_id: pulumi.Input[str]
    private_ip: str
    security_group_id: pulumi.Input[str]
    profile_name: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    user_data: pulumi.Input[str]
    """Base64, as cloud_init.encoded() gives it."""
    protect_disk: bool
    before: Sequence[pulumi.Resource]
    """What the machine needs while it boots: routes, rights, mount targets, secrets, the bundle."""


class Hub(pulumi.ComponentResource):
    """`machine` (the instance), `instance_id`, `public_ip`, `disk_arn`. Nodes depend on `ready`."""

    machine: ec2.Instance
    instance_id: pulumi.Output[str]
    public_ip: pulumi.Output[str]
    disk_arn: pulumi.Output[str]
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: HubArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Hub", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        disk = ebs.Volume(
            "state",
            availability_zone=args.zone,
            size=cloud_sizes.HUB_STATE_DISK_GIB,
            type="gp3",
            encrypted=True,
            kms_key_id=args.key_arn,
            tags=scope.tagged("hub-state"),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect_disk, retain_on_delete=args.protect_disk),
        )
        address = ec2.Eip("hub", domain="vpc", tags=scope.tagged("hub"), opts=child)
        self.machine = ec2.Instance(
            "hub",
            ami=args.image_id,
            instance_type=args.instance_type,
            subnet_id=args.subnet_id,
            private_ip=args.private_ip,
            vpc_security_group_ids=[args.security_group_id],
            iam_instance_profile=args.profile_name,
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,  # containers are one hop further: they get no answer
            },
            root_block_device={
                "volume_type": "gp3",
                "volume_size": cloud_sizes.HUB_ROOT_DISK_GIB,
                "encrypted": True,
                "kms_key_id": args.key_arn,
                "delete_on_termination": True,
                "tags": scope.tagged("hub-root"),
            },
            user_data_base64=args.user_data,
            user_data_replace_on_change=True,
            tags=scope.tagged("hub"),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, depends_on=list(args.before)),
        )
        attached = ec2.VolumeAttachment(
            "state",
            device_name=DEVICE,
            volume_id=disk.id,
            instance_id=self.machine.id,
            stop_instance_before_detaching=True,  # a database is never cut off in the middle of a write
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        reachable = ec2.EipAssociation(
            "hub",
            allocation_id=address.allocation_id,
            instance_id=self.machine.id,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.instance_id, self.public_ip, self.disk_arn = self.machine.id, address.public_ip, disk.arn
        self.ready = [attached, reachable]
        self.register_outputs({"instance_id": self.instance_id, "public_ip": self.public_ip})
