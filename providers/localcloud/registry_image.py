"""localcloud:index:RegistryImage: an image pushed into the semester's own registry, known by its digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Context, Created, Field, Handler, Observed, ProviderError, Schema
from providers.localcloud import checks, docker_api, kept_images
from providers.localcloud.registry import Registry


def _address(value: str) -> str | None:
    if re.fullmatch(r"[0-9.]+:[0-9]{1,5}", value) and checks.ip(value.partition(":")[0]) is None:
        return None
    return f"{value!r} is not an address and port; write for example 127.0.0.1:5443."


def _push_address(value: str) -> str | None:
    wrong = _address(value)
    if wrong or value.startswith("127."):
        return wrong
    return f"{value} is not a loopback address; Docker pushes without TLS to 127.0.0.0/8 only. Publish the registry's port on 127.0.0.1."


def _repository(value: str) -> str | None:
    if re.fullmatch(r"[a-z0-9]+([._/-][a-z0-9]+)*", value):
        return None
    return f"{value!r} is not a repository name: small letters and digits, joined by single . _ - or /."


def _image_id(value: str) -> str | None:
    return None if re.fullmatch(r"sha256:[0-9a-f]{64}", value) else f"{value!r} is not an image id (sha256:…)."


class RegistryImageHandler(Handler):
    """Id: `ref`. The registry is reached through a port that the hub VM publishes on this host's loopback."""

    token: ClassVar[str] = "localcloud:index:RegistryImage"
    schema: ClassVar[Schema] = Schema(
        {
            "stack": Field(str, "the stack it belongs to", replace=True, check=checks.name),
            "name": Field(str, "its name within the stack", replace=True, check=checks.name),
            "tag": Field(str, "the image's tag on this host", replace=True),
            "image_id": Field(str, "the image's id on this host", replace=True, check=_image_id),
            "push_address": Field(str, "where this host reaches the registry", replace=True, check=_push_address),
            "pull_address": Field(str, "where the machines reach the registry", replace=True, check=_address),
            "repository": Field(str, "its name in the registry", replace=True, check=_repository),
            "machine_id": Field(
                str,
                "container id of the machine with the registry: another machine means another push",
                default="",
                replace=True,
            ),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("digest", "ref")

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        registry = Registry(inputs["push_address"])
        registry.wait(ctx)
        # The tag in the registry names the content, so that asking for it tells whether a push is needed.
        tag = inputs["image_id"].removeprefix("sha256:")[:16]
        digest = registry.digest_of(inputs["repository"], tag, inputs["image_id"])
        if digest is None:
            digest = kept_images.send(ctx, registry, inputs["repository"], tag, inputs["image_id"])
            if digest is None:
                digest = _push(ctx, inputs, tag)
                kept_images.keep(ctx, registry, inputs["repository"], digest, inputs["image_id"])
            registry.require(inputs["repository"], digest)
        ref = f"{inputs['pull_address']}/{inputs['repository']}@{digest}"
        return Created(ref, {"digest": digest, "ref": ref})

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        # A registry that does not answer has lost its machine: then the image is gone as well.
        if not Registry(state["push_address"]).has(state["repository"], state["digest"]):
            return None
        return Observed({"digest": state["digest"], "ref": state["ref"]})

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return {"digest": old_state["digest"], "ref": old_state["ref"]}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Nothing: layers are shared, and the registry goes with its machine."""


def _push(ctx: Context, inputs: Mapping[str, Any], tag: str) -> str:
    """`docker tag`, push, untag; returns the digest."""
    api = docker_api.client()
    target = f"{inputs['push_address']}/{inputs['repository']}"
    digest = ""
    with docker_api.explained(f"pushing {inputs['tag']} to the registry"):
        api.tag(inputs["image_id"], target, tag)
        try:
            layers: dict[str, str] = {}
            for message in api.push(
                target, tag=tag, stream=True, decode=True, auth_config={"username": "none", "password": "none"}
            ):
                ctx.check_cancelled()
                if message.get("error"):
                    raise ProviderError(
                        f"pushing {inputs['tag']} to the registry at {inputs['push_address']}: {message['error']}"
                    )
                digest = (message.get("aux") or {}).get("Digest") or digest
                if message.get("id") and message.get("status"):
                    layers[message["id"]] = message["status"]
                    done = sum(
                        s in ("Pushed", "Layer already exists") or s.startswith("Mounted") for s in layers.values()
                    )
                    ctx.status(f"pushing {inputs['repository']}: {done} of {len(layers)} layers")
        finally:
            api.remove_image(f"{target}:{tag}", noprune=True)
    if not digest:
        raise ProviderError(f"pushing {inputs['tag']}: Docker did not say the digest")
    return digest
