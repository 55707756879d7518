"""Where data lives: EFS, S3, ECR, Backup."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.convert import to_api
from sandbox.aws.engine import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAG_KEYS, TAG_MAP, TAGS, TOKEN, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import ask, known, tag_calls
from sandbox.aws.types.iam import policy_check

# --- EFS

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

# --- S3

_BUCKET_NAME = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(?:-s3alias|--ol-s3)$)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?![.-])){1,61}[a-z0-9]"
)


def _bucket_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    if known(values, "bucket") and not _BUCKET_NAME.fullmatch(values["bucket"]):
        return [
            ("bucket", f"{values['bucket']!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and dashes")
        ]
    return []


def _empty(scope: Any) -> None:
    """Takes every object, version and marker out, where the program says so."""
    if not scope.inputs.get("forceDestroy"):
        return
    listed = scope.api.call("s3", "list_object_versions", {"Bucket": scope.id}, scope.region)
    for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        gone = {"Bucket": scope.id, "Key": entry["Key"], "VersionId": entry["VersionId"]}
        scope.api.call("s3", "delete_object", gone, scope.region)


def _bucket_tags(scope: Any) -> None:
    scope.api.call(
        "s3", "put_bucket_tagging", {"Bucket": scope.id, "Tagging": {"TagSet": scope.fill(TAGS)}}, scope.region
    )


BUCKET = Spec(
    type="aws:s3/bucket:Bucket",
    docs=PROVIDER_DOCS + "s3_bucket",
    create=Call(
        "s3",
        "create_bucket",
        {"CreateBucketConfiguration": lambda s: None if s.region == "us-east-1" else {"LocationConstraint": s.region}},
        take="bucket objectLockEnabled=ObjectLockEnabledForBucket",
    ),
    id="{bucket}",
    looks=(
        Look(Call("s3", "head_bucket", {"Bucket": ID}, missing=("404", "NoSuchBucket")), ""),
        Look(Call("s3", "get_bucket_tagging", {"Bucket": ID}, missing=("NoSuchTagSet",)), "TagSet", under="Tags"),
    ),
    updates=(Update("bucket tags", (_bucket_tags,), create=True),),
    before_delete=(_empty,),
    delete=Call("s3", "delete_bucket", {"Bucket": ID}),
    tagging=Tagging(
        set=Call("s3", "put_bucket_tagging", {"Bucket": ID, "Tagging": {"TagSet": TAGS}}),
        unset=Call(
            "s3",
            "put_bucket_tagging",
            {
                "Bucket": ID,
                "Tagging": lambda s: {
                    "TagSet": [
                        {"Key": k, "Value": v}
                        for k, v in sorted({**s.state.get("tagsAll", {}), **(s.inputs.get("tags") or {})}.items())
                        if k not in s.tag_keys
                    ]
                },
            },
        ),
    ),
    force_new="bucket bucketPrefix objectLockEnabled",
    seen={"bucket": "{id}", "objectLockEnabled": None},
    outputs={
        "arn": "arn:aws:s3:::{id}",
        "bucketDomainName": "{id}.s3.amazonaws.com",
        "bucketRegionalDomainName": "{id}.s3.{region}.amazonaws.com",
        "bucketRegion": "{region}",
    },
    kept="forceDestroy",
    autoname="bucket",
    autoname_max=63,
    check=_bucket_check,
)


def _part(
    kind: str, api: str, put: str, get: str, delete: str | None, body: Any, path: str, inputs: str, **more: Any
) -> Spec:
    """A part of a bucket that has calls of its own: put, get and delete of the whole. `body`: the put's parameters."""
    change = Call("s3", put, {"Bucket": In("bucket"), **body})
    snake = re.sub(r"(?<!^)([A-Z])", r"_\1", kind).lower().replace("bucket_", "s3_bucket_", 1)
    return Spec(
        type=f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}",
        docs=PROVIDER_DOCS + snake,
        create=change,
        id="{bucket}",
        looks=(Look(Call("s3", get, {"Bucket": ID}, missing=("NoSuchBucket", api)), path),),
        updates=(Update(inputs, (change,)),),
        delete=Call("s3", delete, {"Bucket": ID}, missing=("NoSuchBucket", api)) if delete else None,
        force_new="bucket",
        seen={"bucket": "{id}", **more.pop("seen", {})},
        **more,
    )


