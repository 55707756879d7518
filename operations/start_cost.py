"""Measures what one student server costs to start: CPU-seconds and memory, until a first cell has computed.

A container of the image runs under a tiny imitation of JupyterHub's API (version check, token check, activity), so the real
single-user server starts, signs its caller in and runs a kernel. CPU time and memory are the container's own cgroup figures
as Docker reports them (`cpu_usage.total_usage`; memory without reclaimable page cache).

    python -m operations.start_cost semesterhub/student:… --runs 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import shlex
import socket
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import docker
from aiohttp import web
from docker.models.containers import Container

USER = "student"
PREFIX = f"/user/{USER}/"
#: The budget of one start: server, kernel and first cell, in CPU-seconds (issue 3).
BUDGET_CPU_S = 2.5
READY_TIMEOUT_S = 120.0
POLL_S = 0.05
CELL = "1+1"


@dataclass(frozen=True)
class StartCost:
    """One start. CPU in CPU-seconds since the container began, wall time in seconds, memory in MiB."""

    server_cpu_s: float
    cell_cpu_s: float
    page_cpu_s: float
    server_wall_s: float
    cell_wall_s: float
    server_memory_mib: float
    cell_memory_mib: float


class StartCostError(Exception):
    """The server did not come up or did not compute; str() says what happened."""


def free_port() -> int:
    """A TCP port that was free a moment ago, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def imitation_hub(token: str) -> AsyncIterator[str]:
    """The part of JupyterHub's REST API that a single-user server asks at its start; yields the API's URL."""
    model = {
        "kind": "user",
        "name": USER,
        "admin": False,
        "groups": [],
        "roles": ["user"],
        "scopes": [f"access:servers!server={USER}/", f"read:users!user={USER}", f"users:activity!user={USER}"],
        "session_id": None,
        "created": "2026-01-01T00:00:00Z",
    }

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "6.1.1"}, headers={"X-JupyterHub-Version": "6.1.1"})

    async def who(request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "") not in (f"token {token}", f"Bearer {token}"):
            return web.json_response({"message": "unknown token"}, status=403)
        return web.json_response(model, headers={"X-JupyterHub-Version": "6.1.1"})

    async def activity(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-JupyterHub-Version": "6.1.1"})

    app = web.Application()
    app.router.add_get("/hub/api", version)
    app.router.add_get("/hub/api/", version)
    app.router.add_get("/hub/api/user", who)
    app.router.add_post(f"/hub/api/users/{USER}/activity", activity)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/hub/api"
    finally:
        await runner.cleanup()


def server_environment(api_url: str, port: int, token: str) -> dict[str, str]:
    """What JupyterHub 6 puts into a single-user server's environment."""
    scopes = [f"access:servers!server={USER}/", f"access:servers!user={USER}"]
    return {
        "JUPYTERHUB_API_TOKEN": token,
        "JPY_API_TOKEN": token,
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_API_URL": api_url,
        "JUPYTERHUB_ACTIVITY_URL": f"{api_url}/users/{USER}/activity",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps(scopes),
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(scopes),
        "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
        "JUPYTERHUB_USER": USER,
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{PREFIX}",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_PUBLIC_URL": "",
        "JUPYTERHUB_PUBLIC_HUB_URL": "",
        "JUPYTERHUB_ROOT_DIR": "/home/jovyan",
    }


def usage(container: Container) -> tuple[float, float]:
    """CPU-seconds so far and memory in MiB (without reclaimable page cache) of a running container."""
    stats: dict[str, Any] = container.stats(stream=False, one_shot=True)  # pyright: ignore[reportAssignmentType]
    memory = stats["memory_stats"]
    detail = memory.get("stats", {})
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, (memory["usage"] - cache) / 2**20


async def wait_ready(session: aiohttp.ClientSession, container: Container, url: str) -> None:
    """Until the server answers `api`, as the hub's own check does."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            async with session.get(f"{url}api") as reply:
                if reply.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(POLL_S)
    log = container.logs(tail=30).decode(errors="replace")
    raise StartCostError(f"the server did not answer {url}api within {READY_TIMEOUT_S:.0f} s; its last lines:\n{log}")


async def compute(session: aiohttp.ClientSession, url: str, code: str = CELL) -> str:
    """Start a kernel, run `code` in it and return the text of its result."""
    async with session.post(f"{url}api/kernels", json={"name": "python3"}) as reply:
        if reply.status != 201:
            raise StartCostError(f"starting a kernel: status {reply.status}: {(await reply.text())[:500]}")
        kernel_id = (await reply.json())["id"]
    message_id = uuid.uuid4().hex
    header = {
        "msg_id": message_id,
        "msg_type": "execute_request",
        "username": USER,
        "session": "m",
        "version": "5.3",
        "date": "",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    channel = f"{url}api/kernels/{kernel_id}/channels?session_id=m"
    async with session.ws_connect(channel, max_msg_size=0) as ws:
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }
        await ws.send_json(message)
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                answer = await ws.receive_json()
                if answer["parent_header"].get("msg_id") != message_id:
                    continue
                if answer["msg_type"] == "execute_result":
                    return str(answer["content"]["data"]["text/plain"])
                if answer["msg_type"] == "error":
                    raise StartCostError("\n".join(answer["content"]["traceback"]))


async def open_page(session: aiohttp.ClientSession, url: str) -> None:
    """The server-side requests that opening JupyterLab makes besides its scripts."""
    for path in (
        "lab",
        "lab/api/settings",
        "lab/api/translations/default",
        "lab/api/workspaces/default",
        "api/kernelspecs",
        "api/contents?content=1",
        "api/sessions",
        "api/kernels",
        "api/terminals",
        "api/me",
    ):
        async with session.get(f"{url}{path}") as reply:
            await reply.read()
            if reply.status >= 500:
                raise StartCostError(f"{path}: status {reply.status}")


async def measure_once(
    image: str, command: Sequence[str] | None, extra_env: dict[str, str], binds: Sequence[str]
) -> StartCost:
    """Start one server of the image, compute one cell, and remove the container again."""
    client = docker.from_env()
    token = secrets.token_hex(16)
    port = free_port()
    async with imitation_hub(token) as api_url:
        container: Container = await asyncio.to_thread(
            client.containers.create,
            image,
            list(command) if command else None,
            network_mode="host",
            name=f"semesterhub-start-cost-{secrets.token_hex(4)}",
            environment=server_environment(api_url, port, token) | extra_env,
            volumes=list(binds),
            user="1000:100",
        )
        try:
            began = time.monotonic()
            await asyncio.to_thread(container.start)
            url = f"http://127.0.0.1:{port}{PREFIX}"
            headers = {"Authorization": f"token {token}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                await wait_ready(session, container, url)
                server_wall_s = time.monotonic() - began
                server_cpu_s, server_memory_mib = await asyncio.to_thread(usage, container)
                result = await compute(session, url)
                cell_wall_s = time.monotonic() - began
                cell_cpu_s, cell_memory_mib = await asyncio.to_thread(usage, container)
                if result != "2":
                    raise StartCostError(f"the cell {CELL!r} gave {result!r}")
                await open_page(session, url)
                page_cpu_s, _ = await asyncio.to_thread(usage, container)
        finally:
            await asyncio.to_thread(container.remove, force=True, v=True)
    return StartCost(
        server_cpu_s, cell_cpu_s, page_cpu_s, server_wall_s, cell_wall_s, server_memory_mib, cell_memory_mib
    )


def measure(
    image: str,
    runs: int = 5,
    command: Sequence[str] | None = None,
    extra_env: dict[str, str] | None = None,
    binds: Sequence[str] = (),
) -> StartCost:
    """The median of each figure over `runs` starts, after one start that only warms the page cache."""
    costs = [asyncio.run(measure_once(image, command, extra_env or {}, binds)) for _ in range(runs + 1)][1:]
    columns = zip(*(asdict(cost).values() for cost in costs), strict=True)
    return StartCost(*(statistics.median(column) for column in columns))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the medians; exit status 1 when the start costs more than the budget."""
    parser = argparse.ArgumentParser(description="CPU-seconds and memory of one student server's start.")
    parser.add_argument("image")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bind", action="append", default=[], metavar="SRC:DST:ro")
    parser.add_argument("--budget", type=float, default=BUDGET_CPU_S, help="CPU-seconds")
    parser.add_argument("--command", default="", help="instead of the image's own command, in shell quoting")
    options = parser.parse_args(argv)
    extra_env = dict(item.split("=", 1) for item in options.env)
    command = shlex.split(options.command) or None
    try:
        cost = measure(options.image, options.runs, command, extra_env, options.bind)
    except StartCostError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({name: round(value, 2) for name, value in asdict(cost).items()}))
    return 0 if cost.cell_cpu_s <= options.budget else 1


if __name__ == "__main__":
    sys.exit(main())
