"""The stack's own KMS key: homes, bucket, volumes, logs, parameters, images and Kubernetes' secrets rest under it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import kms

from components.aws import policies
from components.aws.scope import Scope

DELETION_WINDOW_DAYS = 30
"""The longest that KMS offers: a key deleted by mistake takes all homes with it."""


@dataclass(frozen=True)
class EncryptionArgs:
    scope: Scope
    retain: bool
    """Kept when the stack is destroyed, as the homes are: without the key they are noise."""


class Encryption(pulumi.ComponentResource):
    """`key_arn`: of the key, new key material each year."""

    key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: EncryptionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Encryption", name, None, opts)
        scope = args.scope
        key = kms.Key(
            "key",
            description=f"Data at rest of {scope.name('*')}",
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_WINDOW_DAYS,
            policy=pulumi.Output.json_dumps(policies.key_policy(scope)),
            tags=scope.tagged("key"),
            opts=pulumi.ResourceOptions(parent=self, protect=args.retain, retain_on_delete=args.retain),
        )
        kms.Alias(
            "alias",
            name=f"alias/{scope.name('data')}",
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.key_arn = key.arn
        self.register_outputs({"key_arn": self.key_arn})