PUBLIC_ACCESS = _part(
    "BucketPublicAccessBlock",
    "NoSuchPublicAccessBlockConfiguration",
    "put_public_access_block",
    "get_public_access_block",
    "delete_public_access_block",
    {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": In("blockPublicAcls", default=False),
            "BlockPublicPolicy": In("blockPublicPolicy", default=False),
            "IgnorePublicAcls": In("ignorePublicAcls", default=False),
            "RestrictPublicBuckets": In("restrictPublicBuckets", default=False),
        }
    },
    "PublicAccessBlockConfiguration",
    "blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets",
    kept="skipDestroy",
)

OWNERSHIP = _part(
    "BucketOwnershipControls",
    "OwnershipControlsNotFoundError",
    "put_bucket_ownership_controls",
    "get_bucket_ownership_controls",
    "delete_bucket_ownership_controls",
    {"OwnershipControls": lambda s: {"Rules": [{"ObjectOwnership": s.inputs["rule"]["objectOwnership"]}]}},
    "OwnershipControls",
    "rule",
    seen={"rule": "Rules[0]"},
    kept="rule",
)


def _encryption(scope: Any) -> Any:
    shape = scope.api.shape("s3", "put_bucket_encryption").members["ServerSideEncryptionConfiguration"].members["Rules"]
    names = {
        "rules.applyServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
        "rules.applyServerSideEncryptionByDefault.sseAlgorithm": "SSEAlgorithm",
        "rules.applyServerSideEncryptionByDefault.kmsMasterKeyId": "KMSMasterKeyID",
    }
    return {"Rules": to_api(scope.inputs["rules"], shape, "rules", names)}


ENCRYPTION = _part(
    "BucketServerSideEncryptionConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "put_bucket_encryption",
    "get_bucket_encryption",
    "delete_bucket_encryption",
    {"ServerSideEncryptionConfiguration": _encryption},
    "ServerSideEncryptionConfiguration",
    "rules",
    kept="rules",
)


def _versioning(answer: Any, _scope: Any) -> Any:
    return {"versioningConfiguration": {"status": answer.get("Status", "Disabled")}}


VERSIONING = Spec(
    type="aws:s3/bucketVersioning:BucketVersioning",
    docs=PROVIDER_DOCS + "s3_bucket_versioning",
    create=Call("s3", "put_bucket_versioning", {"Bucket": In("bucket")}, take="versioningConfiguration"),
    id="{bucket}",
    looks=(Look(Call("s3", "get_bucket_versioning", {"Bucket": ID}, missing=("NoSuchBucket",)), _versioning),),
    updates=(
        Update(
            "versioningConfiguration",
            (Call("s3", "put_bucket_versioning", {"Bucket": ID}, take="versioningConfiguration"),),
        ),
    ),
    # As the official provider: a bucket that was once versioned is suspended, never unversioned.
    delete=Call(
        "s3",
        "put_bucket_versioning",
        {"Bucket": ID, "VersioningConfiguration": {"Status": "Suspended"}},
        missing=("NoSuchBucket",),
    ),
    force_new="bucket",
    seen={"bucket": "{id}"},
)

BUCKET_POLICY = _part(
    "BucketPolicy",
    "NoSuchBucketPolicy",
    "put_bucket_policy",
    "get_bucket_policy",
    "delete_bucket_policy",
    {"Policy": In("policy", via=policy_text)},
    "",
    "policy",
    check=policy_check("policy"),
)


def _rules(scope: Any) -> Any:
    shape = (
        scope.api.shape("s3", "put_bucket_lifecycle_configuration").members["LifecycleConfiguration"].members["Rules"]
    )
    names = {"rules.id": "ID"}
    rules = to_api(scope.inputs["rules"], shape, "rules", names)
    for given, rule in zip(scope.inputs["rules"], rules, strict=True):
        if (given.get("filter") or {}).get("prefix") == "":
            rule["Filter"] = {"Prefix": ""}
    return {"Rules": rules}


