"""Azure as the machine's managed identity may use it: Key Vault, Blob storage, container registry, scheduled events.

Sources: "Use managed identities on a virtual machine to acquire an access token", Key Vault REST API 7.4, "Authentication
with Azure Container Registry" (token exchange), "Scheduled Events for Linux VMs".
"""

from __future__ import annotations

import base64
import email.utils
import json
import time
import urllib.parse

from . import web
from .config import AgentError, NodeConfig
from .notice import Notice

REGISTRY_USER = "00000000-0000-0000-0000-000000000000"
"""`docker login` with a token instead of a password wants this name."""
MARGIN_S = 60
"""Before the event, kept for stopping servers cleanly."""
LEAVING = frozenset({"Reboot", "Redeploy", "Preempt", "Terminate"})
"""A `Freeze` is a pause of seconds: servers stay."""
EVENTS = f"{web.METADATA}/metadata/scheduledevents?api-version=2020-07-01"


class Cloud:
    """The same methods as :class:`node_agent.aws.Cloud`."""

    def __init__(self, node: NodeConfig) -> None:
        self.node = node

    def token(self, resource: str) -> str:
        """A token of the machine's identity for one service."""
        query = {"api-version": "2018-02-01", "resource": resource}
        if self.node.identity_client_id:
            query["client_id"] = self.node.identity_client_id
        url = f"{web.METADATA}/metadata/identity/oauth2/token?{urllib.parse.urlencode(query)}"
        # A new machine's identity may not be known for some seconds: 400 or 404 then.
        deadline = time.monotonic() + 60
        while (answer := web.send("GET", url, {"Metadata": "true"}, allow=(400, 404))).status != 200:
            if time.monotonic() > deadline:
                raise AgentError(f"no token for {resource} from the metadata service: {answer.text[:300]}")
            time.sleep(2)
        return answer.json["access_token"]

    def _bearer(self, resource: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(resource)}"}

    # -- secrets ---------------------------------------------------------------------------------------------------

    def _secret_url(self, name: str) -> str:
        vault = self.node.secret_store.split(":", 1)[1].rstrip("/")
        return f"{vault}/secrets/{name.replace('_', '-')}?api-version=7.4"

    def get_secret(self, name: str) -> str | None:
        url = self._secret_url(name)
        answer = web.send("GET", url, lambda: self._bearer("https://vault.azure.net"), allow=(403, 404))
        # The deployment makes a secret's place with a disabled version: nobody has stored it yet.
        if answer.status == 404 or (answer.status == 403 and b"SecretDisabled" in answer.body):
            return None
        if answer.status == 403:
            raise AgentError(f"{url.split('?')[0]}: 403 {answer.text[:300]}")
        return answer.json["value"]

    def put_secret(self, name: str, value: str) -> None:
        body = json.dumps({"value": value}).encode()
        web.send(
            "PUT",
            self._secret_url(name),
            lambda: {**self._bearer("https://vault.azure.net"), "Content-Type": "application/json"},
            body,
        )

    # -- the hub's description, images -----------------------------------------------------------------------------

    def fetch(self, address: str, etag: str) -> tuple[str, str] | None:
        def headers() -> dict[str, str]:
            more = {"If-None-Match": etag} if etag else {}
            return {
                **self._bearer("https://storage.azure.com/"),
                "x-ms-version": "2021-12-02",
                "x-ms-date": email.utils.formatdate(usegmt=True),
                **more,
            }

        answer = web.send("GET", address, headers, allow=(304, 404))
        return (answer.headers.get("ETag", ""), answer.text) if answer.status == 200 else None

    def registry_login(self) -> tuple[str, str]:
        """The identity's token, exchanged for one of the registry (good for 3 hours)."""
        token = self.token("https://management.azure.com/")
        payload = token.split(".")[1]
        tenant = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["tid"]
        form = {"grant_type": "access_token", "service": self.node.registry, "tenant": tenant, "access_token": token}
        answer = web.send(
            "POST",
            f"https://{self.node.registry}/oauth2/exchange",
            {"Content-Type": "application/x-www-form-urlencoded"},
            urllib.parse.urlencode(form).encode(),
        )
        return REGISTRY_USER, answer.json["refresh_token"]

    # -- going away ------------------------------------------------------------------------------------------------

    def _name(self) -> str:
        url = f"{web.METADATA}/metadata/instance/compute/name?api-version=2021-02-01&format=text"
        return web.send("GET", url, {"Metadata": "true"}).text.strip()

    def notice(self) -> Notice | None:
        # The first call turns the service on for the machine and may take two minutes.
        events = web.send("GET", EVENTS, {"Metadata": "true"}, timeout_s=130).json["Events"]
        if not events:
            return None
        name = self._name()
        for event in events:
            if event["EventType"] in LEAVING and name in event["Resources"]:
                start = email.utils.parsedate_to_datetime(event["NotBefore"]) if event.get("NotBefore") else None
                left = start.timestamp() - time.time() - MARGIN_S if start else 0.0
                wait = min(float(self.node.drain_timeout_s), max(0.0, left))
                return Notice(event["EventId"], wait, f"Azure: {event['EventType']} of this machine")
        return None

    def still_draining(self, notice: Notice) -> None:
        """Azure waits until `NotBefore`; nobody can ask for more."""

    def gone(self, notice: Notice) -> None:
        """The machine is empty: the event may begin at once."""
        body = json.dumps({"StartRequests": [{"EventId": notice.id}]}).encode()
        web.send("POST", EVENTS, {"Metadata": "true", "Content-Type": "application/json"}, body)
