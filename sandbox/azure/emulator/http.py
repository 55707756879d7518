"""The wire: api-version, envelopes, statuses, operations that take time, and where each path goes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.azure.emulator import data, ids, login
from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.ids import ResourceId
from sandbox.azure.emulator.kinds.vaults import deleted_vault
from sandbox.azure.emulator.operations import Answer

RETRY_AFTER_S = 1
RETRY_AFTER_MS = 100
"""Some services of Azure send milliseconds as well (`x-ms-retry-after-ms`); clients that know them wait less."""
MAX_BODY_BYTES = 64 * 1024 * 1024
Before = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""What may answer instead of the cloud: injected faults."""


class Wire:
    """The HTTP face of one `Arm`. `touch` is called at each request, `before` may answer in its place."""

    def __init__(self, arm: Arm, *, touch: Callable[[], None] = lambda: None, before: Before | None = None) -> None:
        self.arm = arm
        self.touch = touch
        self.before = before

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.touch()
        self.arm.settle()
        try:
            if self.before and (instead := await self.before(request)) is not None:
                return instead
            return await self._route(request)
        except ArmError as error:
            headers = {"x-ms-error-code": error.code}
            return web.json_response(error.body(), status=error.status, headers=headers)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        host = request.host.partition(":")[0]
        for kind, pattern in (
            ("vault", r"(?P<name>[\w-]+)\.vault\.azure\.net"),
            ("blob", r"(?P<name>\w+)\.blob\.core\.windows\.net"),
        ):
            named = re.fullmatch(pattern, host)
            within = re.match(rf"/_{kind}/(?P<name>[\w-]+)(?P<rest>/.*)?$", path)
            if named or within:
                found = named or within
                assert found is not None
                rest = path if named else (within.group("rest") or "/" if within else "/")
                return await data.HANDLERS[kind](self.arm, request, found.group("name").lower(), rest)
        found = login.answer(request)
        if found is not None:
            return found
        if path.startswith("/_sandbox"):
            return await self._control(request)
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            raise ArmError(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        self._version(request)
        operation = re.search(r"/providers/[\w.]+/locations/[\w]+/operations/(op\d+)$", path, re.IGNORECASE)
        if operation:
            return self._operation(operation[1])
        return await self._arm(request)

    @staticmethod
    def _version(request: web.Request) -> None:
        version = request.query.get("api-version")
        if version is None:
            raise bad(
                "The api-version query parameter (?api-version=) is required for all requests.",
                code="MissingApiVersionParameter",
            )
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(-\w+)?", version):
            raise bad(
                f"The api-version '{version}' is invalid: it is a date such as 2024-05-01.",
                code="InvalidApiVersionParameter",
            )

    async def _arm(self, request: web.Request) -> web.StreamResponse:
        id = ids.parse(request.path)
        method = request.method
        if id.type.lower().startswith("microsoft.keyvault/locations/deletedvaults") and method == "GET":
            return web.json_response(deleted_vault(self.arm, id))
        if method == "GET":
            return web.json_response(self.arm.get(id))
        if method == "HEAD":
            return web.Response(status=204 if self.arm.store.get(id.text) else 404)
        if method in ("PUT", "DELETE"):
            self._conditions(request, id)
        if method == "DELETE":
            return self._with_operation(request, id, self.arm.delete(id))
        body = await self._body(request)
        if method == "PUT":
            return self._with_operation(request, id, self.arm.put(id, body))
        if method == "PATCH":
            return self._with_operation(request, id, self.arm.patch(id, body))
        if method == "POST":
            answer = self.arm.post(id, body)
            return (
                self._with_operation(request, id, answer) if isinstance(answer, Answer) else web.json_response(answer)
            )
        raise ArmError(405, "MethodNotAllowed", f"'{method}' is not allowed here.")

    def _conditions(self, request: web.Request, id: ResourceId) -> None:
        """If-Match and If-None-Match (learn.microsoft.com/azure/dns/dns-zones-records, Etags)."""
        resource = self.arm.store.get(id.text)
        wanted = request.headers.get("If-Match", "")
        if wanted and wanted != "*" and (resource is None or self.arm.render(resource)["etag"] != wanted):
            raise ArmError(412, "PreconditionFailed", f"'{id.text}' is not as it was: its etag is not {wanted}.")
        if request.headers.get("If-None-Match") == "*" and resource is not None:
            raise ArmError(412, "PreconditionFailed", f"'{id.text}' exists already.")

    @staticmethod
    async def _body(request: web.Request) -> dict[str, Any]:
        text = await request.text()
        try:
            body = json.loads(text or "{}")
        except ValueError:
            raise bad(
                "The request content was invalid and could not be deserialized.", code="InvalidRequestContent"
            ) from None
        if not isinstance(body, dict):
            raise bad("The request content must be a JSON object.", code="InvalidRequestContent")
        return body

    def _with_operation(self, request: web.Request, id: ResourceId, answer: Answer) -> web.StreamResponse:
        status, body, operation = answer
        headers: dict[str, str] = {}
        if operation is not None:
            url = (
                f"{request.scheme}://{request.host}/subscriptions/{id.subscription}/providers/{id.namespace}"
                f"/locations/global/operations/{operation.id}?api-version={request.query['api-version']}"
            )
            headers = {"Azure-AsyncOperation": url, **self._wait()}
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def _operation(self, name: str) -> web.StreamResponse:
        operation = self.arm.store.state.operations.get(name)
        if operation is None:
            raise ArmError(404, "NotFound", f"There is no operation '{name}'.")
        headers = self._wait() if operation.status == "InProgress" else {}
        return web.json_response(self.arm.operations.body(operation), headers=headers)

    def _wait(self) -> dict[str, str]:
        return {"Retry-After": str(RETRY_AFTER_S), "x-ms-retry-after-ms": str(RETRY_AFTER_MS)}

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """What the emulator tells about itself, for tests and `--sandbox`: no part of Azure."""
        if request.path == "/_sandbox/resources":
            listed = [{"id": r.id, "by_azure": r.by_azure, "state": r.state} for r in self.arm.store.all()]
            return web.json_response(
                {"resources": listed, "deleted_vaults": sorted(self.arm.store.state.deleted_vaults)}
            )
        if request.path == "/_sandbox/fail" and request.method == "POST":
            wanted = await self._body(request)
            error = ArmError(500, str(wanted["code"]), str(wanted["message"]))
            self.arm.fail_next.append((str(wanted["type"]), error))
            return web.json_response({})
        if request.path == "/_sandbox/hidden":
            resource = self.arm.need(request.query["id"])
            return web.json_response(resource.hidden)
        raise ArmError(404, "NotFound", f"'{request.path}' is nothing here.")


async def serve(application: web.Application, listener: Any, ended: asyncio.Event) -> None:
    """Serve on a listening socket until `ended`."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await ended.wait()
    await runner.cleanup()
