"""Requests to the emulator: retried as Azure's own clients do, waited for when they take time.

https://learn.microsoft.com/azure/architecture/best-practices/retry-service-specific (which statuses are tried again),
https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations (how to wait).
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from providers.base import Context, ProviderError
from sandbox.isolation import require_loopback

TRIES = 4
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
BUSY = "AnotherOperationInProgress"
BUSY_TRIES = 60
WAIT_S = 0.2
PATIENCE_S = 1800.0
REQUEST_TIMEOUT_S = 30.0


class ArmFailure(ProviderError):
    """Azure said no. `status` 0: it said nothing."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} (code {code}, status {status})" if status else message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Response:
    """A status, the headers in lower case, the body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; empty for none."""
        return json.loads(self.content) if self.content.strip() else {}


class Client:
    """Talks to one emulator. Threads may share it: each has a connection of its own."""

    def __init__(self, endpoint: str) -> None:
        require_loopback(endpoint, "the endpoint of the offline Azure")
        self._endpoint = endpoint.rstrip("/")
        self._address = urlsplit(self._endpoint)
        self._local = threading.local()

    def arm(self, ctx: Context, method: str, id: str, api_version: str, body: Any = None) -> Response:
        """A request to ARM, waited for to its end. Raises ArmFailure; the answer to 404 is for the caller of GET."""
        response = self.request(ctx, method, f"{id}?api-version={api_version}", body)
        if response.status >= 400:
            raise failure(response)
        self._finished(ctx, response)
        return response

    def _finished(self, ctx: Context, response: Response) -> None:
        url = response.headers.get("azure-asyncoperation")
        deadline = ctx.deadline(PATIENCE_S)
        while url:
            parts = urlsplit(url)
            seen = self.request(ctx, "GET", f"{parts.path}?{parts.query}")
            if seen.status >= 400:
                raise failure(seen)
            operation = seen.json()
            status = operation.get("status")
            if status == "Succeeded":
                return
            if status in ("Failed", "Canceled"):
                error = operation.get("error") or {}
                raise ArmFailure(
                    200, str(error.get("code", status)), str(error.get("message", f"the operation ended as {status}"))
                )
            if time.monotonic() > deadline:
                raise ArmFailure(
                    0, "Timeout", f"the operation did not end in time; Azure is still working on it ({parts.path})"
                )
            ctx.sleep(_delay(seen))

    def request(
        self, ctx: Context, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One request, tried again where that helps. `body`: bytes, or anything JSON."""
        busy = 0
        tries = 0
        while True:
            ctx.check_cancelled()
            try:
                response = self._once(method, target, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                tries += 1
                if tries >= TRIES:
                    raise ArmFailure(
                        0,
                        "NoAnswer",
                        f"{method} {target.partition('?')[0]}: no answer from the offline Azure ({error})",
                    ) from None
                ctx.sleep(WAIT_S * 2**tries)
                continue
            if response.status in AGAIN and tries + 1 < TRIES:
                tries += 1
                ctx.sleep(_delay(response))
                continue
            if response.status == 409 and _code(response)[0] == BUSY and busy < BUSY_TRIES:
                busy += 1
                ctx.sleep(WAIT_S)
                continue
            return response

    def _once(self, method: str, target: str, body: Any, headers: Mapping[str, str]) -> Response:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(
                self._address.hostname or "", self._address.port, timeout=REQUEST_TIMEOUT_S
            )
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        sent = {"Authorization": "Bearer sandbox", **headers}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, target, content, sent)
            got = connection.getresponse()
            return Response(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        except (OSError, http.client.HTTPException):
            self._local.connection = None
            connection.close()
            raise


def _delay(response: Response) -> float:
    milliseconds = response.headers.get("x-ms-retry-after-ms")
    if milliseconds:
        return int(milliseconds) / 1000
    return float(response.headers.get("retry-after", WAIT_S))


def _code(response: Response) -> tuple[str, str]:
    try:
        error = response.json().get("error") or {}
    except ValueError:
        error = {}
    return str(error.get("code", response.headers.get("x-ms-error-code", "Unknown"))), str(error.get("message", ""))


def failure(response: Response) -> ArmFailure:
    """The exception of an answer of 400 and above."""
    code, message = _code(response)
    return ArmFailure(response.status, code, message or f"answered {response.status}")
