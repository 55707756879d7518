"""Verification of the backups: what is stored is read, a sample is restored into a scratch place and compared.

Three looks, each of which would miss what another finds:
1. restic reads stored files and recomputes their hashes (`check --read-data-subset`): everything while the repository is
   small, else a part after the other, so that `parts` runs read all of it;
2. a sample of files is restored, and each file's content is compared with the hashes that its snapshot names for it, by this
   code and not by restic's restore;
3. those of the sample that have not changed in the homes since are compared with the homes: the copy is of the right files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import history
from .config import KeeperConfig
from .errors import KeeperError
from .restic import Node, Restic, ResticError, moment, sentence

SAMPLE = 20
SAMPLE_USERS = 5
PACKS_AT_ONCE = 640
"""Stored files of about 16 MiB: 10 GiB are read in one run."""
PARTS_MAX = 256
"""restic takes no more."""
BIGGEST_BYTES = 64 * 2**20
"""Larger files are left to the first look; the scratch place may be small."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command `backup-verify`."""
    parser = subparsers.add_parser("backup-verify", help="read what is stored, restore a sample and compare it")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"files to restore (default {SAMPLE})")
    parser.add_argument("--all", action="store_true", help="read every stored byte, however long it takes")
    parser.set_defaults(run=lambda config, given: verify(config, sample=given.sample, everything=given.all))


def verify(config: KeeperConfig, *, sample: int = SAMPLE, everything: bool = False) -> dict[str, Any]:
    """Verify, remember the result, and return it. KeeperError with every difference when something is wrong."""
    if sample < 1:
        raise KeeperError(f"--sample {sample}: at least one file must be restored")
    began = time.time()
    try:
        with history.opened(config) as restic:
            done = _verify(config, restic, sample, everything)
    except KeeperError as error:
        history.remember(config, verify={"at": began, "ok": False, "text": str(error)})
        raise
    result = {"at": began, "ok": True, "took_s": round(time.time() - began, 1), **done}
    history.remember(config, verify=result)
    return result


