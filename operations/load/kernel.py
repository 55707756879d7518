"""A Jupyter kernel reached the way a notebook page reaches it: REST to start it, one websocket to talk to it.

The messages follow the Jupyter messaging specification 5.3 over the websocket's JSON framing.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from operations.load.browser import Browser, VisitError

_ENDS = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)


@dataclass
class CellResult:
    text: str = ""
    """stdout and the value of the last expression, in the order they came."""
    error: str | None = None
    """`Name: value` of the exception, when the cell raised."""
    streams: list[str] = field(default_factory=list)


class Kernel:
    """One running kernel with an open channel. Use `async with await Kernel.start(...)`."""

    def __init__(self, browser: Browser, server_url: str, kernel_id: str) -> None:
        self._browser = browser
        self._server_url = server_url.rstrip("/")
        self.kernel_id = kernel_id
        self._session_id = uuid.uuid4().hex
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._frames: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, browser: Browser, server_url: str, name: str = "python3") -> Kernel:
        """Ask the server at `server_url` (…/user/<name>/) for a new kernel."""
        _, answer = await browser.call("POST", f"{server_url.rstrip('/')}/api/kernels", {"name": name})
        if not isinstance(answer, dict) or "id" not in answer:
            raise VisitError(f"POST api/kernels did not answer with a kernel: {answer!r}")
        return cls(browser, server_url, str(answer["id"]))

    async def __aenter__(self) -> Kernel:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        url = f"{self._server_url}/api/kernels/{self.kernel_id}/channels?session_id={self._session_id}"
        try:
            ws = await self._browser.websocket(url)
        except aiohttp.WSServerHandshakeError as problem:
            raise VisitError(f"kernel websocket refused with {problem.status}") from problem
        self._ws, self._frames = ws, asyncio.Queue()
        self._reader = asyncio.create_task(self._read(ws, self._frames))

    @staticmethod
    async def _read(ws: aiohttp.ClientWebSocketResponse, frames: asyncio.Queue[aiohttp.WSMessage]) -> None:
        """Read all the time, as a page does: who does not read answers no ping, and loses an idle channel within a minute."""
        while True:
            frame = await ws.receive()
            frames.put_nowait(frame)
            if frame.type in _ENDS:
                return

    async def disconnect(self) -> None:
        """Close the channel; the kernel stays."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None
        if self._ws is not None:
            await self._ws.close()
            self._ws = None

    async def shutdown(self) -> None:
        await self._browser.call("DELETE", f"{self._server_url}/api/kernels/{self.kernel_id}", allow=(404,))

    async def run(self, code: str, timeout_s: float = 120) -> CellResult:
        """Run one cell and wait for its reply and its output. Raises VisitError when the kernel does not answer."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._run(code)
        except TimeoutError:
            raise VisitError(f"the cell did not finish within {timeout_s:.0f} s") from None

    async def _run(self, code: str) -> CellResult:
        ws, message_id = await self._send(code)
        result = CellResult()
        replied = idle = False
        while not (replied and idle):
            frame = await self._frames.get()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                if frame.type in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}:
                    continue
                raise VisitError(f"the kernel's channel closed ({ws.close_code}) before the cell had finished")
            message: dict[str, Any] = json.loads(frame.data)
            kind = message.get("header", {}).get("msg_type", "")
            content = message.get("content", {})
            if kind == "status" and content.get("execution_state") in {"dead", "restarting", "autorestarting"}:
                # The server speaks for a kernel that died: such a message has no parent.
                raise VisitError(f"the kernel died while the cell ran ({content['execution_state']})")
            if message.get("parent_header", {}).get("msg_id") != message_id:
                continue
            if kind == "stream":
                result.text += content.get("text", "")
                result.streams.append(str(content.get("name", "")))
            elif kind in {"execute_result", "display_data"}:
                result.text += str(content.get("data", {}).get("text/plain", ""))
            elif kind == "error":
                result.error = f"{content.get('ename')}: {content.get('evalue')}"
            elif kind == "execute_reply":
                replied = True
                if content.get("status") == "error" and result.error is None:
                    result.error = f"{content.get('ename')}: {content.get('evalue')}"
            elif kind == "status" and content.get("execution_state") == "idle":
                idle = True
        return result

    async def _send(self, code: str) -> tuple[aiohttp.ClientWebSocketResponse, str]:
        """Ask for the cell to be run; the channel and the request's id."""
        if self._ws is None:
            raise VisitError("the kernel's channel is closed")
        message_id = uuid.uuid4().hex
        try:
            await self._ws.send_str(json.dumps(self._execute_request(message_id, code)))
        except ConnectionError:
            raise VisitError(f"the kernel's channel closed ({self._ws.close_code}) while nothing ran") from None
        return self._ws, message_id

    def _execute_request(self, message_id: str, code: str) -> dict[str, Any]:
        return {
            "channel": "shell",
            "header": {
                "msg_id": message_id,
                "msg_type": "execute_request",
                "username": "student",
                "session": self._session_id,
                "date": datetime.now(UTC).isoformat(),
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
            "buffers": [],
        }
