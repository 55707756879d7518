"""A machine reached over SSH from the admin's: commands, files, a tunnel. The OpenSSH client does the work.

    target = Target("hub0.example.edu", 22, "root", key_file, known_hosts)
    with connect(target) as machine:
        machine.run(["semesterhub-node", "status"]).json()

Nothing asks a question (BatchMode). Everything is refused with one sentence: `Unreachable` when the machine or its SSH does not
answer, `NotLetIn` when it answers but does not let this key in, or is not the machine that it was; both are UserErrors.
Secrets travel on standard input, never in a command.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shlex
import socket
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations import packages
from operations.errors import UserError
from operations.progress import note

CONNECT_TIMEOUT_S = 10
ALIVE_EVERY_S, ALIVE_MISSES = 5, 3
"""A connection whose other side was cut off without a word is given up after the product of the two."""
IDLE_S = 20
"""How long the shared connection stays open behind a process that was killed."""
TUNNEL_TIMEOUT_S = 15
SSH_FAILED = 255
"""Exit status of ssh itself; a command of the machine that ends with it is taken for the same."""
TIMED_OUT = 124
POLL_EVERY_S = 0.1


class Unreachable(UserError):
    """The machine, or SSH on it, does not answer."""


class NotLetIn(UserError):
    """It answers, but this key does not open it, or it is not the machine it was."""


@dataclass(frozen=True)
class Target:
    """How a machine is reached. `host_key`: its pinned public key (`ssh-ed25519 AAAA…`); "" trusts it at first use."""

    host: str
    port: int
    user: str
    key_file: Path
    known_hosts: Path
    """This project's own list of host keys, never the user's."""
    host_key: str = ""

    @property
    def name(self) -> str:
        """As the list of host keys names it."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    @property
    def said(self) -> str:
        """For a message."""
        return f"{self.user}@{self.host} port {self.port}"


@dataclass(frozen=True)
class Done:
    """How a command ended. `code` 124: it ran out of time."""

    command: str
    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last lines of what it said, on one line."""
        lines = (self.stderr.strip() or self.text.strip()).splitlines()[-4:]
        return " / ".join(line.strip() for line in lines)

    def json(self) -> Any:
        """Standard output as JSON. Raises UserError."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise UserError(f"`{self.command}` did not answer with JSON: {self.text[:200] or 'nothing'}") from None


