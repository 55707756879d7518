"""A way to the hub that follows its name: an HTTP proxy whose CONNECT asks the authoritative DNS server for the address.

Chromium takes every `*.localhost` for this machine without asking anybody. Sent through this proxy it goes where the name
leads, as it would with a campus's name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from operations.dns import DnsError
from operations.patience import LaterError


@dataclass
class Way:
    """The proxy's URL, the addresses it led to so far, and why it led nowhere."""

    url: str = ""
    led: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()


@contextlib.asynccontextmanager
async def following(host: str, addresses: Callable[[], tuple[str, ...]]) -> AsyncIterator[Way]:
    """Every other host is refused: tests talk to nobody else."""
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
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        except (OSError, asyncio.IncompleteReadError, IndexError, ValueError):
            return
        finally:
            open_ones.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield way
    finally:
        server.close()
        for task in list(open_ones):
            task.cancel()
