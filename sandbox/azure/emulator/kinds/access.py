"""Microsoft.Authorization and Microsoft.ManagedIdentity: who may do what.

Rules: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting (codes),
https://learn.microsoft.com/azure/role-based-access-control/built-in-roles (ids),
https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.kind import Call, Kind, one_of

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "8311e382-0749-4cb8-b61a-304f252e45ec": "AcrPush",
    "b93aa761-3e63-49ed-ac28-beffa264f7ac": "Container Registry Repository Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "21090545-7ca7-4776-b22c-e363652d74d2": "Key Vault Reader",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "db58b8e5-c6ad-4a2a-8342-4190687cbf4a": "Storage Blob Delegator",
    "17d1049b-9a84-46fb-8f53-869881c3d3ab": "Storage Account Contributor",
    "81a9662b-bebf-436f-a333-f67b29880f12": "Storage Account Key Operator Service Role",
    "e5e2a7ff-d759-4cd2-bb51-3152d37e2eb1": "Storage Account Backup Contributor",
    "3e5e47e6-65f7-47ef-90b5-e5dd4d455f24": "Disk Backup Reader",
    "7efff54f-a5b4-42b5-a1c5-5411624893ce": "Disk Snapshot Contributor",
    "4d97b98b-1d4f-4787-a291-c67834d212e7": "Network Contributor",
    "9980e02c-c2be-4d73-94e8-173b1dc7cf3c": "Virtual Machine Contributor",
    "befefa01-2a29-4197-83a8-272ff33ce314": "DNS Zone Contributor",
    "b12aa53e-6015-4669-85d0-8515ebb3ae7f": "Private DNS Zone Contributor",
    "f1a07417-d97a-45cb-824c-7a7467783830": "Managed Identity Operator",
    "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59": "Managed Identity Contributor",
    "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8": "Azure Kubernetes Service Cluster Admin Role",
    "4abbcc35-e782-43d8-92c5-2d3f1bd2253f": "Azure Kubernetes Service Cluster User Role",
    "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b": "Azure Kubernetes Service RBAC Cluster Admin",
    "7f6c6a51-bcf8-42ba-9220-52d62157d7db": "Azure Kubernetes Service RBAC Reader",
    "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb": "Azure Kubernetes Service RBAC Writer",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "43d0d8ad-25c7-4714-9337-8ba259a9fe05": "Monitoring Reader",
    "749f88d5-cbae-40b8-bcfc-e573ddc772fa": "Monitoring Contributor",
    "92aaf0da-9dab-42b6-94a3-d43ce8d16293": "Log Analytics Contributor",
    "73c42c96-874c-492b-b04d-ab87d138a893": "Log Analytics Reader",
    "69566ab7-960f-475b-8e7c-b3118f30c6bd": "Storage File Data Privileged Contributor",
    "0c867c2a-1d8c-454a-a3db-ab2ea1bdc8bb": "Storage File Data SMB Share Contributor",
}
"""Built-in roles that a deployment of this kind may want."""


def principals(arm: Arm) -> set[str]:
    """Object ids that Entra ID knows: the caller, and every managed identity."""
    from sandbox.azure.emulator.arm_types import CALLER

    found = {CALLER}
    for resource in arm.store.all():
        for path in ("properties.principalId", "identity.principalId"):
            value = paths.get(resource.body, path)
            if value and (path.startswith("identity") or resource.type == IDENTITY):
                found.add(value)
    return found


def role_exists(arm: Arm, role: str) -> bool:
    """Whether a role definition id names a built-in role or one that was made."""
    return role.rsplit("/", 1)[1].lower() in ROLES or any(
        r.name.lower() == role.rsplit("/", 1)[1].lower()
        for r in arm.store.of_type("Microsoft.Authorization/roleDefinitions")
    )


def _check_assignment(call: Call) -> None:
    role, principal = (str(paths.get(call.body, f"properties.{name}")) for name in ("roleDefinitionId", "principalId"))
    if "/providers/microsoft.authorization/roledefinitions/" not in role.lower():
        raise bad(f"'{role}' is no id of a role definition.", code="BadRequestFormat")
    if not role_exists(call.arm, role):
        raise ArmError(404, "RoleDefinitionDoesNotExist", f"The specified role definition '{role}' does not exist.")
    if principal not in principals(call.arm):
        raise bad(f"Principal {principal} does not exist in the directory.", code="PrincipalNotFound")
    one_of(call, "properties.principalType", ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device"))
    for other in call.arm.store.of_type("Microsoft.Authorization/roleAssignments"):
        same = all(
            str(other.at(f"properties.{name}")).lower().rsplit("/", 1)[-1] == value.lower().rsplit("/", 1)[-1]
            for name, value in (("roleDefinitionId", role), ("principalId", principal))
        )
        at_scope = str(other.at("properties.scope")).lower() == call.id.scope.lower()
        if other.key == call.id.key and not same:
            raise ArmError(
                400,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
        if other.key != call.id.key and same and at_scope:
            raise ArmError(409, "RoleAssignmentExists", f"The role assignment already exists: '{other.id}'.")


def _fill_scope(call: Call, body: dict[str, Any]) -> None:
    body["properties"]["scope"] = call.id.scope


def _check_definition(call: Call) -> None:
    if not paths.get(call.body, "properties.permissions"):
        raise bad("A role definition needs permissions.", code="RoleDefinitionPermissionsMissing")
    scopes = [str(v) for _, v in paths.values_at(call.body, "properties.assignableScopes[]")]
    if not scopes:
        raise bad("A role definition needs assignableScopes.", code="MissingAssignableScopes")
    for scope in scopes:
        if call.arm.store.get(scope) is None and not re.fullmatch(rf"/subscriptions/{UUID}", scope):
            raise bad(f"The assignable scope '{scope}' is not valid.", code="LinkedInvalidPropertyId")
    name = paths.get(call.body, "properties.roleName")
    for other in call.arm.store.of_type("Microsoft.Authorization/roleDefinitions"):
        if other.key != call.id.key and other.at("properties.roleName") == name:
            raise ArmError(
                409, "RoleDefinitionWithSameNameExists", f"A custom role with the name '{name}' already exists."
            )


def _definition_unused(arm: Arm, resource: Any) -> None:
    for other in arm.store.of_type("Microsoft.Authorization/roleAssignments"):
        if str(other.at("properties.roleDefinitionId")).lower().endswith(resource.name.lower()):
            raise ArmError(
                400,
                "RoleDefinitionHasAssignments",
                f"There are existing role assignments referencing role '{resource.name}'.",
            )


def _check_lock(call: Call) -> None:
    one_of(call, "properties.level", ("CanNotDelete", "ReadOnly"), required=True)


def _fill_identity(call: Call, body: dict[str, Any]) -> None:
    from sandbox.azure.emulator.arm_types import TENANT

    for name in ("principalId", "clientId"):
        old = call.old.at(f"properties.{name}") if call.old else None
        body["properties"][name] = old or call.arm.new_uuid(f"{call.id.key}/{name}")
    body["properties"]["tenantId"] = TENANT


def _check_federated(call: Call) -> None:
    for path in ("issuer", "subject", "audiences"):
        if not paths.get(call.body, f"properties.{path}"):
            raise bad(f"Federated credential '{call.id.name}' has no {path}.", code="BadRequest")
    siblings = call.arm.store.children(call.id.parent, f"{IDENTITY}/federatedIdentityCredentials")
    if len([s for s in siblings if s.key != call.id.key]) >= 20:
        raise bad("An identity has at most 20 federated credentials.", code="FederatedIdentityCredentialsLimitExceeded")
    pair = [paths.get(call.body, f"properties.{name}") for name in ("issuer", "subject")]
    for other in siblings:
        if other.key != call.id.key and [other.at("properties.issuer"), other.at("properties.subject")] == pair:
            raise ArmError(
                409, "Conflict", f"Issuer and subject of '{call.id.name}' are those of '{other.name}' already."
            )


KINDS = (
    Kind(
        "Microsoft.Authorization/roleAssignments",
        UUID,
        "a UUID",
        location=False,
        required=("properties.roleDefinitionId", "properties.principalId"),
        check=_check_assignment,
        fill=_fill_scope,
    ),
    Kind(
        "Microsoft.Authorization/roleDefinitions",
        UUID,
        "a UUID",
        location=False,
        required=("properties.roleName",),
        check=_check_definition,
        before_delete=_definition_unused,
    ),
    Kind(
        "Microsoft.Authorization/locks",
        r"[^<>%&:\\?/]{1,260}",
        "1 to 260 characters except <>%&:?/",
        location=False,
        check=_check_lock,
    ),
    Kind(IDENTITY, r"[A-Za-z0-9][\w-]{2,127}", "3 to 128 letters, digits, _ -", fill=_fill_identity),
    Kind(
        f"{IDENTITY}/federatedIdentityCredentials",
        r"[A-Za-z0-9][\w-]{2,119}",
        "3 to 120 letters, digits, _ -",
        location=False,
        check=_check_federated,
    ),
)