class Machine:
    """An open connection; made by :func:`connect`. One may be shared by threads."""

    def __init__(self, target: Target, program: str, socket_path: Path) -> None:
        self.target, self._program, self._socket = target, program, socket_path

    # -- what one does with it ----------------------------------------------------------------------------------------

    def run(
        self,
        command: Sequence[str] | str,
        stdin: bytes | str = b"",
        *,
        timeout_s: float = 60,
        check: bool = True,
        on_line: Callable[[str], None] | None = None,
    ) -> Done:
        """Run a command as root: a list of words, or a line for the machine's shell.

        `on_line` gets each line of its standard error while it runs. Raises Unreachable, NotLetIn; with `check`, UserError
        when the command fails or takes longer than `timeout_s`.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        done = self._ssh(["--", self.target.host, self._as_root(line)], line, stdin, timeout_s, on_line)
        if done.code == SSH_FAILED:
            raise explain(self.target, done.stderr)
        if check and done.code:
            late = f"did not end within {timeout_s:g} s" if done.code == TIMED_OUT else f"failed ({done.code})"
            raise UserError(f"on {self.target.host}, `{_short(line)}` {late}: {done.tail or 'it said nothing'}")
        return done

    def put(self, files: Mapping[str, tuple[bytes, int]], *, timeout_s: float = 120) -> None:
        """Write files (absolute path -> content, mode), owned by root, folders made as needed; each appears whole or not at all."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, (content, mode) in files.items():
                entry = tarfile.TarInfo(path.strip("/") + ".new")
                entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
                tar.addfile(entry, io.BytesIO(content))
        # Docker makes an empty folder of what a container of an earlier installation mounts and does not find.
        names = [(shlex.quote(path), shlex.quote(path + ".new")) for path in files]
        moves = " && ".join(f"{{ [ ! -d {path} ] || rmdir {path}; }} && mv -fT {new} {path}" for path, new in names)
        unpack = "umask 022 && tar -x -C / --no-same-owner --no-overwrite-dir -f -"
        self.run(f"{unpack} && {moves}" if moves else "true", archive.getvalue(), timeout_s=timeout_s)

    def read(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""
        done = self.run(f"cat {shlex.quote(path)} 2>/dev/null || exit 44", check=False)
        return None if done.code == 44 else done.stdout

    @contextlib.contextmanager
    def tunnel(self, port: int, host: str = "127.0.0.1") -> Iterator[int]:
        """A port of this machine's loopback that leads to `host:port` as the other machine sees it. Raises UserError."""
        local = _free_port()
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [self._program, *self._options(shared=False), "-o", "ExitOnForwardFailure=yes", "-N",
                 "-L", f"127.0.0.1:{local}:{host}:{port}", "--", self.target.host],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
            try:
                deadline = time.monotonic() + TUNNEL_TIMEOUT_S + CONNECT_TIMEOUT_S
                while not _answers(local):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise explain(self.target, _text(said))
                    time.sleep(POLL_EVERY_S)
                yield local
            finally:
                process.terminate()
                process.wait()

    def close(self) -> None:
        """End the shared connection."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                [self._program, "-S", str(self._socket), "-O", "exit", "--", self.target.host],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5, check=False,
            )  # fmt: skip

    # -- how ----------------------------------------------------------------------------------------------------------

    def _as_root(self, line: str) -> str:
        return line if self.target.user == "root" else f"sudo -n sh -c {shlex.quote(line)}"

    def _options(self, *, shared: bool = True) -> list[str]:
        target = self.target
        values = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_TIMEOUT_S),
            "ServerAliveInterval": str(ALIVE_EVERY_S),
            "ServerAliveCountMax": str(ALIVE_MISSES),
            "IdentitiesOnly": "yes",
            "PasswordAuthentication": "no",
            "StrictHostKeyChecking": "yes" if target.host_key else "accept-new",
            "UserKnownHostsFile": str(target.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "HashKnownHosts": "no",
            "UpdateHostKeys": "no",
            "LogLevel": "ERROR",
            "ControlMaster": "auto" if shared else "no",
            "ControlPath": str(self._socket) if shared else "none",
            "ControlPersist": str(IDLE_S) if shared else "no",
        }
        options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
        return [*options, "-i", str(target.key_file), "-p", str(target.port), "-l", target.user]

    def _ssh(
        self, rest: list[str], line: str, stdin: bytes | str, timeout_s: float, on_line: Callable[[str], None] | None
    ) -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        # Files, not pipes: the shared connection inherits them and would keep a pipe open long after the command's end.
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            source.write(given)
            source.seek(0)
            process = subprocess.Popen([self._program, *self._options(), *rest], stdin=source, stdout=out, stderr=err)
            try:
                code = _wait(process, err, timeout_s, on_line)
            except BaseException:
                process.kill()
                process.wait()
                raise
            out.seek(0)
            return Done(_short(line), code, out.read(), _text(err))


def program() -> str:
    """The OpenSSH client, installed where that needs no question. Raises UserError."""
    why = "the SSH client, which reaches the fallback"
    return str(packages.program(("ssh",), package="openssh-client", why=why))


@contextlib.contextmanager
def connect(target: Target) -> Iterator[Machine]:
    """The machine, reached and let in. Raises Unreachable and NotLetIn, each a sentence that says what to do."""
    _check_key(target)
    first = _prepare_known_hosts(target)
    machine = Machine(target, program(), _socket_path(target))
    try:
        machine.run(["true"], timeout_s=CONNECT_TIMEOUT_S + 20)
        if first and (seen := known_key(target)):
            note(f"{target.host}: first contact, its host key {fingerprint(seen)} is trusted from now on")
        yield machine
    finally:
        machine.close()


def known_key(target: Target) -> str:
    """The host key by which the machine is known: the pinned one, or the one of the first contact; "" before it."""
    if target.host_key:
        return " ".join(target.host_key.split()[:2])
    with contextlib.suppress(FileNotFoundError):
        for line in target.known_hosts.read_text("utf-8").splitlines():
            words = line.split()
            if len(words) >= 3 and words[0] == target.name:
                return " ".join(words[1:3])
    return ""


def fingerprint(host_key: str) -> str:
    """As `ssh-keygen -l` shows it: `SHA256:…`."""
    import base64

    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def explain(target: Target, said: str) -> UserError:
    """What OpenSSH said, as a sentence with what to do."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    if "Host key verification failed" in said or "HOST IDENTIFICATION HAS CHANGED" in said:
        known = known_key(target)
        return NotLetIn(
            f"{target.said} shows another host key than the one it is known by ({fingerprint(known) if known else 'none'}).\n"
            "  If the machine was installed anew: correct semesterhub:fallback.host_key, or without that key remove its line\n"
            f"  from {target.known_hosts}. If it was not, somebody else answers there."
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        return NotLetIn(
            f"{target.said} does not let the key {target.key_file} in.\n"
            f"  Put its public half into the authorized_keys of {target.user} there, or correct semesterhub:fallback.ssh_key\n"
            "  or semesterhub:fallback.user. A key with a passphrase must be in a running ssh-agent."
        )
    if "invalid format" in said or "error in libcrypto" in said:
        return NotLetIn(f"{target.key_file} is no private SSH key: {last}. Correct semesterhub:fallback.ssh_key.")
    if "sudo:" in said:
        return NotLetIn(f"{target.said} may not become root without a password: {last}.")
    return Unreachable(
        f"{target.said} cannot be reached: {last}.\n"
        "  Start the machine, correct semesterhub:fallback.host and port, or open the port for this network."
    )


def _check_key(target: Target) -> None:
    key = target.key_file
    if not key.is_file():
        raise NotLetIn(
            f"semesterhub:fallback.ssh_key: {key} does not exist. Name the private key that opens {target.said}."
        )
    if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotLetIn(f"semesterhub:fallback.ssh_key: others can read {key}, so SSH refuses it. Run: chmod 600 {key}")


def _prepare_known_hosts(target: Target) -> bool:
    """The list of host keys is there, with the pinned key where one is given; True when the machine is not in it yet."""
    path = target.known_hosts
    path.parent.mkdir(parents=True, exist_ok=True)
    if target.host_key:
        wanted = f"{target.name} {' '.join(target.host_key.split()[:2])}\n"
        if not path.exists() or path.read_text("utf-8") != wanted:
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(wanted, "utf-8")
            fresh.replace(path)
        return False
    return not known_key(target)


def _socket_path(target: Target) -> Path:
    """Of the shared connection. Short, since a socket's path has 104 bytes; in a folder that is this user's alone."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"semesterhub-ssh-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UserError(f"{folder} is not a folder of this user alone. Remove it, then run this again.")
    mark = hashlib.sha256(f"{target}".encode()).hexdigest()[:12]
    return folder / f"{mark}-{os.getpid()}-{os.urandom(3).hex()}"


def _wait(process: subprocess.Popen[bytes], err: Any, timeout_s: float, on_line: Callable[[str], None] | None) -> int:
    deadline = time.monotonic() + timeout_s
    told = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(POLL_EVERY_S if on_line else timeout_s, max(0.01, deadline - time.monotonic())))
        if on_line:
            *whole, _ = os.pread(err.fileno(), 1 << 20, told).split(b"\n")
            for text in whole:
                told += len(text) + 1
                on_line(text.decode("utf-8", "replace").strip())
        if process.returncode is not None:
            return process.returncode
        if time.monotonic() >= deadline:
            process.kill()
            process.wait()
            return TIMED_OUT


def _text(file: Any) -> str:
    return os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace")


def _short(line: str) -> str:
    return line if len(line) <= 100 else f"{line[:97]}…"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
