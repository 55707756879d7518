"""Keeps the proxy's routes complete when the proxy dies.

With an external proxy JupyterHub looks at the routes only every `last_activity_interval` (minutes); until then a proxy
that was restarted knows nobody's server. `GuardedProxy` leaves a mark in the proxy, a route of its own, and looks for
it every two seconds, one small request. A proxy without the mark lost its memory, so all routes are restored at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import Float

REQUEST_TIMEOUT_S = 2.0
MARK = "/hub/-/routes-are-complete"
"""Leads to the hub like everything below /hub/ and is not one of the routes that JupyterHub manages, so it stays."""


class GuardedProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, run by somebody else, with a guard for its routes."""

    guard_every_s = Float(2.0, help="How often the mark is looked for, s.").tag(config=True)
    guard_every_when_lost_s = Float(0.5, help="The same until routes are restored, s.").tag(config=True)

    _guard: asyncio.Task[None] | None = None
    _complete = False
    """Whether the routes are complete as far as is known."""

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """JupyterHub's own check; its first call, at the hub's start, also starts the guard."""
        await super().check_routes(user_dict, service_dict, routes)
        if self._guard is None:
            self._guard = asyncio.create_task(self._guard_forever())

    async def _guard_forever(self) -> None:
        while True:
            await self.guard_once()
            await asyncio.sleep(self.guard_every_s if self._complete else self.guard_every_when_lost_s)

    async def guard_once(self) -> None:
        """Looks for the mark once; without it restores all routes."""
        try:
            if await self._ask("GET") == 200:
                self._complete = True
                return
            if self._complete:
                self.log.warning("The proxy lost its routes: restoring them")
            self._complete = False
            # the mark first: if it is there after the restoring too, no second crash fell in between
            await self._ask("POST", {"target": self.app.hub.host})
            await super().check_routes(self.app.users, self.app._service_map)
            if self._checks_pending():
                # a restarted hub is still looking at its servers; those it finds get their route in the next round
                await self._forget_mark()
            self._complete = await self._ask("GET") == 200
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            if self._complete:
                self.log.warning("The proxy does not answer (%s): restoring its routes as soon as it does", error)
            self._complete = False
            await self._forget_mark()
            return
        except Exception:
            self.log.exception("The proxy's routes could not be restored yet")
            await self._forget_mark()
            return
        if self._complete:
            self.log.info("The proxy has all routes")

    def _checks_pending(self) -> bool:
        return any(spawner._check_pending for user in self.app.users.values() for spawner in user.spawners.values())

    async def _forget_mark(self) -> None:
        """A mark over incomplete routes would be a lie."""
        try:
            await self._ask("DELETE")
        except (OSError, TimeoutError, aiohttp.ClientError):
            return

    async def _ask(self, method: str, body: dict[str, Any] | None = None) -> int:
        """One request about the mark to the proxy's API; returns the HTTP status."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        headers = {"Authorization": f"token {self.auth_token}"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.request(method, f"{self.api_url}/api/routes{MARK}", json=body) as response,
        ):
            return response.status
