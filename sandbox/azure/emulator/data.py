"""Data planes, as far as a deployment needs them: secrets of vaults, blobs of storage accounts.

Reached by the services' own host names, or by path: `/_vault/<vault>/secrets/...`, `/_blob/<account>/<container>/...`.
https://learn.microsoft.com/rest/api/keyvault/secrets, https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.errors import ArmError
from sandbox.azure.emulator.kinds.storage import ACCOUNT
from sandbox.azure.emulator.kinds.vaults import VAULT
from sandbox.azure.emulator.store import Resource

CONTENT_MAX_BYTES = 16 * 1024 * 1024


async def vault(arm: Arm, request: web.Request, name: str, path: str) -> web.StreamResponse:
    """Secrets: set, get, list, delete (softly), purge, recover."""
    found = _named(arm, VAULT, name, "VaultNotFound")
    if not request.headers.get("Authorization", "").startswith("Bearer "):
        raise ArmError(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
    kind, _, rest = path.strip("/").partition("/")
    secret = rest.split("/")[0]
    secrets = arm.store.state.secrets
    key = f"{name}/{secret.lower()}"
    entry = secrets.get(key)
    deleted = bool(entry and entry["deleted"])
    if kind == "secrets" and not secret:
        listed = [e for k, e in secrets.items() if k.startswith(f"{name}/") and not e["deleted"]]
        return web.json_response({"value": [{"id": _uri(name, e)} for e in listed]})
    if kind == "secrets" and request.method == "PUT":
        if deleted:
            raise ArmError(409, "Conflict", f"Secret {secret} is currently in a deleted but recoverable state.")
        body = await request.json()
        version = arm.new_uuid(key).replace("-", "")
        secrets[key] = {"name": secret, "value": str(body["value"]), "version": version, "deleted": False}
        arm.store.save()
        return web.json_response(_secret(name, secrets[key]))
    if entry is None or deleted != (kind == "deletedsecrets"):
        raise ArmError(404, "SecretNotFound", f"A secret with (name/id) {secret} was not found in this key vault.")
    if kind == "secrets" and request.method == "GET":
        return web.json_response(_secret(name, entry))
    if kind == "secrets" and request.method == "DELETE":
        entry["deleted"] = True
        arm.store.drop(f"{found.id}/secrets/{secret}".lower())
        arm.store.save()
        return web.json_response(_secret(name, entry))
    if kind == "deletedsecrets" and request.method == "DELETE":
        if found.at("properties.enablePurgeProtection"):
            raise ArmError(403, "Forbidden", f"Vault {name} has purge protection.")
        del secrets[key]
        arm.store.save()
        return web.Response(status=204)
    if kind == "deletedsecrets" and rest.endswith("/recover") and request.method == "POST":
        entry["deleted"] = False
        arm.store.save()
        return web.json_response(_secret(name, entry))
    if kind == "deletedsecrets" and request.method == "GET":
        return web.json_response(_secret(name, entry))
    raise ArmError(405, "MethodNotAllowed", f"'{request.method}' is not allowed on {path}.")


def _uri(vault_name: str, entry: dict[str, Any]) -> str:
    return f"https://{vault_name}.vault.azure.net/secrets/{entry['name']}"


def _secret(vault_name: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": entry["value"],
        "id": f"{_uri(vault_name, entry)}/{entry['version']}",
        "attributes": {"enabled": True},
    }


async def blob(arm: Arm, request: web.Request, name: str, path: str) -> web.StreamResponse:
    """Blobs: put, get, delete, list. Who may is looked at only as far as there must be a credential."""
    account = _named(arm, ACCOUNT, name, "ResourceNotFound")
    container, _, key = path.strip("/").partition("/")
    if not request.headers.get("Authorization"):
        return _xml(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")
    if arm.store.get(f"{account.id}/blobServices/default/containers/{container}") is None:
        return _xml(404, "ContainerNotFound", "The specified container does not exist.")
    blobs = arm.store.state.blobs
    whole = f"{name}/{container.lower()}/{key}"
    if request.method == "PUT" and key:
        content = await request.read()
        if len(content) > CONTENT_MAX_BYTES:
            return _xml(413, "RequestBodyTooLarge", "The request body is too large.")
        blobs[whole] = {
            "content": base64.b64encode(content).decode(),
            "type": request.headers.get("x-ms-blob-content-type") or request.headers.get("Content-Type", ""),
            "metadata": {k[10:]: v for k, v in request.headers.items() if k.lower().startswith("x-ms-meta-")},
        }
        arm.store.save()
        return web.Response(status=201, headers={"ETag": _etag(content)})
    if not key:
        names = sorted(k.split("/", 2)[2] for k in blobs if k.startswith(f"{name}/{container.lower()}/"))
        items = "".join(f"<Blob><Name>{escape(n)}</Name></Blob>" for n in names)
        return web.Response(
            text=f"<EnumerationResults><Blobs>{items}</Blobs></EnumerationResults>", content_type="application/xml"
        )
    if whole not in blobs:
        return _xml(404, "BlobNotFound", "The specified blob does not exist.")
    if request.method == "DELETE":
        del blobs[whole]
        arm.store.save()
        return web.Response(status=202)
    content = base64.b64decode(blobs[whole]["content"])
    headers = {
        "ETag": _etag(content),
        "x-ms-blob-type": "BlockBlob",
        "Content-Type": blobs[whole]["type"] or "application/octet-stream",
    }
    headers |= {f"x-ms-meta-{k}": v for k, v in blobs[whole]["metadata"].items()}
    return web.Response(body=content, headers=headers)


def _etag(content: bytes) -> str:
    return f'"0x{hashlib.sha256(content).hexdigest()[:15].upper()}"'


def _xml(status: int, code: str, message: str) -> web.Response:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml", headers={"x-ms-error-code": code})


def _named(arm: Arm, type: str, name: str, code: str) -> Resource:
    for resource in arm.store.of_type(type):
        if resource.name.lower() == name and paths.get(resource.body, "location"):
            return resource
    raise ArmError(404, code, f"There is no {type.rsplit('/', 1)[1]} '{name}'.")


HANDLERS: dict[str, Callable[[Arm, web.Request, str, str], Awaitable[web.StreamResponse]]] = {
    "vault": vault,
    "blob": blob,
}
"""The data planes by the first part of their path."""
