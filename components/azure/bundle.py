"""What runs on the hub, as one blob that the hub VM follows (`bundle/current.json`). Nothing in it is secret."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import storage as azure

from components.azure.blobs import BUNDLE_BLOB


@dataclass(frozen=True)
class BundleArgs:
    group: pulumi.Input[str]
    account: pulumi.Input[str]
    container: pulumi.Input[str]
    text: pulumi.Input[str]


class Bundle(pulumi.ComponentResource):
    """``url`` of the blob."""

    url: pulumi.Output[str]

    def __init__(self, name: str, args: BundleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Bundle", name, None, opts)
        blob = azure.Blob(
            "bundle",
            blob_name=BUNDLE_BLOB,
            account_name=args.account,
            container_name=args.container,
            resource_group_name=args.group,
            type=azure.BlobType.BLOCK,
            content_type="application/json",
            source=pulumi.Output.from_input(args.text).apply(pulumi.StringAsset),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.url = blob.url
        self.register_outputs({"url": self.url})
