"""A site that was active, and whose peer went on without it, comes back: nothing that only it holds is lost, nothing is overwritten.

Files that were written here after the last watermark exist nowhere else. Where the active site has nothing of that name, they go
there as they are; where it has something else, they go there beside it, under a name that says where they are from. The name
follows from the file alone, so a run that was killed comes to the same result when it is repeated. Then this site's files may
be replaced by the active one's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from . import working
from .config import KeeperConfig
from .errors import KeeperError
from .homes import Copier
from .parcels import check
from .paths import INCOMING, Folders, is_home, opened
from .scan import Scanner, attribute_cache_s
from .source import GAP_S
from .store import read_json, write_json

SLACK_S = 60
"""Clocks of file servers and sites may differ; a file too many costs only a comparison."""
DONE = "rejoined.json"
NAME_BYTES = 255
AT_ONCE = 500
BLOCKED = "blocked"
"""Digest of a path that cannot be there: something above it is no folder."""


@dataclass(frozen=True)
class Leftover:
    """A file that perhaps only the returned site holds."""

    path: bytes
    digest: str
    changed_s: float
    """Its modification time, s since 1970."""


class Returned(Protocol):
    """The site that comes back."""

    def leftovers(self) -> list[Leftover]: ...
    def put_aside(self, pairs: Sequence[tuple[bytes, bytes]]) -> None: ...
    def done(self) -> None: ...


class Standing(Protocol):
    """The active site."""

    def prepare(self) -> None: ...
    def digests(self, paths: Sequence[bytes]) -> list[str]: ...
    def place(self, paths: Sequence[bytes]) -> None: ...


def rejoin(returned: Returned, standing: Standing, copier: Copier, *, site: str, epoch: int) -> tuple[int, int]:
    """Brings what only the returned site holds to the active one: how many files as they are, how many beside others.

    ``copier`` copies from the returned site's homes to the active one's INCOMING; ``site`` and ``epoch`` say where and when the
    files were written.
    """
    plain = beside = 0
    leftovers = returned.leftovers()
    standing.prepare()
    for at in range(0, len(leftovers), AT_ONCE):
        some = leftovers[at : at + AT_ONCE]
        there = standing.digests([item.path for item in some])
        as_they_are = [item.path for item, digest in zip(some, there, strict=True) if not digest]
        conflicts = [item for item, digest in zip(some, there, strict=True) if digest not in ("", item.digest)]
        aside = _names(conflicts, standing, site, epoch)
        returned.put_aside(aside)
        listed = [*as_they_are, *(name for _, name in aside)]
        outcome = copier.plainly(listed)
        if outcome.failed:
            name, why = next(iter(outcome.failed.items()))
            raise KeeperError(f"files of {name} that only the {site} site holds do not reach the other one: {why}")
        if listed:
            standing.place(listed)
        plain, beside = plain + len(as_they_are), beside + len(aside)
    returned.done()
    return plain, beside


def _names(conflicts: Sequence[Leftover], standing: Standing, site: str, epoch: int) -> list[tuple[bytes, bytes]]:
    """Where each conflicting file goes; nothing for one that is there already under such a name."""
    chosen: list[tuple[bytes, bytes]] = []
    taken: set[bytes] = set()
    open_ones = [(item, 1, False) for item in conflicts]
    while open_ones:
        names = [kept_name(item, site, epoch, number, flat=flat) for item, number, flat in open_ones]
        again: list[tuple[Leftover, int, bool]] = []
        for (item, number, flat), name, digest in zip(open_ones, names, standing.digests(names), strict=True):
            if digest == item.digest:
                continue
            if digest == BLOCKED:
                again.append((item, number, True))
            elif digest or name in taken:
                again.append((item, number + 1, flat))
            else:
                taken.add(name)
                chosen.append((item.path, name))
        open_ones = again
    return chosen


def kept_name(item: Leftover, site: str, epoch: int, number: int = 1, *, flat: bool = False) -> bytes:
    """`hw1.ipynb` -> `hw1 (kept from cloud, epoch 3, 2016-03-02 10.12.31).ipynb`, in the same folder. Times are UTC.

    ``flat``: that folder cannot be over there, because a file has its name: `a/b` -> `a - b (kept …)` in the home itself.
    """
    home, _, inner = item.path.partition(b"/")
    if flat:
        inner = inner.replace(b"/", b" - ")
    folder, _, name = inner.rpartition(b"/")
    when = datetime.fromtimestamp(item.changed_s, UTC).strftime("%Y-%m-%d %H.%M.%S")
    mark = f" (kept from {site}, epoch {epoch}, {when}{f', {number}' if number > 1 else ''})".encode()
    stem, dot, ending = name.rpartition(b".")
    if not stem or len(ending) > 20:
        stem, dot, ending = name, b"", b""
    stem = stem[: NAME_BYTES - len(mark) - len(dot) - len(ending)]
    return b"/".join(part for part in (home, folder, stem + mark + dot + ending) if part)


class LocalReturned:
    """This site comes back."""

    def __init__(self, config: KeeperConfig, fence_epoch: int) -> None:
        self._config = config
        self._fence_epoch = fence_epoch

    def leftovers(self) -> list[Leftover]:
        """Files written after what the other site surely got."""
        found: list[Leftover] = []
        for name, since in sorted(self._since().items()):
            found.extend(self._written(name, since))
        return found

    def put_aside(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Gives files a second name."""
        homes = self._config.homes_path
        for path, name in pairs:
            source, target = path.split(b"/"), name.split(b"/")
            for parts in (source, target):
                if not is_home(os.fsdecode(parts[0])) or len(parts) < 2 or ".." in map(os.fsdecode, parts):
                    raise KeeperError(f"{path!r} is no path in a home")
            with opened(homes, source[:-1]) as here, opened(homes, target[:-1]) as there, suppress(FileExistsError):
                os.link(source[-1], target[-1], src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)

    def done(self) -> None:
        """From now on this site's files may be replaced."""
        write_json(self._config.site_path / DONE, {"epoch": self._fence_epoch})

    def _since(self) -> dict[str, float]:
        """Homes -> from when on their files may be here only."""
        try:
            saved = read_json(self._config.site_path / "homes.json")
        except KeeperError:
            saved = None
        names = Scanner(self._config.homes_path).names()
        if saved is None:
            return dict.fromkeys(names, 0.0)
        looked_at = float(saved["looked_at"])
        database = self._config.state_path / "hub" / "jupyterhub.sqlite"
        late = (
            working.active_homes(database, looked_at - GAP_S)
            | (set(names) - set(saved["homes"]))
            | working.marked(self._config)
        )
        since = dict.fromkeys(late & set(names), looked_at)
        since.update((name, float(at)) for name, at in saved["since"].items() if name in names)
        return since

    def _written(self, name: str, since: float) -> Iterator[Leftover]:
        homes = self._config.homes_path
        from_ns = int((since - SLACK_S - attribute_cache_s(homes)) * 1e9)
        change = Scanner(homes).look([name], until=0, fs_ns=0).get(name)
        if isinstance(change, OSError):
            raise KeeperError(f"the home {name} cannot be read: {change.strerror}")
        for path in sorted(change.marks) if change else []:
            with suppress(OSError), opened(homes, path.split(b"/")[:-1]) as folder:
                last = path.rpartition(b"/")[2]
                found = os.stat(last, dir_fd=folder, follow_symlinks=False)
                if found.st_ctime_ns >= from_ns and not stat.S_ISDIR(found.st_mode):
                    yield Leftover(path, _digest_at(folder, last), found.st_mtime)


