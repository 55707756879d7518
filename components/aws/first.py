"""What stands before the first image can be pushed: the repositories and their key. `./hub image.publish` deploys it.

The same resources as in the whole semester, by the same names, so that the `up` that follows finds them as they are.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws as aws

from components.aws.encryption import Encryption, EncryptionArgs
from components.aws.provider import provider
from components.aws.registry import Registry, RegistryArgs
from components.aws.scope import Scope
from components.hub_bundle import HUB_IMAGES, course_images
from components.semester import Semester
from components.tags import tags


def build(stack: str, semester: Semester) -> dict[str, Any]:
    """Declare the registry; the stack's outputs."""
    own_tags = tags(stack, semester)
    cloud = provider(semester, own_tags)
    opts, ask = pulumi.ResourceOptions(providers=[cloud]), pulumi.InvokeOptions(provider=cloud)
    account = semester.account or aws.get_caller_identity(opts=ask).account_id
    scope = Scope(stack=stack, region=str(semester.region), account=account, tags=own_tags)
    key = Encryption("encryption", EncryptionArgs(scope=scope, retain=semester.homes.protect), opts)
    names = (*HUB_IMAGES, *course_images(semester))
    Registry("registry", RegistryArgs(scope=scope, names=names, key_arn=key.key_arn), opts)
    return {"registry": scope.images}
