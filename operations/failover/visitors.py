"""What a drill looks with: students who stay signed in across the move, and one who numbers every write.

They follow the hub's name as a browser does: its address is asked of the authoritative DNS server at each new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hubconfig.access import CHECK_USER
from operations.failover import health
from operations.load.browser import Browser, VisitError
from operations.load.student import Student
from operations.load.target import Target

WRITE_EVERY_S = 0.5
GIVE_UP_S = 300.0
AWAY_S = 60.0
"""For so long the check account waits for a hub that is being restarted."""
TROUBLE = (VisitError, aiohttp.ClientError, TimeoutError, OSError)
HOME_FILE = "drill-number.txt"
TOKEN_NOTE = "drill-"
TOKENS_EVERY = 2
"""Every so many writes one goes to the hub's database: a token with a number in its note."""


class NameResolver(AbstractResolver):
    """Addresses of the hub's name, from a function that asks whoever has the say."""

    def __init__(self, addresses: Callable[[], tuple[str, ...]]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.to_thread(self._addresses)
        if not found:
            raise OSError(f"{host} has no address")
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
            for a in found
        ]

    async def close(self) -> None:
        return None


@dataclass
class Acknowledged:
    """Numbered writes that the hub said yes to: number -> when (time.time())."""

    home: dict[int, float] = field(default_factory=dict)
    hub: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """What was acknowledged and is not there after the move. `window_s`: from the oldest lost write's acknowledgement to the
    last one's, 0 when nothing is lost."""

    acknowledged: int
    found: int
    lost: int
    window_s: float
    older_than_watermark: int = 0
    """Lost although acknowledged before the watermark: must be 0."""


def loss(acknowledged: dict[int, float], found: int, watermark_s: float | None) -> Loss:
    """Numbers above `found` are lost. `watermark_s`: what was surely copied by then, by the source's clock."""
    lost = {n: at for n, at in acknowledged.items() if n > found}
    last = max(acknowledged.values(), default=0.0)
    return Loss(
        acknowledged=max(acknowledged, default=0),
        found=found,
        lost=len(lost),
        window_s=round(last - min(lost.values()), 2) if lost else 0.0,
        older_than_watermark=sum(1 for at in lost.values() if watermark_s is not None and at <= watermark_s),
    )


class Visitor:
    """A student who signs in once and comes back with the same cookies wherever the name leads."""

    def __init__(self, target: Target, name: str, resolver: AbstractResolver) -> None:
        self.student = Student(target, name, give_up_s=GIVE_UP_S, resolver=resolver)
        self.text = f"{name} {time.time_ns()}\n"
        self.back_s: float | None = None
        self.problem = ""

    @property
    def name(self) -> str:
        return self.student.name

    async def arrive(self) -> None:
        """Sign in, start a server, compute, and leave a file."""
        import random

        await self.student.login()
        await self.student.start_server()
        await self.student.open_lab()
        await self.student.compute(random.Random(self.name))
        await self.student.put_file("drill.txt", self.text)

    async def come_back(self, since: float) -> None:
        """With the old cookies: no login form, a server, the file as it was, a computed cell. Failures are recorded."""
        import random

        try:
            async with asyncio.timeout(GIVE_UP_S):
                await self._come_back(random.Random(f"{self.name} again"))
            self.back_s = round(time.monotonic() - since, 2)
        except TROUBLE as problem:
            self.problem = str(problem) or type(problem).__name__

    async def _come_back(self, rng: Any) -> None:
        student = self.student
        if student.kernel is not None:
            with contextlib.suppress(*TROUBLE):
                await student.kernel.disconnect()
            student.kernel = None
        # The old site is gone, the new one is not up yet.
        page = await student.browser.open_when_back(student.target.hub_url)
        if any("password" in form.names for form in page.forms()):
            raise VisitError(f"{self.name} has to sign in again")
        await student.start_server()
        await student.open_lab()
        found = await student.get_file("drill.txt")
        if found != self.text:
            raise VisitError(f"{self.name}'s file holds {str(found)[:60]!r}, expected {self.text!r}")
        await student.compute(rng)

    async def leave(self) -> None:
        with contextlib.suppress(*TROUBLE):
            await self.student.stop_server()

    async def put_file(self, path: str, text: str) -> None:
        await self.student.put_file(path, text)

    async def get_file(self, path: str) -> str | None:
        return await self.student.get_file(path)

    @property
    def browser(self) -> Browser:
        return self.student.browser

    async def open(self) -> None:
        await self.student.__aenter__()

    async def close(self) -> None:
        await self.student.__aexit__()


