"""A hub of one file that behaves as a browser sees the real one: login form with xsrf, pending page, event stream,
a Jupyter page with files, kernels and contents. What it does wrong on purpose is set in `Faults`."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from hubconfig.access import CHECK_USER

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PASSWORD = "correct horse"
TOKEN = secrets.token_hex(8)
"""Signs a program in as the hub's check user."""

HEARTBEAT_S = 30.0
"""The server asks this often whether the page is still there; a page that does not answer is let go."""


@dataclass
class Faults:
    spawn_fails_with: str = ""
    wrong_result: bool = False
    cell_raises: bool = False
    kernel_dies: bool = False
    never_ready: bool = False
    stream_breaks_once: bool = False
    away_once: bool = False
    """The hub is away when the stream is opened, and for one question afterwards."""
    pages_away: int = 0
    """So many times the page says "one moment" instead of the spawn page, and loads itself again."""
    calls_away: int = 0
    """So many times every call of a program to the hub or to the check's server is answered with 503 first."""
    starts_lost: int = 0
    """So many starts end before they are ready, as those under way end with a hub that restarts."""
    file_changes: bool = False
    forgets_state: bool = False
    no_lab: bool = False
    queue: tuple[int, ...] = (2, 1)
    queue_step_s: float = 0.02


@dataclass
class FakeHub:
    faults: Faults = field(default_factory=Faults)
    away: int = 0
    url: str = ""
    running: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)
    logged_out: int = 0
    assets_served: int = 0
    files: dict[str, str] = field(default_factory=dict)
    xsrf: str = field(default_factory=lambda: secrets.token_hex(8))
    sessions: dict[str, str] = field(default_factory=dict)
    streams: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.away_first])
        app.router.add_get("/hub/api/", self.version)
        app.router.add_post("/hub/api/users/{user}", self.add_user)
        app.router.add_get("/hub/api/users/{user}", self.user_model)
        app.router.add_post("/hub/api/users/{user}/server", self.start)
        app.router.add_delete("/user/{user}/api/kernels/{kernel}", self.end_kernel)
        app.router.add_get("/", self.root)
        app.router.add_get("/hub/login", self.login_page)
        app.router.add_post("/hub/login", self.login)
        app.router.add_get("/hub/home", self.home)
        app.router.add_get("/hub/logout", self.logout)
        app.router.add_get("/hub/spawn", self.spawn)
        app.router.add_get("/hub/spawn/{user}", self.spawn)
        app.router.add_get("/hub/health", self.health)
        app.router.add_get("/hub/spawn-pending/{user}", self.pending_page)
        app.router.add_get("/hub/api/users/{user}/server/progress", self.progress)
        app.router.add_delete("/hub/api/users/{user}/server", self.stop)
        app.router.add_get("/user/{user}/", self.lab)
        app.router.add_get("/user/{user}/static/{name}", self.asset)
        app.router.add_post("/user/{user}/api/kernels", self.new_kernel)
        app.router.add_get("/user/{user}/api/kernels/{kernel}/channels", self.channels)
        app.router.add_put("/user/{user}/api/contents/{path}", self.put_file)
        app.router.add_get("/user/{user}/api/contents/{path}", self.get_file)
        return app

    @web.middleware
    async def away_first(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Authorization" not in request.headers or request.path.endswith("/channels"):
            return await handler(request)
        question = f"{request.method} {request.path}"
        self.asked[question] += 1
        if self.asked[question] <= self.faults.calls_away:
            return web.Response(status=503, text="One moment, please")
        return await handler(request)

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "5"})

    async def add_user(self, request: web.Request) -> web.Response:
        return web.Response(status=409)

    async def user_model(self, request: web.Request) -> web.Response:
        servers = {"": {"ready": True}} if self.who(request) in self.running else {}
        return web.json_response({"servers": servers, "pending": None})

    async def start(self, request: web.Request) -> web.Response:
        user = self.who(request)
        self.faults.starts_lost -= 1
        if self.faults.starts_lost < 0:
            self.running.add(user)
        return web.Response(status=202)

    async def end_kernel(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    def who(self, request: web.Request) -> str:
        if request.headers.get("Authorization") == f"token {TOKEN}":
            return CHECK_USER
        name = self.sessions.get(request.cookies.get("session", ""))
        if name is None:
            raise web.HTTPForbidden(text="not signed in")
        if "user" in request.match_info and request.match_info["user"] != name:
            raise web.HTTPForbidden(text="another student's server")
        if request.method != "GET" or request.headers.get("Sec-Fetch-Mode") == "cors":
            token = request.headers.get("X-XSRFToken") or request.query.get("_xsrf")
            if token != self.xsrf:
                raise web.HTTPForbidden(text="XSRF cookie does not match")
        return name

    async def root(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/hub/login")

    async def login_page(self, request: web.Request) -> web.Response:
        page = web.Response(
            text=f"""<form action="/hub/login?next=" method="post">
            <input type="hidden" name="_xsrf" value="{self.xsrf}"/>
            <input name="username">
            <input type="password" name="password"><input type="submit"></form>""",
            content_type="text/html",
        )
        page.set_cookie("_xsrf", self.xsrf, path="/")
        return page

    async def login(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("_xsrf") != self.xsrf or request.cookies.get("_xsrf") != self.xsrf:
            raise web.HTTPForbidden(text="Login form invalid or expired. Try again.")
        if form.get("password") != PASSWORD:
            return web.Response(status=403, text="<p>Invalid username or password</p>", content_type="text/html")
        session = secrets.token_hex(8)
        self.sessions[session] = str(form["username"])
        answer = web.Response(status=302, headers={"Location": "/hub/spawn"})
        # The hub's own cookies hold characters that a client must send back unchanged.
        answer.set_cookie("session", session, path="/", httponly=True)
        return answer

    async def home(self, request: web.Request) -> web.Response:
        self.who(request)
        return web.Response(text="home", content_type="text/html")

    async def logout(self, request: web.Request) -> web.Response:
        self.logged_out += 1
        return web.Response(text="bye", content_type="text/html")

    async def spawn(self, request: web.Request) -> web.Response:
        user = self.who(request)
        self.pending.add(user)
        raise web.HTTPFound(f"/hub/spawn-pending/{user}")

    async def pending_page(self, request: web.Request) -> web.Response:
        user = self.who(request)
        if self.faults.pages_away:
            self.faults.pages_away -= 1
            text = '<meta http-equiv="refresh" content="0.01"><h1>One moment, please</h1>'
            return web.Response(text=text, content_type="text/html", status=503)
        url = f"/hub/api/users/{user}/server/progress?_xsrf={self.xsrf}"
        return web.Response(text=f'<script>var e = new EventSource("{url}");</script>', content_type="text/html")

    async def health(self, request: web.Request) -> web.Response:
        self.away -= 1
        return web.json_response({}, status=503 if self.away >= 0 else 200)

    async def progress(self, request: web.Request) -> web.StreamResponse:
        user = self.who(request)
        if self.faults.away_once:
            self.faults.away_once = False
            self.away = 1
            return web.json_response({"message": "One moment, please"}, status=503)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        self.streams += 1

        async def send(event: dict[str, object]) -> None:
            await stream.write(f"data: {json.dumps(event)}\n\n".encode())

        for ahead in self.faults.queue:
            await send({"progress": 5, "message": f"You are number {ahead + 1} in the queue ({ahead} ahead of you)."})
            await asyncio.sleep(self.faults.queue_step_s)
        if self.faults.stream_breaks_once and self.streams == 1:
            return stream
        if self.faults.never_ready:
            await asyncio.sleep(3600)
        await send({"progress": 50, "message": "Starting your server"})
        if self.faults.spawn_fails_with:
            self.pending.discard(user)
            await send({"progress": 100, "failed": True, "message": self.faults.spawn_fails_with})
            return stream
        self.pending.discard(user)
        self.running.add(user)
        await send({"progress": 100, "ready": True, "message": "Server ready"})
        return stream

    async def stop(self, request: web.Request) -> web.Response:
        user = self.who(request)
        if user not in self.running | self.pending:
            return web.Response(status=404)
        self.running.discard(user)
        self.pending.discard(user)
        self.stopped.append(user)
        return web.Response(status=204)

    async def lab(self, request: web.Request) -> web.Response:
        self.who(request)
        if self.faults.no_lab:
            return web.Response(status=503, text="no route")
        user = request.match_info["user"]
        return web.Response(
            text=f"""<script id="jupyter-config-data" type="application/json">{{}}</script>
            <script src="/user/{user}/static/main.js"></script><link rel="stylesheet" href="static/theme.css">""",
            content_type="text/html",
        )

    async def asset(self, request: web.Request) -> web.Response:
        self.assets_served += 1
        return web.Response(text="x")

    async def new_kernel(self, request: web.Request) -> web.Response:
        self.who(request)
        return web.json_response({"id": secrets.token_hex(4)}, status=201)

    async def channels(self, request: web.Request) -> web.WebSocketResponse:
        self.who(request)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await socket.prepare(request)
        names: dict[str, int] = {}
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            asked = json.loads(frame.data)
            await self._run(socket, asked, names)
        return socket

    async def _run(self, socket: web.WebSocketResponse, asked: dict, names: dict[str, int]) -> None:
        async def say(kind: str, content: dict, parent: dict) -> None:
            message = {"header": {"msg_type": kind}, "parent_header": parent, "content": content}
            await socket.send_str(json.dumps(message))

        parent = asked["header"]
        await say("status", {"execution_state": "busy"}, parent)
        if self.faults.kernel_dies:
            await say("status", {"execution_state": "restarting"}, {})
            return
        if self.faults.cell_raises:
            await say("error", {"ename": "MemoryError", "evalue": "too much"}, parent)
            await say("execute_reply", {"status": "error"}, parent)
            await say("status", {"execution_state": "idle"}, parent)
            return
        code = asked["content"]["code"]
        if mine := re.match(r"mine = (\d+)", code):
            names["mine"] = int(mine[1])
        text = ""
        if found := re.search(r"print\(sum\(i \* i for i in range\((\d+)\)\) \+ mine\)$", code):
            text = str(sum(i * i for i in range(int(found[1]))) + names["mine"])
            text = "0" if self.faults.wrong_result else text
        elif not mine:
            text = "0" if self.faults.forgets_state else str(names.get("mine", "NameError"))
        await say("stream", {"name": "stdout", "text": "somebody else's"}, {"msg_id": "other"})
        await say("execute_reply", {"status": "ok"}, parent)
        await say("stream", {"name": "stdout", "text": text + "\n"}, parent)
        await say("status", {"execution_state": "idle"}, parent)

    async def put_file(self, request: web.Request) -> web.Response:
        user = self.who(request)
        self.files[f"{user}/{request.match_info['path']}"] = (await request.json())["content"]
        return web.json_response({}, status=201)

    async def get_file(self, request: web.Request) -> web.Response:
        text = self.files.get(f"{self.who(request)}/{request.match_info['path']}")
        if text is None:
            return web.Response(status=404)
        return web.json_response({"content": "" if self.faults.file_changes else text})


@asynccontextmanager
async def serve(faults: Faults | None = None) -> AsyncIterator[FakeHub]:
    """Run a fake hub on a free loopback port."""
    hub = FakeHub(faults or Faults())
    runner = web.AppRunner(hub.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()