LIFECYCLE_RULES = _part(
    "BucketLifecycleConfiguration",
    "NoSuchLifecycleConfiguration",
    "put_bucket_lifecycle_configuration",
    "get_bucket_lifecycle_configuration",
    "delete_bucket_lifecycle",
    {"LifecycleConfiguration": _rules},
    "",
    "rules",
    kept="rules transitionDefaultMinimumObjectSize",
    seen={"rules": lambda c: [{k: v for k, v in r.items() if k != "Prefix"} for r in c.get("Rules") or []]},
)


def _object_body(scope: Any) -> Any:
    content = scope.inputs.get("content")
    return None if content is None else content.encode()


def _object_tags(scope: Any) -> Any:
    from urllib.parse import urlencode

    return urlencode(sorted((scope.inputs.get("tags") or {}).items())) or None


_PUT = Call(
    "s3",
    "put_object",
    {"Body": _object_body, "Tagging": _object_tags},
    take="bucket key contentType cacheControl contentEncoding serverSideEncryption kmsKeyId=SSEKMSKeyId",
)


def _delete_versions(scope: Any) -> None:
    bucket, key = scope.inputs["bucket"], scope.id
    listed = scope.api.call("s3", "list_object_versions", {"Bucket": bucket, "Prefix": key}, scope.region)
    found = [e for e in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])] if e["Key"] == key]
    for entry in found:
        scope.api.call(
            "s3", "delete_object", {"Bucket": bucket, "Key": key, "VersionId": entry["VersionId"]}, scope.region
        )


