"""Restores: one student's directory, or all of them, as of a moment, beside the present one.

A student's copy arrives as a folder `restored 2016-03-02 10.00` in the student's own home. There the student sees it in the
file browser at once, no path has to be explained, and it counts, replicates and is backed up like everything else of that
student's; the instructor opens it through the student's server as usual. Nothing that is there is touched.

restic runs as root, and a student's home belongs to the student, who could swap a folder for a link while it is written
into. So everything is restored into a folder that only root can enter, and moved into the home in one step.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from escapism import unescape

from ..homes import HOME_GID, HOME_MODE, HOME_UID, HomeError, ensure_home, escaped
from . import history
from .config import KeeperConfig
from .errors import KeeperError
from .restic import Node, Restic, moment
from .scan import is_home
from .store import Store
from .when import parse_when
from .working import mark

MARGIN_BYTES = 256 * 2**20
"""Stays free on the homes' disk: a full disk would hurt every student."""
NAME_MAX = 120


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command `restore`."""
    parser = subparsers.add_parser("restore", help="bring homes of an earlier time back, beside the present ones")
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", help="the student's sign-in name")
    whose.add_argument("--all", action="store_true", help="every student, and the hub's database")
    parser.add_argument("--at", required=True, help="`1 hour ago`, or an ISO time")
    parser.add_argument(
        "--into", default="", help="name of the folder in the home; default: restored <time of the copy>"
    )
    parser.set_defaults(run=lambda config, given: restore(config, given.user, given.at, into=given.into))


@dataclass(frozen=True)
class Copy:
    """The snapshot that is restored from, and the name of the folders it is restored into."""

    id: str
    taken: datetime
    folder: str


def restore(
    config: KeeperConfig, user: str | None, at: str, *, into: str = "", now: datetime | None = None
) -> dict[str, Any]:
    """Restore one student's home, or with ``user`` None all homes and the hub's database. Running it again changes nothing.

    KeeperError: time not understood, no copy that old, unknown student, disk too small, name taken by something else.
    """
    when = parse_when(at, now or datetime.now(UTC))
    with history.opened(config) as restic:
        copy = choose(restic.snapshots(), when, into)
        homes = str(config.homes_path)
        there = {
            node["name"]: node
            for node in restic.list(copy.id, homes)
            if node["type"] == "dir" and is_home(node["name"])
        }
        names = sorted(there) if user is None else [_known(user, there, config, copy)]
        present = {name for name in names if (config.homes_path / name / copy.folder).exists()}
        missing = [name for name in names if name not in present]
        size = size_of(restic, copy.id, [f"{homes}/{name}" for name in missing], whole=homes if user is None else "")
        _room(config, size)
        extra = [str(config.state_path / "backup-stage")] if user is None else []
        database = ""
        if missing or extra:
            with scratch(config) as folder:
                restic.restore(copy.id, folder, [f"{homes}/{name}" for name in missing] + extra)
                for name in missing:
                    _hand_over(config, name, folder / homes.lstrip("/") / name, copy.folder)
                    # Its user may not be at work, and then nobody would look for changes in this home before the night.
                    mark(config, name)
                if extra:
                    database = _hub_state(config, folder / extra[0].lstrip("/"), copy.folder)
    return {
        "snapshot": copy.id,
        "taken": copy.taken.isoformat(timespec="seconds"),
        "folder": copy.folder,
        "users": len(names),
        "restored": len(missing),
        "already": len(present),
        "bytes": size,
        "paths": [str(config.homes_path / name / copy.folder) for name in names[:20]],
        "hub_state": database,
    }


def choose(snapshots: Iterable[dict[str, Any]], when: datetime, into: str = "") -> Copy:
    """The newest snapshot that is not younger than ``when``. KeeperError when all are younger."""
    found = [(moment(snapshot["time"]), snapshot) for snapshot in snapshots]
    fitting = [pair for pair in found if pair[0] <= when]
    if not fitting:
        if not found:
            raise KeeperError("there is no copy yet; the first one is taken within minutes, or at once by ./hub backup")
        oldest = min(taken for taken, _ in found).astimezone(when.tzinfo)
        raise KeeperError(
            f"no copy is as old as {when:%Y-%m-%d %H:%M %Z}: the oldest is of {oldest:%Y-%m-%d %H:%M %Z}; ./hub backup.list shows them"
        )
    taken, snapshot = max(fitting, key=lambda pair: pair[0])
    local = taken.astimezone(when.tzinfo)
    return Copy(snapshot["id"], local, _folder_name(into) if into else f"restored {local:%Y-%m-%d %H.%M}")


def _folder_name(into: str) -> str:
    name = into.strip()
    if (
        not name
        or name.startswith(".")
        or "/" in name
        or "\\" in name
        or len(name) > NAME_MAX
        or not name.isprintable()
    ):
        raise KeeperError(
            f"--into {into!r}: give the name of a folder in the student's home, without slashes and not beginning with a dot"
        )
    return name


def _known(user: str, there: Iterable[str], config: KeeperConfig, copy: Copy) -> str:
    try:
        name = escaped(user)
    except HomeError as error:
        raise KeeperError(str(error)) from None
    names = list(there)
    if name in names:
        return name
    when = f"{copy.taken:%Y-%m-%d %H:%M %Z}"
    if (config.homes_path / name).is_dir():
        raise KeeperError(f"the student {user} had no files at {when}: the home was made later")
    near = [unescape(found, escape_char="-") for found in difflib.get_close_matches(name, names, n=3)]
    hint = f"; similar: {', '.join(near)}" if near else ""
    raise KeeperError(f"there is no student {user!r} in the copy of {when}{hint}")


def size_of(restic: Restic, snapshot: str, folders: list[str], *, whole: str = "") -> int:
    """Bytes of all files below these folders; ``whole``: the folder that holds them all, asked once."""
    nodes: Iterator[Node] = (
        node
        for folder in ([whole] if whole and folders else folders)
        for node in restic.list(snapshot, folder, recursive=True)
    )
    below = tuple(f"{folder}/" for folder in folders)
    # A block of the disk for each file and folder, however small.
    return sum(node.get("size", 0) + 4096 for node in nodes if not whole or node["path"].startswith(below))


def _room(config: KeeperConfig, size: int) -> None:
    disk = os.statvfs(config.homes_path)
    free = disk.f_bavail * disk.f_frsize
    if size + MARGIN_BYTES > free:
        raise KeeperError(
            f"the disk of the homes is too small: the copy needs {_gib(size)} GiB and {_gib(MARGIN_BYTES)} GiB must stay free, but only "
            f"{_gib(free)} GiB are; make room, or restore single students"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"


@contextmanager
def scratch(config: KeeperConfig) -> Iterator[Path]:
    """A folder on the homes' disk that only root can enter. What a killed restore left there goes first."""
    top = config.homes_path / history.SCRATCH
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(top)
    top.mkdir(mode=0o700)
    try:
        folder = top / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _hand_over(config: KeeperConfig, name: str, restored: Path, folder: str) -> None:
    """Move a restored home into the student's as ``folder``, while this site surely may write."""
    if not restored.is_dir():
        raise KeeperError(f"restic restored nothing of {name}; run ./hub backup.verify")
    with Store(config).locked():
        if reason := history.why_not(config):
            raise KeeperError(reason)
        _ensure(config, name)
        root = os.open(config.homes_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            home = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            try:
                # rename(2) would replace an empty folder of that name.
                os.mkdir(folder, HOME_MODE, dir_fd=home)
                os.rename(restored, folder, dst_dir_fd=home)
                os.chown(folder, HOME_UID, HOME_GID, dir_fd=home, follow_symlinks=False)
            finally:
                os.close(home)
        except FileExistsError:
            raise KeeperError(f"{name} has a {folder!r} already; it was not touched") from None
        except OSError as error:
            raise KeeperError(f"the copy cannot be moved into {config.homes_path / name}: {error.strerror}") from None
        finally:
            os.close(root)


def _ensure(config: KeeperConfig, name: str) -> None:
    """The home exists, also when somebody removed it. Folder names are escaped names, and stay themselves."""
    path = config.homes_path / name
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise KeeperError(f"{path} is not a folder of its own; an admin must look at it")
    if not path.exists():
        try:
            if escaped(name) == name:
                ensure_home(str(config.homes_path), name)
            else:
                path.mkdir(mode=HOME_MODE)
                os.chown(path, HOME_UID, HOME_GID)
        except (HomeError, OSError) as error:
            raise KeeperError(f"the home {path} cannot be made: {error}") from None


def _hub_state(config: KeeperConfig, restored: Path, folder: str) -> str:
    """The hub's database of then, beside the present one; root's alone."""
    target = config.state_path / "hub" / folder
    if target.exists() or not restored.is_dir():
        return str(target) if target.exists() else ""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(restored, target)
    target.chmod(0o700)
    return str(target)
