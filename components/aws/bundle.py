"""What runs on the hub VM, as the one object that it follows: a new version of it is all that a changed course needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from components.aws.scope import Scope


@dataclass(frozen=True)
class BundleArgs:
    scope: Scope
    bucket: pulumi.Input[str]
    text: pulumi.Input[str]
    """Of hub_bundle.current()."""
    bucket_ready: Sequence[pulumi.Resource]


class Bundle(pulumi.ComponentResource):
    """`written`: the object. The hub VM and the workers depend on it."""

    written: pulumi.Resource

    def __init__(self, name: str, args: BundleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Bundle", name, None, opts)
        written = s3.BucketObjectv2(
            "bundle",
            bucket=args.bucket,
            key=args.scope.bundle_key,
            content=args.text,
            content_type="application/json",
            # S3 takes ten tags an object, fewer than a stack may have; the bucket carries them.
            override_provider={"default_tags": {"tags": {}}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.bucket_ready)),
        )
        self.written = written
        self.register_outputs({"key": written.key})
