"""A token for the cluster's API from the hub VM's own identity: nothing is stored, nothing is handed over.

EKS takes a presigned `GetCallerIdentity` of STS, with the cluster's name signed in a header ("Amazon EKS: IAM
authenticator" tokens; good for 15 minutes). AKS takes an Entra ID token for its server application.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import aiohttp

from .settings import KubernetesSettings

METADATA = "http://169.254.169.254"
AKS_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""Azure's own application "Azure Kubernetes Service AAD Server", the same in every tenant."""
EKS_TOKEN_S = 14 * 60
EARLY_S = 120
TIMEOUT_S = 10.0


class IdentityError(OSError):
    """The metadata service gave no token. Its text says what it said."""


def presigned(region: str, cluster_name: str, credentials: Mapping[str, str], now: datetime) -> str:
    """URL of STS that proves who asks, and for which cluster."""
    host = f"sts.{region}.amazonaws.com"
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/sts/aws4_request"
    query = {
        "Action": "GetCallerIdentity",
        "Version": "2011-06-15",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials['AccessKeyId']}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host;x-k8s-aws-id",
        "X-Amz-Security-Token": credentials["Token"],
    }
    text = "&".join(f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}" for key, value in sorted(query.items()))
    nothing = hashlib.sha256(b"").hexdigest()
    headers = f"host:{host}\nx-k8s-aws-id:{cluster_name}\n"
    canonical = "\n".join(["GET", "/", text, headers, "host;x-k8s-aws-id", nothing])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + credentials["SecretAccessKey"].encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return f"https://{host}/?{text}&X-Amz-Signature={hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()}"


class MachineToken:
    """The token, asked for again shortly before it ends. One question at a time, however many wait."""

    def __init__(self, cluster: KubernetesSettings, metadata: str = METADATA) -> None:
        self._cluster, self._metadata = cluster, metadata
        self._token, self._until = "", 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """The token. Raises IdentityError."""
        async with self._lock:
            if time.time() > self._until - EARLY_S:
                self._token, self._until = await (self._eks() if self._cluster.cloud == "aws" else self._aks())
        return self._token

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> str:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, f"{self._metadata}{path}", headers=headers, params=params) as answer,
            ):
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise IdentityError(f"the metadata service cannot be asked: {error}") from error
        if answer.status != 200:
            raise IdentityError(f"{method} {urlsplit(path).path} of the metadata service: {answer.status} {text[:200]}")
        return text

    async def _eks(self) -> tuple[str, float]:
        token = await self._ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
        headers, path = {"X-aws-ec2-metadata-token": token}, "/latest/meta-data/iam/security-credentials/"
        role = (await self._ask("GET", path, headers)).split()[0]
        credentials = json.loads(await self._ask("GET", path + role, headers))
        url = presigned(self._cluster.region, self._cluster.cluster_name, credentials, datetime.now(UTC))
        packed = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
        return f"k8s-aws-v1.{packed}", time.time() + EKS_TOKEN_S

    async def _aks(self) -> tuple[str, float]:
        params = {"api-version": "2018-02-01", "resource": AKS_APPLICATION}
        if self._cluster.identity_client_id:
            params["client_id"] = self._cluster.identity_client_id
        answer = json.loads(await self._ask("GET", "/metadata/identity/oauth2/token", {"Metadata": "true"}, params))
        return answer["access_token"], float(answer.get("expires_on", time.time() + 1800))
