"""A Docker registry of the test's own on loopback: as much of the v2 protocol as `docker push` needs."""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Registry:
    """What was pushed. `pushes`: how many manifests were put."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.pushes = 0
        self.address = ""


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            content = b""
            while length := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        kind = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", self.path)
        if self.path == "/v2/":
            self._send(200)
        elif kind and kind[2] == "manifests" and (kind[1], kind[3]) in self.registry.manifests:
            body, media_type = self.registry.manifests[kind[1], kind[3]]
            self._send(200, body, Content_Type=media_type, Docker_Content_Digest=_digest(body))
        elif kind and kind[2] == "blobs" and kind[3] in self.registry.blobs:
            self._send(200, self.registry.blobs[kind[3]], Docker_Content_Digest=kind[3])
        else:
            self._send(404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}')

    do_HEAD = do_GET  # noqa: N815  (http.server wants it so)

    def do_POST(self) -> None:
        self._body()
        upload = str(uuid.uuid4())
        self.registry.uploads[upload] = b""
        repository = self.path.split("/blobs/")[0]
        self._send(202, Location=f"{repository}/blobs/uploads/{upload}", Docker_Upload_UUID=upload, Range="0-0")

    def do_PATCH(self) -> None:
        upload = self.path.rpartition("/")[2].partition("?")[0]
        self.registry.uploads[upload] += self._body()
        size = len(self.registry.uploads[upload])
        self._send(202, Location=self.path, Docker_Upload_UUID=upload, Range=f"0-{size - 1}")

    def do_PUT(self) -> None:
        body = self._body()
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", self.path)
        if manifest:
            stored = (body, self.headers["Content-Type"])
            self.registry.manifests[manifest[1], manifest[2]] = self.registry.manifests[manifest[1], _digest(body)] = (
                stored
            )
            self.registry.pushes += 1
            self._send(201, Docker_Content_Digest=_digest(body))
            return
        upload = self.path.rpartition("/")[2].partition("?")[0]
        content = self.registry.uploads.pop(upload) + body
        if self.path.partition("digest=")[2].replace("%3A", ":") != _digest(content):
            self._send(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
            return
        self.registry.blobs[_digest(content)] = content
        self._send(201, Docker_Content_Digest=_digest(content))


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@contextmanager
def running(port: int = 0, registry: Registry | None = None) -> Iterator[Registry]:
    """A registry on loopback; `port` 0 takes a free one."""
    registry = registry or Registry()
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"registry": registry}))
    server.daemon_threads = True
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
