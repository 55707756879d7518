"""What a move has done so far, written down before and after each step: killed anywhere, the same command continues.

A journal is one file of JSON lines below `.semesterhub/failover/<stack>/`. It holds no secret. Its first line says what
the move is; each further line is a step that began, ended well, or failed, when, and what came out.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from operations.errors import UserError
from operations.paths import WORK_DIR

Kind = Literal["failover", "failback"]
FOLDER = Path(os.environ.get("SEMESTERHUB_JOURNALS") or WORK_DIR / "failover")
"""Where journals are. SEMESTERHUB_JOURNALS names another folder, such as one that all admins of a team share."""
END = "end"
"""The step that closes a journal: with its result `done` or `abandoned`, nothing is left to continue."""


@dataclass(frozen=True)
class Move:
    """What is to be done. `token` names this move to both sites; it is no secret, only unguessable enough not to collide."""

    kind: Kind
    stack: str
    source: str
    target: str
    by: str
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    planned: bool = True
    """Nobody lost anything yet: then a step that would cost writes stops the move instead of going on without it."""


@dataclass(frozen=True)
class Line:
    """One line of a journal after its first. `at`: seconds since the epoch, `event`: began, done, failed, or void (what was done
    does not count any more)."""

    at: float
    step: str
    event: str
    result: dict[str, Any] = field(default_factory=dict)


class Journal:
    """One move's file. Every line is on the disk before the next thing happens."""

    def __init__(self, path: Path, move: Move, lines: list[Line]) -> None:
        self.path, self.move, self.lines = path, move, lines

    @classmethod
    def start(cls, move: Move, folder: Path | None = None) -> Journal:
        """A new journal, on the disk."""
        root = (folder or FOLDER) / move.stack
        root.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        # Numbered, so that the newest is the last by name, whatever the clock did.
        number = len(list(root.glob("*.jsonl"))) + 1
        journal = cls(root / f"{number:04d}-{stamp}-{move.kind}.jsonl", move, [])
        journal._append({"move": asdict(move), "at": time.time()}, new=True)
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal:
        """A journal from its file; a last line that a kill cut off is as if it had not been written."""
        rows: list[dict[str, Any]] = []
        for raw in path.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(raw))
            except ValueError:
                break
        if not rows or "move" not in rows[0]:
            raise UserError(f"{path} is not a journal of a move. Put it away; nothing else refers to it.")
        return cls(path, Move(**rows[0]["move"]), [Line(**row) for row in rows[1:]])

    @property
    def ended(self) -> bool:
        return any(line.step == END and line.event == "done" for line in self.lines)

    def result(self, step: str) -> dict[str, Any] | None:
        """What a step that ended well gave; None when it did not, or does not count any more."""
        found = [line for line in self.lines if line.step == step and line.event in ("done", "void")]
        return found[-1].result if found and found[-1].event == "done" else None

    def write(self, step: str, event: str, result: dict[str, Any] | None = None) -> Line:
        line = Line(time.time(), step, event, result or {})
        self._append(asdict(line))
        self.lines.append(line)
        return line

    def close(self, how: str) -> None:
        """Nothing is left to do: `done` or `abandoned`."""
        self.write(END, "done", {"how": how})

    def spans(self) -> list[tuple[str, float, float]]:
        """(step, seconds after the move's first line, seconds it took), in order; a repeated step counts from its first
        beginning to its last end: that is what people waited."""
        began: dict[str, float] = {}
        ended: dict[str, float] = {}
        for line in self.lines:
            if line.event == "began":
                began.setdefault(line.step, line.at)
            elif line.event == "done" and line.step in began:
                ended[line.step] = line.at
        first = min(began.values(), default=0.0)
        return [(step, at - first, ended[step] - at) for step, at in began.items() if step in ended]

    def _append(self, row: dict[str, Any], *, new: bool = False) -> None:
        text = json.dumps(row, sort_keys=True) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            # A cut line at the end is overwritten, not continued.
            end = _end_of_whole_lines(self.path)
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _end_of_whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1


def unfinished(stack: str, folder: Path | None = None) -> Journal | None:
    """The stack's newest move that was not brought to its end; None when there is nothing to continue."""
    found = sorted(((folder or FOLDER) / stack).glob("*.jsonl"))
    if not found:
        return None
    newest = Journal.read(found[-1])
    return None if newest.ended else newest


@contextmanager
def only_one(stack: str, folder: Path | None = None) -> Iterator[None]:
    """No second move of the stack from this checkout at the same time. (Another admin's is kept out by the sites' claim.)"""
    root = (folder or FOLDER) / stack
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise UserError(
                f"another move of stack '{stack}' is in progress here ({holder}). Wait for it; if it was killed, its lock "
                "is free at once and the same command continues it."
            ) from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        stream.flush()
        yield
