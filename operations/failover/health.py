"""Whether a hub really works: a notebook run on it through the Hub's API, before any student is sent there.

Asked at the site's own address under the hub's name, whatever the name points to at the moment. Signed with the hub's
operator token: the check works with every way of signing in.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hubconfig.access import CHECK_USER
from operations.errors import UserError
from operations.load.browser import AwayError, Browser, VisitError
from operations.load.kernel import Kernel

NOTEBOOK = "check.ipynb"
STARTS_AT_MOST = 2


class FixedResolver(AbstractResolver):
    """One name is at one address; nothing else is asked."""

    def __init__(self, name: str, address: str) -> None:
        self._name, self._address = name, address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host != self._name:
            raise OSError(f"{host} is not the hub ({self._name})")
        found = await asyncio.get_running_loop().getaddrinfo(self._address, port, type=socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(at[0]), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, _, _, _, at in found
        ]

    async def close(self) -> None:
        return None


@dataclass(frozen=True)
class Hub:
    """A hub at a place. `hub_url` is what students type, `address` where the connection really goes."""

    hub_url: str
    address: str
    ca_certificate: str = ""

    def ssl_context(self) -> ssl.SSLContext | None:
        if urlsplit(self.hub_url).scheme != "https":
            return None
        return ssl.create_default_context(cadata=self.ca_certificate or None)

    def resolver(self) -> FixedResolver:
        return FixedResolver(urlsplit(self.hub_url).hostname or "", self.address)

    def at(self, path: str) -> str:
        return f"{self.hub_url.rstrip('/')}/{path}"


def check(hub: Hub, operator_token: str, *, timeout_s: float = 240) -> dict[str, Any]:
    """Run the notebook; seconds until the hub answered and until the result was there. Raises UserError."""
    return asyncio.run(_check(hub, operator_token, timeout_s))


async def _check(hub: Hub, token: str, timeout_s: float) -> dict[str, Any]:
    began = time.monotonic()
    doing = "waiting for the hub to answer"
    running: Browser | None = None
    try:
        async with (
            asyncio.timeout(timeout_s),
            Browser(hub.ssl_context(), resolver=hub.resolver(), token=token, away_s=timeout_s) as browser,
        ):
            running = browser
            await answers(browser, hub)
            answered_s = time.monotonic() - began
            doing = f"starting the server of {CHECK_USER}"
            await start(browser, hub)
            doing = "running the notebook"
            try:
                value = await notebook(browser, hub.at(f"user/{CHECK_USER}"))
            finally:
                doing = "stopping the server again" if doing != "running the notebook" else doing
                await browser.call("DELETE", hub.at(f"hub/api/users/{CHECK_USER}/server"), allow=(404, 400))
    except TimeoutError:
        trouble = f", at last: {running.trouble}" if running and running.trouble else ""
        raise UserError(
            f"health check of {hub.hub_url} at {hub.address}: {doing} took more than {timeout_s:g} s{trouble}"
        ) from None
    except (VisitError, aiohttp.ClientError, OSError) as problem:
        raise UserError(f"health check of {hub.hub_url} at {hub.address}: {doing} failed: {problem}") from None
    return {"answered_s": round(answered_s, 2), "computed_s": round(time.monotonic() - began, 2), "value": value}


async def answers(browser: Browser, hub: Hub) -> None:
    """Returns when the hub's API does; the caller's time limit ends this."""

    async def ask() -> None:
        _, answer = await browser.call("GET", hub.at("hub/api/"))
        if not isinstance(answer, dict) or "version" not in answer:
            raise AwayError("something else than a hub answered")

    await browser.until_back(ask)


async def start(browser: Browser, hub: Hub) -> None:
    """The check's own server, ready. One that an earlier check left stopping is waited for, and a start that a restart of the
    hub interrupted is asked for again."""
    user = hub.at(f"hub/api/users/{CHECK_USER}")
    await browser.call("POST", user, allow=(409,))
    starts = 0
    while True:
        _, model = await browser.call("GET", user)
        found = model or {}
        server = (found.get("servers") or {}).get("") or {}
        if server.get("ready"):
            return
        if not found.get("pending") and not server:
            if starts == STARTS_AT_MOST:
                raise VisitError(f"the hub started it {starts} times, and it ended before it was ready")
            status, _ = await browser.call("POST", f"{user}/server", {}, allow=(400,))
            starts += status != HTTPStatus.BAD_REQUEST  # refused: the old one is still on its way out
        await asyncio.sleep(0.3)


async def notebook(browser: Browser, server_url: str) -> str:
    """Write a notebook, run its cells in order, write it back with its outputs, read it: the last cell's output."""
    terms, mine = random.randrange(10_000, 20_000), random.randrange(1_000_000)
    sources = [f"mine = {mine}", f"print(sum(i * i for i in range({terms})) + mine)"]
    wanted = str((terms - 1) * terms * (2 * terms - 1) // 6 + mine)
    url = f"{server_url}/api/contents/{quote(NOTEBOOK)}"
    await browser.call("PUT", url, {"type": "notebook", "content": _document([(s, "") for s in sources])})
    async with await Kernel.start(browser, server_url) as kernel:
        outputs = []
        for source in sources:
            result = await kernel.run(source)
            if result.error:
                raise VisitError(f"the cell {source!r} raised {result.error}")
            outputs.append(result.text)
        await browser.call(
            "PUT", url, {"type": "notebook", "content": _document(list(zip(sources, outputs, strict=True)))}
        )
        await kernel.shutdown()
    _, saved = await browser.call("GET", f"{url}?content=1")
    found = str(saved["content"]["cells"][-1]["outputs"][0]["text"]).strip() if saved else ""
    if found != wanted:
        raise VisitError(f"the notebook holds {found[:60]!r}, expected {wanted!r}")
    return found


def _document(cells: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "id": f"cell-{number}",
                "cell_type": "code",
                "execution_count": number if output else None,
                "metadata": {},
                "source": source,
                "outputs": [{"output_type": "stream", "name": "stdout", "text": output}] if output else [],
            }
            for number, (source, output) in enumerate(cells, start=1)
        ],
    }


def hub_of(settings: dict[str, Any], address: str) -> Hub:
    """From what `fallback.up` wrote down of the semester."""
    return Hub(str(settings["hub_url"]), address, str(settings.get("ca_certificate") or ""))


def as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True)
