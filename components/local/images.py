"""Container images: built once per content on this machine, pushed to the semester's registry, pinned by digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pulumi

from components.local import resources
from operations.images import content_hash


@dataclass(frozen=True)
class ImagesArgs:
    stack: str
    names: tuple[str, ...]
    push_address: str
    """``127.0.0.1:<port>``: the registry as this machine sees it."""
    pull_address: str
    """``<hub ip>:5000``: the registry as the nodes see it."""


def build(names: Iterable[str], opts: pulumi.ResourceOptions) -> dict[str, resources.Image]:
    """One build a name, from ``hubconfig/images/<name>``; a build that this machine has made before is only looked up."""
    return {
        name: resources.Image(f"image-{name}", name=name, content_hash=content_hash(name), opts=opts) for name in names
    }


class Images(pulumi.ComponentResource):
    """``references``: image name -> ``registry/name@sha256:…``, what the nodes pull."""

    references: dict[str, pulumi.Output[str]]
    digests: dict[str, pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        args: ImagesArgs,
        registry: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("semesterhub:local:Images", name, None, opts)
        built = build(args.names, pulumi.ResourceOptions(parent=self))
        pushed = {
            image: resources.RegistryImage(
                f"registry-{image}",
                stack=args.stack,
                name=image,
                tag=source.tag,
                image_id=source.image_id,
                push_address=args.push_address,
                pull_address=args.pull_address,
                repository=image,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[registry]),
            )
            for image, source in built.items()
        }
        self.references = {image: resource.ref for image, resource in pushed.items()}
        self.digests = {image: resource.digest for image, resource in pushed.items()}
        self.register_outputs({"references": self.references})
