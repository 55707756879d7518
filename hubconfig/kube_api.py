"""The cluster's API as plain JSON, over kubernetes_asyncio's client; and the same connection for kubespawner's own one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.client.exceptions import ApiException

from .kube_identity import METADATA, MachineToken
from .settings import KubernetesSettings

FIELD_MANAGER = "semesterhub"
TIMEOUT_S = 30.0
CERTIFICATE_FILE = "kubernetes-ca.crt"
TROUBLE = (ApiException, aiohttp.ClientError, OSError)
"""What asking raises when the cluster refuses, or nobody answers."""
_SUCCESS = dict.fromkeys((200, 201, 202), "object")


def short(error: Exception) -> str:
    """A trouble as one line."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason} {str(error.body or '')[:300]}"
    return str(error)


def connection(cluster: KubernetesSettings, folder: Path, metadata: str = METADATA) -> Configuration:
    """How the API is asked: its own authority, and the machine's token on each request. Raises SettingsError."""
    file = folder / CERTIFICATE_FILE
    file.write_text(cluster.certificate_pem)
    made: Any = Configuration(host=cluster.api_url.rstrip("/"))
    made.ssl_ca_cert = str(file)
    token = MachineToken(cluster, metadata)

    async def with_token(configuration: Any) -> None:
        configuration.api_key["BearerToken"] = f"Bearer {await token.get()}"

    # A function, not a method: kubernetes_asyncio copies configurations deeply, and all copies must share one token.
    made.refresh_api_key_hook = with_token
    made.api_key["BearerToken"] = "asked for at each request"
    return made


def for_kubespawner(made: Configuration, folder: Path) -> None:
    """Makes `made` what kubespawner's clients use. kubespawner reads a kubeconfig file first, so there is one."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": made.host, "certificate-authority": made.ssl_ca_cert}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig))
    os.environ["KUBECONFIG"] = str(file)
    from kubernetes_asyncio.config import kube_config
    from kubespawner.clients import load_config

    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(file)
    # Called here as each spawner calls it, it is remembered; the spawners' calls then change nothing any more.
    load_config(host="", ssl_ca_cert="", verify_ssl=None)
    Configuration.set_default(made)


class KubeApi:
    """One client of a process. Methods raise ApiException, or OSError and its kin when nobody answers."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client: ApiClient | None = None

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Any:
        """The answer as plain values."""
        if self._client is None:
            self._client = ApiClient(self._configuration)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        call: Any = self._client.call_api
        return await call(
            path, method, query_params=list((query or {}).items()), header_params=headers, body=body,
            response_types_map=_SUCCESS, auth_settings=["BearerToken"], _return_http_data_only=True,
            _request_timeout=TIMEOUT_S,
        )  # fmt: skip

    async def get(self, path: str, **query: str) -> Any:
        """GET; None when there is no such thing."""
        try:
            return await self.call("GET", path, query=query)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def delete(self, path: str) -> bool:
        """DELETE; False when there was no such thing."""
        try:
            await self.call("DELETE", path)
        except ApiException as error:
            if error.status == 404:
                return False
            raise
        return True

    async def apply(self, path: str, manifest: Mapping[str, Any]) -> Any:
        """Server-side apply: makes it, or changes what differs; what others have set beside stays."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.call("PATCH", path, manifest, query=query, kind="application/apply-patch+yaml")

    async def close(self) -> None:
        """Ends the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None
