"""A site's history: its restic repository, used by one process at a time and by the active site alone.

What is remembered between runs is in `<state_path>/site/backup.json`: the last backup, the last prune, the last verification,
and what went wrong last. The lock beside it lets the daemon's backup and an admin's restore wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import repositories as places
from .config import KeeperConfig
from .errors import KeeperError
from .restic import Restic, ResticError, sentence
from .store import Store, read_json, write_json

RECORD_FILE = "backup.json"
LOCK_FILE = "backup.lock"
CACHE_FOLDER = "backup-cache"
WAIT_S = 600.0
"""An admin's command waits so long for a backup that runs."""
SCRATCH = ".semesterhub-restore"
"""Folder among the homes, root's alone: what is restored is whole before a student can reach it. No student's name has a dot."""


def record(config: KeeperConfig) -> dict[str, Any]:
    """What is remembered; {} before the first run."""
    return read_json(config.site_path / RECORD_FILE) or {}


def remember(config: KeeperConfig, **changes: Any) -> None:
    """Changes what is remembered."""
    write_json(config.site_path / RECORD_FILE, {**record(config), **changes})


def why_not(config: KeeperConfig) -> str:
    """ "" when this site may write now, else the sentence that says why not."""
    store = Store(config)
    if store.writable():
        return ""
    state = store.read()
    doing = f"is {state.role}" if state.role != "active" else "has no lease at the moment"
    return (
        f"the {config.site} site {doing} (epoch {state.epoch}), so nothing is backed up or restored here; ask the active site "
        "(`./hub fallback.status` shows which it is)"
    )


@contextmanager
def opened(
    config: KeeperConfig,
    *,
    make: bool = False,
    wait_s: float = WAIT_S,
    may_go_on: Callable[[KeeperConfig], str] = why_not,
) -> Iterator[Restic]:
    """The repository, with no other process of this site at it and no dead lock in it. ``make``: make it where there is none.

    KeeperError: no copies are kept, not the active site, no repository yet, no way in, or in use for longer than ``wait_s``.
    """
    if not places.kept(config.snapshots):
        raise KeeperError(
            "this semester keeps no copies: homes.snapshots has keep_hourly, keep_daily and keep_weekly at 0; raise one of them in "
            "the stack file and deploy again (./hub up)"
        )
    with _alone(config, wait_s):
        if reason := may_go_on(config):
            raise KeeperError(reason)
        where = places.repository(config)
        try:
            restic = Restic(
                where,
                config.secrets_path / places.PASSWORD_FILE,
                places.environment(config, _azure_token),
                None if places.is_folder(where) else config.state_path / CACHE_FOLDER,
                lambda: may_go_on(config),
            )
            _ensure(config, restic, make=make)
            drop_dead_locks(restic)
            yield restic
        except ResticError as error:
            raise KeeperError(sentence(error, where)) from None


@contextmanager
def _alone(config: KeeperConfig, wait_s: float) -> Iterator[None]:
    config.site_path.mkdir(parents=True, exist_ok=True)
    with (config.site_path / LOCK_FILE).open("a+") as lock:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lock.seek(0)
                    who = lock.read().strip() or "another command"
                    raise KeeperError(
                        f"{who} has been using the backups for longer than {wait_s:.0f} s; try again when it is done"
                    ) from None
                time.sleep(0.5)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} (since {time.strftime('%H:%M', time.gmtime())} UTC)")
        lock.flush()
        yield


def _ensure(config: KeeperConfig, restic: Restic, *, make: bool) -> None:
    password = config.secrets_path / places.PASSWORD_FILE
    where = restic.repository
    known = record(config).get("repository") == where
    if known and password.exists() and restic.exists():
        return
    if known and not password.exists():
        raise KeeperError(
            f"the password of the repository {where} is gone: {password} does not exist. Put back the one that ./hub backup.password "
            "printed, or fetch it from the other site"
        )
    if known:
        raise KeeperError(
            f"the repository {where} was there, and is gone. Is its disk mounted, its bucket renamed? If it is lost for good, remove "
            f"{config.site_path / RECORD_FILE} on the machine: the next backup begins a new one"
        )
    made_password = not password.exists()
    if made_password:
        if not make:
            raise KeeperError(_none_yet(where))
        _make_password(password)
    if not restic.exists():
        if not make:
            raise KeeperError(_none_yet(where))
        _init(config, restic)
    remember(config, repository=where)


def _none_yet(where: str) -> str:
    return f"nothing was backed up yet to {where}; the first backup is taken within minutes, or at once by ./hub backup"


def _make_password(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32) + "\n")
        stream.flush()
        os.fsync(descriptor)
    try:
        os.link(temporary, path)  # never over one that came from the other site meanwhile
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()


def _azure_token(account: str, container: str, client_id: str) -> str:
    from . import azure_sas  # every `status` would pay for its imports

    return azure_sas.container_token(account, container, client_id)


def _init(config: KeeperConfig, restic: Restic) -> None:
    where = restic.repository
    if places.is_folder(where):
        Path(where).mkdir(mode=0o700, parents=True, exist_ok=True)
    by_identity = where.startswith("azure:") and "AZURE_ACCOUNT_NAME" not in places.credentials(config.secrets_path)
    if not by_identity:
        restic.init()
        return
    from . import azure_sas

    account, (_, container, prefix) = config.snapshots.azure_account, where.split(":", 2)
    folder = Path(tempfile.mkdtemp(dir=config.site_path))
    try:
        Restic(str(folder / "new"), config.secrets_path / places.PASSWORD_FILE, {}).init()
        token = azure_sas.container_token(account, container, config.snapshots.identity_client_id)
        azure_sas.upload(folder / "new", azure_sas.blob_host(account), container, prefix, token)
    finally:
        shutil.rmtree(folder)


def drop_dead_locks(restic: Restic) -> None:
    """Remove locks whose owners are surely dead; others stay, and restic itself respects or outlives them.

    Whoever is here holds this site's lock, and is active in the newest epoch. So a lock of this machine is of a process that
    died (restic asks whether its number still runs, but numbers repeat in every container), and so is one of a machine that
    made copies only in older epochs: that site is fenced or has no power. Any other may be an admin's own restic.
    """
    locks = restic.locks()
    if not locks:
        return
    snapshots = restic.snapshots()
    newest = max((epoch_of(snapshot) for snapshot in snapshots), default=0)
    overtaken = {tagged(s, "machine") for s in snapshots} - {
        tagged(s, "machine") for s in snapshots if epoch_of(s) == newest
    }
    dead = {socket.gethostname(), *overtaken}
    restic.unlock(everything=all(lock.get("hostname") in dead for lock in locks))


def tagged(snapshot: dict[str, Any], name: str) -> str:
    """The value of a tag `name-value`; "" without."""
    prefix = f"{name}-"
    return next((tag.removeprefix(prefix) for tag in snapshot.get("tags") or [] if tag.startswith(prefix)), "")


def epoch_of(snapshot: dict[str, Any]) -> int:
    """The epoch in which a snapshot was taken; 0 when it does not say."""
    value = tagged(snapshot, "epoch")
    return int(value) if value.isdigit() else 0
