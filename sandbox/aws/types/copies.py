"""Images and copies: ECR and Backup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.convert import to_api
from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAG_KEYS, TAG_MAP, TAGS, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import ask

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
    REPOSITORY,
    ECR_LIFECYCLE,
    VAULT,
    PLAN,
    SELECTION,
)
