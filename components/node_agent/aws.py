"""AWS as the machine's own instance profile may use it: SSM, S3, ECR, Auto Scaling. Signature Version 4 by hand.

Sources: "Retrieve instance metadata" (IMDSv2), "Signature Version 4 signing process", the services' API references.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import urllib.parse
from collections.abc import Mapping

from . import web
from .config import AgentError, NodeConfig
from .notice import Notice

SPOT_MARGIN_S = 30
"""Of a spot instance's two minutes, kept for stopping servers cleanly."""


def service_url(service: str, region: str) -> str:
    return f"https://{service}.{region}.amazonaws.com/"


def bucket_url(bucket: str, region: str) -> str:
    return f"https://{bucket}.s3.{region}.amazonaws.com/"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    credentials: Mapping[str, str],
    now: datetime.datetime,
) -> dict[str, str]:
    """``headers`` with those that sign the request (AWS4-HMAC-SHA256). The path of ``url`` is encoded already."""
    parts = urllib.parse.urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    full = {
        **headers,
        "Host": parts.netloc,
        "X-Amz-Date": stamp,
        "X-Amz-Content-Sha256": digest(body),
        "X-Amz-Security-Token": credentials["Token"],
    }
    lower = {key.lower(): value.strip() for key, value in full.items()}
    names = ";".join(sorted(lower))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            parts.query,
            *(f"{key}:{lower[key]}" for key in sorted(lower)),
            "",
            names,
            digest(body),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest(canonical.encode())])
    key = b"AWS4" + credentials["SecretAccessKey"].encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    full["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials['AccessKeyId']}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return full


class Cloud:
    """What a node asks of its cloud; :mod:`node_agent.azure` has the same methods."""

    def __init__(self, node: NodeConfig) -> None:
        self.node = node

    # -- metadata service, version 2 only: a token first, good for this machine (hop limit 1) ----------------------

    def metadata(self, path: str, *, patience_s: float = 30) -> str | None:
        """One value; None when there is none."""
        token = web.send(
            "PUT",
            f"{web.METADATA}/latest/api/token",
            {"X-aws-ec2-metadata-token-ttl-seconds": "300"},
            b"",
            patience_s=patience_s,
        ).text
        answer = web.send(
            "GET",
            f"{web.METADATA}/latest/meta-data/{path}",
            {"X-aws-ec2-metadata-token": token},
            allow=(404,),
            patience_s=patience_s,
        )
        return None if answer.status == 404 else answer.text

    def region(self) -> str:
        return self.node.region or self.metadata("placement/region") or ""

    def credentials(self) -> Mapping[str, str]:
        roles = (self.metadata("iam/security-credentials/") or "").split()
        document = self.metadata(f"iam/security-credentials/{roles[0]}") if roles else None
        if document is None:
            # An OSError, so that it is tried again: a new instance waits some seconds for its profile.
            raise OSError("the instance has no instance profile (yet)")
        return json.loads(document)

    def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, service: str, region: str,
        *, allow: tuple[int, ...] = (), patience_s: float = 30,
    ) -> web.Answer:  # fmt: skip
        def signed() -> dict[str, str]:
            return sign(
                method, url, headers, body, service=service, region=region, credentials=self.credentials(),
                now=datetime.datetime.now(datetime.UTC),
            )  # fmt: skip

        return web.send(method, url, signed, body, allow=allow, patience_s=patience_s)

    def json_call(
        self, service: str, region: str, target: str, body: object, *, allow: tuple[int, ...] = ()
    ) -> web.Answer:
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
        data, name = json.dumps(body).encode(), service.removeprefix("api.")
        return self.call("POST", service_url(service, region), headers, data, name, region, allow=allow)

    # -- secrets ---------------------------------------------------------------------------------------------------

    def get_secret(self, name: str) -> str | None:
        """A SecureString below the store's path; None when nobody has stored it."""
        _, region, path = self.node.secret_store.split(":", 2)
        answer = self.json_call(
            "ssm", region, "AmazonSSM.GetParameter", {"Name": f"{path}/{name}", "WithDecryption": True}, allow=(400,)
        )
        if answer.status == 400:
            if answer.json.get("__type", "").endswith("ParameterNotFound"):
                return None
            raise AgentError(f"SSM parameter {path}/{name}: {answer.text[:300]}")
        return answer.json["Parameter"]["Value"]

    def put_secret(self, name: str, value: str) -> None:
        _, region, path = self.node.secret_store.split(":", 2)
        body = {"Name": f"{path}/{name}", "Value": value, "Type": "SecureString", "Overwrite": True}
        self.json_call("ssm", region, "AmazonSSM.PutParameter", body)

    # -- the hub's description, images -----------------------------------------------------------------------------

    def fetch(self, address: str, etag: str) -> tuple[str, str] | None:
        """(ETag, text) of ``s3://bucket/key``; None while it is the one of ``etag`` or nobody has written it."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        region = self.region()
        url = bucket_url(bucket, region) + urllib.parse.quote(key)
        headers = {"If-None-Match": etag} if etag else {}
        answer = self.call("GET", url, headers, b"", "s3", region, allow=(304, 404))
        return (answer.headers.get("ETag", ""), answer.text) if answer.status == 200 else None

    def registry_login(self) -> tuple[str, str]:
        """User and password for `docker login`, good for 12 hours."""
        account, _, _, region = self.node.registry.split(".")[:4]
        answer = self.json_call(
            "api.ecr", region, "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", {"registryIds": [account]}
        )
        token = answer.json["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password

    # -- going away ------------------------------------------------------------------------------------------------

    def notice(self) -> Notice | None:
        """Why and how soon this machine goes away; None while it stays."""
        if self.metadata("autoscaling/target-lifecycle-state") == "Terminated":
            return Notice("lifecycle", float(self.node.drain_timeout_s), "the Auto Scaling group ends this instance")
        spot = self.metadata("spot/instance-action")
        if spot is None:
            return None
        action = json.loads(spot)
        end = datetime.datetime.fromisoformat(action["time"].replace("Z", "+00:00"))
        left = (end - datetime.datetime.now(datetime.UTC)).total_seconds()
        return Notice("spot", max(0.0, left - SPOT_MARGIN_S), f"AWS takes the spot instance back: {action['action']}")

    def _lifecycle(self, action: str, **more: str) -> None:
        region = self.region()
        body = urllib.parse.urlencode(
            {
                "Action": action,
                "Version": "2011-01-01",
                "AutoScalingGroupName": self.node.node_group,
                "LifecycleHookName": self.node.lifecycle_hook,
                "InstanceId": self.metadata("instance-id") or "",
                **more,
            }
        ).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        self.call("POST", service_url("autoscaling", region), headers, body, "autoscaling", region)

    def still_draining(self, notice: Notice) -> None:
        """Asks for more time: a hook without a heartbeat ends before the students do."""
        if notice.id == "lifecycle":
            self._lifecycle("RecordLifecycleActionHeartbeat")

    def gone(self, notice: Notice) -> None:
        """The machine is empty: the cloud need not wait longer."""
        if notice.id == "lifecycle":
            self._lifecycle("CompleteLifecycleAction", LifecycleActionResult="CONTINUE")
