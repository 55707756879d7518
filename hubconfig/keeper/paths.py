"""Paths below the homes' folder: bytes that students made up, opened component by component and through no link."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HOME_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,254}|-[a-z0-9-]{1,254}")
"""What :func:`hubconfig.homes.escaped` makes."""
INCOMING = ".semesterhub-incoming"
"""Folder beside the homes, out of students' reach, where the files of a site that returns arrive."""
FOLDER, FILE, LINK = 1, 2, 3
"""Kind of a path, the last two bits of its mark."""
INODE = 66
"""A mark's bits from here on are the inode."""
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors of looking at something that is not there any more, or has become something else."""
AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFDIR: FOLDER, stat.S_IFREG: FILE, stat.S_IFLNK: LINK}


def is_home(name: str) -> bool:
    """Whether a name can be one of a home's folder: neither hidden nor a path."""
    return HOME_NAME.fullmatch(name) is not None


def mark(found: os.stat_result) -> int:
    """Inode, change time and kind in one number; 0 for what is not copied: sockets, pipes, devices."""
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), 0)
    return (found.st_ino << INODE | found.st_ctime_ns << 2 | kind) if kind else 0


def changed_ns(marked: int) -> int:
    """The change time in a mark."""
    return (marked >> 2) & ((1 << (INODE - 2)) - 1)


def above(path: bytes) -> Iterator[bytes]:
    """All folders a path is in, the home among them."""
    while path := path.rpartition(b"/")[0]:
        yield path


class Folders:
    """Opens folders below the homes' folder. Those above the last path stay open, since neighbours come one after the other."""

    def __init__(self, homes: Path) -> None:
        self._names: list[bytes] = []
        self._open = [os.open(homes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._up(-1)

    def of(self, path: bytes) -> tuple[int, bytes]:
        """The folder that a path is in, opened until the next call, and its last component. OSError when there is none."""
        *folders, name = path.split(b"/")
        return self.at(folders), name

    def at(self, folders: Sequence[bytes]) -> int:
        """A folder, opened until the next call."""
        common = 0
        for one, other in zip(self._names, folders, strict=False):
            if one != other:
                break
            common += 1
        self._up(common)
        for name in folders[common:]:
            self._open.append(os.open(name, AS_FOLDER, dir_fd=self._open[-1]))
            self._names.append(name)
        return self._open[-1]

    def mark(self, path: bytes) -> int:
        """The mark of a folder; 0 when it is none."""
        try:
            return mark(os.fstat(self.at(path.split(b"/"))))
        except OSError:
            return 0

    def exists(self, path: bytes) -> bool:
        """Whether something has that name."""
        try:
            folder, name = self.of(path)
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _up(self, depth: int) -> None:
        while len(self._open) > depth + 1:
            os.close(self._open.pop())
        del self._names[max(depth, 0) :]


@contextmanager
def opened(homes: Path, folders: Iterable[bytes]) -> Iterator[int]:
    """One folder below the homes' folder. OSError when there is none."""
    with Folders(homes) as some:
        yield some.at(list(folders))
