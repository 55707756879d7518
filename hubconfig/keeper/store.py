"""The site's durable state and its lease, changed by one process at a time and never half written."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import lease as leases
from . import roles
from .config import KeeperConfig
from .errors import KeeperError
from .lease import Lease
from .roles import SiteState

RECEIVERS = "receivers"
"""File in the run folder: whoever takes files from the other site holds it shared for as long as it may write."""


def wait_for_receivers(config: KeeperConfig, within_s: float = 15) -> None:
    """Returns when nothing is being copied to this site any more. Receivers end by themselves when they see the new role."""
    config.run_path.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + within_s
    with (config.run_path / RECEIVERS).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise KeeperError(
                        f"files of the other site are still being written here after {within_s:.0f} s; run the same command again, "
                        "or `docker restart keeper` on this machine first"
                    ) from None
                time.sleep(0.1)


def write_json(path: Path, document: Mapping[str, Any], mode: int = 0o600, *, durable: bool = True) -> None:
    """Atomic: whoever reads gets the old file or the new one. ``durable``: after the return even a crash leaves the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(descriptor, mode)
            json.dump(document, stream, sort_keys=True)
            stream.flush()
            if durable:
                os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """The document, or None where there is no file. KeeperError when it cannot be read: state is never guessed."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise KeeperError(
            f"{path} cannot be read ({error}); this site does not write before an admin has looked at it"
        ) from None
    if not isinstance(document, dict):
        raise KeeperError(f"{path} holds no mapping; this site does not write before an admin has looked at it")
    return document


class Store:
    """`site.json` and `lease.json` of one site."""

    def __init__(
        self,
        config: KeeperConfig,
        *,
        boottime: Callable[[], float] = leases.boottime,
        boot: str | None = None,
    ) -> None:
        self.config = config
        self.boottime = boottime
        self.boot = leases.boot_mark(config.run_path) if boot is None else boot
        self._state_file = config.site_path / "site.json"
        self._lease_file = config.site_path / "lease.json"

    def read(self) -> SiteState:
        """The state as it is now; without a file, that of a site without history."""
        raw = read_json(self._state_file)
        if raw is None:
            return roles.first(self.config.site, self.config.first_role)
        try:
            state = roles.from_json(raw)
        except (TypeError, KeyError) as error:
            raise KeeperError(f"{self._state_file} is not a site's state ({error}); an admin must look at it") from None
        if state.site != self.config.site:
            raise KeeperError(
                f"{self._state_file} belongs to the {state.site} site, but this machine is the {self.config.site} site; "
                "never copy this file between machines"
            )
        return state

    def lease(self) -> Lease | None:
        """The lease as it was last written, fresh or not."""
        raw = read_json(self._lease_file)
        try:
            return Lease(**raw) if raw else None
        except TypeError:
            return None

    def fresh(self, state: SiteState | None = None) -> bool:
        """Whether the lease holds now, for the epoch of the state."""
        present = self.lease()
        return bool(
            present and present.fresh(self.boot, self.boottime()) and (state is None or present.epoch == state.epoch)
        )

    def writable(self) -> bool:
        """Whether this site may write now."""
        state = self.read()
        return roles.writable(state, lease_fresh=self.fresh(state))

    @contextmanager
    def locked(self) -> Iterator[Locked]:
        """Alone with the state: between reading and writing it nobody else changes it."""
        self.config.site_path.mkdir(parents=True, exist_ok=True)
        self.config.site_path.chmod(0o700)
        with (self.config.site_path / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Locked(self)

    def change(self, transition: Callable[[SiteState], SiteState]) -> SiteState:
        """Applies a transition of :mod:`.roles`; the state that stands then."""
        with self.locked() as own:
            return own.put(transition(own.state))


class Locked:
    """The store while its lock is held."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.state = store.read()

    def put(self, state: SiteState) -> SiteState:
        """Writes the state. Whoever is not active, or lapsed, keeps no lease: that goes first."""
        if state.role != "active" or state.lapsed:
            self.drop_lease()
        if state != self.state or not self._store._state_file.exists():
            write_json(self._store._state_file, roles.to_json(state))
            self.state = state
        return state

    def grant(self, lease: Lease) -> None:
        """That lease holds from now on."""
        write_json(
            self._store._lease_file, asdict(lease), mode=0o644, durable=False
        )  # no lease survives a crash anyway

    def grant_now(self) -> None:
        """A whole lease from now on, for the epoch that the site is active in."""
        until_s = self._store.boottime() + self._store.config.lease_ttl_s
        self.grant(Lease(self._store.boot, until_s, self.state.epoch))

    def drop_lease(self) -> None:
        """Ends the lease now."""
        self._store._lease_file.unlink(missing_ok=True)
