"""A lock on the backups, also against a click in the portal. Writing and deleting blobs is not what a lock is about.

It is made last and taken away first: under a lock nothing can be deleted, not even a right on one container. After a
`destroy` the backups are kept (retained by Pulumi) but no longer locked. The homes have none: their share's old snapshots
could not be removed under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization as azure

from components.azure.site import Site


@dataclass(frozen=True)
class LockArgs:
    site: Site
    scope: pulumi.Input[str]
    after: Sequence[pulumi.Resource]
    """Whatever lies below the scope."""


class Lock(pulumi.ComponentResource):
    """``lock_id``."""

    lock_id: pulumi.Output[str]

    def __init__(self, name: str, args: LockArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Lock", name, None, opts)
        lock = azure.ManagementLockByScope(
            "backups-lock",
            lock_name="semesterhub-backups",
            scope=args.scope,
            level="CanNotDelete",
            notes=f"Backups of semester {args.site.stack}: see docs/azure.md before you remove this.",
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.lock_id = lock.id
        self.register_outputs({"lock_id": self.lock_id})
