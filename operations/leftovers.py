"""Processes of an earlier run that was killed: found by a mark in their environment, asked to end, then ended.

A run's engine, language host and providers carry the mark. A killed engine's providers may still be at work for a
moment; the next run of the same stack must not start beside them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from operations.locks import process_name
from operations.paths import owner_label

MARK = "SEMESTERHUB_RUN"
ENGINE_PATIENCE_S = 180.0
"""An interrupted engine finishes the operations that are under way, a node's boot for instance."""
HELPER_PATIENCE_S = 10.0


def mark(stack: str) -> str:
    """The value of the mark for runs of `stack` from this checkout."""
    return f"{owner_label()}:{stack}"


def find(stack: str, proc: Path = Path("/proc")) -> list[int]:
    """Living processes that carry the mark of `stack`, without this one."""
    wanted = f"{MARK}={mark(stack)}".encode()
    found = []
    for entry in proc.iterdir() if proc.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return sorted(found)


def end(stack: str, say: Callable[[str], None]) -> None:
    """End what an earlier run of `stack` left behind. The caller holds the stack's lock, so nobody else's run is hit."""
    engines = [pid for pid in find(stack) if process_name(pid) == "pulumi"]
    if engines:
        say(
            f"an earlier run of stack '{stack}' was killed; its engine (process {engines[0]}) finishes its current step first"
        )
        _signal(engines, signal.SIGINT)
        _gone_within(engines, ENGINE_PATIENCE_S)
    left = find(stack)
    if left:
        _signal(left, signal.SIGTERM)
        if not _gone_within(left, HELPER_PATIENCE_S):
            _signal(left, signal.SIGKILL)
            _gone_within(left, HELPER_PATIENCE_S)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _gone_within(pids: list[int], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
