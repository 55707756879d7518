"""Homes: EFS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAGS, TOKEN, Call, In, Look, Spec, Update
from sandbox.aws.types.common import ask, tag_calls
from sandbox.aws.types.iam import policy_check

_EFS_TAGS = tag_calls("efs", "tag_resource", "untag_resource", "ResourceId", ID)
_LIFECYCLE = {
    "transitionToIa": "TransitionToIA",
    "transitionToPrimaryStorageClass": "TransitionToPrimaryStorageClass",
    "transitionToArchive": "TransitionToArchive",
}


def _lifecycle(scope: Any) -> None:
    policies = [{_LIFECYCLE[k]: v for k, v in p.items()} for p in scope.inputs.get("lifecyclePolicies") or []]
    scope.api.call(
        "efs", "put_lifecycle_configuration", {"FileSystemId": scope.id, "LifecyclePolicies": policies}, scope.region
    )


def _targets(scope: Any, _inputs: Mapping[str, Any]) -> str | None:
    found = ask(scope, "efs", "describe_mount_targets", "MountTargets[].MountTargetId", FileSystemId=scope.id)
    return f"FileSystemInUse: {scope.id} still has mount targets: {', '.join(found)}" if found else None


FILE_SYSTEM = Spec(
    type="aws:efs/fileSystem:FileSystem",
    docs=PROVIDER_DOCS + "efs_file_system",
    create=Call(
        "efs",
        "create_file_system",
        {"CreationToken": In("creationToken"), "Tags": TAGS},
        take="encrypted kmsKeyId performanceMode throughputMode provisionedThroughputInMibps availabilityZoneName",
    ),
    id="FileSystemId",
    looks=(
        Look(Call("efs", "describe_file_systems", {"FileSystemId": ID}), "FileSystems[0]"),
        Look(
            Call("efs", "describe_lifecycle_configuration", {"FileSystemId": ID}),
            "LifecyclePolicies",
            under="LifecyclePolicies",
        ),
    ),
    updates=(
        Update(
            "throughputMode provisionedThroughputInMibps",
            (
                Call(
                    "efs",
                    "update_file_system",
                    {"FileSystemId": ID},
                    take="throughputMode provisionedThroughputInMibps",
                ),
            ),
        ),
        Update("lifecyclePolicies", (_lifecycle,), create=True),
    ),
    delete=Call("efs", "delete_file_system", {"FileSystemId": ID}),
    tagging=_EFS_TAGS,
    force_new="encrypted kmsKeyId performanceMode creationToken availabilityZoneName",
    outputs={
        "arn": lambda f, s: (
            f.get("FileSystemArn") or f"arn:aws:elasticfilesystem:{s.region}:{s.api.account}:file-system/{s.id}"
        ),
        "dnsName": "{id}.efs.{region}.amazonaws.com",
        "numberOfMountTargets": None,
        "sizeInBytes": None,
    },
    autoname="creationToken",
    autoname_max=64,
    refuse_delete=(_targets,),
)

FILE_SYSTEM_POLICY = Spec(
    type="aws:efs/fileSystemPolicy:FileSystemPolicy",
    docs=PROVIDER_DOCS + "efs_file_system_policy",
    create=Call(
        "efs",
        "put_file_system_policy",
        {"Policy": In("policy", via=policy_text)},
        take="fileSystemId",
    ),
    id="{fileSystemId}",
    looks=(
        Look(
            Call(
                "efs",
                "describe_file_system_policy",
                {"FileSystemId": ID},
                missing=("PolicyNotFound", "FileSystemNotFound"),
            ),
            "",
        ),
    ),
    updates=(
        Update(
            "policy",
            (Call("efs", "put_file_system_policy", {"Policy": In("policy", via=policy_text), "FileSystemId": ID}),),
        ),
    ),
    delete=Call("efs", "delete_file_system_policy", {"FileSystemId": ID}),
    force_new="fileSystemId",
    check=policy_check("policy"),
)

BACKUP_POLICY = Spec(
    type="aws:efs/backupPolicy:BackupPolicy",
    docs=PROVIDER_DOCS + "efs_backup_policy",
    create=Call("efs", "put_backup_policy", take="fileSystemId backupPolicy"),
    id="{fileSystemId}",
    looks=(
        Look(
            Call(
                "efs", "describe_backup_policy", {"FileSystemId": ID}, missing=("PolicyNotFound", "FileSystemNotFound")
            ),
            "",
        ),
    ),
    updates=(Update("backupPolicy", (Call("efs", "put_backup_policy", take="fileSystemId backupPolicy"),)),),
    delete=Call("efs", "put_backup_policy", {"FileSystemId": ID, "BackupPolicy": {"Status": "DISABLED"}}),
    force_new="fileSystemId",
)

MOUNT_TARGET = Spec(
    type="aws:efs/mountTarget:MountTarget",
    docs=PROVIDER_DOCS + "efs_mount_target",
    create=Call("efs", "create_mount_target", take="fileSystemId subnetId securityGroups ipAddress"),
    id="MountTargetId",
    looks=(
        Look(Call("efs", "describe_mount_targets", {"MountTargetId": ID}), "MountTargets[0]"),
        Look(
            Call("efs", "describe_mount_target_security_groups", {"MountTargetId": ID}),
            "SecurityGroups",
            under="SecurityGroups",
        ),
    ),
    updates=(
        Update(
            "securityGroups",
            (Call("efs", "modify_mount_target_security_groups", {"MountTargetId": ID}, take="securityGroups"),),
        ),
    ),
    delete=Call("efs", "delete_mount_target", {"MountTargetId": ID}),
    force_new="fileSystemId subnetId ipAddress",
    outputs={
        "dnsName": lambda m, s: f"{m['FileSystemId']}.efs.{s.region}.amazonaws.com",
        "mountTargetDnsName": lambda m, s: (
            f"{m.get('AvailabilityZoneName')}.{m['FileSystemId']}.efs.{s.region}.amazonaws.com"
        ),
        "fileSystemArn": lambda m, s: (
            f"arn:aws:elasticfilesystem:{s.region}:{s.api.account}:file-system/{m['FileSystemId']}"
        ),
    },
    computed="ipAddress",
)

ACCESS_POINT = Spec(
    type="aws:efs/accessPoint:AccessPoint",
    docs=PROVIDER_DOCS + "efs_access_point",
    create=Call(
        "efs", "create_access_point", {"ClientToken": TOKEN, "Tags": TAGS}, take="fileSystemId posixUser rootDirectory"
    ),
    id="AccessPointId",
    looks=(Look(Call("efs", "describe_access_points", {"AccessPointId": ID}), "AccessPoints[0]"),),
    delete=Call("efs", "delete_access_point", {"AccessPointId": ID}),
    tagging=_EFS_TAGS,
    force_new="fileSystemId posixUser rootDirectory",
    outputs={"arn": "AccessPointArn", "fileSystemArn": None},
)

SPECS = (
    FILE_SYSTEM,
    FILE_SYSTEM_POLICY,
    BACKUP_POLICY,
    MOUNT_TARGET,
    ACCESS_POINT,
)
