"""The two sites of a semester as an admin's command sees them: each one's keeper, asked over whatever leads there.

`cloud` is the hub VM that Pulumi deployed, `fallback` the bare-metal machine. Nothing here needs Pulumi's backend: where
the sites are was written down by `./hub fallback.up`.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from operations import ssh
from operations.errors import UserError

KEEPER = ("docker", "exec", "-i", "keeper", "python3", "-m", "hubconfig.keeper")
REFUSED = 3
"""Exit code of a keeper that says no; its standard error is one sentence."""
ASK_TIMEOUT_S = 45.0
SECRETS = "/var/lib/semesterhub/secrets"


class UnreachableError(UserError):
    """The site's machine or its keeper does not answer."""


class RefusedError(UserError):
    """The site's keeper answered no."""


@dataclass(frozen=True)
class Done:
    """A finished command on a site's machine."""

    code: int
    out: str
    err: str


class Transport(Protocol):
    """Runs a command as root on a site's machine. Raises UnreachableError."""

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> Done: ...


@dataclass(frozen=True)
class Site:
    """One site. `address`: what the hub's name is to point to; `port`: where its edge answers there."""

    name: str
    address: str
    port: int
    transport: Transport = field(repr=False)

    def keeper(self, *arguments: str, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> dict[str, Any]:
        """One command of the keeper; its answer. Raises RefusedError or UnreachableError."""
        done = self.transport.run([*KEEPER, *arguments], stdin=stdin, timeout_s=timeout_s)
        said = done.err.strip().splitlines()
        if done.code == REFUSED:
            raise RefusedError(f"the {self.name} site refuses: {' '.join(said) or 'it does not say why'}")
        if done.code != 0:
            raise UnreachableError(
                f"the {self.name} site's keeper does not answer: {said[-1] if said else 'no reason given'}"
            )
        try:
            answer = json.loads(done.out or "{}")
        except ValueError:
            raise UnreachableError(f"the {self.name} site's keeper answers no JSON: {done.out[:200]!r}") from None
        return answer if isinstance(answer, dict) else {"answer": answer}

    def status(self, timeout_s: float = 15) -> dict[str, Any]:
        return self.keeper("status", timeout_s=timeout_s)

    def secret(self, name: str) -> str:
        """A secret of the hub there, such as `operator_token`. Never log or print it."""
        if not re.fullmatch(r"[a-z_]+", name):
            raise ValueError(name)
        done = self.transport.run(["cat", f"{SECRETS}/{name}"], timeout_s=15)
        if done.code != 0 or not done.out.strip():
            raise UnreachableError(f"the {self.name} site has no {name}; bring it up first")
        return done.out.strip()


@dataclass(frozen=True)
class DockerTransport:
    """Into a machine container of the local cloud."""

    machine: str

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> Done:
        return call(["docker", "exec", "-i", self.machine, *command], stdin, timeout_s, f"the machine {self.machine}")


class SshTransport:
    """Over SSH. The connection is opened at the first command, kept, and opened again when it broke; `close` it at the end."""

    def __init__(self, target: ssh.Target) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._open: contextlib.ExitStack | None = None
        self._machine: ssh.Machine | None = None

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> Done:
        try:
            done = self._connected().run(list(command), stdin, timeout_s=timeout_s, check=False)
        except ssh.Unreachable as away:
            self.close()
            raise UnreachableError(str(away)) from None
        if done.code == ssh.TIMED_OUT:
            raise UnreachableError(f"{self.target.said} did not answer within {timeout_s:g} s")
        return Done(done.code, done.text, done.stderr)

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = self._machine = None

    def _connected(self) -> ssh.Machine:
        with self._lock:
            if self._machine is None:
                self._open = contextlib.ExitStack()
                self._machine = self._open.enter_context(ssh.connect(self.target))
            return self._machine


_AWAY = re.compile(r"No such container|is not running|Cannot connect to the Docker daemon|is paused", re.IGNORECASE)


def call(command: Sequence[str], stdin: str, timeout_s: float, where: str) -> Done:
    """Run a command of this machine that leads to a site. Raises UnreachableError when it does not get there in time."""
    try:
        done = subprocess.run(
            list(command), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{where} did not answer within {timeout_s:g} s") from None
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed on this machine") from None
    if done.returncode not in (0, REFUSED) and _AWAY.search(done.stderr):
        raise UnreachableError(f"{where} does not answer: {done.stderr.strip().splitlines()[-1]}")
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Sites:
    """Both sites of a stack."""

    cloud: Site
    fallback: Site

    def named(self, name: str) -> Site:
        return self.cloud if name == "cloud" else self.fallback

    def other(self, name: str) -> Site:
        return self.fallback if name == "cloud" else self.cloud


def look(site: Site) -> dict[str, Any] | None:
    """The site's status, or None when it cannot be reached."""
    try:
        return site.status()
    except UnreachableError:
        return None


def active_name(sites: Sites) -> str:
    """Which site is active in the newest epoch that can be seen. Raises UserError when no site says it is."""
    seen = {name: look(sites.named(name)) for name in ("cloud", "fallback")}
    active = [(s["epoch"], name) for name, s in seen.items() if s and s.get("role") == "active"]
    if active:
        return max(active)[1]
    said = ", ".join(f"{name}: {s['role'] if s else 'does not answer'}" for name, s in seen.items())
    raise UserError(
        f"no site says that it is active ({said}). An unfinished move continues with the command that began it."
    )
