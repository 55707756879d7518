"""Whose home may have changed: users whose server runs now, or ran since some moment."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from .config import KeeperConfig
from .engine import SOCKET, Engine
from .errors import KeeperError
from .paths import is_home

MARKS = "changed-homes"
"""Folder of the site's state: a file named like a home says that somebody else than its user wrote there."""

Workers = Callable[[float], set[str]]
"""Homes that may have changed since that moment (s since 1970) or may be changing now."""


def at_work(config: KeeperConfig) -> Workers:
    """Asks the Swarm for running servers, and the hub's database for everybody who was active."""

    def workers(since: float) -> set[str]:
        return running_homes(config.homes_path) | active_homes(config.state_path / "hub" / "jupyterhub.sqlite", since)

    return workers


def mark(config: KeeperConfig, home: str) -> None:
    """Files of this home were written by somebody else than its user, such as a restore: it is to be copied."""
    if not is_home(home):
        raise KeeperError(f"{home!r} is not the name of a home's folder; it is made of a-z, 0-9 and -")
    folder = config.site_path / MARKS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / home).touch()


def marked(config: KeeperConfig) -> set[str]:
    """Homes that were marked since they were last unmarked."""
    folder = config.site_path / MARKS
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def unmark(config: KeeperConfig, homes: set[str]) -> None:
    """They are known to be dirty now."""
    for home in homes:
        (config.site_path / MARKS / home).unlink(missing_ok=True)


def running_homes(homes_path: Path, engine: Engine | None = None) -> set[str]:
    """Homes that services of the Swarm mount. KeeperError when Docker does not answer: then nobody knows who works."""
    if engine is None and not SOCKET.exists():
        return set()  # students' servers run somewhere else; the hub's database knows who has one
    found: set[str] = set()
    for service in (engine or Engine()).services():
        mounts = service["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Mounts") or []
        for source in (Path(mount.get("Source") or "/") for mount in mounts):
            if source.parent == homes_path and is_home(source.name):
                found.add(source.name)
    return found


def active_homes(database: Path, since: float) -> set[str]:
    """Homes of users with a server, or with activity since that moment, by the hub's database."""
    if not database.exists():
        return set()
    from hubconfig.homes import HomeError, escaped

    moment = datetime.fromtimestamp(max(since, 0), UTC).strftime("%Y-%m-%d %H:%M:%S")
    query = (
        "SELECT DISTINCT users.name FROM users LEFT JOIN spawners ON spawners.user_id = users.id "
        "WHERE users.last_activity >= ?1 OR spawners.last_activity >= ?1 OR spawners.started >= ?1 OR spawners.server_id IS NOT NULL"
    )
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=2)
        ) as connection:
            names = [row[0] for row in connection.execute(query, (moment,))]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return set()
        raise KeeperError(
            f"{database} does not say who was active ({error}); homes are copied when it does again"
        ) from None
    homes: set[str] = set()
    for name in names:
        with contextlib.suppress(HomeError):
            homes.add(escaped(name))
    return homes
