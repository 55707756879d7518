"""Small files, folders and links on their way to the other site, many in one message of the channel.

Most of what a class writes is small. For such files rsync's processes and its questions cost more than the content, so they
travel here, and rsync is left what it is best at: large files and whole homes. Every path is opened component by component
and through no link, on both sides, so whatever a student does meanwhile, nothing outside of the home is read or written.
A file takes its place at once (rename), with owner, mode and time.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import KeeperError
from .paths import Folders, is_home, opened
from .scan import SMALL_BYTES

AT_ONCE = 100
"""Paths in one parcel."""
NEW = b".semesterhub-new"
"""Name of a file while it is written. What a student calls so is not copied."""
FOLDER, FILE, LINK, SAME = "d", "f", "l", "h"
SQUEEZED, PLAIN = b"z", b"p"
SAMPLE_BYTES = 16 << 10


class Packer:
    """Packs paths of one pass; files with several names stay one file."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes
        self._names: dict[int, bytes] = {}
        """Inode -> the name it was sent under first."""
        self.missed: set[bytes] = set()
        """Paths that were gone by then, or no small files any more."""

    def pack(self, paths: Iterable[bytes]) -> bytes:
        """One parcel. What is gone, or is no small file any more, is left out: the next look tells."""
        facts: list[list[object]] = []
        names: list[bytes] = []
        content: list[bytes] = []
        with Folders(self._homes) as folders:
            for path in paths:
                try:
                    folder, name = folders.of(path)
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    kind, data = self._content(folder, name, path, found)
                except OSError:
                    self.missed.add(path)
                    continue
                if not kind:
                    self.missed.add(path)
                    continue
                mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
                facts.append([kind, mode, *owner, found.st_mtime_ns, len(data)])
                names.append(path)
                content.append(data)
        text = json.dumps(facts).encode()
        return _squeezed(b"\0".join([text, *names]) + b"\0\0", b"".join(content))

    def _content(self, folder: int, name: bytes, path: bytes, found: os.stat_result) -> tuple[str, bytes]:
        if stat.S_ISDIR(found.st_mode):
            return FOLDER, b""
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            first = self._names.setdefault(found.st_ino, path)
            if first != path:
                return SAME, first
        if stat.S_ISLNK(found.st_mode):
            return LINK, os.readlink(name, dir_fd=folder)
        if not stat.S_ISREG(found.st_mode):
            return "", b""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            data = os.read(descriptor, SMALL_BYTES + 1)
        finally:
            os.close(descriptor)
        return (FILE, data) if len(data) <= SMALL_BYTES else ("", b"")


def unpack(homes: Path, parcel: bytes) -> dict[str, str]:
    """Puts what is in a parcel into its places; home -> why something of it could not be.

    KeeperError when it is no parcel, or names a path outside of homes.
    """
    failed: dict[str, str] = {}
    with Folders(homes) as folders:
        for fact, path, data in _listed(parcel):
            home = os.fsdecode(path.partition(b"/")[0])
            try:
                _place(homes, folders, path, fact, data)
            except OSError as error:
                failed[home] = f"{path!r} cannot be written on the other site: {error.strerror}"
    return failed


def sliced(paths: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Paths of one parcel after the other."""
    for at in range(0, len(paths), AT_ONCE):
        yield tuple(paths[at : at + AT_ONCE])


def _squeezed(head: bytes, content: bytes) -> bytes:
    """Compressed where that is worth it: pictures and archives are not worth the time."""
    head = zlib.compress(head, 1)
    sample = content[:SAMPLE_BYTES]
    worth = len(zlib.compress(sample, 1)) < len(sample) * 0.8
    body = zlib.compress(content, 1) if worth else content
    return (SQUEEZED if worth else PLAIN) + len(head).to_bytes(4, "big") + head + body


def _listed(parcel: bytes) -> Iterator[tuple[list[object], bytes, bytes]]:
    try:
        length = int.from_bytes(parcel[1:5], "big")
        head = zlib.decompress(parcel[5 : 5 + length]).removesuffix(b"\0\0")
        content = zlib.decompress(parcel[5 + length :]) if parcel[:1] == SQUEEZED else parcel[5 + length :]
        text, *names = head.split(b"\0")
        facts = json.loads(text)
        at = 0
        for fact, path in zip(facts, names, strict=True):
            length = int(fact[5])
            yield fact, path, content[at : at + length]
            at += length
    except (ValueError, zlib.error, TypeError, IndexError) as error:
        raise KeeperError(
            f"files did not arrive as they were sent ({error}); both sites must run the same revision"
        ) from None


def _place(homes: Path, folders: Folders, path: bytes, fact: list[object], data: bytes) -> None:
    check(path)
    kind, mode, uid, gid, mtime_ns, _ = fact
    owner = (int(str(uid)), int(str(gid)))
    times = (int(str(mtime_ns)), int(str(mtime_ns)))
    folder, name = folders.of(path)
    there = _kind(folder, name)
    if kind == FOLDER:
        if there != stat.S_IFDIR:
            if there:
                os.unlink(name, dir_fd=folder)
            os.mkdir(name, 0o700, dir_fd=folder)
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            _dress(descriptor, int(str(mode)), owner, times)
        finally:
            os.close(descriptor)
        return
    for attempt in range(2):
        try:
            _make(homes, folder, kind, int(str(mode)), owner, times, data)
            break
        except FileExistsError:
            if attempt:
                raise
            os.unlink(NEW, dir_fd=folder)  # of a copy that was killed
    if there == stat.S_IFDIR:
        shutil.rmtree(name, dir_fd=folder)
    os.rename(NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
    if kind == SAME:
        with suppress(FileNotFoundError):
            os.unlink(NEW, dir_fd=folder)  # rename(2) of one of two names of the same file leaves both


def _make(
    homes: Path, folder: int, kind: object, mode: int, owner: tuple[int, int], times: tuple[int, int], data: bytes
) -> None:
    """Makes NEW in a folder."""
    if kind == SAME:
        check(data)
        *parts, last = data.split(b"/")
        with opened(homes, parts) as first:
            os.link(last, NEW, src_dir_fd=first, dst_dir_fd=folder, follow_symlinks=False)
    elif kind == LINK:
        os.symlink(data, NEW, dir_fd=folder)
        os.chown(NEW, *owner, dir_fd=folder, follow_symlinks=False)
        os.utime(NEW, ns=times, dir_fd=folder, follow_symlinks=False)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(NEW, flags, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            view = memoryview(data)
            while view:
                view = view[stream.write(view) :]
            _dress(descriptor, mode, owner, times)


def check(path: bytes) -> None:
    """KeeperError unless it is a path in a home."""
    home, *inner = path.split(b"/")
    if not is_home(os.fsdecode(home)) or any(part in (b"", b".", b"..") for part in inner):
        raise KeeperError(f"{path!r} is no path in a home")


def _dress(descriptor: int, mode: int, owner: tuple[int, int], times: tuple[int, int]) -> None:
    os.fchown(descriptor, *owner)
    os.fchmod(descriptor, mode)  # after the owner: chown(2) clears set-id bits
    os.utime(descriptor, ns=times)


def _kind(folder: int, name: bytes) -> int:
    """Type bits of what has that name; 0: nothing."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0
