"""What changed in students' homes: one look at each home of a user whose server ran, against what was seen before.

A home's *view* maps each path to a mark made of inode, change time (ctime) and kind; a negative mark is not relied on, and its
path is sent again. Nothing but a change of the mark counts, so no clock is compared with another one's; a rename, a file that
got its old modification time back and a folder that took another one's place all have a new mark. Only views of users who are
at work are held, about 200 bytes a path.

Names in a home are whatever a student made them: bytes, never text. Links are never followed, and special files do not exist.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .errors import KeeperError

PROBE = ".semesterhub-clock"
"""File in the homes' folder that is touched to learn the time of the file system. No home can have this name."""
HOME_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,254}|-[a-z0-9-]{1,254}")
"""What :func:`hubconfig.homes.escaped` makes."""
MAX_PATH_BYTES = 3000
MAX_DEPTH = 256
LARGE_BYTES = 8 << 20
"""Larger files travel beside the others, which never wait for them."""
SETTLE_NS = 1_000_000_000
"""A mark this young may be one of two changes in the same tick of the file system's clock, so it is not relied on."""
FOLDER, FILE, LINK = 1, 2, 3
_KINDS = {stat.S_IFDIR: FOLDER, stat.S_IFREG: FILE, stat.S_IFLNK: LINK}

View = dict[bytes, int]
"""Path below the homes' folder -> mark."""


@dataclass(frozen=True)
class Change:
    """What differs in one home from what the other site surely holds."""

    name: str
    until: float
    """The clock of this site before the look, s since 1970: whatever was written before it is in here."""
    changed: tuple[bytes, ...] = ()
    """Files, folders and links to send, paths below the homes' folder; folders before what is in them."""
    removed: tuple[bytes, ...] = ()
    """To remove, with all that is below, after everything else has arrived."""
    moved: frozenset[bytes] = frozenset()
    """Those of ``changed`` that had another name until now, which something else has by now or nothing: they go first, so that
    the other site never loses what it had while a copy goes on."""
    large: tuple[bytes, ...] = ()
    """Like ``changed``: files of more than LARGE_BYTES."""
    whole: bool = False
    """Nothing is known of the other side: it is to be compared as a whole, and ``changed`` is empty."""
    left_out: int = 0
    """Paths that are not copied: longer than MAX_PATH_BYTES or deeper than MAX_DEPTH."""
    view: View = field(default_factory=dict, repr=False, compare=False)

    def then(self) -> list[bytes]:
        """What is sent after ``moved``: the rest, and all names of a file that has some in the rest, so that it stays one file."""
        rest = [path for path in self.changed if path not in self.moved]
        inodes = {abs(self.view[path]) >> 66 for path in rest}
        return rest + [path for path in self.moved if abs(self.view[path]) >> 66 in inodes]


class Scanner:
    """The views of the homes below one folder."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes
        self._views: dict[str, View] = {}

    def names(self) -> list[str]:
        """All homes, sorted. KeeperError when the folder cannot be read."""
        try:
            with os.scandir(self._homes) as entries:
                return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and is_home(e.name))
        except OSError as error:
            raise KeeperError(
                f"the homes' folder {self._homes} cannot be read: {error.strerror}; is it mounted?"
            ) from None

    def look(self, name: str, *, until: float, fs_ns: int) -> Change | None:
        """One home now; None when it does not exist. OSError when something in it cannot be read.

        ``fs_ns``: the file system's time from before the look (:func:`touch`).
        """
        try:
            view, large, special, left_out = _walk(self._homes, name, fs_ns - SETTLE_NS)
        except FileNotFoundError:
            return None
        before = self._views.get(name)
        if before is None:
            # rsync takes a pipe here for a reason to keep the file there that once had its name
            removed = tuple(sorted(special))
            return Change(
                name, until, removed=removed, large=tuple(sorted(large)), whole=True, left_out=left_out, view=view
            )
        if view == before and min(view.values()) > 0:
            return Change(name, until, left_out=left_out, view=view)
        changed = sorted(path for path, mark in view.items() if mark < 0 or before.get(path) != mark)
        lost = {abs(before[path]) >> 66 for path in changed if path in before}
        lost.update(abs(before[path]) >> 66 for path in before.keys() - view.keys())
        return Change(
            name,
            until,
            changed=tuple(path for path in changed if path not in large),
            removed=tuple(sorted(_gone(before, view))),
            moved=frozenset(p for p in changed if p not in before and p not in large and abs(view[p]) >> 66 in lost),
            large=tuple(path for path in changed if path in large),
            left_out=left_out,
            view=view,
        )

    def sending(self, change: Change) -> None:
        """What is about to be sent may arrive in part: from now on it is not relied on."""
        view = self._views.get(change.name)
        if view is not None:
            view.update((path, -abs(change.view[path])) for path in (*change.changed, *change.large))

    def sent(self, change: Change) -> bool:
        """All of it was sent, but for the large files. Whether all of it surely arrived, as it was at the look or later."""
        again, complete = _doubted(self._homes, change)
        view = dict(change.view)
        view.update((path, -abs(view[path])) for path in (*change.large, *again))
        self._views[change.name] = view
        return complete

    def sent_large(self, change: Change) -> None:
        """Its large files arrived, as they were at that look. Where one has changed since, the next look tells."""
        view = self._views.get(change.name)
        if view is not None:
            again, _ = _doubted(self._homes, change)
            view.update((path, change.view[path]) for path in change.large if path in view and path not in again)

    def forget(self, name: str) -> None:
        """Nobody works in this home any more, or it is to be compared as a whole."""
        self._views.pop(name, None)

    def knows(self, name: str) -> bool:
        """Whether the next look tells single changes."""
        return name in self._views


def is_home(name: str) -> bool:
    """Whether a name can be one of a home's folder: neither hidden nor a path."""
    return HOME_NAME.fullmatch(name) is not None


