"""Machines: launch templates, instances, disks, fixed addresses."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.convert import to_api
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAGS, Call, In, Look, Spec, Update
from sandbox.aws.types.common import EC2_TAGS, ask, ec2_arn, ec2_tags, known

_DATA_INPUTS = (
    "imageId instanceType keyName userData ebsOptimized disableApiTermination instanceInitiatedShutdownBehavior "
    "vpcSecurityGroupIds iamInstanceProfile metadataOptions blockDeviceMappings tagSpecifications networkInterfaces monitoring "
    "creditSpecification instanceMarketOptions"
)
_DATA_NAMES = {
    "vpcSecurityGroupIds": "SecurityGroupIds",
    "networkInterfaces.securityGroups": "Groups",
}
USER_DATA_MAX_BYTES = 16 * 1024
"""EC2's limit, before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance")."""


def _data(scope: Any) -> dict[str, Any]:
    """LaunchTemplateData of the inputs."""
    shape = scope.api.shape("ec2", "create_launch_template").members["LaunchTemplateData"]
    given = {name: scope.inputs[name] for name in _DATA_INPUTS.split() if scope.inputs.get(name) is not None}
    names = {f"data.{name}": api for name, api in _DATA_NAMES.items()}
    return to_api(given, shape, "data", names)


def _new_version(scope: Any) -> None:
    parameters = {"LaunchTemplateId": scope.id, "LaunchTemplateData": _data(scope)}
    if scope.inputs.get("description"):
        parameters["VersionDescription"] = scope.inputs["description"]
    made = scope.api.call("ec2", "create_launch_template_version", parameters, scope.region)
    if scope.inputs.get("updateDefaultVersion"):
        number = str(made["LaunchTemplateVersion"]["VersionNumber"])
        scope.api.call(
            "ec2", "modify_launch_template", {"LaunchTemplateId": scope.id, "DefaultVersion": number}, scope.region
        )


