"""localcloud:index:Image: one of the images of hubconfig/images, built on this host (or found built)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from operations import images
from operations.errors import UserError
from providers.base import UNKNOWN, Context, Created, Field, Handler, Observed, ProviderError, Schema
from providers.localcloud import checks, docker_api


def _hash(value: str) -> str | None:
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return None
    return f"{value!r} is not a content hash; take operations.images.content_hash(name)."


class ImageHandler(Handler):
    """Id: the tag on this host, which names the content. Deleting leaves the image: it is a cache."""

    token: ClassVar[str] = "localcloud:index:Image"
    schema: ClassVar[Schema] = Schema(
        {
            "name": Field(str, "a folder of hubconfig/images", replace=True, check=checks.name),
            "content_hash": Field(str, "SHA-256 of all that goes into the image", replace=True, check=_hash),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("tag", "image_id", "size_mib", "build_s")

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        current = images.content_hash(inputs["name"])
        if current != inputs["content_hash"]:
            raise ProviderError(
                f"the files of the image {inputs['name']} changed while this ran (content {current[:16]}, "
                f"planned was {inputs['content_hash'][:16]}). Run the same command again."
            )

        def on_line(line: str) -> None:
            ctx.check_cancelled()
            ctx.status(line)

        try:
            built = images.build(inputs["name"], on_line)
        except UserError as error:
            raise ProviderError(str(error)) from error
        return Created(
            built.tag,
            {
                "tag": built.tag,
                "image_id": built.image_id,
                "size_mib": built.size_mib,
                "build_s": built.build_s,
            },
        )

    def preview_create(self, ctx: Context, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs: dict[str, Any] = dict.fromkeys(self.outputs, UNKNOWN)
        if inputs["name"] is not UNKNOWN and inputs["content_hash"] is not UNKNOWN:
            outputs["tag"] = images.tag_of(inputs["name"], inputs["content_hash"])
        return outputs

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        found = docker_api.inspect("image", id)
        if found is None:
            return None
        return Observed(
            {
                "tag": id,
                "image_id": found["Id"],
                "size_mib": images.mib(found["Size"]),
                "build_s": state.get("build_s", 0.0),
            }
        )

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return {name: old_state[name] for name in self.outputs}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        return
