"""Key Vault: the OAuth client's secret and the Swarm's join token, each with readers of its own.

Secrets are resources, not values that a machine could ask the whole vault for: :mod:`components.azure.access` gives each
identity single secrets. The join token is written by the hub VM when it forms the Swarm; what is made here is its place,
with a first version that is disabled, so nobody can take it for a token. Key Vault has no `_` in names: the OAuth secret
is `oauth-client-secret` here.

The vault stands with what stays: purge protection keeps a deleted vault's name for seven days, in which no `up` of the
same stack could make it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault as azure

from components.azure.site import Site

JOIN_TOKEN = "join-token"
OAUTH_SECRET = "oauth-client-secret"
DELETED_KEPT_DAYS = 7


@dataclass(frozen=True)
class VaultArgs:
    site: Site
    group: pulumi.Input[str]
    tenant_id: pulumi.Input[str]
    subnets: Sequence[pulumi.Input[str]]
    """From these secrets are read and written."""
    orchestrator: str
    oauth_client_secret: pulumi.Input[str] | None
    protect: bool


class Vault(pulumi.ComponentResource):
    """``secret_ids``: name -> id of each secret in it, which roles are scoped to. ``oauth_version``: another for another
    OAuth secret, "" without one."""

    secret_ids: dict[str, pulumi.Output[str]]
    oauth_version: pulumi.Output[str]
    vault_id: pulumi.Output[str]

    def __init__(self, name: str, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Vault", name, None, opts)
        self._args = args
        vault = azure.Vault(
            "vault",
            vault_name=args.site.vault,
            resource_group_name=args.group,
            location=args.site.region,
            properties=azure.VaultPropertiesArgs(
                tenant_id=args.tenant_id,
                sku=azure.SkuArgs(family="A", name=azure.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=DELETED_KEPT_DAYS,
                enable_purge_protection=True,
                enabled_for_deployment=False,
                enabled_for_disk_encryption=False,
                enabled_for_template_deployment=False,
                public_network_access="enabled",  # through the service endpoints alone, by the rules below
                network_acls=azure.NetworkRuleSetArgs(
                    default_action="Deny",
                    bypass="AzureServices",
                    virtual_network_rules=[azure.VirtualNetworkRuleArgs(id=subnet) for subnet in args.subnets],
                ),
            ),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect),
        )
        self.vault_id = vault.id
        secrets: dict[str, azure.Secret] = {}
        if args.orchestrator == "swarm":
            secrets[JOIN_TOKEN] = self._secret(
                JOIN_TOKEN,
                vault,
                azure.SecretPropertiesArgs(
                    value="not yet: the hub VM writes it",
                    content_type="text/plain",
                    attributes=azure.SecretAttributesArgs(enabled=False),
                ),
                # Writing it again, even with other tags only, would put the placeholder over the hub VM's token.
                ignore=["properties", "tags"],
            )
        if args.oauth_client_secret is not None:
            secrets[OAUTH_SECRET] = self._secret(
                OAUTH_SECRET,
                vault,
                azure.SecretPropertiesArgs(
                    value=pulumi.Output.secret(args.oauth_client_secret),
                    content_type="text/plain",
                    attributes=azure.SecretAttributesArgs(enabled=True),
                ),
                ignore=[],
            )
        oauth = secrets.get(OAUTH_SECRET)
        self.oauth_version = pulumi.Output.from_input("") if oauth is None else _version(oauth)
        self.secret_ids = {name: secret.id for name, secret in secrets.items()}
        self.register_outputs({"vault_id": self.vault_id, "secrets": sorted(secrets)})

    def _secret(
        self, name: str, vault: azure.Vault, properties: azure.SecretPropertiesArgs, ignore: Sequence[str]
    ) -> azure.Secret:
        args = self._args
        return azure.Secret(
            name,
            secret_name=name,
            vault_name=vault.name,
            resource_group_name=args.group,
            properties=properties,
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=list(ignore),
                # Azure deletes secrets from inside the vault's firewall only; they go (and come back) with their vault.
                retain_on_delete=True,
            ),
        )


def _version(secret: azure.Secret) -> pulumi.Output[str]:
    """The secret's address with its version: it changes with the secret and tells nothing of it."""
    return pulumi.Output.unsecret(secret.properties.apply(lambda made: made.secret_uri_with_version or ""))
