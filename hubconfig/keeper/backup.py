"""Backups: an hourly restic snapshot of all homes and the hub's database, on the active site alone.

One snapshot holds everything, so that its moment is one moment and equal files of 400 students are stored once. restic
reads only files whose size or times changed; it walks the rest, about 10,000 files a second on two cores (docs/backups.md).
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from . import history, restore, sealed, verify
from . import repositories as places
from .config import KeeperConfig
from .errors import KeeperError
from .restic import Restic, moment
from .store import Store

EVERY_S = 3600.0
VERIFY_EVERY_S = 7 * 86400.0
PRUNE_EVERY_S = 86400.0
"""Forgotten snapshots give their space back once a day: that rewrites files of the repository."""
SETTLE_S = 300.0
"""After its start, or after a failover, the site is left alone for so long."""
LOOK_EVERY_S = 20.0
STAGE_FOLDER = "backup-stage"
HUB_SECRETS = ("cookie_secret", "crypt_key")
"""Without them nobody stays signed in on a restored hub, and tokens in its database cannot be read."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this module's commands, and those of restore and verify."""
    subparsers.add_parser("backup", help="take a copy now").set_defaults(run=lambda config, _: backup(config))
    subparsers.add_parser("backup-status", help="age of the last copy, last verification").set_defaults(
        run=lambda config, _: status(config)
    )
    subparsers.add_parser("backups", help="list the copies").set_defaults(run=lambda config, _: listed(config))
    subparsers.add_parser("backup-key", help="a key to seal credentials for").set_defaults(
        run=lambda config, _: {"public_key": sealed.make_key(config.run_path)}
    )
    subparsers.add_parser(
        "backup-credentials", help="standard input: NAME=value lines for a repository of another account, sealed"
    ).set_defaults(run=lambda config, _: take_credentials(config, sealed.unseal(config.run_path, sys.stdin.read())))
    verify.register(subparsers)
    restore.register(subparsers)


def backup(config: KeeperConfig, *, at: datetime | None = None, wait_s: float = history.WAIT_S) -> dict[str, Any]:
    """Take a copy now, and forget those beyond what is kept. ``at``: the copy's moment, default now.

    KeeperError says why there is none; what was there before stays.
    """
    began = time.time()
    epoch = Store(config).read().epoch
    try:
        with history.opened(config, make=True, wait_s=wait_s) as restic:
            _refuse_if_overtaken(restic, epoch)
            _stage(config)
            made = restic.backup(
                [config.homes_path, config.state_path / STAGE_FOLDER],
                host=config.domain,
                tags=[f"epoch-{epoch}", f"site-{config.site}", f"machine-{socket.gethostname()}"],
                excludes=[str(config.homes_path / history.SCRATCH)],
                at=at,
            )
            done = {
                "at": began,
                "snapshot": made["snapshot_id"],
                "took_s": round(time.time() - began, 1),
                "files": made["total_files_processed"],
                "bytes": made["total_bytes_processed"],
                "added_bytes": made["data_added"],
                "changed_files": made["files_new"] + made["files_changed"],
                "incomplete": made["problems"].strip().splitlines()[-3:] if made["incomplete"] else [],
            }
            history.remember(config, last=done, trouble=None)
            dropped = _thin(config, restic)
    except KeeperError as error:
        history.remember(config, trouble={"at": time.time(), "text": str(error)})
        raise
    return {**done, "forgotten": dropped, "repository": places.repository(config)}


def _refuse_if_overtaken(restic: Restic, epoch: int) -> None:
    newest = max((history.epoch_of(snapshot) for snapshot in restic.snapshots()), default=0)
    if newest > epoch:
        raise KeeperError(
            f"the repository {restic.repository} holds copies of epoch {newest}, this site is in epoch {epoch}: another site has "
            "taken over, so nothing is written from here"
        )


def _thin(config: KeeperConfig, restic: Restic) -> int:
    keep = config.snapshots
    dropped = restic.forget(keep.keep_hourly, keep.keep_daily, keep.keep_weekly, host=config.domain)
    pruned_at = history.record(config).get("pruned_at")
    if pruned_at is None or not 0 <= time.time() - pruned_at < PRUNE_EVERY_S:
        if pruned_at is not None:
            restic.prune()
        history.remember(config, pruned_at=time.time())
    return dropped