class CheckVisitor:
    """The same for a semester whose students sign in elsewhere (OAuth, LTI): the hub's own check account, by its operator
    token, which has to be as good after the move as before it."""

    name = CHECK_USER

    def __init__(self, target: Target, token: str, resolver: AbstractResolver) -> None:
        self.hub = health.Hub(target.hub_url, "", target.ca_certificate)
        self.browser = Browser(target.ssl_context(), GIVE_UP_S, resolver=resolver, token=token, away_s=AWAY_S)
        self.text = f"{self.name} {time.time_ns()}\n"
        self.back_s: float | None = None
        self.problem = ""

    async def open(self) -> None:
        await self.browser.__aenter__()

    async def close(self) -> None:
        await self.browser.__aexit__()

    async def arrive(self) -> None:
        """Start the server, compute, and leave a file."""
        await health.start(self.browser, self.hub)
        await health.notebook(self.browser, self._server)
        await self.put_file("drill.txt", self.text)

    async def come_back(self, since: float) -> None:
        """The token still opens the hub, a server starts, the file is as it was, a notebook computes."""
        try:
            async with asyncio.timeout(GIVE_UP_S):
                await health.answers(self.browser, self.hub)
                await health.start(self.browser, self.hub)
                found = await self.get_file("drill.txt")
                if found != self.text:
                    raise VisitError(f"the file holds {str(found)[:60]!r}, expected {self.text!r}")
                await health.notebook(self.browser, self._server)
            self.back_s = round(time.monotonic() - since, 2)
        except TROUBLE as problem:
            self.problem = str(problem) or type(problem).__name__

    async def leave(self) -> None:
        with contextlib.suppress(*TROUBLE):
            await self.browser.call("DELETE", self.hub.at(f"hub/api/users/{self.name}/server"), allow=(404, 400))

    async def put_file(self, path: str, text: str) -> None:
        body = {"type": "file", "format": "text", "content": text}
        await self.browser.call("PUT", f"{self._server}/api/contents/{quote(path)}", body)

    async def get_file(self, path: str) -> str | None:
        url = f"{self._server}/api/contents/{quote(path)}?type=file&format=text&content=1"
        status, answer = await self.browser.call("GET", url, allow=(404,))
        return None if status == 404 or not isinstance(answer, dict) else str(answer.get("content"))

    @property
    def _server(self) -> str:
        return self.hub.at(f"user/{self.name}")


class Writer:
    """Writes a number into a home and into the hub's database, again and again, and keeps those that were acknowledged."""

    def __init__(self, visitor: Visitor | CheckVisitor, hub_url: str) -> None:
        self.visitor = visitor
        self._tokens_url = f"{hub_url.rstrip('/')}/hub/api/users/{quote(visitor.name)}/tokens"
        self.acknowledged = Acknowledged()
        self.number = 0
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._over.clear()
        self._task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        self._over.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _write(self) -> None:
        while not self._over.is_set():
            number = self.number + 1
            try:
                async with asyncio.timeout(5):
                    await self.visitor.put_file(HOME_FILE, f"{number}\n")
                self.number = number
                self.acknowledged.home[number] = time.time()
                if number % TOKENS_EVERY == 0:
                    await self._token(number)
            except TROUBLE:
                pass  # not acknowledged: nobody was told that it is saved
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), WRITE_EVERY_S)

    async def _token(self, number: int) -> None:
        async with asyncio.timeout(5):
            body = {"note": f"{TOKEN_NOTE}{number}", "expires_in": 7200, "scopes": ["read:users:name!user"]}
            await self.visitor.browser.call("POST", self._tokens_url, body)
        self.acknowledged.hub[number] = time.time()

    async def found(self) -> tuple[int, int]:
        """The highest number in the home's file, and in the hub's database, as they are now."""
        text = await self.visitor.get_file(HOME_FILE)
        home = int(text.strip()) if text and text.strip().isdigit() else 0
        _, answer = await self.visitor.browser.call("GET", self._tokens_url)
        notes = [str(token.get("note") or "") for token in (answer or {}).get("api_tokens", [])]
        numbers = [
            int(n.removeprefix(TOKEN_NOTE))
            for n in notes
            if n.startswith(TOKEN_NOTE) and n[len(TOKEN_NOTE) :].isdigit()
        ]
        return home, max(numbers, default=0)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
