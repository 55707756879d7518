"""Resource groups: one for what goes with the semester, one for what stays.

Deleting a resource group deletes everything in it, whatever Pulumi protects or retains. So homes, backups and the hub's
disk have a group of their own, protected and retained like they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import resources

from components.azure.site import Site


@dataclass(frozen=True)
class GroupsArgs:
    site: Site
    protect: bool


class Groups(pulumi.ComponentResource):
    """``main`` and ``data``: names; ``main_id`` and ``data_id``."""

    main: pulumi.Output[str]
    data: pulumi.Output[str]
    main_id: pulumi.Output[str]
    data_id: pulumi.Output[str]

    def __init__(self, name: str, args: GroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Groups", name, None, opts)
        main = resources.ResourceGroup(
            "group",
            resource_group_name=args.site.group,
            location=args.site.region,
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        data = resources.ResourceGroup(
            "data-group",
            resource_group_name=args.site.data_group,
            location=args.site.region,
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect),
        )
        self.main, self.main_id = main.name, main.id
        self.data, self.data_id = data.name, data.id
        self.register_outputs({"main": self.main, "data": self.data})
