"""The front door of the AWS emulator: a WSGI application before moto's own.

The door executes one request at a time, keeps the journal, asks the gate of faults, and answers itself what moto does
not know (sandbox/aws/extras.py).
"""

from __future__ import annotations

import base64
import io
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from moto.moto_api._internal import mock_random

from sandbox.aws import errors, world
from sandbox.aws.extras import Extras
from sandbox.aws.journal import Journal, fingerprint, line
from sandbox.emulator import Child
from sandbox.faults import Fault, Gate

CALL_HEADER = "HTTP_X_SEMESTERHUB_CALL"
"""The stand-in names the operation; any other client's is worked out from the request."""
KEPT_HEADERS = ("CONTENT_TYPE", CALL_HEADER, "HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_X_AMZ_TARGET", "HTTP_CONTENT_MD5")
_KEPT_PREFIX = "HTTP_X_AMZ_"
LOOKING = re.compile(r"(?:Describe|Get|List|Head|BatchGet|Lookup|Select|Query|Scan|Decode|Assume|Test|Simulate|Search)")

SEED = "SEED"
"""Method of a line that is no request: something that was there before."""

Start = Callable[[str, list[tuple[str, str]]], Any]


class Front:
    """The front door: a WSGI application before moto's."""

    def __init__(self, process: Child, gate: Gate) -> None:
        import moto
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._process = process
        self._gate = gate
        world.mind_conditions()
        self._facts = world.facts(os.environ)
        self._account = str(self._facts.get("account") or world.DEFAULT_ACCOUNT)
        self._extras = Extras(self._account)
        self._seeded: set[str] = set()
        self._journal = Journal(process.state_dir, moto.__version__)
        self._lock = threading.Lock()
        self._lines = 0
        self._touched: set[tuple[str, str]] = set()
        self._unseen: dict[str, int] = {}
        """Ids that the next so many looks do not find yet (fault `lag`)."""

    def replay(self) -> None:
        """Bring moto to where the last run left it. Raises SystemExit when it gives other ids than then."""
        for entry in self._journal:
            if entry.method == SEED:
                self._seed(entry.target)
                continue
            body = base64.b64decode(entry.body)
            path, _, query = entry.target.partition("?")
            environ = {**_environ(entry.method, path, query, body), **entry.headers}
            self._touched.add(_scope(environ))
            status, _, answer = self._execute(environ, body)
            if status >= 400 or fingerprint(answer) != entry.ids:
                raise SystemExit(
                    f"line {self._lines + 1} of {self._journal.path} gives another result than when it was written (HTTP {status}): "
                    f"delete the folder {self._process.state_dir} and the stack's state in the sandbox, then run up again."
                )
            self._lines += 1
        self._journal.open()
        zone = self._facts.get("zone")
        if zone:
            self._seed_once(f"zone {zone}")

    def _seed_once(self, what: str) -> None:
        """Something that was there before the stack; noted in the journal, since what comes later refers to it."""
        if what not in self._seeded:
            self._seed(what)
            self._journal.append(line(SEED, what, {}, b"", b""))

    def _seed(self, what: str) -> None:
        self._seeded.add(what)
        mock_random.seed(self._lines + 1)
        kind, *rest = what.split(" ")
        if kind == "zone":
            world.make_zone(self._account, rest[0])
        else:
            world.make_image(self._account, *rest)
        self._lines += 1

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """One request."""
        self._process.touch()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        call = name_of(environ, body)
        looking = LOOKING.match(call.partition(":")[2]) is not None
        image = world.wanted_image(call, body)
        with self._lock:
            if image:
                self._seed_once(f"image {_scope(environ)[1]} {image}")
            fault = None if looking else self._gate.enter(call)
        if fault and fault.kind != "lag":
            return self._strike(fault, environ, start)
        with self._lock:
            if looking and (hidden := self._hidden(environ, body)):
                status, headers, answer = errors.not_there(environ, hidden)
            else:
                status, headers, answer = self._execute(environ, body)
                if status < 400:
                    self._note(environ, body, answer, looking=looking)
                    if fault:
                        self._unseen |= dict.fromkeys(errors.made(answer), fault.reads)
        start(f"{status} {'OK' if status < 400 else 'Error'}", headers)
        return [answer]

    def _note(self, environ: Mapping[str, Any], body: bytes, answer: bytes, *, looking: bool) -> None:
        """Into the journal: what changes something, and the first touch of a service in a region, which makes moto draw
        the ids of the default VPC and the like."""
        scope = _scope(environ)
        if looking and scope in self._touched:
            return
        self._touched.add(scope)
        kept = {k: str(v) for k, v in environ.items() if k in KEPT_HEADERS or k.startswith(_KEPT_PREFIX)}
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        self._journal.append(line(environ["REQUEST_METHOD"], _raw_path(environ) + query, kept, body, answer))
        self._lines += 1

    def _execute(self, environ: Mapping[str, Any], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        mock_random.seed(self._lines + 1)
        answer = self._extras.answer(environ, body, self._ask_moto)
        if answer is None:
            answer = self._ask_moto(environ, body)
        if answer[0] < 400 and name_of(environ, body) in world.UNTIDY:
            world.tidy(self._account, _scope(environ)[1])
        return answer

    def _ask_moto(self, environ: Mapping[str, Any], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        said: list[Any] = []
        again = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        chunks = self._moto(again, lambda status, headers, *_: said.extend((status, headers)))
        try:
            answer = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()
        return int(said[0].split()[0]), said[1], answer

    def _hidden(self, environ: Mapping[str, Any], body: bytes) -> str:
        """An id the request asks for that is not visible yet; counts down."""
        if not self._unseen:
            return ""
        text = unquote(_raw_path(environ) + "?" + environ.get("QUERY_STRING", "")) + body.decode("utf-8", "replace")
        for id, left in list(self._unseen.items()):
            if id in text:
                if left <= 1:
                    del self._unseen[id]
                else:
                    self._unseen[id] = left - 1
                return id
        return ""

    def _strike(self, fault: Fault, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        if fault.kind == "timeout":
            time.sleep(fault.seconds)
            wire = environ.get("werkzeug.socket")
            if wire is not None:
                wire.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError(fault.message)  # the client sees the connection end
        status, headers, answer = errors.refusal(fault, environ)
        start(f"{status} Error", headers)
        return [answer]


def name_of(environ: Mapping[str, Any], body: bytes) -> str:
    """`ec2:CreateVpc`, from the header of our own client or from the request."""
    if environ.get(CALL_HEADER):
        return str(environ[CALL_HEADER])
    service = _scope(environ)[0] or "unsigned"
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return f"{service}:{target.rpartition('.')[2]}"
    if environ["REQUEST_METHOD"] == "POST" and (action := parse_qs(body.decode("utf-8", "replace")).get("Action")):
        return f"{service}:{action[0]}"
    verb = "Get" if environ["REQUEST_METHOD"] in {"GET", "HEAD"} else environ["REQUEST_METHOD"].title()
    return f"{service}:{verb} {environ.get('PATH_INFO', '')}"


def _scope(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Service and region of a signed request."""
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", str(environ.get("HTTP_AUTHORIZATION", "")))
    return (found[2], found[1]) if found else ("", "")


def _raw_path(environ: Mapping[str, Any]) -> str:
    return str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "")).partition("?")[0]


def _environ(method: str, path: str, query: str, body: bytes) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "RAW_URI": path + (f"?{query}" if query else ""),
        "REQUEST_URI": path + (f"?{query}" if query else ""),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
