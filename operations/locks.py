"""Locks: ours (flock, so a killed owner never leaves one behind) and Pulumi's (files that outlive a killed CLI)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operations.errors import UserError


@contextlib.contextmanager
def file_lock(path: Path, doing: str, *, wait: bool = True, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `path` for this process; its content says who holds it and what for.

    `doing` completes "process 123 is …". With `wait`, waits for the other one and says so once through `say`;
    without, raises UserError naming the holder. The kernel frees the lock when its owner ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            if not wait:
                raise UserError(
                    f"{holder}.\n  Wait until it ends (or stop it with Ctrl-C there), then run this again."
                ) from None
            (say or _say)(f"{holder}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} is {doing} since {time.strftime('%H:%M:%S')}")
        handle.flush()
        try:
            yield
        finally:
            # The file stays: deleting it would let a third process lock a new file of the same name.
            handle.seek(0)
            handle.truncate()


def _say(message: str) -> None:
    print(message, file=sys.stderr)


@dataclass(frozen=True)
class PulumiLock:
    """One lock file of Pulumi's file:// backend. `pid` is 0 where the file cannot be read (half written)."""

    path: Path
    pid: int
    user: str
    host: str
    since_epoch_s: float

    @property
    def holder(self) -> str:
        """For messages: who, where, since when."""
        since = datetime.fromtimestamp(self.since_epoch_s).strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.user}@{self.host}, process {self.pid}, since {since}"


def read_pulumi_lock(path: Path) -> PulumiLock:
    """Parse one lock file. A torn file (its writer was killed) becomes a lock of process 0 on this host."""
    written = path.stat().st_mtime
    try:
        content = json.loads(path.read_text("utf-8"))
        stamp = str(content["timestamp"])
        # Go writes nanoseconds; Python 3.11 reads at most microseconds.
        head, dot, fraction = stamp.partition(".")
        if dot:
            digits = "".join(c for c in fraction if c.isdigit() or c in "+-:Z")
            split = next((i for i, c in enumerate(digits) if c in "+-Z"), len(digits))
            stamp = f"{head}.{digits[:split][:6]:0<6}{digits[split:]}"
        return PulumiLock(
            path,
            int(content["pid"]),
            str(content["username"]),
            str(content["hostname"]),
            datetime.fromisoformat(stamp).timestamp(),
        )
    except (ValueError, KeyError, TypeError):
        return PulumiLock(path, 0, "unknown", socket.gethostname(), written)


def process_start_epoch_s(pid: int) -> float | None:
    """When the process began (seconds since the epoch), or None when there is no such process. Linux; elsewhere a
    living process counts as as old as can be, so that its lock is kept."""
    if pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # someone else's process: it lives
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        if fields[0] == "Z":  # a zombie has ended
            return None
        uptime_s = float(Path("/proc/uptime").read_text("utf-8").split()[0])
        return time.time() - uptime_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def process_name(pid: int) -> str:
    """The process's command name, or "" where it cannot be told."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return ""


CLOCK_SLACK_S = 5.0
"""Start times are computed from clock ticks and uptime: allow for rounding and small clock steps."""


def owner_is_dead(
    lock: PulumiLock,
    *,
    host: str | None = None,
    started: Callable[[int], float | None] = process_start_epoch_s,
    name: Callable[[int], str] = process_name,
) -> bool:
    """Whether the lock's owner has certainly ended.

    Only a process of this host can be judged. It has ended when its id is free, when the id now belongs to a process
    that began after the lock was written, or to a program that is not Pulumi.
    """
    if lock.host != (host or socket.gethostname()):
        return False
    began = started(lock.pid)
    if began is None or began > lock.since_epoch_s + CLOCK_SLACK_S:
        return True
    command = name(lock.pid)
    return bool(command) and not command.startswith("pulumi")


def break_stale_locks(lock_dir: Path, stack: str, say: Callable[[str], None]) -> None:
    """Remove the lock files of ended processes in `lock_dir`, saying so; raise UserError for one that is held."""
    for path in sorted(lock_dir.glob("*.json")):
        try:
            lock = read_pulumi_lock(path)
        except FileNotFoundError:
            continue  # released meanwhile
        if owner_is_dead(lock):
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".attrs").unlink(missing_ok=True)
            say(
                f"an earlier run of stack '{stack}' was killed and left its lock ({lock.holder}); "
                "that process is gone, so the lock is removed"
            )
            continue
        here = lock.host == socket.gethostname()
        raise UserError(
            f"stack '{stack}' is locked by {lock.holder}.\n"
            + (
                f"  That process is alive: wait for it, or stop it with `kill -INT {lock.pid}`."
                if here
                else f"  It runs on another machine, so this one cannot tell whether it is alive. If it has surely ended:\n"
                f"  ./hub pulumi cancel --stack {stack} --yes"
            )
        )
