"""Keys and their names."""

from __future__ import annotations

from typing import Any

from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAG_KEYS, TAGS, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.iam import policy_check


def _kms_tags(scope: Any) -> list[dict[str, str]]:
    return [{"TagKey": t["Key"], "TagValue": t["Value"]} for t in scope.fill(TAGS)]


def _rotation(scope: Any) -> None:
    operation = "enable_key_rotation" if scope.inputs.get("enableKeyRotation") else "disable_key_rotation"
    scope.api.call("kms", operation, {"KeyId": scope.id}, scope.region)


KEY = Spec(
    type="aws:kms/key:Key",
    docs=PROVIDER_DOCS + "kms_key",
    create=Call(
        "kms",
        "create_key",
        {"Policy": In("policy", via=policy_text), "Tags": _kms_tags},
        take="description keyUsage customerMasterKeySpec=KeySpec multiRegion",
    ),
    id="KeyMetadata.KeyId",
    looks=(
        Look(Call("kms", "describe_key", {"KeyId": ID}), "KeyMetadata"),
        Look(Call("kms", "get_key_policy", {"KeyId": ID, "PolicyName": "default"}), "Policy", under="policy"),
        Look(Call("kms", "get_key_rotation_status", {"KeyId": ID}), "KeyRotationEnabled", under="enableKeyRotation"),
        Look(Call("kms", "list_resource_tags", {"KeyId": ID}), "Tags", under="Tags"),
    ),
    updates=(
        Update("enableKeyRotation", (_rotation,), create=True),
        Update("description", (Call("kms", "update_key_description", {"KeyId": ID}, take="description"),)),
        Update(
            "policy",
            (
                Call(
                    "kms",
                    "put_key_policy",
                    {"KeyId": ID, "PolicyName": "default", "Policy": In("policy", via=policy_text)},
                ),
            ),
        ),
    ),
    delete=Call(
        "kms", "schedule_key_deletion", {"KeyId": ID, "PendingWindowInDays": In("deletionWindowInDays", default=30)}
    ),
    tagging=Tagging(
        set=Call("kms", "tag_resource", {"KeyId": ID, "Tags": _kms_tags}),
        unset=Call("kms", "untag_resource", {"KeyId": ID, "TagKeys": TAG_KEYS}),
    ),
    force_new="keyUsage customerMasterKeySpec multiRegion",
    outputs={"arn": "Arn", "keyId": "KeyId"},
    kept="deletionWindowInDays bypassPolicyLockoutSafetyCheck",
    check=policy_check("policy"),
    gone=lambda k: k.get("KeyState") == "PendingDeletion",
)

ALIAS = Spec(
    type="aws:kms/alias:Alias",
    docs=PROVIDER_DOCS + "kms_alias",
    create=Call("kms", "create_alias", {"AliasName": In("name")}, take="targetKeyId"),
    id="{name}",
    looks=(
        Look(
            Call("kms", "list_aliases"),
            lambda answer, s: next((a for a in answer["Aliases"] if a["AliasName"] == s.id), None),
        ),
    ),
    updates=(Update("targetKeyId", (Call("kms", "update_alias", {"AliasName": ID}, take="targetKeyId"),)),),
    delete=Call("kms", "delete_alias", {"AliasName": ID}),
    force_new="name namePrefix",
    seen={"name": "AliasName", "targetKeyId": "TargetKeyId"},
    outputs={
        "arn": "AliasArn",
        "targetKeyArn": lambda a, s: f"arn:aws:kms:{s.region}:{s.api.account}:key/{a['TargetKeyId']}",
    },
    autoname="name",
    check=lambda v: (
        [] if not isinstance(v.get("name"), str) or v["name"].startswith("alias/") else [("name", "begins with alias/")]
    ),
)

SPECS = (KEY, ALIAS)
