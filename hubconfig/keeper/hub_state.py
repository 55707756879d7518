"""The hub's state on the other site: database, secrets and certificates, so that whoever is signed in stays signed in.

The database is read through SQLite's online backup, never as a file. Only blocks that changed travel. The other site keeps
every file by its content beside a list of them; the list is replaced atomically, and from it the files are put in their
places, again and again until that is done: a kill at any moment leaves the old state or the new one.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .config import KeeperConfig
from .errors import KeeperError
from .store import Store, read_json, write_json

DATABASE = "hub/jupyterhub.sqlite"
SECRETS = (
    "cookie_secret", "crypt_key", "proxy_token", "metrics_token", "operator_token",
    "admin_password", "student_password", "oauth_client_secret", "restic_password",
)  # fmt: skip
EDGE_FOLDERS = ("pki", "certificates", "acme")
"""Of the edge's /data: authority, certificates and account. Locks and what Caddy notes for itself stay where they are."""
BLOCK = 4096
"""A page of SQLite's."""
FILE_MAX_BYTES = 1 << 30
TICK_NS = 50_000_000
"""A file touched this recently may be touched again without its time showing it."""


@dataclass(frozen=True)
class Files:
    """All of the state at one moment."""

    content: Mapping[str, bytes]
    """Name (`hub/…`, `secrets/…`, `edge/…`) -> bytes."""
    modes: Mapping[str, int]

    def listed(self) -> dict[str, list[Any]]:
        """Name -> digest and mode."""
        return {name: [digest(data), self.modes[name]] for name, data in sorted(self.content.items())}


@dataclass(frozen=True)
class Shipment:
    """What travels."""

    header: dict[str, Any]
    """`files` (see Files.listed), `until` (s since 1970), `blocks`: name -> size and numbers of the blocks in ``data``."""
    data: bytes
    """The blocks, compressed."""


