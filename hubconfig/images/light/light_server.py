"""A single-user server in one small file, for crash tests and drills.

It answers what JupyterHub and the edge ask of a student's server (any path under its prefix, ``api`` and ``api/status``
with JSON) and reports activity once to the hub, so the hub sees a live server of a known version. It runs no kernels,
keeps no files and authenticates nobody, because it holds nothing of anybody. Only Debian's ``python3-minimal`` is needed:
no ``json``, ``http`` or ``asyncio`` module, hence the few lines of HTTP by hand.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

LISTEN_BACKLOG = 128
REQUEST_LIMIT_BYTES = 64 * 1024
SOCKET_TIMEOUT_S = 30.0


def json_text(value: str) -> str:
    """A JSON string literal."""
    out: list[str] = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif ord(char) < 0x20 or ord(char) > 0x7E:
            out.extend(f"\\u{unit:04x}" for unit in utf16_units(char))
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def utf16_units(char: str) -> list[int]:
    """The UTF-16 code units of one character, which is what JSON escapes count in."""
    raw = char.encode("utf-16-be", "surrogatepass")
    return [raw[i] << 8 | raw[i + 1] for i in range(0, len(raw), 2)]


def timestamp() -> str:
    """Now, as the hub writes times (UTC, ISO 8601)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())


class Light:
    """The server's state: who it belongs to, when it started, how many requests it answered."""

    def __init__(self, env: dict[str, str]) -> None:
        self.prefix = "/" + env.get("JUPYTERHUB_SERVICE_PREFIX", "/").strip("/")
        if not self.prefix.endswith("/"):
            self.prefix += "/"
        self.user = env.get("JUPYTERHUB_USER", "")
        self.server_name = env.get("JUPYTERHUB_SERVER_NAME", "")
        self.api_url = env.get("JUPYTERHUB_API_URL", "")
        self.activity_url = env.get("JUPYTERHUB_ACTIVITY_URL", "") or f"{self.api_url}/users/{self.user}/activity"
        self.token = env.get("JUPYTERHUB_API_TOKEN", "")
        self.hub_version = env.get("SEMESTERHUB_HUB_VERSION", "")
        self.started = timestamp()
        self.requests = 0

    def answer(self, method: str, path: str) -> tuple[str, str, str]:
        """Status line, content type and body for one request."""
        self.requests += 1
        path = path.split("?", 1)[0]
        if not (path + "/").startswith(self.prefix):
            return "404 Not Found", "application/json", '{"message": "not under this server\'s prefix"}'
        rest = path[len(self.prefix) :].strip("/")
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "application/json", '{"message": "this server only answers GET"}'
        if rest == "api":
            return "200 OK", "application/json", '{"version": "light"}'
        if rest == "api/status":
            body = (
                f'{{"started": {json_text(self.started)}, "last_activity": {json_text(timestamp())}, '
                f'"connections": 0, "kernels": 0, "requests": {self.requests}, "user": {json_text(self.user)}}}'
            )
            return "200 OK", "application/json", body
        return (
            "200 OK",
            "text/html; charset=utf-8",
            f"<!doctype html><title>light</title><p>light server of {self.user}</p>",
        )

    def report_activity(self) -> str:
        """Tell the hub that this server is alive; returns the hub's status line, empty if there is no hub to tell."""
        if not self.api_url or not self.user:
            return ""
        scheme, _, rest = self.activity_url.partition("://")
        authority, _, path = rest.partition("/")
        if scheme != "http":
            return f"unsupported scheme {scheme}"
        host, _, port = authority.partition(":")
        now = json_text(timestamp())
        body = f'{{"servers": {{{json_text(self.server_name)}: {{"last_activity": {now}}}}}, "last_activity": {now}}}'
        request = (
            f"POST /{path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: token {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        )
        with socket.create_connection((host, int(port or 80)), timeout=SOCKET_TIMEOUT_S) as conn:
            conn.sendall(request.encode())
            return conn.recv(4096).split(b"\r\n", 1)[0].decode("latin-1")


def serve_connection(light: Light, conn: socket.socket) -> None:
    """Answer the one request of a connection and close it."""
    with conn:
        conn.settimeout(SOCKET_TIMEOUT_S)
        data = b""
        try:
            while b"\r\n\r\n" not in data and len(data) < REQUEST_LIMIT_BYTES:
                chunk = conn.recv(8192)
                if not chunk:
                    return
                data += chunk
            parts = data.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            if len(parts) != 3:
                return
            status, kind, text = light.answer(parts[0], parts[1])
            body = text.encode()
            version = f"X-JupyterHub-Version: {light.hub_version}\r\n" if light.hub_version else ""
            head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{version}Connection: close\r\n\r\n"
            conn.sendall(head.encode() + (b"" if parts[0] == "HEAD" else body))
        except OSError:
            return  # the client went away; nothing to tell anybody


def report_until_heard(light: Light) -> None:
    """Report activity, a few times if the hub is away (it may be restarting)."""
    for attempt in range(5):
        try:
            status = light.report_activity()
            if status:
                print(f"activity: {status}", flush=True)
            return
        except OSError as error:
            print(f"activity: {error}", flush=True)
            time.sleep(2**attempt)


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    light = Light(dict(os.environ))
    listener = socket.create_server(("", int(os.environ.get("SEMESTERHUB_LIGHT_PORT", "8888"))), backlog=LISTEN_BACKLOG)
    print(f"light server on {listener.getsockname()[1]} under {light.prefix}", flush=True)
    threading.Thread(target=report_until_heard, args=(light,), daemon=True).start()
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve_connection, args=(light, conn), daemon=True).start()


if __name__ == "__main__":
    main()
