"""What changed in students' homes since they were last looked at.

A home's *view* maps each path to a mark made of inode, change time (ctime) and kind, and each folder to the names in it; about
250 bytes a path, held only for homes of users who are at work. A look asks `find` which paths have a younger ctime than the last
look: it costs a question to the kernel for each path and nothing else. Folders that changed are compared with their names in the
view, so what was removed, renamed or moved here from elsewhere is noticed too, whatever its own times say. All times are the
file system's own (:func:`touch`), never those of this machine's clock.

Names in a home are whatever a student made them: bytes, never text. Links are never followed, and special files do not exist.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from .errors import KeeperError
from .paths import AS_FOLDER, FILE, FOLDER, GONE, INODE, Folders, above, changed_ns, is_home
from .paths import mark as mark_of

PROBE = ".semesterhub-clock"
"""File in the homes' folder that is touched to learn the time of the file system. No home can have this name."""
MAX_PATH_BYTES = 3000
MAX_DEPTH = 256
SMALL_BYTES = 256 << 10
"""Files up to this size travel many in a message (:mod:`.parcels`)."""
LARGE_BYTES = 8 << 20
"""Larger files travel beside the others, which never wait for them."""
RESERVED = frozenset({b".semesterhub-new", b".semesterhub-partial"})
"""Names that a copy uses while it writes."""
SETTLE_NS = 1_000_000_000
"""A change this young may be one of two in the same tick of the file system's clock, so it is sent once more."""


@dataclass
class View:
    """What a home held at the last look."""

    marks: dict[bytes, int] = field(default_factory=dict)
    """Path below the homes' folder -> mark."""
    names: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Folder -> names in it."""
    looked_ns: int = 0
    """The file system's time before that look."""
    again: set[bytes] = field(default_factory=set)
    """Paths that may not have arrived as they were."""

    def put(self, path: bytes, mark: int) -> None:
        """A path is there."""
        folder, _, name = path.rpartition(b"/")
        if folder:
            self.names.setdefault(folder, set()).add(name)
        if mark & 3 != FOLDER and path in self.names:
            for inner in list(self.below(path)):
                self.drop(inner)
        self.marks[path] = mark

    def drop(self, path: bytes) -> None:
        """A path is no more."""
        folder, _, name = path.rpartition(b"/")
        self.names.get(folder, set()).discard(name)
        self.names.pop(path, None)
        self.marks.pop(path, None)
        self.again.discard(path)

    def below(self, path: bytes) -> Iterator[bytes]:
        """Everything in a folder, however deep."""
        for name in self.names.get(path, ()):
            inner = path + b"/" + name
            yield inner
            yield from self.below(inner)


