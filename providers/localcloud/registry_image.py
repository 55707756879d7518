"""localcloud:index:RegistryImage: an image pushed into the semester's own registry, known by its digest."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Context, Created, Field, Handler, Observed, ProviderError, Schema
from providers.localcloud import checks, docker_api

REGISTRY_WAIT_S = 30
REQUEST_TIMEOUT_S = 10
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


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
            digest = _push(ctx, inputs, tag)
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


class Registry:
    """A Docker registry over plain HTTP on loopback."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _ask(self, method: str, path: str) -> tuple[int, Mapping[str, str], bytes]:
        import http.client  # late: with it come ssl and email, 0.1 s at each start of the plugin

        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path, headers={"Accept": _MANIFEST})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"no proper answer: {error!r}") from error
        finally:
            connection.close()

    def wait(self, ctx: Context) -> None:
        """Until it answers; ProviderError after REGISTRY_WAIT_S."""
        deadline = time.monotonic() + REGISTRY_WAIT_S
        why: object = ""
        while time.monotonic() < deadline:
            try:
                status, _, _ = self._ask("GET", "/v2/")
                if status == 200:
                    return
                why = f"status {status}"
            except OSError as error:
                why = error
            ctx.status(f"waiting for the registry at {self.address}")
            ctx.sleep(0.5)
        raise ProviderError(
            f"the image registry at {self.address} does not answer after {REGISTRY_WAIT_S} s ({why}). It runs on the hub VM: "
            "see that the machine is up (`./hub status`), and that nothing else has taken the port."
        )

    def has(self, repository: str, digest: str) -> bool:
        """Whether it holds the manifest; False as well when it does not answer."""
        try:
            return self._ask("HEAD", f"/v2/{repository}/manifests/{digest}")[0] == 200
        except OSError:
            return False

    def require(self, repository: str, digest: str) -> None:
        """ProviderError unless it holds the manifest."""
        if not self.has(repository, digest):
            raise ProviderError(
                f"the registry at {self.address} took {repository}@{digest} but does not give it back; is its disk full?"
            )

    def digest_of(self, repository: str, tag: str, image_id: str) -> str | None:
        """The digest under a tag, if what is there is the image with this id."""
        status, headers, body = self._ask("GET", f"/v2/{repository}/manifests/{tag}")
        if status != 200:
            return None
        digest = headers.get("docker-content-digest", "")
        same = json.loads(body).get("config", {}).get("digest") == image_id
        return digest if same and digest else None


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
