"""Students' homes: an NFS share on premium Azure Files, reachable from the semester's subnets alone.

What protects it, and what cannot: Azure Backup protects SMB shares but no NFS shares (learn.microsoft.com/azure/backup/
azure-file-share-support-matrix), so there is no Recovery Services vault here that would promise it. Instead
- share snapshots, which NFS shares have, taken and thinned out by a timer of Azure's own (:mod:`components.azure.copies`),
  whether or not the hub VM lives;
- soft delete: a deleted share comes back for `SHARE_KEPT_DAYS` days;
- `protect` and retain: Pulumi neither deletes nor replaces the account while `homes.protect` is true, and it stands in a
  resource group of its own that no `destroy` empties;
- copies off the share (restic) in the backups container of :mod:`components.azure.blobs`.

NFS has no passwords: who is in the subnets reaches the share, so the account's firewall names exactly those subnets. Its
packets travel in TLS, and "secure transfer required" refuses mounts without it (learn.microsoft.com/azure/storage/files/
encryption-in-transit-for-nfs-shares): the machines' agents mount through stunnel, AKS' driver with `encryptInTransit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage as azure

from components.azure.site import Site

SHARE = "homes"
SHARE_GIB_MIN, SHARE_GIB_MAX = 100, 102_400
"""A premium share is provisioned (and paid) from 100 GiB to 100 TiB."""
SHARE_KEPT_DAYS = 30


@dataclass(frozen=True)
class StorageArgs:
    site: Site
    group: pulumi.Input[str]
    """The data resource group."""
    subnets: Sequence[pulumi.Input[str]]
    """From these the homes are mounted."""
    size_gib: int
    protect: bool


class Storage(pulumi.ComponentResource):
    """``homes``: how machines mount them, as NodeConfig writes it; ``account``, ``account_id``, ``share``: names."""

    homes: str
    account: pulumi.Output[str]
    account_id: pulumi.Output[str]
    pod_volume: dict[str, object]
    """How a Kubernetes volume names them: driver, handle and attributes of `file.csi.azure.com`."""
    share: pulumi.Output[str]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Storage", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect)
        account = azure.StorageAccount(
            "homes-account",
            account_name=args.site.account("homes"),
            resource_group_name=args.group,
            location=args.site.region,
            kind="FileStorage",
            # Three copies in three buildings where the region has them: a zone that fails takes no homework along.
            sku=azure.SkuArgs(name="Premium_ZRS" if args.site.zones else "Premium_LRS"),
            enable_https_traffic_only=True,
            minimum_tls_version="TLS1_2",
            allow_blob_public_access=False,
            allow_shared_key_access=False,
            allow_cross_tenant_replication=False,
            public_network_access="Enabled",  # through the service endpoints; nothing else passes the rules below
            network_rule_set=azure.NetworkRuleSetArgs(
                default_action=azure.DefaultAction.DENY,
                bypass="None",
                virtual_network_rules=subnet_rules(args.subnets),
            ),
            encryption=encryption(blob=False),
            tags=args.site.tags,
            opts=kept,
        )
        azure.FileServiceProperties(
            "homes-service",
            account_name=account.name,
            resource_group_name=args.group,
            file_services_name="default",
            share_delete_retention_policy=azure.DeleteRetentionPolicyArgs(enabled=True, days=SHARE_KEPT_DAYS),
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=args.protect),
        )
        share = azure.FileShare(
            "homes",
            share_name=SHARE,
            account_name=account.name,
            resource_group_name=args.group,
            enabled_protocols="NFS",
            # The hub makes each student's folder and hands it over, which needs root; servers run as uid 1000.
            root_squash="NoRootSquash",
            access_tier="Premium",
            share_quota=min(max(args.size_gib, SHARE_GIB_MIN), SHARE_GIB_MAX),
            opts=kept,
        )
        self.account, self.account_id, self.share = account.name, account.id, share.name
        host = f"{args.site.account('homes')}.file.core.windows.net"
        self.homes = f"nfs4:{host}:/{args.site.account('homes')}/{SHARE}"
        self.pod_volume = {
            "driver": "file.csi.azure.com",
            "volume_handle": f"{args.site.data_group}#{args.site.account('homes')}#{SHARE}",
            "attributes": {
                "resourceGroup": args.site.data_group,
                "storageAccount": args.site.account("homes"),
                "shareName": SHARE,
                "protocol": "nfs",
                "encryptInTransit": "true",
            },
        }
        self.register_outputs({"account": self.account, "share": self.share, "homes": self.homes})


def subnet_rules(subnets: Sequence[pulumi.Input[str]]) -> list[azure.VirtualNetworkRuleArgs]:
    """A storage account's firewall lets these subnets in."""
    return [
        azure.VirtualNetworkRuleArgs(virtual_network_resource_id=subnet, action=azure.Action.ALLOW)
        for subnet in subnets
    ]


def encryption(*, blob: bool) -> azure.EncryptionArgs:
    """At rest with Microsoft's keys, twice (service and infrastructure); always on, written down so that it stays."""
    on = azure.EncryptionServiceArgs(enabled=True, key_type="Account")
    services = azure.EncryptionServicesArgs(blob=on, file=on) if blob else azure.EncryptionServicesArgs(file=on)
    return azure.EncryptionArgs(
        key_source="Microsoft.Storage", require_infrastructure_encryption=True, services=services
    )
