"""Whether a student's server can be reached where Swarm says it is."""

from __future__ import annotations

import asyncio

import aiohttp

TIMEOUT_S = 3.0


def url(address: str, port: int, path: str) -> str:
    """The server's URL inside the cluster."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{path}"


async def answers(where: str) -> bool:
    """Whether a web server answers there, whatever it says short of an error of its own."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(where) as response:
            return response.status < 500
    except (TimeoutError, aiohttp.ClientError, OSError):
        return False


async def listens(address: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT_S)
    except (TimeoutError, OSError):
        return False
    writer.close()
    return True
