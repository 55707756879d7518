"""Container images of the stack on ECR: one repository an image, tags that never move, scanned when pushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ecr

from components.aws.scope import Scope
from components.images_lock import REPOSITORY

KEPT_IMAGES = 20
"""Per repository: the current one and what a rollback within a semester may need."""
UNTAGGED_DAYS = 14


@dataclass(frozen=True)
class RegistryArgs:
    scope: Scope
    names: Sequence[str]
    """Folders of hubconfig/images."""
    key_arn: pulumi.Input[str]


def repository(scope: Scope, name: str) -> str:
    """Name of an image's repository, as `images_lock.references()` writes it behind the registry's host."""
    return f"{scope.images.partition('/')[2]}/{REPOSITORY}/{name}"


class Registry(pulumi.ComponentResource):
    """`arns` and `urls`: image name -> repository."""

    arns: dict[str, pulumi.Output[str]]
    urls: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.arns, self.urls = {}, {}
        for image in args.names:
            made = ecr.Repository(
                image,
                name=repository(args.scope, image),
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": args.key_arn}],
                # Images are built from the repository again at any time; only references by digest need them.
                force_delete=True,
                tags=args.scope.tagged(image),
                opts=child,
            )
            ecr.LifecyclePolicy(
                image,
                repository=made.name,
                policy=pulumi.Output.json_dumps(lifecycle()),
                opts=child,
            )
            self.arns[image], self.urls[image] = made.arn, made.repository_url
        self.register_outputs({"urls": self.urls})


def lifecycle() -> dict[str, object]:
    """What ECR may delete by itself."""
    untagged = {
        "rulePriority": 1,
        "description": f"Layers without a tag go after {UNTAGGED_DAYS} days",
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": UNTAGGED_DAYS,
        },
        "action": {"type": "expire"},
    }
    many = {
        "rulePriority": 2,
        "description": f"The newest {KEPT_IMAGES} images stay",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES},
        "action": {"type": "expire"},
    }
    return {"rules": [untagged, many]}