@dataclass(frozen=True)
class Change:
    """What differs in one home from what the other site surely holds."""

    name: str
    until: float
    """The clock of this site before the look, s since 1970: whatever was written before it is in here."""
    looked_ns: int = 0
    whole: bool = False
    """Nothing is known of the other side: the home is to be compared as a whole."""
    marks: dict[bytes, int] = field(default_factory=dict, repr=False)
    """Paths to send (with ``whole``: all there are), folders before what is in them."""
    sizes: dict[bytes, int] = field(default_factory=dict, repr=False)
    """Of files."""
    removed: tuple[bytes, ...] = ()
    """To remove, with all that is below, after everything else has arrived."""
    moved: frozenset[bytes] = frozenset()
    """Paths that had another name until now, which something else has by now or nothing: they go first, so that the other site
    never loses what it had while a copy goes on."""
    left_out: int = 0
    """Paths that are not copied: longer than MAX_PATH_BYTES or deeper than MAX_DEPTH."""

    @property
    def large(self) -> tuple[bytes, ...]:
        """Files that travel beside the cycles."""
        return tuple(path for path, size in self.sizes.items() if size > LARGE_BYTES)

    def first(self) -> list[bytes]:
        """What is sent first, with the folders it is in where these are new."""
        moved = [path for path in self.moved if self.sizes.get(path, 0) <= LARGE_BYTES]
        ups = {folder for path in moved for folder in above(path) if folder in self.marks}
        return sorted({*moved, *ups})

    def then(self) -> list[bytes]:
        """The rest."""
        return [path for path in self.marks if path not in self.moved and self.sizes.get(path, 0) <= LARGE_BYTES]

    def folders(self) -> list[bytes]:
        """Folders to send, the deepest first: their times are set when all else is in its place."""
        return sorted((path for path, mark in self.marks.items() if mark & 3 == FOLDER), reverse=True)


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

    def look(self, names: Sequence[str], *, until: float, fs_ns: int) -> dict[str, Change | OSError]:
        """These homes now; left out are those that do not exist. OSError: something in it cannot be read.

        ``fs_ns``: the file system's time from before the look (:func:`touch`).
        """
        known = [name for name in names if name in self._views]
        found = self._find(known)
        looks: dict[str, Change | OSError] = {}
        for name in names:
            try:
                view = self._views.get(name)
                if view is None:
                    looks[name] = self._all(name, until, fs_ns)
                elif found is None:
                    looks[name] = self._difference(name, view, until, fs_ns, self._everything(name, view))
                else:
                    looks[name] = self._difference(name, view, until, fs_ns, found.get(name, ()))
            except FileNotFoundError:
                continue
            except OSError as error:
                looks[name] = error
        return looks

    def sending(self, change: Change) -> None:
        """What is about to be sent may arrive in part."""
        if view := self._views.get(change.name):
            view.again.update(change.marks)

    def sent(self, change: Change, missed: Set[bytes] = frozenset()) -> bool:
        """All of it was sent, but for the large files and what was ``missed``. Whether all of it surely arrived, as it was at the
        look or later."""
        view = self._views.setdefault(change.name, View())
        for path in change.removed:
            for inner in [*view.below(path), path]:
                view.drop(inner)
        for path, mark in change.marks.items():
            view.put(path, mark)
        view.looked_ns = change.looked_ns
        missed = missed & change.marks.keys()
        again, complete = self._doubted(change, view)
        view.again.difference_update(change.marks)
        view.again.update(again, change.large, missed)
        return complete and not missed

    def send_again(self, name: str, since_ns: int) -> None:
        """Paths that changed after that moment are not relied on, although the home was compared as a whole."""
        if view := self._views.get(name):
            view.again.update(path for path, mark in view.marks.items() if changed_ns(mark) >= since_ns)

    def sent_large(self, change: Change) -> None:
        """Its large files arrived, as they were at that look. Where one has changed since, the next look tells."""
        if view := self._views.get(change.name):
            again, _ = self._doubted(change, view)
            view.again.difference_update(
                path for path in change.large if path not in again and view.marks.get(path) == change.marks[path]
            )

    def forget(self, name: str) -> None:
        """Nobody works in this home any more, or it is to be compared as a whole."""
        self._views.pop(name, None)

    def knows(self, name: str) -> bool:
        """Whether the next look tells single changes."""
        return name in self._views

    def _all(self, name: str, until: float, fs_ns: int) -> Change:
        with Folders(self._homes) as folders:
            walk = _Walk(folders)
            walk.take(os.fsencode(name))
        return Change(
            name,
            until,
            fs_ns,
            whole=True,
            marks=walk.marks,
            sizes=walk.sizes,
            # rsync takes a pipe here for a reason to keep the file there that once had its name
            removed=tuple(sorted(walk.special)),
            left_out=walk.left_out,
        )

    def _everything(self, name: str, view: View) -> list[bytes]:
        """Paths whose mark is not that of the view, or is young."""
        with Folders(self._homes) as folders:
            walk = _Walk(folders)
            walk.take(os.fsencode(name))
        since_ns = view.looked_ns - SETTLE_NS
        young = [
            path for path, mark in walk.marks.items() if view.marks.get(path) != mark or changed_ns(mark) > since_ns
        ]
        return [*young, *(path for path in view.marks if path not in walk.marks)]

    def _find(self, names: Sequence[str]) -> dict[str, list[bytes]] | None:
        """Home -> paths with a change younger than the last look; None when `find` could not look everywhere."""
        if not names:
            return {}
        since_ns = min(self._views[name].looked_ns for name in names) - SETTLE_NS
        since = f"@{since_ns // 10**9}.{since_ns % 10**9:09d}"
        # GNU find(1): -newerct compares the ctime; -P follows no links, also not those named as arguments.
        words = ["find", "-P", *names, "-ignore_readdir_race", "-newerct", since, "-print0"]
        try:
            done = subprocess.run(words, cwd=self._homes, capture_output=True, check=False)
        except OSError:
            return None
        if done.returncode:
            return None
        found: dict[str, list[bytes]] = {}
        for path in done.stdout.split(b"\0")[:-1]:
            found.setdefault(os.fsdecode(path.partition(b"/")[0]), []).append(path)
        return found

    def _difference(self, name: str, view: View, until: float, fs_ns: int, young: Sequence[bytes]) -> Change:
        """``young``: paths that may have changed."""
        if not young and not view.again:
            return Change(name, until, fs_ns)
        marks: dict[bytes, int] = {}
        gone: set[bytes] = set()
        with Folders(self._homes) as folders:
            walk = _Walk(folders)
            for path in sorted({*young, *view.again}):
                self._one(path, view, walk, marks, gone)
            if walk.linked:  # all names of a file travel together, so that it stays one file
                for path in [path for path, mark in view.marks.items() if mark >> INODE in walk.linked]:
                    self._one(path, view, walk, marks, gone)
        marks.update(walk.marks)
        gone.difference_update(marks)
        lost = {
            view.marks[path] >> INODE
            for path in (*gone, *marks)
            if path in view.marks and view.marks[path] != marks.get(path)
        }
        return Change(
            name,
            until,
            fs_ns,
            marks={path: marks[path] for path in sorted(marks)},
            sizes=walk.sizes,
            removed=tuple(sorted(_topmost(gone, view, marks))),
            moved=frozenset(path for path, mark in marks.items() if path not in view.marks and mark >> INODE in lost),
            left_out=walk.left_out,
        )

    def _one(self, path: bytes, view: View, walk: _Walk, marks: dict[bytes, int], gone: set[bytes]) -> None:
        """A path that may have changed."""
        if path in marks or path in walk.marks:
            return
        mark = walk.look(path)
        before = view.marks.get(path, 0)
        if not mark:
            if before:
                gone.update((path, *view.below(path)))
            return
        if mark & 3 != FOLDER:
            marks[path] = mark
            gone.update(view.below(path))
            return
        if before & 3 != FOLDER or before >> INODE != mark >> INODE:
            # It came from elsewhere, with things in it that have not changed.
            walk.take(path)
            gone.update(inner for inner in view.below(path) if inner not in walk.marks)
            return
        marks[path] = mark
        names = walk.list(path)
        for name in view.names.get(path, set()) - names:
            inner = path + b"/" + name
            gone.update((inner, *view.below(inner)))
        for name in names - view.names.get(path, set()):
            self._one(path + b"/" + name, view, walk, marks, gone)

    def _doubted(self, change: Change, view: View) -> tuple[set[bytes], bool]:
        """Paths to send once more, and whether what rsync sent is as good as at the look.

        It is not when a path is gone: the copier may have come too late, and what was in it may have another name by now. Nor
        when a folder above it is another one. A folder that was only touched may have been away for a moment, with a link in its
        place that the copier went through, so what was sent from there is sent again.
        """
        sent = [path for path in change.marks if change.whole or change.sizes.get(path, 0) > SMALL_BYTES]
        if not sent:
            return set(), True
        with Folders(self._homes) as folders:
            ups = sorted({up for path in sent for up in above(path)})
            now = {folder: folders.mark(folder) for folder in ups}
            touched = {folder for folder, mark in now.items() if mark != view.marks.get(folder, 0)}
            complete = all(now[folder] >> INODE == view.marks.get(folder, 0) >> INODE for folder in touched)
            if not change.whole:  # which is followed by another look anyway
                complete = complete and all(folders.exists(path) for path in sent)
        again = {path for path in sent if any(up in touched for up in above(path))} if touched else set()
        return again, complete