class LocalStanding:
    """This site is active."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes

    def prepare(self) -> None:
        """Makes room for what comes, where no student's server reaches."""
        (self._homes / INCOMING).mkdir(mode=0o700, exist_ok=True)

    def digests(self, paths: Sequence[bytes]) -> list[str]:
        """What is at each path: "" nothing, else something that is equal only for equal content."""
        return list(_digests(self._homes, paths))

    def place(self, paths: Sequence[bytes]) -> None:
        """Gives what came its place, where nothing is. KeeperError when a student was quicker: then it is to be looked at again."""
        incoming = self._homes / INCOMING
        for path in paths:
            check(path)
            try:
                with Folders(incoming) as came, Folders(self._homes) as homes:
                    target = _made(came, homes, path)
                    source, name = came.of(path)
                    if not _linked(source, target, name):
                        raise KeeperError(f"{path!r} was made on the active site meanwhile; it is looked at again")
            except OSError as error:
                raise KeeperError(
                    f"{path!r}, which came from the site that returned, gets no place: {error.strerror}"
                ) from None
        shutil.rmtree(incoming, ignore_errors=True)
        self.prepare()


def rejoined(config: KeeperConfig, fence_epoch: int) -> bool:
    """Whether nothing is left on this fenced site that only it holds."""
    return (read_json(config.site_path / DONE) or {}).get("epoch") == fence_epoch


def pack(items: Iterable[Leftover]) -> tuple[str, bytes]:
    """For the wire: names are bytes."""
    listed = list(items)
    return json.dumps([[item.digest, item.changed_s] for item in listed]), b"\0".join(item.path for item in listed)


def unpack(text: str, data: bytes) -> list[Leftover]:
    """From the wire."""
    facts = json.loads(text)
    return [
        Leftover(path, digest, at) for path, (digest, at) in zip(data.split(b"\0") if facts else [], facts, strict=True)
    ]


def _linked(source: int, target: int, name: bytes) -> bool:
    """Whether what came has its name in the target folder now."""
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        return _digest_at(source, name) == _digest_at(target, name)
    return True


def _made(came: Folders, homes: Folders, path: bytes) -> int:
    """The folder that a path belongs in, made like the one that came where it is missing."""
    parts = path.split(b"/")[:-1]
    for depth in range(1, len(parts) + 1):
        above = homes.at(parts[: depth - 1])
        try:
            os.stat(parts[depth - 1], dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            like = os.fstat(came.at(parts[:depth]))
            os.mkdir(parts[depth - 1], 0o700, dir_fd=above)
            made = homes.at(parts[:depth])
            os.fchown(made, like.st_uid, like.st_gid)
            os.fchmod(made, stat.S_IMODE(like.st_mode))
    return homes.at(parts)


def _digests(homes: Path, paths: Iterable[bytes]) -> Iterator[str]:
    for path in paths:
        *folders, last = path.split(b"/")
        try:
            with opened(homes, folders) as folder:
                yield _digest_at(folder, last)
        except FileNotFoundError:
            yield ""
        except OSError:
            yield BLOCKED


def _digest_at(folder: int, name: bytes) -> str:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return f"link {os.readlink(name, dir_fd=folder)!r}"
    if not stat.S_ISREG(found.st_mode):
        return "folder" if stat.S_ISDIR(found.st_mode) else "special"
    whole = hashlib.sha256()
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as stream:
        while piece := stream.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()
