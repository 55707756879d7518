"""As much of a web browser as a student's visit needs: cookies, redirects, forms, event streams, the xsrf rule.

JupyterHub and Jupyter Server decide by the `Sec-Fetch-*` headers whether a request is a page load, a script's call or
a websocket, so this client sends them as Chromium does. Every instance has its own cookie jar and connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from operations.load.target import is_this_machine

CONNECTIONS_PER_HOST = 6
"""What Chromium and Firefox open to one host over HTTP/1.1."""
MAX_EVENT_BYTES = 1 << 20
AWAY = frozenset({502, 503, 504})
"""What the edge answers while the hub is away."""
AWAY_EVERY_S = 0.3
"""So often whoever waits for a hub that is away asks again."""

HEARTBEAT_S = 30.0
"""A websocket is asked this often whether the other side is still there."""


Answer = TypeVar("Answer")


class VisitError(Exception):
    """Something a student would see as "it does not work": the message says what was asked and what came back."""


class AwayError(VisitError):
    """Answered with 502, 503 or 504: the hub, or the proxy before it, is being restarted."""


class LoopbackResolver(AbstractResolver):
    """`*.localhost` is this machine, whatever the resolver of the machine thinks of it; other names as usual."""

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not is_this_machine(host):
            return await self._system.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        await self._system.close()


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Names of every input, filled or not."""


@dataclass(frozen=True)
class Page:
    """A page the browser ended up on."""

    url: str
    status: int
    text: str
    next_url: str | None = None
    """Where the answer redirects to, when the redirect was not followed."""

    def forms(self) -> list[Form]:
        return _PageParser.read(self.text).forms

    def reloads_after_s(self) -> float | None:
        """After how many seconds the page loads itself again (meta refresh); None when it does not."""
        return _PageParser.read(self.text).refresh_s

    def assets(self) -> list[str]:
        """Absolute addresses of the scripts and style sheets that the page links to on its own host."""
        found = (urljoin(self.url, link) for link in _PageParser.read(self.text).assets)
        host = urlsplit(self.url).netloc
        return [link for link in dict.fromkeys(found) if urlsplit(link).netloc == host]


