"""Who spoke to whom: flow logs of the whole VNet (those of single NSGs cannot be made any more since June 2025).

They hang on the region's network watcher, which Azure makes in `NetworkWatcherRG` with the first VNet of a subscription.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import network as azure

from components.azure.blobs import FLOW_LOGS_KEPT_DAYS
from components.azure.site import Site

WATCHER_GROUP = "NetworkWatcherRG"


@dataclass(frozen=True)
class FlowLogsArgs:
    site: Site
    vnet_id: pulumi.Input[str]
    storage_id: pulumi.Input[str]


class FlowLogs(pulumi.ComponentResource):
    """``flow_log_id``."""

    flow_log_id: pulumi.Output[str]

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:FlowLogs", name, None, opts)
        log = azure.FlowLog(
            "flow-log",
            flow_log_name=args.site.name("net"),
            network_watcher_name=f"NetworkWatcher_{args.site.region}",
            resource_group_name=WATCHER_GROUP,
            location=args.site.region,
            target_resource_id=args.vnet_id,
            storage_id=args.storage_id,
            enabled=True,
            format=azure.FlowLogFormatParametersArgs(type="JSON", version=2),
            retention_policy=azure.RetentionPolicyParametersArgs(enabled=True, days=FLOW_LOGS_KEPT_DAYS),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.flow_log_id = log.id
        self.register_outputs({"flow_log_id": self.flow_log_id})
