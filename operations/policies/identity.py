"""Who may do what: no administrator's rights for machines, and no machine's rights for students' servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from operations.planned import UNKNOWN, Planned
from operations.policies.facts import Facts, Findings, at, items

ADMIN_POLICIES: Final = ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess", "AdministratorAccess-Amplify")
WIDE_ROLES: Final = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
}
"""learn.microsoft.com/azure/role-based-access-control/built-in-roles."""
_REMEDY: Final = "Name the actions and the resources that are needed."


def wide_rights(facts: Facts, found: Findings) -> None:
    """No role of the semester may do everything."""
    for r in facts.planned(
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/groupPolicy:GroupPolicy",
    ):
        _document(r, "policy", r.inputs.get("policy"), found)
    for r in facts.planned("aws:iam/role:Role"):
        for place, inline in enumerate(items(r.inputs.get("inlinePolicies"))):
            _document(r, f"inlinePolicies[{place}]", inline.get("policy"), found)
        for arn in items(r.inputs.get("managedPolicyArns")):
            _managed(r, "managedPolicyArns", arn, found)
        _trust(r, found)
    for r in facts.planned(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/policyAttachment:PolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    ):
        _managed(r, "policyArn", r.inputs.get("policyArn"), found)
    for r in facts.planned("azure-native:authorization:RoleAssignment"):
        _azure_role(r, found)
    for r in facts.planned("azure-native:authorization:RoleDefinition"):
        for permission in items(r.inputs.get("permissions")):
            for action in [*items(permission.get("actions")), *items(permission.get("dataActions"))]:
                if action == "*" or str(action).lower() == "microsoft.authorization/*":
                    found.add(r, "permissions.actions", action, _REMEDY)


def _document(r: Planned, path: str, value: Any, found: Findings) -> None:
    for statement in _statements(r, path, value, found):
        if statement.get("Effect") != "Allow":
            continue
        if "NotAction" in statement:
            found.add(r, f"{path}: NotAction", statement["NotAction"], "It allows all the rest. " + _REMEDY)
        everything = "*" in items(statement.get("Resource")) or "NotResource" in statement
        for action in items(statement.get("Action")):
            service, _, name = str(action).partition(":")
            if (
                action in {"*", "*:*"}
                or (everything and name == "*")
                or (everything and service in {"iam", "sts"} and name.endswith("*"))
            ):
                found.add(r, f"{path}: Action", action, _REMEDY)


def _statements(r: Planned, path: str, value: Any, found: Findings) -> Iterator[Mapping[str, Any]]:
    if value is UNKNOWN:
        found.unknown(r, path)
        return
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            if '"' in value:
                found.unknown(r, path)  # holds the place of something known later
            return
    if isinstance(value, Mapping):
        for statement in items(value.get("Statement")):
            if isinstance(statement, Mapping):
                yield statement


def _managed(r: Planned, path: str, arn: Any, found: Findings) -> None:
    if isinstance(arn, str) and arn.rsplit("/", 1)[-1] in ADMIN_POLICIES:
        found.add(r, path, arn, _REMEDY)


def _trust(r: Planned, found: Findings) -> None:
    for statement in _statements(r, "assumeRolePolicy", r.inputs.get("assumeRolePolicy"), found):
        principal = statement.get("Principal")
        names = (
            [p for value in principal.values() for p in items(value)] if isinstance(principal, Mapping) else [principal]
        )
        if statement.get("Effect") == "Allow" and "*" in names and not statement.get("Condition"):
            found.add(r, "assumeRolePolicy: Principal", "*", "Name the service or the account that takes this role.")


def _azure_role(r: Planned, found: Findings) -> None:
    definition = r.inputs.get("roleDefinitionId")
    if definition is UNKNOWN:
        found.unknown(r, "roleDefinitionId")
        return
    name = WIDE_ROLES.get(str(definition).rsplit("/", 1)[-1].lower())
    if name:
        found.add(r, "roleDefinitionId", name, "Give the narrow built-in role for what is done, on the one resource.")


_IMDS: Final = "Students' containers would reach the machine's identity through the metadata service otherwise."


def metadata_service(facts: Facts, found: Findings) -> None:
    """Machines answer metadata only by IMDSv2, one network hop far."""
    for r in facts.planned("aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"):
        if at(r.inputs, "metadataOptions.httpEndpoint") == "disabled":
            continue
        found.want(r, "metadataOptions.httpTokens", "required", "Set it to required. " + _IMDS)
        hops = at(r.inputs, "metadataOptions.httpPutResponseHopLimit")
        if hops != 1:
            found.add(r, "metadataOptions.httpPutResponseHopLimit", hops, "Set it to 1. " + _IMDS)
    templates = list(facts.planned("aws:ec2/launchTemplate:LaunchTemplate"))
    for r in facts.planned("aws:eks/nodeGroup:NodeGroup"):
        if not r.inputs.get("launchTemplate") or not templates:
            found.add(
                r,
                "launchTemplate",
                r.inputs.get("launchTemplate"),
                "Give one: EKS's own default allows two hops. " + _IMDS,
            )
