"""Blob storage: the hub's bundle and the flow logs in one account, backups in another with stricter doors.

Two accounts, since the Pulumi provider uploads a blob with an account key from wherever `pulumi up` runs
(pulumi/pulumi-azure-native#2015): the operations account must allow both, and holds nothing secret. The backups account
allows neither: Entra ID only, from the hub's subnet only, versioned, protected, retained, and locked against deletion
(:mod:`components.azure.lock`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage

from components.azure.site import Site
from components.azure.storage import encryption, subnet_rules

BUNDLE_CONTAINER, BUNDLE_BLOB = "bundle", "current.json"
BACKUPS_CONTAINER = "backups"
BACKUPS_ACCOUNT = "keep"
"""Part of the account's name."""
DELETED_KEPT_DAYS = 30
FLOW_LOGS_KEPT_DAYS = 30
OLD_VERSIONS_KEPT_DAYS = 90


@dataclass(frozen=True)
class BlobsArgs:
    site: Site
    group: pulumi.Input[str]
    """Of the operations account."""
    data_group: pulumi.Input[str]
    """Of the backups account."""
    subnets: Sequence[pulumi.Input[str]]
    """From these backups are written and read."""
    protect: bool


class Blobs(pulumi.ComponentResource):
    """``bundle_url``, ``operations_account`` and ids of the containers and accounts, which roles are scoped to."""

    bundle_url: str
    operations_account: pulumi.Output[str]
    operations_id: pulumi.Output[str]
    backups_account: pulumi.Output[str]
    backups_id: pulumi.Output[str]
    bundle_container: pulumi.Output[str]
    bundle_container_id: pulumi.Output[str]
    backups_container_id: pulumi.Output[str]

    def __init__(self, name: str, args: BlobsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Blobs", name, None, opts)
        self._args = args
        operations = self._operations()
        backups = self._backups()
        bundle = self._container("bundle", BUNDLE_CONTAINER, operations, args.group, kept=False)
        kept = self._container("backups", BACKUPS_CONTAINER, backups, args.data_group, kept=True)
        self.bundle_url = f"https://{args.site.account('ops')}.blob.core.windows.net/{BUNDLE_CONTAINER}/{BUNDLE_BLOB}"
        self.operations_account, self.operations_id = operations.name, operations.id
        self.backups_account, self.backups_id = backups.name, backups.id
        self.bundle_container, self.bundle_container_id = bundle.name, bundle.id
        self.backups_container_id = kept.id
        self.register_outputs({"bundle_url": self.bundle_url, "backups_account": self.backups_account})

    def _operations(self) -> storage.StorageAccount:
        args = self._args
        account = storage.StorageAccount(
            "operations-account",
            account_name=args.site.account("ops"),
            resource_group_name=args.group,
            location=args.site.region,
            kind="StorageV2",
            sku=storage.SkuArgs(name="Standard_LRS"),  # made anew by the next `up`
            access_tier=storage.AccessTier.HOT,
            enable_https_traffic_only=True,
            minimum_tls_version="TLS1_2",
            allow_blob_public_access=False,
            allow_shared_key_access=True,
            default_to_o_auth_authentication=True,
            allow_cross_tenant_replication=False,
            public_network_access="Enabled",
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.ALLOW, bypass="AzureServices, Logging, Metrics"
            ),
            encryption=encryption(blob=True),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._service("operations", account, args.group, kept=False)
        storage.ManagementPolicy(
            "operations-expiry",
            account_name=account.name,
            resource_group_name=args.group,
            management_policy_name="default",
            policy=storage.ManagementPolicySchemaArgs(
                rules=[
                    _rule(
                        "flow-logs",
                        "insights-logs-flowlogflowevent/",
                        storage.ManagementPolicyActionArgs(
                            base_blob=storage.ManagementPolicyBaseBlobArgs(
                                delete=storage.DateAfterModificationArgs(
                                    days_after_modification_greater_than=FLOW_LOGS_KEPT_DAYS
                                )
                            )
                        ),
                    ),
                    _rule("old-bundles", f"{BUNDLE_CONTAINER}/", _old_versions()),
                ]
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return account

    def _backups(self) -> storage.StorageAccount:
        args = self._args
        account = storage.StorageAccount(
            "backups-account",
            account_name=args.site.account(BACKUPS_ACCOUNT),
            resource_group_name=args.data_group,
            location=args.site.region,
            kind="StorageV2",
            sku=storage.SkuArgs(name="Standard_ZRS" if args.site.zones else "Standard_LRS"),
            access_tier=storage.AccessTier.COOL,
            enable_https_traffic_only=True,
            minimum_tls_version="TLS1_2",
            allow_blob_public_access=False,
            allow_shared_key_access=False,
            default_to_o_auth_authentication=True,
            allow_cross_tenant_replication=False,
            public_network_access="Enabled",
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.DENY,
                bypass="None",
                virtual_network_rules=subnet_rules(args.subnets),
            ),
            encryption=encryption(blob=True),
            tags=args.site.tags,
            opts=self._kept(),
        )
        self._service("backups", account, args.data_group, kept=True)
        storage.ManagementPolicy(
            "backups-expiry",
            account_name=account.name,
            resource_group_name=args.data_group,
            management_policy_name="default",
            policy=storage.ManagementPolicySchemaArgs(
                rules=[_rule("old-versions", f"{BACKUPS_CONTAINER}/", _old_versions())]
            ),
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=args.protect),
        )
        return account

    def _kept(self) -> pulumi.ResourceOptions:
        protect = self._args.protect
        return pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect)

    def _service(
        self, label: str, account: storage.StorageAccount, group: pulumi.Input[str], *, kept: bool
    ) -> storage.BlobServiceProperties:
        deleted = storage.DeleteRetentionPolicyArgs(enabled=True, days=DELETED_KEPT_DAYS)
        return storage.BlobServiceProperties(
            f"{label}-service",
            account_name=account.name,
            resource_group_name=group,
            blob_services_name="default",
            is_versioning_enabled=True,
            delete_retention_policy=deleted,
            container_delete_retention_policy=deleted,
            # Azure has no way to delete the settings of a service: they go with their account.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=kept and self._args.protect),
        )

    def _container(
        self,
        label: str,
        container: str,
        account: storage.StorageAccount,
        group: pulumi.Input[str],
        *,
        kept: bool,
    ) -> storage.BlobContainer:
        return storage.BlobContainer(
            f"{label}-container",
            container_name=container,
            account_name=account.name,
            resource_group_name=group,
            public_access=storage.PublicAccess.NONE,
            opts=self._kept() if kept else pulumi.ResourceOptions(parent=self),
        )


def _rule(name: str, prefix: str, actions: storage.ManagementPolicyActionArgs) -> storage.ManagementPolicyRuleArgs:
    return storage.ManagementPolicyRuleArgs(
        name=name,
        enabled=True,
        type="Lifecycle",
        definition=storage.ManagementPolicyDefinitionArgs(
            actions=actions,
            filters=storage.ManagementPolicyFilterArgs(blob_types=["blockBlob"], prefix_match=[prefix]),
        ),
    )


def _old_versions() -> storage.ManagementPolicyActionArgs:
    return storage.ManagementPolicyActionArgs(
        version=storage.ManagementPolicyVersionArgs(
            delete=storage.DateAfterCreationArgs(days_after_creation_greater_than=OLD_VERSIONS_KEPT_DAYS)
        )
    )
