"""A person's browser that follows the hub's name: Chromium behind an HTTP proxy whose CONNECT asks where the name leads now.

Chromium takes every `*.localhost` for this machine without asking anybody. Sent through the proxy it goes where the name
leads, as it would with a campus's name.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shlex
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from operations.dns import DnsError
from operations.patience import LaterError
from tests.end_to_end import own_network
from tests.end_to_end.cluster import Cluster, chromium

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PORT = 3128
"""In the browser's own network, where nobody else is."""


@dataclass
class Way:
    """The addresses that the name led to so far, and why it led nowhere."""

    led: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def following(socket_path: Path, host: str, addresses: Callable[[], tuple[str, ...]]) -> AsyncIterator[Way]:
    """The proxy, at a socket. Every other host is refused: tests talk to nobody else."""
    way = Way()
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n", 1)[0].split()
            name, _, port = request[1].rpartition(":")
            if request[0] != "CONNECT" or name != host:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            try:
                address = (await asyncio.to_thread(addresses))[0]
                way.led.append(address)
                there = await asyncio.open_connection(address, int(port))
            except (OSError, DnsError, LaterError, IndexError) as problem:
                way.refused.append(f"{len(way.led)} led: {type(problem).__name__}: {problem}")
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(own_network.copy(reader, there[1]), own_network.copy(there[0], writer))
        except (OSError, asyncio.IncompleteReadError, IndexError, ValueError):
            return
        finally:
            open_ones.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, socket_path)
    try:
        yield way
    finally:
        server.close()
        for task in list(open_ones):
            task.cancel()


@contextlib.asynccontextmanager
async def person(
    cluster: Cluster, folder: Path, addresses: Callable[[], tuple[str, ...]] = lambda: ("127.0.0.1",)
) -> AsyncIterator[tuple[Any, Way]]:
    """A page of a new browser. When the block fails, the page is kept as a picture, and told."""
    program = chromium()
    if program is None:
        pytest.fail("no Chromium on this machine (apt-get install chromium, or SEMESTERHUB_CHROMIUM=/path/to/it)")
    from playwright.async_api import async_playwright

    host = urlsplit(cluster.target.hub_url).hostname or ""
    with tempfile.TemporaryDirectory(prefix="browser-") as short:  # a socket's path has at most 107 characters
        way_out = Path(short, "proxy")
        started = folder / "chromium"
        unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
        command = [*unshare, sys.executable, own_network.__file__, str(way_out), str(PORT), program]
        started.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        started.chmod(0o755)
        async with following(way_out, host, addresses) as way, async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                str(folder / "profile"),
                executable_path=started,
                headless=True,
                proxy={"server": f"http://127.0.0.1:{PORT}", "bypass": "<-loopback>"},
                args=[*FLAGS, f"--ignore-certificate-errors-spki-list={key_of_the_hub(cluster)}"],
                viewport={"width": 1280, "height": 800},
            )
            page = context.pages[0] if context.pages else await context.new_page()
            page.set_default_timeout(120_000)
            try:
                yield page, way
            except BaseException:
                picture = folder / "failed.png"
                await page.screenshot(path=picture)
                print(f"the page when it failed: {picture}, at {page.url}: {await page.inner_text('body')}")
                print(f"the name led to {way.led}; nowhere: {way.refused}")
                raise
            finally:
                await context.close()


async def sign_in(page: Any, cluster: Cluster, name: str, *, picture: Path | None = None) -> None:
    """From nothing to JupyterLab."""
    await page.goto(cluster.target.hub_url)
    await page.fill("#username_input", name)
    await page.fill("#password_input", cluster.target.student_password)
    if picture:
        await page.screenshot(path=picture)
    await page.click("#login_submit")
    await page.wait_for_url(f"**/user/{name}/lab**")
    await page.wait_for_selector(".jp-Launcher")


def key_of_the_hub(cluster: Cluster) -> str:
    """The hash of the key in the hub's certificate, after its chain was checked against the stack's own authority.

    Chromium is told to trust this one key, so every other certificate is still refused.
    """
    url = urlsplit(cluster.target.hub_url)
    context = cluster.target.ssl_context()
    assert context is not None
    assert url.hostname
    with (
        socket.create_connection(("127.0.0.1", url.port or 443), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=url.hostname) as tls,
    ):
        pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()