OBJECT = Spec(
    type="aws:s3/bucketObjectv2:BucketObjectv2",
    docs=PROVIDER_DOCS + "s3_object",
    create=_PUT,
    id="{key}",
    looks=(
        Look(
            Call(
                "s3", "head_object", {"Bucket": In("bucket"), "Key": ID}, missing=("404", "NoSuchKey", "NoSuchBucket")
            ),
            "",
        ),
    ),
    updates=(
        Update("content contentType cacheControl contentEncoding tags serverSideEncryption kmsKeyId source", (_PUT,)),
    ),
    before_delete=(_delete_versions,),
    delete=None,
    force_new="bucket key",
    seen={
        "bucket": None,
        "key": "{id}",
        # What is in there is compared by its checksum, as the official provider does (etag).
        "content": lambda o, s: (
            s.inputs["content"] if _md5(s.inputs["content"]) == o["ETag"].strip('"') else f"(changed, etag {o['ETag']})"
        ),
    },
    outputs={
        "arn": lambda _o, s: f"arn:aws:s3:::{s.inputs['bucket']}/{s.inputs['key']}",
        "etag": lambda o: o["ETag"].strip('"'),
        "versionId": "VersionId",
    },
    kept="content forceDestroy overrideProvider tags",
    volatile="etag versionId",
    computed="etag",
)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324  (S3's own checksum)


# --- ECR

REPOSITORY = Spec(
    type="aws:ecr/repository:Repository",
    docs=PROVIDER_DOCS + "ecr_repository",
    create=Call(
        "ecr",
        "create_repository",
        {"repositoryName": In("name"), "tags": TAGS},
        take="imageTagMutability imageScanningConfiguration encryptionConfigurations=encryptionConfiguration",
    ),
    id="repository.repositoryName",
    looks=(
        Look(Call("ecr", "describe_repositories", {"repositoryNames": [ID]}), "repositories[0]"),
        Look(
            Call(
                "ecr",
                "list_tags_for_resource",
                {"resourceArn": lambda s: f"arn:aws:ecr:{s.region}:{s.api.account}:repository/{s.id}"},
            ),
            "tags",
            under="Tags",
        ),
    ),
    updates=(
        Update(
            "imageTagMutability",
            (Call("ecr", "put_image_tag_mutability", {"repositoryName": ID}, take="imageTagMutability"),),
        ),
        Update(
            "imageScanningConfiguration",
            (
                Call(
                    "ecr", "put_image_scanning_configuration", {"repositoryName": ID}, take="imageScanningConfiguration"
                ),
            ),
        ),
    ),
    delete=Call("ecr", "delete_repository", {"repositoryName": ID, "force": In("forceDelete", default=False)}),
    tagging=Tagging(
        set=Call("ecr", "tag_resource", {"resourceArn": lambda s: s.state["arn"], "tags": TAGS}),
        unset=Call("ecr", "untag_resource", {"resourceArn": lambda s: s.state["arn"], "tagKeys": TAG_KEYS}),
    ),
    force_new="name encryptionConfigurations",
    seen={"name": "repositoryName", "encryptionConfigurations": "encryptionConfiguration"},
    outputs={"arn": "repositoryArn", "repositoryUrl": "repositoryUri", "registryId": "registryId"},
    kept="forceDelete",
    autoname="name",
)

ECR_LIFECYCLE = Spec(
    type="aws:ecr/lifecyclePolicy:LifecyclePolicy",
    docs=PROVIDER_DOCS + "ecr_lifecycle_policy",
    create=Call(
        "ecr",
        "put_lifecycle_policy",
        {"repositoryName": In("repository"), "lifecyclePolicyText": In("policy", via=policy_text)},
    ),
    id="{repository}",
    looks=(
        Look(
            Call(
                "ecr",
                "get_lifecycle_policy",
                {"repositoryName": ID},
                missing=("LifecyclePolicyNotFoundException", "RepositoryNotFoundException"),
            ),
            "",
        ),
    ),
    updates=(
        Update(
            "policy",
            (
                Call(
                    "ecr",
                    "put_lifecycle_policy",
                    {"repositoryName": ID, "lifecyclePolicyText": In("policy", via=policy_text)},
                ),
            ),
        ),
    ),
    delete=Call("ecr", "delete_lifecycle_policy", {"repositoryName": ID}, missing=("RepositoryNotFoundException",)),
    force_new="repository",
    seen={"repository": "repositoryName", "policy": "lifecyclePolicyText"},
)

# --- Backup


def _backup_tagging() -> Tagging:
    of = {"ResourceArn": lambda s: s.state["arn"]}
    return Tagging(
        set=Call("backup", "tag_resource", {**of, "Tags": TAG_MAP}),
        unset=Call("backup", "untag_resource", {**of, "TagKeyList": TAG_KEYS}),
    )


def _points(scope: Any, inputs: Mapping[str, Any]) -> str | None:
    if inputs.get("forceDestroy"):
        return None
    count = ask(scope, "backup", "describe_backup_vault", "NumberOfRecoveryPoints", BackupVaultName=scope.id)
    return f"the vault {scope.id} holds {count} recovery points; only an empty one can be deleted" if count else None


VAULT = Spec(
    type="aws:backup/vault:Vault",
    docs=PROVIDER_DOCS + "backup_vault",
    create=Call(
        "backup",
        "create_backup_vault",
        {"BackupVaultName": In("name"), "BackupVaultTags": TAG_MAP},
        take="kmsKeyArn=EncryptionKeyArn",
    ),
    id="BackupVaultName",
    looks=(
        Look(
            Call(
                "backup",
                "describe_backup_vault",
                {"BackupVaultName": ID},
                missing=("ResourceNotFoundException", "AccessDeniedException"),
            ),
            "",
        ),
        Look(
            Call(
                "backup",
                "list_tags",
                {"ResourceArn": lambda s: f"arn:aws:backup:{s.region}:{s.api.account}:backup-vault:{s.id}"},
            ),
            "Tags",
            under="Tags",
        ),
    ),
    delete=Call("backup", "delete_backup_vault", {"BackupVaultName": ID}),
    tagging=_backup_tagging(),
    force_new="name kmsKeyArn",
    seen={"name": "BackupVaultName", "kmsKeyArn": None},
    outputs={"arn": "BackupVaultArn", "recoveryPoints": "NumberOfRecoveryPoints"},
    kept="forceDestroy",
    autoname="name",
    refuse_delete=(_points,),
)

_RULE_NAMES = {
    "schedule": "ScheduleExpression",
    "scheduleExpressionTimezone": "ScheduleExpressionTimezone",
    "startWindow": "StartWindowMinutes",
    "completionWindow": "CompletionWindowMinutes",
    "targetVaultName": "TargetBackupVaultName",
    "lifecycle.deleteAfter": "DeleteAfterDays",
    "lifecycle.coldStorageAfter": "MoveToColdStorageAfterDays",
}


def _plan(scope: Any) -> dict[str, Any]:
    shape = scope.api.shape("backup", "create_backup_plan").members["BackupPlan"].members["Rules"]
    names = {f"rules.{name}": api for name, api in _RULE_NAMES.items()}
    return {"BackupPlanName": scope.inputs["name"], "Rules": to_api(scope.inputs["rules"], shape, "rules", names)}


def _plan_rules(shown: Any) -> Any:
    back = {api: name.rpartition(".")[2] for name, api in _RULE_NAMES.items()}
    rules = shown["BackupPlan"].get("Rules") or []
    return [
        {
            back.get(k, k): ({back.get(n, n): v for n, v in value.items()} if k == "Lifecycle" else value)
            for k, value in rule.items()
        }
        for rule in rules
    ]


def _plan_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    for i, rule in enumerate(values.get("rules") or []):
        text = rule.get("schedule") if isinstance(rule, Mapping) else None
        if (
            isinstance(text, str)
            and text is not UNKNOWN
            and not re.fullmatch(r"(?:cron\((?:[^\s()]+ ){5}[^\s()]+\)|rate\(\d+ \w+\))", text)
        ):
            wrong.append((f"rules[{i}].schedule", f"{text!r} is no cron(…) of six fields"))
    return wrong


PLAN = Spec(
    type="aws:backup/plan:Plan",
    docs=PROVIDER_DOCS + "backup_plan",
    create=Call("backup", "create_backup_plan", {"BackupPlan": _plan, "BackupPlanTags": TAG_MAP}),
    id="BackupPlanId",
    looks=(
        Look(Call("backup", "get_backup_plan", {"BackupPlanId": ID}), ""),
        Look(
            Call(
                "backup",
                "list_tags",
                {"ResourceArn": lambda s: f"arn:aws:backup:{s.region}:{s.api.account}:backup-plan:{s.id}"},
            ),
            "Tags",
            under="Tags",
        ),
    ),
    updates=(
        Update(
            "rules name",
            (
                lambda s: s.api.call(
                    "backup", "update_backup_plan", {"BackupPlanId": s.id, "BackupPlan": _plan(s)}, s.region
                ),
            ),
        ),
    ),
    delete=Call("backup", "delete_backup_plan", {"BackupPlanId": ID}),
    tagging=_backup_tagging(),
    seen={"name": "BackupPlan.BackupPlanName", "rules": _plan_rules},
    outputs={"arn": "BackupPlanArn", "version": None},
    kept="name rules",
    check=_plan_check,
    converts=(_plan,),
)

SELECTION = Spec(
    type="aws:backup/selection:Selection",
    docs=PROVIDER_DOCS + "backup_selection",
    create=Call(
        "backup",
        "create_backup_selection",
        {
            "BackupPlanId": In("planId"),
            "BackupSelection": {
                "SelectionName": In("name"),
                "IamRoleArn": In("iamRoleArn"),
                "Resources": In("resources"),
                "NotResources": In("notResources"),
            },
        },
    ),
    id="SelectionId",
    looks=(
        Look(
            Call(
                "backup",
                "get_backup_selection",
                {"BackupPlanId": In("planId"), "SelectionId": ID},
                missing=("InvalidParameterValueException", "ResourceNotFoundException"),
            ),
            "BackupSelection",
        ),
    ),
    delete=Call("backup", "delete_backup_selection", {"BackupPlanId": In("planId"), "SelectionId": ID}),
    force_new="planId name iamRoleArn resources notResources",
    seen={"planId": None, "name": "SelectionName"},
    autoname="name",
)

SPECS = (
    FILE_SYSTEM,
    FILE_SYSTEM_POLICY,
    BACKUP_POLICY,
    MOUNT_TARGET,
    ACCESS_POINT,
    BUCKET,
    PUBLIC_ACCESS,
    OWNERSHIP,
    ENCRYPTION,
    VERSIONING,
    BUCKET_POLICY,
    LIFECYCLE_RULES,
    OBJECT,
    REPOSITORY,
    ECR_LIFECYCLE,
    VAULT,
    PLAN,
    SELECTION,
)
