"""The semester's images: a container registry without passwords; identities pull with AcrPull.

Azure has no immutable tags for a whole registry (only locks on single images) and its registry makes no repositories in
advance; Semesterhub pulls by digest everywhere, which no later push changes. Scans are Microsoft Defender's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import containerregistry as azure

from components.azure.site import Site


@dataclass(frozen=True)
class RegistryArgs:
    site: Site
    group: pulumi.Input[str]


class Registry(pulumi.ComponentResource):
    """``registry_id``; ``server``: its host name."""

    registry_id: pulumi.Output[str]
    server: str

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Registry", name, None, opts)
        registry = azure.Registry(
            "registry",
            registry_name=args.site.registry,
            resource_group_name=args.group,
            location=args.site.region,
            # Standard: 100 GiB and 3,000 reads a minute, enough for a class whose nodes pull before students come.
            sku=azure.SkuArgs(name="Standard"),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            public_network_access="Enabled",  # signed in; a private endpoint would need the Premium registry
            network_rule_bypass_options="AzureServices",
            policies=azure.PoliciesArgs(
                azure_ad_authentication_as_arm_policy=azure.AzureADAuthenticationAsArmPolicyArgs(status="enabled"),
                export_policy=azure.ExportPolicyArgs(status="enabled"),
            ),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.registry_id, self.server = registry.id, args.site.registry_server
        self.register_outputs({"registry_id": self.registry_id, "server": self.server})