def _verify(config: KeeperConfig, restic: Restic, sample: int, everything: bool) -> dict[str, Any]:
    snapshots = restic.snapshots()
    if not snapshots:
        raise KeeperError("there is no copy to verify yet; take one with ./hub backup")
    newest = snapshots[-1]
    files = pick(restic, newest, str(config.homes_path), sample)
    compared = Compared()
    try:
        _compare(config, restic, newest, files, compared)
    except ResticError as error:
        compared.wrong.append(f"the sample cannot be restored: {sentence(error, restic.repository)}")
    packs = restic.pack_count()
    parts = 1 if everything else min(PARTS_MAX, -(-packs // PACKS_AT_ONCE) or 1)
    part = (history.record(config).get("part", 0)) % parts + 1
    try:
        restic.check(part, parts)
    except ResticError as error:
        if "already locked" in error.text:
            raise
        lines = [line.strip() for line in error.text.splitlines() if line.strip() and not line.startswith("Fatal")]
        compared.wrong.append(f"stored data is damaged: {'; '.join(lines[:3]) or error.text.strip()}")
    history.remember(config, part=part)
    if compared.wrong:
        more = f" (and {len(compared.wrong) - 5} more)" if len(compared.wrong) > 5 else ""
        raise KeeperError(
            f"the backups in {restic.repository} are NOT good: {'; '.join(compared.wrong[:5])}{more}. Take a new backup to another "
            "repository now, and keep this one for what can still be read (docs/backups.md, 'When verification fails')"
        )
    return {
        "snapshot": newest["short_id"],
        "taken": moment(newest["time"]).astimezone(UTC).isoformat(timespec="seconds"),
        "files": compared.files,
        "bytes": compared.bytes,
        "same_as_present": compared.same,
        "changed_since": compared.changed,
        "part": part,
        "parts": parts,
        "packs": packs,
    }


@dataclass
class Compared:
    """Tally of the comparison."""

    files: int = 0
    bytes: int = 0
    same: int = 0
    """Files equal to those in the homes now."""
    changed: int = 0
    """Files that were changed or removed since; they prove nothing."""
    wrong: list[str] = field(default_factory=list)


def pick(
    restic: Restic, snapshot: dict[str, Any], homes: str, sample: int, chance: random.Random | None = None
) -> list[Node]:
    """A random sample of files, of several students."""
    chance = chance or random.Random()
    users = [node["path"] for node in restic.list(snapshot["id"], homes) if node["type"] == "dir"]
    chance.shuffle(users)
    files: list[Node] = []
    share = -(-sample // SAMPLE_USERS)
    for number, user in enumerate(users):
        if number >= SAMPLE_USERS and len(files) >= sample:
            break
        found = [
            node
            for node in restic.list(snapshot["id"], user, recursive=True)
            if node["type"] == "file" and node.get("size", 0) <= BIGGEST_BYTES and plain(node["path"])
        ]
        wanted = share if number < SAMPLE_USERS else sample - len(files)
        files += chance.sample(found, min(wanted, len(found)))
    return files[:sample]


def plain(path: str) -> bool:
    """Whether restic takes the path literally: not a pattern."""
    return not any(char in path for char in "*?[]\\") and path.isprintable()


def _compare(
    config: KeeperConfig, restic: Restic, snapshot: dict[str, Any], files: list[Node], compared: Compared
) -> None:
    if not files:
        return
    trees = Trees(restic, snapshot["tree"])
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=config.site_path))
    try:
        restic.restore(snapshot["id"], folder, [node["path"] for node in files])
        for node in files:
            restored = folder / node["path"].lstrip("/")
            compared.files += 1
            compared.bytes += node.get("size", 0)
            if problem := content_problem(restic, restored, trees.content(node["path"])):
                compared.wrong.append(f"{node['path']}: {problem}")
            _against_present(node, restored, compared)
    finally:
        shutil.rmtree(folder)


def content_problem(restic: Restic, restored: Path, blobs: list[str]) -> str:
    """ "" when the file consists of exactly these blobs, whose names are the SHA-256 of their content."""
    try:
        content = restored.read_bytes()
    except OSError as error:
        return f"was not restored ({error.strerror})"
    if len(blobs) == 1:
        return "" if hashlib.sha256(content).hexdigest() == blobs[0] else "its content is not what the snapshot names"
    position = 0
    for blob in blobs:
        part = restic.cat_blob(blob)
        if hashlib.sha256(part).hexdigest() != blob or content[position : position + len(part)] != part:
            return f"its content differs from byte {position} on"
        position += len(part)
    return "" if position == len(content) else f"has {len(content)} bytes instead of {position}"


class Trees:
    """A snapshot's folders, each read once: which blobs a file consists of."""

    def __init__(self, restic: Restic, root: str) -> None:
        self._restic = restic
        self._folders: dict[str, str] = {"/": root}
        self._nodes: dict[str, dict[str, Node]] = {}

    def content(self, path: str) -> list[str]:
        """Names of the blobs of a file, in order. KeyError when the snapshot has no such file."""
        folder, _, name = path.rpartition("/")
        return list(self._listing(folder or "/")[name].get("content") or [])

    def _listing(self, folder: str) -> dict[str, Node]:
        if folder not in self._nodes:
            tree = json.loads(self._restic.cat_blob(self._tree(folder)))
            self._nodes[folder] = {node["name"]: node for node in tree["nodes"]}
        return self._nodes[folder]

    def _tree(self, folder: str) -> str:
        if folder not in self._folders:
            parent, _, name = folder.rpartition("/")
            self._folders[folder] = self._listing(parent or "/")[name]["subtree"]
        return self._folders[folder]


def _against_present(node: Node, restored: Path, compared: Compared) -> None:
    """Compare with the file in the home, when that has not been written since."""
    try:
        present = _read_present(node)
    except OSError:
        present = None
    if present is None:
        compared.changed += 1
    elif present == restored.read_bytes():
        compared.same += 1
    else:
        compared.wrong.append(f"{node['path']}: differs from the file in the home, which was not written since")


def _read_present(node: Node) -> bytes | None:
    """The file in the home; None when it was written since. A student may have put a pipe or a link there meanwhile."""
    with os.fdopen(os.open(node["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        found = os.fstat(stream.fileno())
        unchanged = stat.S_ISREG(found.st_mode) and found.st_size == node.get("size", 0)
        return stream.read() if unchanged and _same_time(found.st_mtime_ns, node["mtime"]) else None


def _same_time(present_ns: int, recorded: str) -> bool:
    # restic's nanoseconds, read to microseconds: good enough to tell a write.
    return abs(datetime.fromtimestamp(present_ns / 1e9, UTC) - moment(recorded)).total_seconds() < 0.001
