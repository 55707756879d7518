"""Copies of students' homes from one site to the other, by rsync (3.2.7 or newer) between the two homes' folders.

Either a list of single paths, or homes as a whole. Names travel separated by zero bytes; links are copied as links; devices,
pipes and sockets never; owners by number; hard links stay hard links, so that many names of one large file fill no disk.
Only homes that are named take part: nothing outside of them is read, written or removed, and a home itself is never removed.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .errors import KeeperError
from .paths import is_home, opened
from .scan import LARGE_BYTES

PARTIAL_DIR = ".semesterhub-partial"
"""Beside a large file whose copy was interrupted; the next copy goes on from there."""
LOOK_EVERY_S = 0.25
SILENCE_S = 30
"""A copy that moves nothing for this long has lost its peer."""
OPTIONS = (
    "--links", "--perms", "--times", "--owner", "--group", "--numeric-ids", "--hard-links", "--sparse",
    "--no-devices", "--no-specials", "--modify-window=-1", f"--timeout={SILENCE_S}",
    "--from0", "--files-from=-", "--no-human-readable", "--info=stats1,nonreg0",
)  # fmt: skip
SOME_FAILED, SOME_VANISHED = 23, 24
"""rsync's exit codes (rsync(1)): everything else was copied."""
_SENT = re.compile(rb"sent (\d+) bytes +received (\d+) bytes")
_SUBJECT = re.compile(r'(?:"|: )([a-z0-9-]+)(?=/|"|$)')


@dataclass(frozen=True)
class Ends:
    """From where to where: two folders that hold homes, at most one of them on the other site."""

    source: str
    target: str
    shell: Sequence[str] = ()
    """Command that reaches the other site, such as ``ssh -S …``; empty when both folders are on this machine."""


@dataclass(frozen=True)
class Outcome:
    """What one copy came to."""

    failed: dict[str, str] = field(default_factory=dict)
    """Home -> why something in it was not copied."""
    vanished: frozenset[str] = frozenset()
    """Homes in which something went away while it was copied."""
    moved_bytes: int = 0
    """Over the wire, both ways."""
    took_s: float = 0


class Guard(Protocol):
    """Whether this site may be written to by a copy, while it goes on."""

    def held(self) -> AbstractContextManager[object]:
        """While it is held, whoever wants all copies to have ended waits (:func:`.store.wait_for_receivers`)."""
        ...

    def refusal(self) -> str:
        """Why the copy must end now; "" while it may go on."""
        ...


