"""Cloud metadata and tokens: enough for a client to find everything from one address.

https://learn.microsoft.com/azure/azure-resource-manager/management/azure-cloud-metadata-endpoint and the OAuth 2.0 client
credentials flow. Tokens are unsigned: they open nothing outside.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

from aiohttp import web

from sandbox.azure.emulator.arm_types import CALLER, CLIENT, TENANT

LIFE_S = 3600


def answer(request: web.Request) -> web.Response | None:
    """The answer to requests about signing in; None for others."""
    origin = f"{request.scheme}://{request.host}"
    path = request.path.lower()
    if path == "/metadata/endpoints":
        return web.json_response(_cloud(origin) if "2022" in request.query.get("api-version", "") else [_cloud(origin)])
    if path.endswith("/discovery/instance"):
        return web.json_response(
            {"tenant_discovery_endpoint": f"{origin}/{TENANT}/v2.0/.well-known/openid-configuration"}
        )
    if path.endswith("/.well-known/openid-configuration"):
        base = f"{origin}/{TENANT}"
        return web.json_response(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
                "tenant_region_scope": "NA",
            }
        )
    if re.search(r"/oauth2/(v2\.0/)?token$", path) and request.method == "POST":
        return web.json_response({"token_type": "Bearer", "expires_in": LIFE_S, "access_token": token(origin)})
    return None


def _cloud(origin: str) -> dict[str, Any]:
    return {
        "name": "AzureCloud",
        "resourceManager": origin,
        "authentication": {
            "loginEndpoint": f"{origin}/",
            "audiences": [origin],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {"keyVaultDns": "vault.azure.net", "storage": "core.windows.net", "acrLoginServer": "azurecr.io"},
        "graph": origin,
        "microsoftGraphResourceId": origin,
    }


def token(origin: str) -> str:
    """A JWT that says who calls."""
    now = int(time.time())
    who = {"tid": TENANT, "oid": CALLER, "appid": CLIENT}
    claims = {"aud": origin, "iss": f"{origin}/{TENANT}/v2.0", "iat": now, "exp": now + LIFE_S, **who}
    return ".".join([*(_part(p) for p in ({"alg": "none", "typ": "JWT"}, claims)), ""])


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
