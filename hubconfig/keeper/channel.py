"""One lasting connection between the sites: questions and answers over one SSH process, many at a time.

A message is a JSON document and some bytes, cut into frames of at most FRAME_BYTES, so that a short question (a beat) is
never kept waiting by a long answer. rsync uses the same SSH connection (ControlMaster), so nothing but the first connection
costs a handshake.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import shlex
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from typing import IO, Any

from .config import KeeperConfig
from .errors import KeeperError

FRAME_BYTES = 32 << 10
MESSAGE_MAX_BYTES = 2 << 30
_HEAD = struct.Struct(">IBI")
_LENGTH = struct.Struct(">I")
MORE, LAST = 0, 1
CALL_S = 60.0
BEAT_S = 5.0
IDLE_S = 60.0
"""A server that is asked nothing for this long ends: its client went away without a word."""
RETRY_S = 1.0

Handler = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]


class Wire:
    """Messages over two pipes. One thread reads, any may write."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self._reading, self._writing = reading, writing
        self._lock = threading.Lock()
        self._parts: dict[int, bytearray] = {}

    def send(self, number: int, body: Mapping[str, Any], data: bytes = b"") -> None:
        """OSError when the other end is gone."""
        text = json.dumps(body).encode()
        message = memoryview(_LENGTH.pack(len(text)) + text + data)
        for at in range(0, len(message), FRAME_BYTES):
            piece = message[at : at + FRAME_BYTES]
            flag = LAST if at + FRAME_BYTES >= len(message) else MORE
            with self._lock:
                try:
                    self._writing.write(_HEAD.pack(number, flag, len(piece)) + piece)
                    self._writing.flush()
                except ValueError as error:  # closed
                    raise OSError(str(error)) from None

    def receive(self) -> tuple[int, dict[str, Any], bytes] | None:
        """The next message; None at the end."""
        while True:
            head = self._read(_HEAD.size)
            if head is None:
                return None
            number, flag, length = _HEAD.unpack(head)
            piece = self._read(length) if length <= FRAME_BYTES else None
            if piece is None:
                return None
            whole = self._parts.setdefault(number, bytearray())
            whole += piece
            if len(whole) > MESSAGE_MAX_BYTES:
                return None
            if flag == LAST:
                del self._parts[number]
                (size,) = _LENGTH.unpack_from(whole)
                return number, json.loads(whole[4 : 4 + size]), bytes(whole[4 + size :])

    def _read(self, length: int) -> bytes | None:
        try:
            data = self._reading.read(length)
        except (OSError, ValueError):
            return None
        return data if len(data) == length else None


def serve(
    reading: IO[bytes], writing: IO[bytes], handlers: Mapping[str, Handler], *, idle: Callable[[], object] | None = None
) -> None:
    """Answers until the other end is gone. Questions are answered beside each other.

    ``idle`` is called when nothing was asked for IDLE_S.
    """
    wire = Wire(reading, writing)
    heard = [time.monotonic()]

    def answer(number: int, body: dict[str, Any], data: bytes) -> None:
        try:
            reply, more = handlers[str(body.pop("op", ""))](body, data)
        except KeeperError as error:
            reply, more = {"refused": str(error)}, b""
        except Exception as error:  # noqa: BLE001 - told to the other side, which tries again
            reply, more = {"failed": f"{type(error).__name__}: {error}"}, b""
        try:
            wire.send(number, reply, more)
        except OSError:
            return

    def watch() -> None:
        while time.monotonic() - heard[0] < IDLE_S:
            time.sleep(1)
        if idle is not None:
            idle()

    threading.Thread(target=watch, daemon=True).start()
    with ThreadPoolExecutor(8) as pool:
        while (message := wire.receive()) is not None:
            heard[0] = time.monotonic()
            pool.submit(answer, *message)