class _Walk:
    """Looks at paths, through no link."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self.marks: dict[bytes, int] = {}
        """What was walked through (:meth:`take`)."""
        self.sizes: dict[bytes, int] = {}
        self.special: set[bytes] = set()
        self.linked: set[int] = set()
        """Inodes of files with several names."""
        self.left_out = 0

    def look(self, path: bytes) -> int:
        """The mark of one path; 0 when nothing is there that is copied."""
        try:
            folder, name = self._folders.of(path)
            if name in RESERVED:
                return 0
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in GONE:
                return 0
            raise
        return self._noted(path, found, path.count(b"/"))

    def list(self, path: bytes) -> set[bytes]:
        """Names in a folder of what is copied."""
        try:
            with os.scandir(self._folders.at(path.split(b"/"))) as entries:
                kinds = ((entry, entry.is_symlink() or entry.is_dir() or entry.is_file()) for entry in entries)
                return {os.fsencode(entry.name) for entry, copied in kinds if copied} - RESERVED
        except OSError as error:
            if error.errno in GONE:
                return set()
            raise

    def take(self, path: bytes) -> None:
        """Everything from a folder on. FileNotFoundError when it is not there."""
        folder, depth = self._folders.at(path.split(b"/")), path.count(b"/")
        self.marks[path] = self._noted(path, os.fstat(folder), depth)
        self._below(folder, path + b"/", depth + 1)

    def _below(self, descriptor: int, prefix: bytes, depth: int) -> None:
        inside: list[tuple[bytes, bytes]] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                path = prefix + name
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                mark = 0 if name in RESERVED else self._noted(path, found, depth)
                if mark:
                    self.marks[path] = mark
                    if mark & 3 == FOLDER:
                        inside.append((name, path))
        for name, path in inside:
            try:
                child = os.open(name, AS_FOLDER, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                self.marks.pop(path, None)  # it went away meanwhile, or is something else by now: the next look tells
                continue
            try:
                self._below(child, path + b"/", depth + 1)
            finally:
                os.close(child)

    def _noted(self, path: bytes, found: os.stat_result, depth: int) -> int:
        mark = mark_of(found)
        if not mark:
            self.special.add(path)
        elif len(path) > MAX_PATH_BYTES or depth > MAX_DEPTH:
            self.left_out += 1
            return 0
        elif mark & 3 != FOLDER:
            if mark & 3 == FILE:
                self.sizes[path] = found.st_size
            if found.st_nlink > 1:
                self.linked.add(found.st_ino)
        return mark


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


def _topmost(gone: set[bytes], view: View, now: dict[bytes, int]) -> Iterator[bytes]:
    """Paths that are no more, topmost ones only, and only where their folder is still one.

    What lay below something that is now a link or a file goes with that; asking for it would lead through the link.
    """
    for path in gone:
        folder = path.rpartition(b"/")[0]
        if folder not in gone and now.get(folder, view.marks.get(folder, 0)) & 3 == FOLDER:
            yield path