def _stage(config: KeeperConfig) -> None:
    """The hub's database as of now, consistent while the hub writes on, and the secrets it needs; root's alone."""
    stage = config.state_path / STAGE_FOLDER
    stage.mkdir(mode=0o700, exist_ok=True)
    stage.chmod(0o700)
    for name in HUB_SECRETS:
        with contextlib.suppress(FileNotFoundError):
            content = (config.secrets_path / name).read_bytes()
            (stage / name).touch(mode=0o600)
            (stage / name).write_bytes(content)
    source = config.state_path / "hub" / "jupyterhub.sqlite"
    if source.exists():
        copy_database(source, stage / source.name)


def copy_database(source: Path, target: Path) -> None:
    """SQLite's online backup. KeeperError when the database cannot be read."""
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    try:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=30)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
    except sqlite3.Error as error:
        raise KeeperError(
            f"the hub's database {source} cannot be copied ({error}); the copies of homes wait for it"
        ) from None


def listed(config: KeeperConfig) -> dict[str, Any]:
    """The copies, oldest first: [id, taken (s since 1970), epoch, site]."""
    with history.opened(config) as restic:
        # Short: one of the ways to a hub VM (Azure's Run Command) carries 4 KiB.
        rows = [
            [
                snapshot["short_id"],
                round(moment(snapshot["time"]).timestamp()),
                history.epoch_of(snapshot),
                history.tagged(snapshot, "site"),
            ]
            for snapshot in restic.snapshots()
        ]
    return {"repository": places.repository(config), "snapshots": rows, **status(config)}


def status(config: KeeperConfig, now: float | None = None) -> dict[str, Any]:
    """The key `backup` of the keeper's status. Ages in seconds; None: never."""
    known = history.record(config)
    now = time.time() if now is None else now
    last, checked = known.get("last"), known.get("verify")
    return {
        "kept": places.kept(config.snapshots),
        "repository": places.repository(config),
        "age_s": max(0.0, now - last["at"]) if last else None,
        "last": last,
        "verify": {**checked, "age_s": max(0.0, now - checked["at"])} if checked else None,
        "trouble": known.get("trouble"),
    }


def take_credentials(config: KeeperConfig, text: str) -> dict[str, Any]:
    """Credentials for a repository of another account, into a file of root's. The names that are there now."""
    found = places.checked_credentials(text.splitlines())
    if not places.complete(found):
        raise KeeperError(
            "these credentials are not complete: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AZURE_ACCOUNT_NAME with "
            "AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS"
        )
    file = config.secrets_path / places.CREDENTIALS_FILE
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.chmod(0o600)
    fresh.write_text("".join(f"{name}={value}\n" for name, value in sorted(found.items())))
    fresh.replace(file)
    return {"names": sorted(found)}


# -- the daemon's loop ------------------------------------------------------------------------------------------------


def due(last_at: float | None, every_s: float, now: float) -> bool:
    """Whether it is time again. A clock that was set back counts as time passed: rather one copy too many."""
    return last_at is None or not 0 <= now - last_at < every_s


def run(config: KeeperConfig, stop: threading.Event) -> None:
    """The daemon's thread: a backup every hour and a verification every week, while this site is active."""
    if not places.kept(config.snapshots):
        stop.wait()
        return
    active_since: float | None = None
    tried: dict[str, float] = {}
    while not stop.wait(LOOK_EVERY_S):
        if history.why_not(config):
            active_since = None
            continue
        active_since = active_since or time.monotonic()
        if time.monotonic() - active_since < SETTLE_S:
            continue
        known, now = history.record(config), time.time()
        for kind, every_s, work in (
            ("last", EVERY_S, lambda: backup(config)),
            ("verify", VERIFY_EVERY_S, lambda: verify.verify(config)),
        ):
            # What failed is tried again, but not every 20 s.
            if due((known.get(kind) or {}).get("at"), every_s, now) and due(tried.get(kind), SETTLE_S, now):
                tried[kind] = now
                _told(kind, work)


def _told(kind: str, work: Any) -> None:
    name = {"last": "backup", "verify": "verification of the backups"}[kind]
    try:
        work()
    except KeeperError as error:
        print(f"keeper: {name}: {error}", file=sys.stderr, flush=True)