class _PageParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.assets: list[str] = []
        self.refresh_s: float | None = None
        self._form: Form | None = None
        self._select: str | None = None

    @classmethod
    def read(cls, text: str) -> _PageParser:
        parser = cls()
        parser.feed(text)
        return parser

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(action=a.get("action", ""), method=a.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "meta" and a.get("http-equiv", "").lower() == "refresh":
            with contextlib.suppress(ValueError):
                self.refresh_s = float(a.get("content", "").partition(";")[0])
        elif tag == "script" and a.get("src"):
            self.assets.append(a["src"])
        elif tag == "link" and "stylesheet" in a.get("rel", "").split() and a.get("href"):
            self.assets.append(a["href"])
        elif self._form is not None:
            self._field(self._form, tag, a)

    def _field(self, form: Form, tag: str, a: Mapping[str, str]) -> None:
        name = a.get("name", "")
        if tag == "input" and name:
            form.names.add(name)
            kind = a.get("type", "text").lower()
            if (kind in {"checkbox", "radio"} and "checked" not in a) or kind in {"submit", "button", "file", "image"}:
                return
            form.fields[name] = a.get("value", "on" if kind in {"checkbox", "radio"} else "")
        elif tag == "select" and name:
            self._select = name
            form.names.add(name)
        elif tag == "option" and self._select is not None:
            # A browser submits the selected option, or the first one when none is marked.
            if "selected" in a or self._select not in form.fields:
                form.fields[self._select] = a.get("value", "")
        elif tag == "textarea" and name:
            form.names.add(name)
            form.fields.setdefault(name, "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None


class Browser:
    """One student's browser. Use as `async with Browser(ssl_context) as browser`.

    ``resolver`` answers where names are (default: :class:`LoopbackResolver`); ``token`` signs every request for callers
    that are programs, such as a health check, instead of a cookie. ``away_s`` is for those programs, too: for so
    long their `call` asks a hub again that is away.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None,
        timeout_s: float = 300,
        *,
        resolver: AbstractResolver | None = None,
        token: str = "",
        away_s: float = 0.0,
    ) -> None:
        self._away_s = away_s
        self.trouble = ""
        """What the last request met that `until_back` waits for; empty when it was answered."""
        self._ssl: ssl.SSLContext | bool = ssl_context if ssl_context is not None else True
        self._timeout_s = timeout_s
        self._resolver = resolver
        self._headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) semesterhub-load"}
        if token:
            self._headers["Authorization"] = f"token {token}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Browser:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver or LoopbackResolver(),
                ssl=self._ssl,
                limit_per_host=CONNECTIONS_PER_HOST,
                # Where a name leads may change at any time; resolvers that are asked keep what they want to keep.
                use_dns_cache=self._resolver is None,
            ),
            # The hub signs its cookies' exact characters (no quoting); a hub at 127.0.0.1 has cookies, too (unsafe).
            cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=60),
            headers=self._headers,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use `async with Browser(...)`")
        return self._session

    def cookie(self, url: str, name: str) -> str | None:
        """The value the browser would send to `url`; the most specific path wins, as in a browser."""
        morsel = self.session.cookie_jar.filter_cookies(URL(url)).get(name)
        return morsel.value if morsel else None

    async def open(self, url: str) -> Page:
        """Load a page, following redirects."""
        return await self._page("GET", url, None)

    async def submit(self, page: Page, form: Form, values: Mapping[str, str], *, follow: bool = True) -> Page:
        """Send `form` with `values` filled in, and load whatever page follows (or, not following, name it)."""
        data = {**form.fields, **values}
        return await self._page("POST", urljoin(page.url, form.action or page.url), data, page.url, follow)

    async def _page(
        self, method: str, url: str, data: Mapping[str, str] | None, origin: str | None = None, follow: bool = True
    ) -> Page:
        headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html,*/*;q=0.8"}
        headers["Sec-Fetch-Site"] = "same-origin" if origin else "none"
        if origin:
            headers |= {"Referer": origin, "Origin": _origin(origin)}
        async with self.session.request(
            method, url, data=data, headers=headers, allow_redirects=follow, max_redirects=25
        ) as response:
            location = response.headers.get("Location")
            return Page(
                url=str(response.url),
                status=response.status,
                text=await response.text(errors="replace"),
                next_url=urljoin(str(response.url), location) if location else None,
            )

    async def fetch_asset(self, url: str) -> int:
        """Download a script or style sheet of a page; returns its size in bytes."""
        headers = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}
        async with self.session.get(url, headers=headers) as response:
            body = await response.read()
            if response.status >= 400:
                raise VisitError(f"GET {urlsplit(url).path} answered {response.status}")
            return len(body)

    async def until_back(
        self, ask: Callable[[], Awaitable[Answer]], within_s: float = math.inf, every_s: float | None = None
    ) -> Answer:
        """What `ask` answers once the hub does: asked again, every AWAY_EVERY_S unless told otherwise, while nothing answers
        or AwayError is raised. After `within_s` that is raised; without it the caller's own time limit ends the waiting."""
        until = time.monotonic() + within_s
        while True:
            try:
                answer = await ask()
            except (AwayError, aiohttp.ClientError, OSError) as problem:
                self.trouble = str(problem) or type(problem).__name__
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(AWAY_EVERY_S if every_s is None else every_s)
            else:
                self.trouble = ""
                return answer

    async def open_when_back(self, url: str) -> Page:
        """Load a page as a person does who presses reload until the hub is there."""

        async def ask() -> Page:
            page = await self.open(url)
            if page.status in AWAY:
                raise AwayError(f"GET {urlsplit(url).path or '/'} answered {page.status}")
            return page

        return await self.until_back(ask)

    async def call(self, method: str, url: str, body: Any = None, allow: tuple[int, ...] = ()) -> tuple[int, Any]:
        """A script's API call from a page of the same site. Returns status and decoded JSON (None when empty).

        Raises VisitError for a status of 400 and above that is not in `allow`; AwayError for 502, 503 and 504, after asking
        again for `away_s`.
        """
        if self._away_s:
            return await self.until_back(lambda: self._call(method, url, body, allow), self._away_s)
        return await self._call(method, url, body, allow)

    async def _call(self, method: str, url: str, body: Any, allow: tuple[int, ...]) -> tuple[int, Any]:
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
        token = self.cookie(url, "_xsrf")
        if token:
            headers["X-XSRFToken"] = token
        async with self.session.request(method, url, json=body, headers=headers) as response:
            text = await response.text(errors="replace")
            if response.status >= 400 and response.status not in allow:
                raise _refused(f"{method} {urlsplit(url).path}", response.status, text)
            try:
                return response.status, json.loads(text) if text.strip() else None
            except json.JSONDecodeError:
                return response.status, None

    async def events(self, url: str) -> AsyncIterator[dict[str, Any]]:
        """Messages of a server-sent event stream until it ends. Raises VisitError when it is refused."""
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Accept": "text/event-stream"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=120)
        async with self.session.get(url, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                text = await response.text(errors="replace")
                raise _refused("progress stream", response.status, text)
            data: list[str] = []
            buffer = b""
            async for chunk in response.content.iter_any():
                buffer += chunk
                if len(buffer) > MAX_EVENT_BYTES:
                    raise VisitError("progress stream: one event is longer than 1 MiB")
                *lines, buffer = buffer.split(b"\n")
                for raw in lines:
                    line = raw.decode(errors="replace").rstrip("\r")
                    if line.startswith("data:"):
                        data.append(line[5:].lstrip())
                    elif not line and data:
                        yield json.loads("\n".join(data))
                        data = []

    def websocket(self, url: str) -> Any:
        """`async with browser.websocket(url) as ws`, opened the way a page's script does."""
        headers = {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Site": "same-origin", "Origin": _origin(url)}
        return self.session.ws_connect(url, headers=headers, max_msg_size=16 << 20, heartbeat=HEARTBEAT_S)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _refused(what: str, status: int, text: str) -> VisitError:
    kind = AwayError if status in AWAY else VisitError
    return kind(f"{what} answered {status}: {_short(text)}")


def _short(text: str, limit: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit] + "…"
