"""Types that are not, or not only, in ARM: blobs, and the deletion of a vault's secrets.

The official provider has code of its own for these as well (pulumi-azure-native, provider/pkg/resources/customresources).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from providers.base import CheckFailure, Context, Created, Handler, Observed, ProviderError
from providers.base.schema import Change, differences
from sandbox.azure.plugin import sdk
from sandbox.azure.plugin.client import failure
from sandbox.azure.plugin.resource import ArmHandler, Session

ASSET = "4dabf18193072939515e22adb298388d"
"""Marks an asset in the engine's values (sdk/go/common/resource/asset)."""


class SecretHandler(ArmHandler):
    """A vault's secret: made through ARM, deleted through the vault, which keeps it softly deleted."""

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        path = self._path(inputs)
        deleted = self._session().client.request(
            ctx, "GET", path.replace("/secrets/", "/deletedsecrets/") + "?api-version=7.5"
        )
        if deleted.status == 200:
            # Its name is taken until it is purged. The official provider stops here as well.
            raise ProviderError(
                f"the secret {inputs['secretName']} of vault {inputs['vaultName']} is softly deleted, and its name cannot be reused: "
                f"az keyvault secret recover --vault-name {inputs['vaultName']} --name {inputs['secretName']}, then pulumi import."
            )
        return super().create(ctx, inputs)

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        answer = self._session().client.request(ctx, "DELETE", self._path(inputs) + "?api-version=7.5")
        if answer.status >= 400 and answer.status != 404:
            raise failure(answer)

    @staticmethod
    def _path(inputs: Mapping[str, Any]) -> str:
        return f"/_vault/{inputs['vaultName']}/secrets/{inputs['secretName']}"


class BlobHandler(Handler):
    """`azure-native:storage:Blob`: uploaded with the account's key."""

    token: ClassVar[str] = "azure-native:storage:Blob"
    outputs: ClassVar[tuple[str, ...]] = ("name", "url", "contentMd5", "contentType", "accessTier", "metadata", "type")
    FIXED: ClassVar[frozenset[str]] = frozenset(
        {"accountName", "blobName", "containerName", "resourceGroupName", "type"}
    )
    """https://www.pulumi.com/registry/packages/azure-native/api-docs/storage/blob (changes to these replace)."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self.schema = sdk.resource(self.token).schema  # pyright: ignore[reportAttributeAccessIssue]

    def check(
        self, ctx: Context, olds: Mapping[str, Any], news: Mapping[str, Any], hidden: frozenset[str]
    ) -> tuple[dict[str, Any], list[CheckFailure]]:
        given = {"blobName": olds.get("blobName") or ctx.name, "type": "Block", **news}
        return self.schema.check(given, hidden)

    def diff(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> list[Change]:
        return [Change(c.path, c.kind, c.top in self.FIXED) for c in differences(old_inputs, news, self.schema)]

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        outputs = self._upload(ctx, inputs)
        scope = f"/subscriptions/{self._session().subscription}/resourceGroups/{inputs['resourceGroupName']}"
        account = f"{scope}/providers/Microsoft.Storage/storageAccounts/{inputs['accountName']}"
        return Created(
            f"{account}/blobServices/default/containers/{inputs['containerName']}/blobs/{inputs['blobName']}", outputs
        )

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return self._upload(ctx, news)

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        answer = self._session().client.request(ctx, "GET", self._target(inputs), headers=_KEY)
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise failure(answer)
        digest = _md5(answer.content)
        outputs = {**{name: state[name] for name in self.outputs if name in state}, "contentMd5": digest}
        changed = state.get("contentMd5") not in (None, digest)
        return Observed(
            outputs,
            {"source": {ASSET: _ASSET_KIND, "text": answer.content.decode("utf-8", "replace"), "hash": ""}}
            if changed
            else {},
        )

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        answer = self._session().client.request(ctx, "DELETE", self._target(inputs), headers=_KEY)
        if answer.status >= 400 and answer.status != 404:
            raise failure(answer)

    def _target(self, inputs: Mapping[str, Any]) -> str:
        return f"/_blob/{inputs['accountName']}/{inputs['containerName']}/{quote(str(inputs['blobName']))}"

    def _upload(self, ctx: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
        content = _content(inputs.get("source"))
        headers = {**_KEY, "x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        if inputs.get("contentType"):
            headers["x-ms-blob-content-type"] = str(inputs["contentType"])
        headers |= {f"x-ms-meta-{name}": str(value) for name, value in (inputs.get("metadata") or {}).items()}
        answer = self._session().client.request(ctx, "PUT", self._target(inputs), content, headers)
        if answer.status >= 400:
            raise failure(answer)
        url = f"https://{inputs['accountName']}.blob.core.windows.net/{inputs['containerName']}/{inputs['blobName']}"
        return {"name": inputs["blobName"], "url": url, "contentMd5": _md5(content)}


_KEY = {"Authorization": "SharedKey sandbox"}
_ASSET_KIND = "c44067f5952c0a294b673a41bacd8c17"


def _content(asset: Any) -> bytes:
    """What an asset holds: text, or a file."""
    if asset is None:
        return b""
    if isinstance(asset, Mapping) and "text" in asset:
        return str(asset["text"]).encode()
    if isinstance(asset, Mapping) and "path" in asset:
        return Path(str(asset["path"])).read_bytes()
    raise ProviderError(
        "the offline Azure takes blobs from texts and files only (pulumi.StringAsset, pulumi.FileAsset)"
    )


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