def _user_data(values: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    if not known(values, name):
        return []
    try:
        raw = base64.b64decode(values[name], validate=True)
    except ValueError:
        return [(name, "must be base64")]
    if len(raw) > USER_DATA_MAX_BYTES:
        return [(name, f"has {len(raw)} bytes; EC2 takes at most {USER_DATA_MAX_BYTES}")]
    return []


def unknown_instance_type(scope: Any, inputs: Mapping[str, Any]) -> str | None:
    """moto looks at the type of an instance, but not at that of a launch template."""
    wanted = inputs.get("instanceType")
    if not wanted or wanted is UNKNOWN:
        return None
    path = "InstanceTypeOfferings[].InstanceType"
    filters = [{"Name": "instance-type", "Values": [wanted]}]
    if ask(scope, "ec2", "describe_instance_type_offerings", path, Filters=filters):
        return None
    return f"InvalidInstanceType: the instance type '{wanted}' is not offered in {scope.region}"


def _groups_using(scope: Any, _inputs: Mapping[str, Any]) -> str | None:
    path = (
        f"AutoScalingGroups[?LaunchTemplate.LaunchTemplateId=='{scope.id}' || "
        f"MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateId=='{scope.id}'].AutoScalingGroupName"
    )
    users = ask(scope, "autoscaling", "describe_auto_scaling_groups", path)
    return (
        f"the launch template {scope.id} is in use by {', '.join(users)}; delete or change these first"
        if users
        else None
    )


def _latest(answer: Any, _scope: Any) -> Any:
    made = max(answer["LaunchTemplateVersions"], key=lambda v: v["VersionNumber"], default=None)
    return {**made["LaunchTemplateData"], "VersionDescription": made.get("VersionDescription", "")} if made else None


LAUNCH_TEMPLATE = Spec(
    type="aws:ec2/launchTemplate:LaunchTemplate",
    docs=PROVIDER_DOCS + "launch_template",
    create=Call(
        "ec2",
        "create_launch_template",
        ec2_tags("launch-template")
        | {"LaunchTemplateName": In("name"), "VersionDescription": In("description"), "LaunchTemplateData": _data},
    ),
    id="LaunchTemplate.LaunchTemplateId",
    looks=(
        Look(
            Call(
                "ec2",
                "describe_launch_templates",
                {"LaunchTemplateIds": [ID]},
                missing=("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.NotFoundException"),
            ),
            "LaunchTemplates[0]",
        ),
        Look(Call("ec2", "describe_launch_template_versions", {"LaunchTemplateId": ID}), _latest, under="data"),
    ),
    updates=(Update(f"description {_DATA_INPUTS}", (_new_version,)),),
    delete=Call("ec2", "delete_launch_template", {"LaunchTemplateId": ID}),
    tagging=EC2_TAGS,
    force_new="name namePrefix",
    seen={
        "name": "LaunchTemplateName",
        "description": "data.VersionDescription",
        "vpcSecurityGroupIds": "data.SecurityGroupIds",
        "imageId": "data.ImageId",
        "instanceType": "data.InstanceType",
        "userData": "data.UserData",
        "metadataOptions": "data.MetadataOptions",
        "iamInstanceProfile": "data.IamInstanceProfile",
        "blockDeviceMappings": "data.BlockDeviceMappings",
    },
    outputs={
        "arn": ec2_arn("launch-template"),
        "latestVersion": "LatestVersionNumber",
        "defaultVersion": "DefaultVersionNumber",
    },
    kept=f"{_DATA_INPUTS} updateDefaultVersion",
    volatile="latestVersion defaultVersion",
    computed="defaultVersion",
    autoname="name",
    autoname_max=128,
    check=lambda values: _user_data(values, "userData"),
    converts=(_data,),
    refuse_create=(unknown_instance_type,),
    refuse_delete=(_groups_using,),
)


def _root_device(scope: Any) -> Any:
    given = scope.inputs.get("rootBlockDevice")
    if not given:
        return None
    shape = scope.api.shape("ec2", "run_instances").members["BlockDeviceMappings"].member.members["Ebs"]
    ebs = to_api({k: v for k, v in given.items() if k not in {"tags", "tagsAll"}}, shape, "rootBlockDevice", {})
    name = (
        ask(scope, "ec2", "describe_images", "Images[0].RootDeviceName", ImageIds=[scope.inputs["ami"]]) or "/dev/sda1"
    )
    return [{"DeviceName": name, "Ebs": ebs}]


def _interfaces(scope: Any) -> Any:
    """A public address can only be refused on an interface that is spelled out; then groups and address go there, too."""
    given = scope.inputs
    if given.get("associatePublicIpAddress") is None:
        return None
    interface = {
        "DeviceIndex": 0,
        "SubnetId": given.get("subnetId"),
        "AssociatePublicIpAddress": given["associatePublicIpAddress"],
        "Groups": given.get("vpcSecurityGroupIds"),
        "PrivateIpAddress": given.get("privateIp"),
    }
    return [{k: v for k, v in interface.items() if v is not None}]


def _unless_interfaces(name: str) -> Any:
    return lambda s: None if s.inputs.get("associatePublicIpAddress") is not None else s.inputs.get(name)


def _profile(scope: Any) -> Any:
    name = scope.inputs.get("iamInstanceProfile")
    return {"Name": name} if name else None


def _instance_tags(scope: Any) -> Any:
    root = (scope.inputs.get("rootBlockDevice") or {}).get("tags")
    wanted = [
        ("instance", scope.fill(TAGS)),
        ("volume", [{"Key": k, "Value": v} for k, v in sorted((root or {}).items())]),
    ]
    return [{"ResourceType": kind, "Tags": tags} for kind, tags in wanted if tags]


def _stop_change_start(scope: Any) -> None:
    """A type is changed while the machine stands."""
    scope.api.call("ec2", "stop_instances", {"InstanceIds": [scope.id]}, scope.region)
    change = {"InstanceId": scope.id, "InstanceType": {"Value": scope.inputs["instanceType"]}}
    scope.api.call("ec2", "modify_instance_attribute", change, scope.region)
    scope.api.call("ec2", "start_instances", {"InstanceIds": [scope.id]}, scope.region)


def _instance_forces(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    replace = bool(new.get("userDataReplaceOnChange"))
    del old
    return {"userData", "userDataBase64"} if replace else set()


def _grow_root(scope: Any) -> None:
    path = "Reservations[0].Instances[0].BlockDeviceMappings[0].Ebs.VolumeId"
    volume = ask(scope, "ec2", "describe_instances", path, InstanceIds=[scope.id])
    given = scope.inputs["rootBlockDevice"]
    parameters = {"VolumeId": volume, "Size": given.get("volumeSize"), "VolumeType": given.get("volumeType")}
    if volume:
        scope.api.call("ec2", "modify_volume", {k: v for k, v in parameters.items() if v is not None}, scope.region)


INSTANCE = Spec(
    type="aws:ec2/instance:Instance",
    docs=PROVIDER_DOCS + "instance",
    create=Call(
        "ec2",
        "run_instances",
        {
            "MinCount": 1,
            "MaxCount": 1,
            "IamInstanceProfile": _profile,
            "BlockDeviceMappings": _root_device,
            "NetworkInterfaces": _interfaces,
            "TagSpecifications": _instance_tags,
            "SubnetId": _unless_interfaces("subnetId"),
            "SecurityGroupIds": _unless_interfaces("vpcSecurityGroupIds"),
            "PrivateIpAddress": _unless_interfaces("privateIp"),
            "UserData": In("userDataBase64", via=base64.b64decode),
        },
        take="ami=ImageId instanceType keyName metadataOptions",
    ),
    id="Instances[0].InstanceId",
    looks=(Look(Call("ec2", "describe_instances", {"InstanceIds": [ID]}), "Reservations[0].Instances[0]"),),
    updates=(
        Update("instanceType", (_stop_change_start,)),
        Update(
            "vpcSecurityGroupIds",
            (Call("ec2", "modify_instance_attribute", {"InstanceId": ID}, take="vpcSecurityGroupIds=Groups"),),
        ),
        Update(
            "metadataOptions",
            (
                lambda s: (
                    s.api.call(
                        "ec2",
                        "modify_instance_metadata_options",
                        {
                            "InstanceId": s.id,
                            **to_api(
                                s.inputs["metadataOptions"],
                                s.api.shape("ec2", "run_instances").members["MetadataOptions"],
                                "metadataOptions",
                                {},
                            ),
                        },
                        s.region,
                    )
                    and None
                ),
            ),
        ),
        Update(
            "userDataBase64",
            (
                Call(
                    "ec2",
                    "modify_instance_attribute",
                    {"InstanceId": ID, "UserData": lambda s: {"Value": base64.b64decode(s.inputs["userDataBase64"])}},
                ),
            ),
        ),
        Update("rootBlockDevice", (_grow_root,)),
    ),
    delete=Call("ec2", "terminate_instances", {"InstanceIds": [ID]}),
    tagging=EC2_TAGS,
    force_new="ami subnetId privateIp keyName associatePublicIpAddress rootBlockDevice.encrypted rootBlockDevice.kmsKeyId availabilityZone",
    seen={
        "ami": "ImageId",
        "subnetId": "SubnetId",
        "privateIp": "PrivateIpAddress",
        "vpcSecurityGroupIds": "SecurityGroups[].GroupId",
        "iamInstanceProfile": lambda i: (
            ((i.get("IamInstanceProfile") or {}).get("Arn") or "").rpartition("/")[2] or None
        ),
        "metadataOptions": None,
        "rootBlockDevice": None,
        "userDataBase64": None,
        "associatePublicIpAddress": None,
    },
    outputs={
        "arn": ec2_arn("instance"),
        "instanceState": "State.Name",
        "privateDns": "PrivateDnsName",
        "publicDns": "PublicDnsName",
        "publicIp": "PublicIpAddress",
        "primaryNetworkInterfaceId": "NetworkInterfaces[0].NetworkInterfaceId",
        "availabilityZone": "Placement.AvailabilityZone",
        "privateIp": "PrivateIpAddress",
    },
    computed="availabilityZone privateIp",
    kept="subnetId vpcSecurityGroupIds privateIp iamInstanceProfile rootBlockDevice associatePublicIpAddress userDataReplaceOnChange",
    check=lambda values: _user_data(values, "userDataBase64"),
    forces=_instance_forces,
    refuse_create=(unknown_instance_type,),
    gone=lambda i: i["State"]["Name"] in {"terminated", "shutting-down"},
)


VOLUME = Spec(
    type="aws:ebs/volume:Volume",
    docs=PROVIDER_DOCS + "ebs_volume",
    create=Call(
        "ec2",
        "create_volume",
        ec2_tags("volume"),
        take="availabilityZone size type=VolumeType encrypted kmsKeyId iops throughput snapshotId",
    ),
    id="VolumeId",
    looks=(
        Look(Call("ec2", "describe_volumes", {"VolumeIds": [ID]}, missing=("InvalidVolume.NotFound",)), "Volumes[0]"),
    ),
    updates=(
        Update(
            "size type iops throughput",
            (Call("ec2", "modify_volume", {"VolumeId": ID}, take="size type=VolumeType iops throughput"),),
        ),
    ),
    delete=Call("ec2", "delete_volume", {"VolumeId": ID}),
    tagging=EC2_TAGS,
    force_new="availabilityZone encrypted kmsKeyId snapshotId",
    seen={"type": "VolumeType", "kmsKeyId": None},
    outputs={"arn": ec2_arn("volume"), "createTime": None},
    kept="finalSnapshot",
)


def _attachment(answer: Any, scope: Any) -> Any:
    wanted = scope.inputs.get("instanceId")
    return next((a for v in answer["Volumes"] for a in v["Attachments"] if a["InstanceId"] == wanted), None)


def _stop_first(scope: Any) -> None:
    if scope.inputs.get("stopInstanceBeforeDetaching"):
        state = ask(
            scope,
            "ec2",
            "describe_instances",
            "Reservations[0].Instances[0].State.Name",
            InstanceIds=[scope.inputs["instanceId"]],
        )
        if state == "running":
            scope.api.call("ec2", "stop_instances", {"InstanceIds": [scope.inputs["instanceId"]]}, scope.region)


VOLUME_ATTACHMENT = Spec(
    type="aws:ec2/volumeAttachment:VolumeAttachment",
    docs=PROVIDER_DOCS + "volume_attachment",
    create=Call("ec2", "attach_volume", take="volumeId instanceId deviceName=Device"),
    id=lambda _a, s: (
        "vai-"
        + hashlib.sha256(
            f"{s.inputs['deviceName']}-{s.inputs['instanceId']}-{s.inputs['volumeId']}".encode()
        ).hexdigest()[:10]
    ),
    looks=(
        Look(
            Call("ec2", "describe_volumes", {"VolumeIds": [In("volumeId")]}, missing=("InvalidVolume.NotFound",)),
            _attachment,
        ),
    ),
    before_delete=(_stop_first,),
    delete=Call(
        "ec2",
        "detach_volume",
        take="volumeId instanceId deviceName=Device",
        missing=("IncorrectState", "InvalidAttachment.NotFound"),
    ),
    force_new="volumeId instanceId deviceName",
    seen={"deviceName": "Device"},
    kept="stopInstanceBeforeDetaching forceDetach skipDestroy",
)


EIP_ASSOCIATION = Spec(
    type="aws:ec2/eipAssociation:EipAssociation",
    docs=PROVIDER_DOCS + "eip_association",
    create=Call("ec2", "associate_address", take="allocationId instanceId networkInterfaceId allowReassociation"),
    id="AssociationId",
    looks=(
        Look(
            Call("ec2", "describe_addresses", {"Filters": [{"Name": "association-id", "Values": [ID]}]}), "Addresses[0]"
        ),
    ),
    delete=Call("ec2", "disassociate_address", {"AssociationId": ID}, missing=("InvalidAssociationID.NotFound",)),
    force_new="allocationId instanceId networkInterfaceId allowReassociation",
    computed="publicIp networkInterfaceId privateIpAddress",
)

SPECS = (LAUNCH_TEMPLATE, INSTANCE, VOLUME, VOLUME_ATTACHMENT, EIP_ASSOCIATION)
