"""Who may do what: every right of the semester's identities, in one list.

A right is a role on one secret, container, registry, subnet or cluster, never on a vault, an account or a resource group.
One stands on an account, since Azure knows it nowhere else: "sign for blobs", to ask for the key of a token (SAS) that can do
no more than the asking identity itself may. restic writes the backups with such tokens.
Names are UUIDs made of stack and purpose, so a right that is made again is the same right. New rights take Azure up to
ten minutes to know everywhere; machines wait for them (:mod:`components.node_agent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization as azure

from components.azure.identities import Identity
from components.azure.site import Site

ROLES = {
    "pull images": "7f951dda-4ed3-4680-a7ca-43fe172d538d",  # AcrPull
    "read secret": "4633458b-17de-408a-b874-0445c86b69e6",  # Key Vault Secrets User
    "write secret": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",  # Key Vault Secrets Officer
    "read blobs": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",  # Storage Blob Data Reader
    "write blobs": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",  # Storage Blob Data Contributor
    "sign for blobs": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",  # Storage Blob Delegator
    "join subnet": "4d97b98b-1d4f-4787-a291-c67834d212e7",  # Network Contributor
    "use identity": "f1a07417-d97a-45cb-824c-7a7467783830",  # Managed Identity Operator
    "find cluster": "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",  # Azure Kubernetes Service Cluster User Role
    "snapshot disk": "7efff54f-a5b4-42b5-a1c5-5411624893ce",  # Disk Snapshot Contributor
    "back up disk": "3e5e47e6-65f7-47ef-90b5-e5dd4d455f24",  # Disk Backup Reader
}
"""Built-in roles (learn.microsoft.com/azure/role-based-access-control/built-in-roles)."""


@dataclass(frozen=True)
class Grant:
    """`who` may do `what` (a key of ROLES, or the id of a role definition) on `where`; `label` names it."""

    label: str
    who: Identity
    what: pulumi.Input[str]
    where: pulumi.Input[str]


@dataclass(frozen=True)
class AccessArgs:
    site: Site
    grants: Sequence[Grant]


class Access(pulumi.ComponentResource):
    """``grants``: label -> role assignment, which machines depend on."""

    grants: dict[str, azure.RoleAssignment]

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Access", name, None, opts)
        self.grants = {grant.label: self._grant(args.site, grant) for grant in args.grants}
        self.register_outputs({"grants": sorted(self.grants)})

    def _grant(self, site: Site, grant: Grant) -> azure.RoleAssignment:
        builtin = ROLES.get(grant.what) if isinstance(grant.what, str) else None
        return azure.RoleAssignment(
            grant.label,
            role_assignment_name=site.guid(grant.label),
            scope=grant.where,
            role_definition_id=builtin_role(site, builtin) if builtin else grant.what,
            principal_id=grant.who.principal_id,
            # Named, so that Azure does not look for an identity that its directory has not heard of yet.
            principal_type="ServicePrincipal",
            opts=pulumi.ResourceOptions(parent=self),
        )


def builtin_role(site: Site, guid: str) -> str:
    """The id of a built-in role as a role assignment wants it."""
    return f"{site.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
