"""Injected faults (sandbox/faults.py) in ARM's words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from sandbox.azure.emulator import ids, kinds
from sandbox.azure.emulator.errors import ArmError
from sandbox.faults import Fault, Gate

CHANGING = frozenset({"PUT", "PATCH", "DELETE"})
ASKING = ("list",)
"""A POST with such a name asks for keys or credentials; any other is an order, such as `deallocate`."""
ERRORS: Mapping[str, tuple[int, str]] = {
    "error": (400, "InjectedFault"),
    "throttle": (429, "TooManyRequests"),
    "quota": (409, "QuotaExceeded"),
}
RETRY_AFTER_S = "1"


class Faults:
    """What may answer instead of the cloud. A call's name is `PUT Microsoft.Network/virtualNetworks`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._unseen: dict[str, int] = {}

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The fault's answer; None lets the request through."""
        path = request.path.lower()
        if not path.startswith("/subscriptions/") and not path.startswith(("/_vault/", "/_blob/")):
            return None
        ordering = request.method == "POST" and not request.path.rpartition("/")[2].startswith(ASKING)
        if request.method not in CHANGING and not ordering:
            self._look(path)
            return None
        fault = self._gate.enter(f"{request.method} {_type(request.path)}")
        return await self._struck(request, fault) if fault else None

    def _look(self, path: str) -> None:
        if self._unseen.get(path, 0) > 0:
            self._unseen[path] -= 1
            raise ArmError(404, "ResourceNotFound", f"The Resource '{path}' was not found (made a moment ago).")

    async def _struck(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "lag":
            self._unseen[request.path.lower()] = fault.reads
            return None
        if fault.kind == "timeout":
            await asyncio.sleep(fault.seconds)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=504)
        status, code = ERRORS[fault.kind]
        body = ArmError(status, code, fault.message).body()
        return web.json_response(body, status=status, headers={"Retry-After": RETRY_AFTER_S} if status == 429 else {})


def _type(path: str) -> str:
    """The resource type in the tables' own case; of a data plane its name."""
    if path.startswith("/_"):
        service, _, what = path.strip("/").split("/")[:3]
        return f"{service.strip('_')}/{what}"
    id = ids.parse(path)
    kind = kinds.find(id.type)
    return kind.type if kind else id.type