class Copier:
    """rsync between two ends. ``guard``: where the target is this site."""

    def __init__(self, ends: Ends, guard: Guard | None = None) -> None:
        self._ends = ends
        self._guard = guard

    def paths(self, paths: Iterable[bytes]) -> Outcome:
        """These paths, whatever their sizes and times say. One that is gone by now is passed over."""
        return self._run(["--ignore-times", "--no-whole-file", "--ignore-missing-args", "--force"], list(paths))

    def whole(self, names: Iterable[str], *, checksum: bool = False) -> Outcome:
        """These homes as a whole, but for large files; what the source does not have goes.

        Files of equal size and time count as equal, or with ``checksum`` those of equal content.
        """
        more = ["--recursive", "--delete-delay", "--force", f"--max-size={LARGE_BYTES}", f"--exclude={PARTIAL_DIR}"]
        return self._run([*more, *(["--checksum"] if checksum else [])], [os.fsencode(name) for name in names])

    def plainly(self, paths: Iterable[bytes]) -> Outcome:
        """These paths, whatever their size, into a target that nobody else uses."""
        return self._run([f"--partial-dir={PARTIAL_DIR}"], list(paths))

    def large(self, paths: Sequence[bytes], *, known: bool) -> LargeCopy:
        """Begins to copy large files and does not wait. ``known``: they surely differ, so size and time are not asked."""
        options = [f"--partial-dir={PARTIAL_DIR}", "--no-whole-file", *(["--ignore-times"] if known else [])]
        with tempfile.TemporaryFile() as listing:
            listing.write(b"\0".join(paths))
            listing.seek(0)
            process = subprocess.Popen(
                self._command(options), stdin=listing, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return LargeCopy(process, self._guard)

    def _command(self, options: Sequence[str]) -> list[str]:
        shell = ["--rsh", " ".join(self._ends.shell)] if self._ends.shell else []
        return ["rsync", *OPTIONS, *options, *shell, f"{self._ends.source}/", f"{self._ends.target}/"]

    def _run(self, options: Sequence[str], listed: Sequence[bytes]) -> Outcome:
        if not listed:
            return Outcome()
        began = time.monotonic()
        try:
            code, out, errors = self._ended(options, b"\0".join(listed))
        except FileNotFoundError:
            raise KeeperError("rsync is not installed here; the keeper runs in the hub image, which has it") from None
        said = errors.decode(errors="replace")
        if code not in (0, SOME_FAILED, SOME_VANISHED):
            raise KeeperError(f"rsync ended with {code}: {last_words(said)}")
        sizes = _SENT.search(out)
        names = {os.fsdecode(path.partition(b"/")[0]) for path in listed}
        failed, vanished = self._told(said, names)
        if code == SOME_FAILED and not failed:
            failed = dict.fromkeys(names, last_words(said))  # not said whose it is, so nobody's counts as copied
        return Outcome(
            failed=failed,
            vanished=frozenset(vanished),
            moved_bytes=sum(map(int, sizes.groups())) if sizes else 0,
            took_s=time.monotonic() - began,
        )

    def _ended(self, options: Sequence[str], listed: bytes) -> tuple[int, bytes, bytes]:
        """Exit code and what it said. KeeperError when the guard ended it."""
        guard = self._guard
        with guard.held() if guard else nullcontext():
            process = subprocess.Popen(
                self._command(options),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
            )
            given: bytes | None = listed
            try:
                while True:
                    if guard and (why := guard.refusal()):
                        raise KeeperError(f"the copy ends: {why}")
                    try:
                        out, errors = process.communicate(given, timeout=LOOK_EVERY_S if guard else None)
                    except subprocess.TimeoutExpired:
                        given = None
                        continue
                    return process.returncode, out, errors
            finally:
                if process.poll() is None:
                    process.kill()
                    process.communicate()

    def _told(self, said: str, names: set[str]) -> tuple[dict[str, str], set[str]]:
        """Which homes rsync's complaints are about."""
        failed: dict[str, str] = {}
        vanished: set[str] = set()
        for line in said.splitlines():
            plain = line.replace(f"{self._ends.source}/", "").replace(f"{self._ends.target}/", "")
            found = _SUBJECT.search(plain)
            if not found or found[1] not in names:
                continue
            if "has vanished:" in line:
                vanished.add(found[1])
            else:
                failed.setdefault(found[1], line[:300])
        return failed, vanished


def remove(homes: Path, paths: Iterable[bytes]) -> dict[str, str]:
    """Removes paths in homes with all that is below, through no link; home -> why something in it could not be removed.

    Not by rsync: its --delete-missing-args removes before it copies, and 3.5.0 was seen to pass over a folder in silence.
    """
    failed: dict[str, str] = {}
    for path in paths:
        home, *inner = path.split(b"/")
        name = os.fsdecode(home)
        if not is_home(name) or not inner or any(part in (b"", b".", b"..") for part in inner):
            raise KeeperError(f"{path!r} is not removed: it is no path in a home")
        try:
            with opened(homes, [home, *inner[:-1]]) as folder:
                found = os.stat(inner[-1], dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    shutil.rmtree(inner[-1], dir_fd=folder)
                else:
                    os.unlink(inner[-1], dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            continue  # a link or a file took the place of a folder above it: gone with that
        except OSError as error:
            failed[name] = f"{path!r} cannot be removed on the other site: {error.strerror}"
    return failed


class LargeCopy:
    """A copy of large files that goes on beside everything else."""

    def __init__(self, process: subprocess.Popen[bytes], guard: Guard | None = None) -> None:
        self._process = process
        if guard:
            threading.Thread(target=self._watch, args=(guard,), daemon=True).start()

    def _watch(self, guard: Guard) -> None:
        with guard.held():
            while self._process.poll() is None:
                if guard.refusal():
                    self._process.kill()
                time.sleep(LOOK_EVERY_S)

    def ended(self) -> bool | None:
        """None while it runs; then whether everything arrived."""
        code = self._process.poll()
        return None if code is None else code == 0

    def stop(self) -> None:
        """Ends it; the next one goes on from what has arrived."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()


def last_words(said: str) -> str:
    """The line that says most: the other site's refusal or ssh's complaint, else the last one before rsync's own summary."""
    lines = [line for line in said.strip().splitlines() if line]
    telling = [line for line in lines if not line.startswith("rsync error:")]
    others = [line for line in telling if not line.startswith("rsync")]
    return (others or telling or lines or ["no word"])[-1][:300]