class StateSource:
    """The hub's state on the active site, watched."""

    def __init__(self, config: KeeperConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._seen: dict[str, tuple[int, ...]] = {}
        self._inode = 0
        self._version: tuple[int, int] | None = None
        """Of the database in what the other site has."""
        self._offered_version: tuple[int, int] | None = None
        self._database: sqlite3.Connection | None = None
        self._offered: Files | None = None
        self._there: Files | None = None

    def look(self, *, arrived: bool, again: bool = False) -> Shipment | float:
        """What changed; or the moment until which there is nothing new.

        ``arrived``: the other site has what was told last. ``again``: it lacks something, so everything is told.
        """
        if arrived and self._offered is not None:
            self._there, self._offered = self._offered, None
            self._version = self._offered_version
        if again:
            self._there = None
        until = self._clock()
        seen = {str(path): _touched(path) for path in self._watched()}
        if self._there is not None and self._offered is None and seen == self._seen:
            return until
        files = self._read()
        self._seen = {name: at for name, at in seen.items() if at[0] < time.time_ns() - TICK_NS}
        if self._there is not None and files == self._there:
            return until
        self._offered = files
        return _pack(files, self._there, until)

    def close(self) -> None:
        """Lets the database go."""
        if self._database is not None:
            self._database.close()
        self._database, self._version = None, None  # the version counts from when a connection was opened

    def _watched(self) -> Iterator[Path]:
        database = self._config.state_path / DATABASE
        yield database
        yield database.with_name(database.name + "-wal")
        yield from (path for _, path in _small(self._config))

    def _read(self) -> Files:
        content: dict[str, bytes] = {}
        modes: dict[str, int] = {}
        for name, path in _small(self._config):
            with suppress(FileNotFoundError):
                content[name], modes[name] = path.read_bytes(), path.stat().st_mode & 0o777
        if (snapshot := self._snapshot()) is not None:
            content[DATABASE], modes[DATABASE] = snapshot, 0o600
        return Files(content, modes)

    def _snapshot(self) -> bytes | None:
        """The database at one moment; None before there is one. KeeperError when it cannot be read."""
        path = self._config.state_path / DATABASE
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            return None
        try:
            if self._database is None or self._inode != inode:
                self.close()
                self._inode = inode
                self._database = sqlite3.connect(
                    f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2, check_same_thread=False
                )
            version = (inode, self._database.execute("PRAGMA data_version").fetchone()[0])
            known = self._there and self._there.content.get(DATABASE)
            if known and version == self._version:
                self._offered_version = version
                return known  # only a checkpoint moved pages from one file to the other
            with closing(sqlite3.connect(":memory:")) as copy:
                self._database.backup(copy)
                data = copy.serialize()
        except sqlite3.Error as error:
            self.close()
            raise KeeperError(f"the hub's database {path} cannot be read: {error}") from None
        self._offered_version = version
        return data


def receive(config: KeeperConfig, header: Mapping[str, Any], data: bytes) -> list[str]:
    """On the other site: takes a shipment to its disk and puts the files in their places; names of those that changed.

    KeeperError when blocks are missing that the sender believes to be here: it is to send everything.
    """
    present = _manifest(config)
    folder = _folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    stream = zlib.decompress(data) if data else b""
    for name, (size, numbers) in header["blocks"].items():
        _place(config, name)
        base = b""
        if name in present and (blob := folder / present[name][0]).exists():
            base = blob.read_bytes()
        new, stream = _patched(base, size, numbers, stream)
        wanted = header["files"][name][0]
        if digest(new) != wanted:
            raise KeeperError(f"{name} did not arrive as it was sent; all of it is sent again")
        _write(folder / wanted, new, 0o600)
    for name, (wanted, _) in header["files"].items():
        _place(config, name)
        if not (folder / wanted).exists():
            raise KeeperError(f"{name} is not here as the other site believes; all of it is sent again")
    _sync(folder)
    write_json(folder / "files.json", {"files": header["files"]})
    changed = finish(config)
    kept = {entry[0] for entry in header["files"].values()}
    for path in folder.iterdir():
        if len(path.name) == 64 and path.name not in kept:
            path.unlink()
    return changed


def finish(config: KeeperConfig) -> list[str]:
    """Puts what was received into its places, where that is not done yet; names of the files that changed.

    Never on an active site: there the files are in use. Before a promotion it makes sure that nothing is left half done.
    """
    files, folder = _manifest(config), _folder(config)
    placed_file = folder / "placed.json"
    placed = (read_json(placed_file) or {}).get("files", {})
    changed = [name for name, entry in files.items() if placed.get(name) != entry]
    if not changed:
        return []
    with Store(config).locked() as own:
        if own.state.role == "active":
            return []
        for name in changed:
            wanted, mode = files[name]
            path = _place(config, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == DATABASE:
                for suffix in (
                    "-wal",
                    "-shm",
                    "-journal",
                ):  # of the database that was here; the list can be followed again
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            _write(path, (folder / wanted).read_bytes(), mode)
            _sync(path.parent)
        write_json(placed_file, {"files": files})
    return changed


def forget_placed(config: KeeperConfig) -> None:
    """This site becomes active and writes these files itself: what comes after that is put in place whatever was before."""
    (_folder(config) / "placed.json").unlink(missing_ok=True)


def digest(data: bytes) -> str:
    """Names a content."""
    return hashlib.sha256(data).hexdigest()


def _small(config: KeeperConfig) -> Iterator[tuple[str, Path]]:
    """Names and places of everything but the database."""
    for name in SECRETS:
        path = config.secrets_path / name
        if path.is_file():
            yield f"secrets/{name}", path
    for top in EDGE_FOLDERS:
        for folder, _, names in os.walk(config.state_path / "edge" / top):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and not name.endswith((".lock", ".tmp")):
                    yield f"edge/{path.relative_to(config.state_path / 'edge')}", path


def _place(config: KeeperConfig, name: str) -> Path:
    """Where a file of that name belongs. KeeperError when the other site asks for another place."""
    kind, _, rest = name.partition("/")
    parts = rest.split("/")
    plain = all(part not in ("", ".", "..") for part in parts) and "\0" not in name
    if name == DATABASE:
        return config.state_path / name
    if kind == "secrets" and rest in SECRETS:
        return config.secrets_path / rest
    if kind == "edge" and plain and parts[0] in EDGE_FOLDERS and len(parts) > 1:
        return config.state_path / "edge" / rest
    raise KeeperError(f"{name!r} is no part of a hub's state; both sites must run the same revision")


def _touched(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0,)
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)


def _pack(files: Files, base: Files | None, until: float) -> Shipment:
    blocks: dict[str, tuple[int, list[int]]] = {}
    parts: list[bytes] = []
    for name, data in sorted(files.content.items()):
        before = base.content.get(name) if base else None
        if before == data:
            continue
        numbers: list[int] = []
        for number in range((len(data) + BLOCK - 1) // BLOCK):
            piece = data[number * BLOCK : (number + 1) * BLOCK]
            if before is None or before[number * BLOCK : (number + 1) * BLOCK] != piece:
                numbers.append(number)
                parts.append(piece)
        blocks[name] = (len(data), numbers)
    header = {"files": files.listed(), "until": until, "blocks": blocks}
    return Shipment(header, zlib.compress(b"".join(parts), 1))


def _patched(base: bytes, size: int, numbers: list[int], stream: bytes) -> tuple[bytes, bytes]:
    """The new content of a file, and what is left of the stream."""
    if not 0 <= size <= FILE_MAX_BYTES:
        raise KeeperError(f"a file of the hub's state has {size} bytes; at most {FILE_MAX_BYTES} are taken")
    new = bytearray(base[:size].ljust(size, b"\0"))
    for number in numbers:
        length = min(BLOCK, size - number * BLOCK)
        if number < 0 or length <= 0 or len(stream) < length:
            raise KeeperError("the hub's state arrived in part; all of it is sent again")
        new[number * BLOCK : number * BLOCK + length], stream = stream[:length], stream[length:]
    return bytes(new), stream


def _folder(config: KeeperConfig) -> Path:
    return config.site_path / "hub-state"


def _manifest(config: KeeperConfig) -> dict[str, list[Any]]:
    return (read_json(_folder(config) / "files.json") or {}).get("files", {})


def _write(path: Path, data: bytes, mode: int) -> None:
    """Atomically, and on the disk."""
    temporary = path.with_name(f".{path.name[:200]}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    temporary.replace(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
