"""Roles, policies, instance profiles, identity providers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAGS, Call, In, Look, Spec, Update
from sandbox.aws.types.common import known, tag_calls


def policy_check(*names: str) -> Any:
    """Policies must be JSON with a statement; IAM says MalformedPolicyDocument, moto does not everywhere."""

    def check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
        wrong = []
        for name in names:
            if not known(values, name) or not isinstance(values[name], str):
                continue
            try:
                document = json.loads(values[name])
            except ValueError as error:
                wrong.append((name, f"MalformedPolicyDocument: no JSON ({error})"))
                continue
            if not isinstance(document, dict) or not document.get("Statement"):
                wrong.append((name, "MalformedPolicyDocument: has no Statement"))
        return wrong

    return check


ROLE = Spec(
    type="aws:iam/role:Role",
    docs=PROVIDER_DOCS + "iam_role",
    create=Call(
        "iam",
        "create_role",
        {"RoleName": In("name"), "AssumeRolePolicyDocument": In("assumeRolePolicy", via=policy_text), "Tags": TAGS},
        take="path description maxSessionDuration",
    ),
    id="Role.RoleName",
    looks=(Look(Call("iam", "get_role", {"RoleName": ID}), "Role"),),
    updates=(
        Update(
            "assumeRolePolicy",
            (
                Call(
                    "iam",
                    "update_assume_role_policy",
                    {"RoleName": ID, "PolicyDocument": In("assumeRolePolicy", via=policy_text)},
                ),
            ),
        ),
        Update(
            "description maxSessionDuration",
            (Call("iam", "update_role", {"RoleName": ID}, take="description maxSessionDuration"),),
        ),
    ),
    delete=Call("iam", "delete_role", {"RoleName": ID}),
    tagging=tag_calls("iam", "tag_role", "untag_role", "RoleName", ID),
    force_new="name namePrefix path",
    seen={"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument"},
    outputs={"arn": "Arn", "uniqueId": "RoleId", "createDate": None},
    kept="forceDetachPolicies",
    autoname="name",
    autoname_max=64,
    check=policy_check("assumeRolePolicy"),
)

ROLE_POLICY = Spec(
    type="aws:iam/rolePolicy:RolePolicy",
    docs=PROVIDER_DOCS + "iam_role_policy",
    create=Call(
        "iam",
        "put_role_policy",
        {"RoleName": In("role"), "PolicyName": In("name"), "PolicyDocument": In("policy", via=policy_text)},
    ),
    id="{role}:{name}",
    looks=(Look(Call("iam", "get_role_policy", {"RoleName": In("role"), "PolicyName": In("name")}), ""),),
    updates=(
        Update(
            "policy",
            (
                Call(
                    "iam",
                    "put_role_policy",
                    {"RoleName": In("role"), "PolicyName": In("name"), "PolicyDocument": In("policy", via=policy_text)},
                ),
            ),
        ),
    ),
    delete=Call(
        "iam", "delete_role_policy", {"RoleName": In("role"), "PolicyName": In("name")}, missing=("NoSuchEntity",)
    ),
    force_new="name namePrefix role",
    seen={"name": "PolicyName", "role": "RoleName", "policy": "PolicyDocument"},
    autoname="name",
    check=policy_check("policy"),
)

ROLE_POLICY_ATTACHMENT = Spec(
    type="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    docs=PROVIDER_DOCS + "iam_role_policy_attachment",
    create=Call("iam", "attach_role_policy", {"RoleName": In("role")}, take="policyArn"),
    id=lambda _a, s: f"{s.inputs['role']}/{s.inputs['policyArn']}",
    looks=(
        Look(
            Call("iam", "list_attached_role_policies", {"RoleName": In("role")}),
            lambda answer, s: next(
                (p for p in answer["AttachedPolicies"] if p["PolicyArn"] == s.inputs.get("policyArn")), None
            ),
        ),
    ),
    delete=Call("iam", "detach_role_policy", {"RoleName": In("role")}, take="policyArn", missing=("NoSuchEntity",)),
    force_new="role policyArn",
)

POLICY = Spec(
    type="aws:iam/policy:Policy",
    docs=PROVIDER_DOCS + "iam_policy",
    create=Call(
        "iam",
        "create_policy",
        {"PolicyName": In("name"), "PolicyDocument": In("policy", via=policy_text), "Tags": TAGS},
        take="path description",
    ),
    id="Policy.Arn",
    looks=(
        Look(Call("iam", "get_policy", {"PolicyArn": ID}), "Policy"),
        Look(
            Call("iam", "get_policy_version", {"PolicyArn": ID, "VersionId": "v1"}),
            "PolicyVersion.Document",
            under="document",
        ),
    ),
    delete=Call("iam", "delete_policy", {"PolicyArn": ID}),
    tagging=tag_calls("iam", "tag_policy", "untag_policy", "PolicyArn", ID),
    force_new="name namePrefix path description policy",
    seen={"name": "PolicyName", "policy": "document"},
    outputs={"arn": "Arn", "policyId": "PolicyId"},
    autoname="name",
    check=policy_check("policy"),
)


def _take_roles_out(scope: Any) -> None:
    profile = scope.api.call("iam", "get_instance_profile", {"InstanceProfileName": scope.id}, scope.region)[
        "InstanceProfile"
    ]
    for role in profile["Roles"]:
        call = {"InstanceProfileName": scope.id, "RoleName": role["RoleName"]}
        scope.api.call("iam", "remove_role_from_instance_profile", call, scope.region)


INSTANCE_PROFILE = Spec(
    type="aws:iam/instanceProfile:InstanceProfile",
    docs=PROVIDER_DOCS + "iam_instance_profile",
    create=Call("iam", "create_instance_profile", {"InstanceProfileName": In("name"), "Tags": TAGS}, take="path"),
    id="InstanceProfile.InstanceProfileName",
    looks=(Look(Call("iam", "get_instance_profile", {"InstanceProfileName": ID}), "InstanceProfile"),),
    updates=(
        Update(
            "role",
            (
                _take_roles_out,
                Call(
                    "iam",
                    "add_role_to_instance_profile",
                    {"InstanceProfileName": ID, "RoleName": In("role")},
                    when="role",
                ),
            ),
            create=True,
        ),
    ),
    before_delete=(_take_roles_out,),
    delete=Call("iam", "delete_instance_profile", {"InstanceProfileName": ID}),
    tagging=tag_calls("iam", "tag_instance_profile", "untag_instance_profile", "InstanceProfileName", ID),
    force_new="name namePrefix path",
    seen={"name": "InstanceProfileName", "role": "Roles[0].RoleName"},
    outputs={"arn": "Arn", "uniqueId": "InstanceProfileId", "createDate": None},
    autoname="name",
)


def _client_ids(scope: Any) -> None:
    now = set(
        scope.api.call("iam", "get_open_id_connect_provider", {"OpenIDConnectProviderArn": scope.id}, scope.region)[
            "ClientIDList"
        ]
    )
    wanted = set(scope.inputs.get("clientIdLists") or [])
    for operation, names in (
        ("add_client_id_to_open_id_connect_provider", wanted - now),
        ("remove_client_id_from_open_id_connect_provider", now - wanted),
    ):
        for name in sorted(names):
            scope.api.call("iam", operation, {"OpenIDConnectProviderArn": scope.id, "ClientID": name}, scope.region)


OPENID = Spec(
    type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    docs=PROVIDER_DOCS + "iam_openid_connect_provider",
    create=Call(
        "iam", "create_open_id_connect_provider", {"Tags": TAGS}, take="url clientIdLists=ClientIDList thumbprintLists"
    ),
    id="OpenIDConnectProviderArn",
    looks=(Look(Call("iam", "get_open_id_connect_provider", {"OpenIDConnectProviderArn": ID}), ""),),
    updates=(
        Update(
            "thumbprintLists",
            (
                Call(
                    "iam",
                    "update_open_id_connect_provider_thumbprint",
                    {"OpenIDConnectProviderArn": ID},
                    take="thumbprintLists",
                ),
            ),
        ),
        Update("clientIdLists", (_client_ids,)),
    ),
    delete=Call("iam", "delete_open_id_connect_provider", {"OpenIDConnectProviderArn": ID}),
    tagging=tag_calls(
        "iam", "tag_open_id_connect_provider", "untag_open_id_connect_provider", "OpenIDConnectProviderArn", ID
    ),
    force_new="url",
    seen={
        "url": lambda p, s: s.inputs["url"] if s.inputs["url"].removeprefix("https://") == p["Url"] else p["Url"],
        "clientIdLists": "ClientIDList",
    },
    outputs={"arn": "{id}", "thumbprintLists": "ThumbprintList"},
    computed="thumbprintLists",
)


SPECS = (ROLE, ROLE_POLICY, ROLE_POLICY_ATTACHMENT, POLICY, INSTANCE_PROFILE, OPENID)