class Channel:
    """The dialing end. It connects when it is first asked, and again after the connection was lost."""

    def __init__(self, command: Callable[[], Sequence[str]]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._waiting: dict[int, Future[tuple[dict[str, Any], bytes]]] = {}
        self._failed_at = -RETRY_S
        self._why = ""
        self.connections = 0
        """How often it has connected; another number means another server process over there."""

    def call(
        self, op: str, body: Mapping[str, Any] | None = None, data: bytes = b"", *, timeout_s: float = CALL_S
    ) -> tuple[dict[str, Any], bytes]:
        """Asks and returns the answer. KeeperError when the other site refuses, OSError when it does not answer."""
        with self._lock:
            wire = self._connected()
            number = next(self._numbers) & 0xFFFFFFFF
            waiting: Future[tuple[dict[str, Any], bytes]] = Future()
            self._waiting[number] = waiting
        try:
            wire.send(number, {**(body or {}), "op": op}, data)
            reply, more = waiting.result(timeout_s)
        except TooLate:
            raise OSError(f"the other site does not answer ({op}) within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if "refused" in reply:
            raise KeeperError(str(reply["refused"]))
        if "failed" in reply:
            raise OSError(f"the other site failed ({op}): {reply['failed']}")
        return reply, more

    def exchange(self, hello: dict[str, Any]) -> dict[str, Any]:
        """One beat (:class:`.keeper.PeerChannel`)."""
        return self.call("hello", {"hello": hello}, timeout_s=BEAT_S)[0]["hello"]

    def close(self) -> None:
        """Ends the connection; the next question makes a new one."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()
            self._process = None

    def _connected(self) -> Wire:
        if self._process is not None and self._process.poll() is None and self._wire is not None:
            return self._wire
        if time.monotonic() < self._failed_at + RETRY_S:
            raise OSError(self._why or "the connection to the other site was lost a moment ago")
        self._failed_at = time.monotonic()
        with tempfile.TemporaryFile() as errors:
            said = Path(f"/proc/self/fd/{errors.fileno()}").open("rb")  # noqa: SIM115 - read when the process has ended
            process = subprocess.Popen(
                list(self._command()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        assert process.stdin is not None
        assert process.stdout is not None
        wire = Wire(process.stdout, process.stdin)
        self._process, self._wire = process, wire
        self.connections += 1
        threading.Thread(target=self._read, args=(process, wire, said), daemon=True, name="channel").start()
        return wire

    def _read(self, process: subprocess.Popen[bytes], wire: Wire, said: IO[bytes]) -> None:
        while (message := wire.receive()) is not None:
            number, body, data = message
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result((body, data))
        process.kill()
        process.wait()
        with said:
            lines = said.read().decode(errors="replace").strip().splitlines()
        with self._lock:
            self._why = (
                f"the connection to the other site ended: {lines[-1]}"
                if lines
                else "the connection to the other site ended"
            )
            if self._process is process:
                self._process = None
            lost, self._waiting = self._waiting, {}
        for waiting in lost.values():
            if not waiting.done():
                waiting.set_exception(OSError(self._why))


def make_key(config: KeeperConfig) -> None:
    """This site's key for its peer, once. It never leaves the machine; `status` shows its public half."""
    key = config.secrets_path / "peer_key"
    public = key.with_suffix(".pub")
    if key.exists() and public.exists():
        return
    config.secrets_path.mkdir(parents=True, exist_ok=True)
    with (
        (config.secrets_path / ".peer_key.lock").open("a") as lock,
        tempfile.TemporaryDirectory(dir=config.secrets_path) as aside,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if key.exists() and public.exists():
            return
        fresh = Path(aside) / "peer_key"
        comment = f"keeper-{config.site}@{config.domain}"
        done = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise KeeperError(
                f"no key for the other site could be made in {config.secrets_path}: {done.stderr.strip()[-300:]}"
            )
        fresh.with_suffix(".pub").replace(public)  # first: where there is a private half, there is the other one too
        fresh.replace(key)


def ssh(config: KeeperConfig, *, master: bool) -> list[str]:
    """`ssh` to the peer, without the host and the command. The master carries the channel; the others go through it."""
    peer = config.peer
    if peer is None or not config.host_key():
        raise KeeperError(
            "no other site is known here: keeper.json has no `peer`, or its host key is not told yet (`trust`)"
        )
    control, known = control_path(config), config.run_path / "known_hosts"
    line = f"[{peer.host}]:{peer.port} {config.host_key()}\n"
    if peer.port == 22:
        line += f"{peer.host} {config.host_key()}\n"
    if not known.exists() or known.read_text() != line:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(line)
    if master:
        make_key(config)
        control.unlink(missing_ok=True)
    options = [
        "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes", "ConnectTimeout=5", "ServerAliveInterval=5", "ServerAliveCountMax=3", "LogLevel=ERROR",
        f"ControlPath={control}", f"ControlMaster={'yes' if master else 'no'}", "ControlPersist=no",
    ]  # fmt: skip
    words = [
        "ssh",
        "-F",
        "none",
        "-T",
        "-i",
        str(config.secrets_path / "peer_key"),
        "-p",
        str(peer.port),
        "-l",
        peer.user,
    ]
    return [*words, *(word for option in options for word in ("-o", option))]


def control_path(config: KeeperConfig) -> Path:
    """Socket of the SSH connection that all share."""
    return config.run_path / "peer.ssh"


_shared: dict[Path, Channel] = {}
_shared_lock = threading.Lock()


def shared(config: KeeperConfig) -> Channel | None:
    """This process's channel to the peer; None where this site does not dial."""
    if not config.dials or config.peer is None:
        return None
    peer = config.peer
    with _shared_lock:
        if config.run_path not in _shared:
            _shared[config.run_path] = Channel(lambda: [*ssh(config, master=True), peer.host, "peer"])
        return _shared[config.run_path]


def quoted(words: Sequence[str]) -> list[str]:
    """Words for rsync's --rsh, which splits them at spaces."""
    return [shlex.quote(word) for word in words]
