"""One synthetic student: logs in by the form, waits on the pending page, opens JupyterLab, computes, saves, leaves.

The visit takes the same requests in the same order as a browser. Nothing is tried a second time that a browser would
not try by itself (an event stream that breaks off is reopened after 3 s, as the EventSource standard has it).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from operations.load.browser import AWAY, AwayError, Browser, Form, Page, VisitError
from operations.load.kernel import Kernel
from operations.load.records import StudentRecord
from operations.load.target import Target

AHEAD = re.compile(r"(\d+)\s+ahead of you", re.IGNORECASE)
QUEUE_WORDS = re.compile(r"ahead of you|next in line|in the queue|you are next|cluster (is )?full", re.IGNORECASE)
PROGRESS_URL = re.compile(r"""EventSource\(\s*["']([^"']+)["']""")
AWAY_AT_MOST_S = 60.0
"""A page that loads itself again for longer than this is a failure: nobody looks at it for that long."""
EVENT_SOURCE_RETRY_S = 3.0
"""Chromium's delay before it reopens an event stream that ended."""
STOP_WAIT_S = 60.0


class Student:
    """A visit in steps, so that a test can take them one by one; `visit()` takes them all."""

    def __init__(
        self,
        target: Target,
        name: str,
        *,
        arrival_s: float = 0.0,
        give_up_s: float = 900,
        course: str | None = None,
        on_step: Callable[[StudentRecord, str], None] | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.target = target
        self.record = StudentRecord(name=name, arrival_s=arrival_s)
        self.arrived_at = time.monotonic()
        self.computed_at: float | None = None
        """time.monotonic() when the first cell's result was there: the moment the container's CPU is read for."""
        self._give_up_s = give_up_s
        self._course = course
        self._on_step = on_step or (lambda record, step: None)
        # A little longer than the visit, so that it is the visit which gives up and says so.
        self._browser = Browser(target.ssl_context(), timeout_s=give_up_s + 60, resolver=resolver)
        self._next_url: str | None = None
        self._doing = "arriving"
        self.kernel: Kernel | None = None

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def browser(self) -> Browser:
        return self._browser

    @property
    def server_url(self) -> str:
        """Where this student's Jupyter server answers, through the edge."""
        return self._at(f"user/{quote(self.name)}/")

    def _at(self, path: str) -> str:
        return urljoin(self.target.hub_url.rstrip("/") + "/", path)

    async def __aenter__(self) -> Student:
        await self._browser.__aenter__()
        self.arrived_at = time.monotonic()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.kernel is not None:
            await self.kernel.disconnect()
        await self._browser.__aexit__()

    def elapsed(self) -> float:
        return round(time.monotonic() - self.arrived_at, 3)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Names what the student is doing: a failure inside is recorded under it."""
        self._doing = name
        try:
            yield
        except (VisitError, aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as problem:
            if self.record.failure is None:
                self.record.failed_step = name
                self.record.failure = _reason(problem)
                self._on_step(self.record, "failed")
            raise
        self._on_step(self.record, name)

    async def visit(self, stay_s: float, rng: random.Random, *, leave: bool = True) -> StudentRecord:
        """The whole visit. Failures are recorded, not raised; cancellation passes through."""
        try:
            async with asyncio.timeout(self._give_up_s + stay_s):
                await self.login()
                await self.start_server()
                await self.open_lab()
                await self.compute(rng)
                await self.save()
                await self.stay(stay_s, rng)
                if leave:
                    await self.leave()
        except TimeoutError:
            self._fail(self._doing, f"gave up after {self.elapsed():.0f} s")
        except (VisitError, aiohttp.ClientError, OSError, json.JSONDecodeError) as problem:
            self._fail(self._doing, _reason(problem))
        return self.record

    def _fail(self, step: str, reason: str) -> None:
        if self.record.failure is None:
            self.record.failed_step, self.record.failure = step, reason
            self._on_step(self.record, "failed")

    async def login(self, password: str | None = None) -> None:
        """Open the hub's address, fill in the login form, send it."""
        async with self.step("login"):
            page = await self._browser.open(self.target.hub_url)
            form = next((f for f in page.forms() if "password" in f.names), None)
            if page.status != 200 or form is None:
                raise VisitError(f"no login form at {page.url} (status {page.status})")
            values = {"username": self.name, "password": password or self.target.student_password}
            # Not followed at once: where the hub sends a student next is the start of the server, timed apart.
            page = await self._browser.submit(page, form, values, follow=False)
            if page.next_url is None:
                raise VisitError(f"the hub refused the login (status {page.status}): {_error_text(page.text)}")
            self.record.login_s = self.elapsed()
            self._next_url = page.next_url

    async def start_server(self) -> None:
        """Ask for the server, follow the pending page's event stream until the hub says it is ready."""
        async with self.step("server"):
            asked = self.elapsed()
            self.record.server_started = True  # from here on there may be something to stop
            page = await self._reloaded(await self._browser.open(self._next_url or self._at("hub/spawn")))
            self._next_url = None
            if not _about_spawning(page):
                # The hub's home page: the student presses "Start My Server".
                page = await self._reloaded(await self._browser.open(self._at("hub/spawn")))
            form = _options_form(page)
            if form is not None:
                page = await self._reloaded(await self._browser.submit(page, form, self._choose(form)))
            if page.status >= 400:
                raise VisitError(f"{urlsplit(page.url).path} answered {page.status}: {_error_text(page.text)}")
            if not self._is_my_server(page.url):
                await self._follow_progress(page, asked)
            if self.record.queue_s is None:
                self.record.queue_s = 0.0
            self.record.ready_s = self.elapsed()

    def _is_my_server(self, url: str) -> bool:
        return urlsplit(url).path.startswith(urlsplit(self.server_url).path)

    def _choose(self, form: Form) -> dict[str, str]:
        chosen = {"_xsrf": form.fields.get("_xsrf", "")} if "_xsrf" in form.names else {}
        if self._course and "course" in form.names:
            chosen["course"] = self._course
        return chosen

    async def _follow_progress(self, page: Page, asked_s: float) -> None:
        found = PROGRESS_URL.search(page.text)
        if found is None:
            raise VisitError(f"no progress stream on {urlsplit(page.url).path} (status {page.status})")
        url = urljoin(page.url, _unescape_js(found.group(1)))
        waited_until: float | None = None
        while True:
            try:
                async for event in self._browser.events(url):
                    now = self.elapsed()
                    message = str(event.get("message", ""))
                    self._note(now, message)
                    if QUEUE_WORDS.search(message):
                        waited_until = None
                    elif waited_until is None:
                        waited_until = now
                        queued = any(QUEUE_WORDS.search(text) for _, text in self.record.messages)
                        self.record.queue_s = round(now - asked_s, 3) if queued else 0.0
                    if event.get("failed"):
                        raise VisitError(message or "the hub reported a failed start")
                    if event.get("ready"):
                        return
            except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as problem:
                self._note(self.elapsed(), f"stream broke off: {_reason(problem)}")
            except AwayError as problem:
                self._note(self.elapsed(), _reason(problem))
                page = await self._after_the_restart()
                if self._is_my_server(page.url):
                    return
                found = PROGRESS_URL.search(page.text)
                if found is None:
                    raise
                url = urljoin(page.url, _unescape_js(found.group(1)))
            self.record.stream_reconnects += 1
            await asyncio.sleep(EVENT_SOURCE_RETRY_S)

    async def _reloaded(self, page: Page) -> Page:
        """The page that a browser ends up on: one that says that the hub is away for a moment loads itself again."""
        until_s = self.elapsed() + AWAY_AT_MOST_S
        while page.status in AWAY and (wait_s := page.reloads_after_s()) is not None and self.elapsed() < until_s:
            self._note(self.elapsed(), f"the hub is away: {page.status}")
            await asyncio.sleep(wait_s)
            page = await self._browser.open(page.url)
        return page

    async def _after_the_restart(self) -> Page:
        """What the pending page does when the hub is away: wait until it answers, then ask for the server again."""
        every_s = EVENT_SOURCE_RETRY_S / 2
        await asyncio.sleep(every_s)
        await self._browser.until_back(lambda: self._browser.call("GET", self._at("hub/health")), every_s=every_s)
        return await self._browser.open(self._at(f"hub/spawn/{quote(self.name)}"))

    def _note(self, at_s: float, message: str) -> None:
        if not message or (self.record.messages and self.record.messages[-1][1] == message):
            return
        self.record.messages.append((at_s, message))
        found = AHEAD.search(message)
        if found:
            position = int(found.group(1))
            if not self.record.queue_positions or self.record.queue_positions[-1] != position:
                self.record.queue_positions.append(position)
                self._on_step(self.record, "queued")

    async def open_lab(self) -> None:
        """The page reloads, the hub sends the browser through OAuth to the server, JupyterLab's page and files load."""
        async with self.step("lab"):
            page = await self._browser.open(self.server_url)
            if page.status != 200 or not self._is_my_server(page.url):
                raise VisitError(f"JupyterLab: ended at {urlsplit(page.url).path} with status {page.status}")
            if "jupyter-config-data" not in page.text:
                raise VisitError(f"{urlsplit(page.url).path} is not a Jupyter page")
            await asyncio.gather(*(self._browser.fetch_asset(link) for link in page.assets()))
            self.record.lab_s = self.elapsed()

    async def compute(self, rng: random.Random) -> None:
        """Start a kernel, run one cell whose answer only a real kernel can know, and check it."""
        async with self.step("compute"):
            self.kernel = await Kernel.start(self._browser, self.server_url)
            await self.kernel.connect()
            terms, mine = rng.randrange(10_000, 20_000), rng.randrange(1_000_000)
            code = f"mine = {mine}\nprint(sum(i * i for i in range({terms})) + mine)"
            await self._expect(code, str((terms - 1) * terms * (2 * terms - 1) // 6 + mine))
            self._mine = mine
            self.computed_at = time.monotonic()
            self.record.computed_s = self.elapsed()

    async def _expect(self, code: str, wanted: str) -> None:
        if self.kernel is None:
            raise VisitError("no kernel")
        result = await self.kernel.run(code)
        if result.error:
            raise VisitError(f"the cell raised {result.error}")
        if result.text.strip() != wanted:
            raise VisitError(f"the cell printed {result.text.strip()[:80]!r}, expected {wanted!r}")

    async def save(self, path: str = "semesterhub-load.txt") -> None:
        """Save a file through the contents API and read it back."""
        async with self.step("save"):
            text = f"{self.name} was here\n"
            await self.put_file(path, text)
            if await self.get_file(path) != text:
                raise VisitError(f"{path} came back with another content")
            self.record.saved_s = self.elapsed()

    async def put_file(self, path: str, text: str) -> None:
        await self._browser.call(
            "PUT",
            f"{self.server_url}api/contents/{quote(path)}",
            {"type": "file", "format": "text", "content": text},
        )

    async def get_file(self, path: str) -> str | None:
        """The file's text, or None when there is none."""
        url = f"{self.server_url}api/contents/{quote(path)}?type=file&format=text&content=1"
        status, answer = await self._browser.call("GET", url, allow=(404,))
        return None if status == 404 or not isinstance(answer, dict) else str(answer.get("content"))

    async def stay(self, stay_s: float, rng: random.Random) -> None:
        """Keep the notebook open; at the end the kernel must still know what the first cell computed."""
        async with self.step("stay"):
            await asyncio.sleep(stay_s * rng.uniform(0.8, 1.0))
            await self._expect("print(mine)", str(self._mine))

    async def leave(self) -> None:
        """Stop the server and log out."""
        async with self.step("leave"):
            await self.stop_server()
            await self.logout()
            self.record.left_s = self.elapsed()

    async def stop_server(self, wait_s: float = STOP_WAIT_S) -> None:
        """Stop this student's server (also one still starting) and wait until the hub says it is gone."""
        if self.kernel is not None:
            await self.kernel.disconnect()
            self.kernel = None
        await self._browser.open(self._at("hub/home"))  # gives the browser the hub's own xsrf cookie, as for a person
        url = self._at(f"hub/api/users/{quote(self.name)}/server")
        until = time.monotonic() + wait_s
        while True:
            status, _ = await self._browser.call("DELETE", url, allow=(404,))
            if status in {204, 404}:
                self.record.server_started = False
                return
            if time.monotonic() > until:
                raise VisitError(f"the server was still stopping after {wait_s:.0f} s")
            await asyncio.sleep(1)

    async def logout(self) -> None:
        page = await self._browser.open(self._at("hub/logout"))
        if page.status >= 400:
            raise VisitError(f"logout answered {page.status}")

    async def hub_model(self) -> dict[str, Any]:
        """What the hub knows of this student (`GET /hub/api/user`)."""
        _, answer = await self._browser.call("GET", self._at("hub/api/user"))
        return answer if isinstance(answer, dict) else {}


def _about_spawning(page: Page) -> bool:
    path = urlsplit(page.url).path
    return "/hub/spawn" in path or "/user/" in path


def _options_form(page: Page) -> Form | None:
    """The form for choosing a course, where the hub offers one."""
    if "/hub/spawn" not in urlsplit(page.url).path or "spawn-pending" in page.url:
        return None
    return next((f for f in page.forms() if f.method == "post"), None)


def _unescape_js(text: str) -> str:
    return text.replace("\\/", "/").replace("&amp;", "&").replace("\\u0026", "&")


def _error_text(html: str) -> str:
    """The sentence of the hub's error page, without its markup."""
    body = re.sub(r"(?is)<(script|style|nav|head)\b.*?</\1>", " ", html)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())[:200]


def _reason(problem: BaseException) -> str:
    text = str(problem)
    return text if isinstance(problem, VisitError) and text else f"{type(problem).__name__}: {text}".rstrip(": ")