def touch(homes: Path) -> int:
    """The file system's own time now, ns. KeeperError when nothing can be written there."""
    try:
        descriptor = os.open(homes / PROBE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.utime(descriptor)
            return os.fstat(descriptor).st_ctime_ns
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeeperError(f"nothing can be written to the homes' folder {homes}: {error.strerror}") from None


def attribute_cache_s(homes: Path, mounts: str | None = None) -> float:
    """How old this machine's idea of a file may be, s: 0 on a disk, the mount's longest attribute cache on NFS (nfs(5))."""
    text = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    best = kind = options = ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        where = before.split()[4]
        if (str(homes) + "/").startswith(where.rstrip("/") + "/") and len(where) >= len(best):
            best, (kind, _, options) = where, after.split(maxsplit=2)
    if not kind.startswith("nfs"):
        return 0
    words = {word: value for word, _, value in (item.partition("=") for item in options.split(","))}
    if "noac" in words:
        return 0
    if "actimeo" in words:
        return float(words["actimeo"])
    return max(float(words.get("acregmax", 60)), float(words.get("acdirmax", 60)))


def _doubted(homes: Path, change: Change) -> tuple[set[bytes], bool]:
    """Paths to send once more, and whether what was sent is as good as at the look.

    It is not when a path is gone: the copier may have come too late, and what was in it may have another name by now. Nor when
    a folder above it is another one. A folder that was only touched may have been away for a moment, with a link in its place
    that the copier went through, so what was sent from there is sent again.
    """
    view = change.view
    sent = tuple(view) if change.whole else (*change.changed, *change.large)
    now = {folder: _mark_of(homes, folder) for folder in {up for path in sent for up in _above(path)}}
    touched = {folder for folder, mark in now.items() if mark != abs(view.get(folder, 0))}
    complete = all(now[folder] >> 66 == abs(view.get(folder, 0)) >> 66 for folder in touched)
    if not change.whole:  # which is followed by another look anyway
        complete = complete and all(_exists(homes, path) for path in sent)
    return {path for path in sent if any(up in touched for up in _above(path))} if touched else set(), complete


def _exists(homes: Path, path: bytes) -> bool:
    try:
        (homes / os.fsdecode(path)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _above(path: bytes) -> Iterator[bytes]:
    """All folders a path is in, the home among them."""
    while path := path.rpartition(b"/")[0]:
        yield path


@contextmanager
def opened(homes: Path, parts: Iterable[bytes]) -> Iterator[int]:
    """A folder below the homes' folder, reached through no link. OSError when there is none."""
    here = os.open(homes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            down = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = down
        yield here
    finally:
        os.close(here)


def _mark_of(homes: Path, path: bytes) -> int:
    """The mark of a folder, reached through no link; 0 when it is none."""
    try:
        with opened(homes, path.split(b"/")) as folder:
            return _mark(os.fstat(folder))
    except OSError:
        return 0


def _mark(entry: os.stat_result) -> int:
    """0 for what is not copied: sockets, pipes, devices."""
    kind = _KINDS.get(stat.S_IFMT(entry.st_mode), 0)
    return (entry.st_ino << 66 | entry.st_ctime_ns << 2 | kind) if kind else 0


def _walk(homes: Path, name: str, settled_ns: int) -> tuple[View, set[bytes], set[bytes], int]:
    """View, large files, special files, number of paths left out."""
    view: View = {}
    large: set[bytes] = set()
    special: set[bytes] = set()
    left_out = 0
    top = os.open(homes / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def take(descriptor: int, prefix: bytes, depth: int) -> None:
        nonlocal left_out
        inside: list[tuple[bytes, bytes]] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                path = prefix + os.fsencode(entry.name)
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                mark = _mark(found)
                if not mark:
                    special.add(path)
                    continue
                if len(path) > MAX_PATH_BYTES or depth > MAX_DEPTH:
                    left_out += 1
                    continue
                if mark & 3 == FOLDER:
                    inside.append((os.fsencode(entry.name), path))
                elif mark & 3 == FILE and found.st_size > LARGE_BYTES:
                    large.add(path)
                view[path] = mark if found.st_ctime_ns < settled_ns else -mark
        for last, path in inside:
            try:
                child = os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                view.pop(path, None)  # it went away meanwhile, or is something else by now: the next look tells
                continue
            try:
                take(child, path + b"/", depth + 1)
            finally:
                os.close(child)

    try:
        root = os.fsencode(name)
        found = os.fstat(top)
        view[root] = _mark(found) if found.st_ctime_ns < settled_ns else -_mark(found)
        take(top, root + b"/", 1)
    finally:
        os.close(top)
    return view, large, special, left_out


def _gone(before: View, now: View) -> Iterator[bytes]:
    """Paths that are no more, topmost ones only, and only where their folder is still one.

    What lay below something that is now a link or a file goes with that; asking for it would lead through the link.
    """
    for path in before.keys() - now.keys():
        if abs(now.get(path.rpartition(b"/")[0], 0)) & 3 == FOLDER:
            yield path
