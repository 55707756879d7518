"""Random students at work in their homes, and what a home holds, to be compared."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from pathlib import Path

NAMES = (
    "a",
    "b b",
    "hw1.ipynb",
    "-r",
    "line\nbreak",
    "ünï",
    "*",
    "#x",
    ";y",
    "\udcff\udc80",
    "'q\"",
    "... ",
    "c:\\d",
    "$(x)",
)
"""What students (and their tools) call files."""


def held(home: Path, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, mode, content or target, time, and which names are one file."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for folder, _, _ in sorted(os.walk(home)):
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            path, info = Path(entry.path), entry.stat(follow_symlinks=False)
            name = str(path.relative_to(home))
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISDIR(info.st_mode):
                found[name] = ("folder", mode, info.st_uid, info.st_gid)
            elif stat.S_ISLNK(info.st_mode):
                found[name] = ("link", path.readlink())
            elif stat.S_ISREG(info.st_mode):
                first = inodes.setdefault(info.st_ino, name)
                when = (info.st_mtime_ns,) if times else ()
                found[name] = ("file", mode, info.st_uid, info.st_gid, path.read_bytes(), first, *when)
    return found


class Student:
    """Does random things in one home."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self._random = random.Random(seed)
        home.mkdir(parents=True, exist_ok=True)

    def work(self, steps: int) -> None:
        """So many things."""
        for _ in range(steps):
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError, shutil.Error):
                self._random.choice(
                    [
                        *(
                            self.write,
                            self.write,
                            self.write,
                            self.rewrite_in_secret,
                            self.make_folder,
                            self.move,
                            self.remove,
                        ),
                        *(
                            self.link,
                            self.hard_link,
                            self.mode,
                            self.swap,
                            self.pipe,
                            self.sparse,
                            self.move_out_and_back,
                        ),
                    ]
                )()

    def _all(self, kind: str = "") -> list[Path]:
        paths = [Path(folder, name) for folder, folders, files in os.walk(self.home) for name in (*folders, *files)]
        tests = {
            "folder": lambda p: p.is_dir() and not p.is_symlink(),
            "file": lambda p: p.is_file() and not p.is_symlink(),
        }
        return sorted(path for path in paths if not kind or tests[kind](path))

    def _some(self, kind: str = "") -> Path:
        return self._random.choice(self._all(kind) or [self.home / "nothing"])

    def _new(self) -> Path:
        return self._random.choice([self.home, *self._all("folder")]) / self._random.choice(NAMES)

    def write(self) -> None:
        path = self._new()
        if not path.is_symlink() and not path.is_fifo():
            path.write_bytes(self._random.randbytes(self._random.choice((0, 1, 5, 5000))))

    def rewrite_in_secret(self) -> None:
        """Other content, but the size and the time it had."""
        path = self._some("file")
        if path.exists():
            before = path.stat()
            path.write_bytes(self._random.randbytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def make_folder(self) -> None:
        self._new().mkdir()

    def move(self) -> None:
        with contextlib.suppress(OSError):
            self._some().rename(self._new())

    def move_out_and_back(self) -> None:
        """A folder moves with all that is in it, whose own times stay."""
        source = self._some("folder")
        with contextlib.suppress(OSError):
            source.rename(self.home / self._random.choice(NAMES))

    def remove(self) -> None:
        path = self._some()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def link(self) -> None:
        self._new().symlink_to(self._random.choice(("nowhere", "..", "../other/secret", "/etc", "b b")))

    def hard_link(self) -> None:
        path = self._some("file")
        if path.exists():
            self._new().hardlink_to(path)

    def mode(self) -> None:
        path = self._some("file")
        if path.exists():
            path.chmod(self._random.choice((0o600, 0o644, 0o000, 0o755)))

    def swap(self) -> None:
        """Two things exchange their names."""
        one, other, aside = self._some(), self._some(), self.home / "aside"
        with contextlib.suppress(OSError):
            one.rename(aside)
            try:
                other.rename(one)
            finally:
                aside.rename(other if not other.exists() else one)

    def pipe(self) -> None:
        os.mkfifo(self._new())

    def sparse(self) -> None:
        path = self._new()
        if not path.is_symlink() and not path.is_fifo():
            with path.open("ab") as stream:
                stream.truncate(300_000)
