"""The keeper's configuration, `/etc/semesterhub/keeper.json`, written by the deployment. Nothing in it is secret."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import KeeperError

CONFIG_FILE = "/etc/semesterhub/keeper.json"
SITES = ("cloud", "fallback")
ROLES = ("active", "standby", "fenced")


@dataclass(frozen=True)
class Peer:
    """How this site's keeper reaches the other one over SSH."""

    host: str
    port: int = 22
    user: str = "root"
    host_key: str = ""
    """Public SSH host key, `ssh-ed25519 AAAA…`; "" until it is trusted with `trust`."""


@dataclass(frozen=True)
class Snapshots:
    """Where the history of homes and hub state goes, and how much of it is kept."""

    repository: str = ""
    keep_hourly: int = 24
    keep_daily: int = 14
    keep_weekly: int = 16
    azure_account: str = ""
    """Storage account of an `azure:` repository that the machine's identity may write to."""
    identity_client_id: str = ""
    """Client id of that identity."""


@dataclass(frozen=True)
class KeeperConfig:
    """One site's configuration. Paths are the same inside the container as on the machine."""

    site: str
    """``cloud`` or ``fallback``."""
    hub_url: str
    domain: str
    peer: Peer | None = None
    """None where the other site cannot be dialed (the fallback), or where there is none."""
    dials: bool = True
    """This site opens the connection to its peer; the other one only answers."""
    first_role: str = "standby"
    """Role of a site that has never had one."""
    guards: bool = True
    """There is another site, so this one's hub runs only while it may write; False: the keeper never touches the hub."""
    pods: bool = False
    """Students' servers are pods of the cluster that the hub's settings name, not services of this machine's Swarm."""
    homes_path: Path = Path("/srv/semesterhub/homes")
    state_path: Path = Path("/var/lib/semesterhub/state")
    secrets_path: Path = Path("/var/lib/semesterhub/secrets")
    run_path: Path = Path("/run/semesterhub")
    """Emptied by every boot of the machine."""
    homes_every_s: float = 10
    state_every_s: float = 1
    beat_every_s: float = 2
    lease_ttl_s: float = 15
    snapshots: Snapshots = field(default_factory=Snapshots)
    release: str = ""
    """What both sites must have in common: a digest of the images and settings, whatever the addresses are."""
    images: tuple[str, ...] = ()
    """References of the images that students' servers on this machine need; empty where its workers have them."""

    @property
    def site_path(self) -> Path:
        """Folder of what this site knows about itself: role, lease, watermark."""
        return self.state_path / "site"

    @property
    def away_file(self) -> Path:
        """While it exists, the edge shows it instead of the hub."""
        return self.state_path / "edge" / "away.html"

    @property
    def watermark_file(self) -> Path:
        """What is surely on the other site, and since when."""
        return self.site_path / "watermark.json"

    @property
    def host_key_file(self) -> Path:
        """The peer's host key, where an admin or a deployment has told it (`trust`)."""
        return self.site_path / "peer_host_key"

    def host_key(self) -> str:
        """The peer's SSH host key; "" while none is known. The one told last wins over the configured one."""
        try:
            told = self.host_key_file.read_text().strip()
        except FileNotFoundError:
            told = ""
        return told or (self.peer.host_key if self.peer else "")


def load(path: str | os.PathLike[str] | None = None) -> KeeperConfig:
    """Reads the file (default: $SEMESTERHUB_KEEPER, else /etc/semesterhub/keeper.json); KeeperError says what is wrong."""
    file = Path(path or os.environ.get("SEMESTERHUB_KEEPER") or CONFIG_FILE)
    try:
        raw = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise KeeperError(
            f"{file} cannot be read ({error}); the deployment writes it, so run the deployment again"
        ) from None
    return parse(raw, source=str(file))


def parse(raw: Any, source: str = "keeper.json") -> KeeperConfig:
    """Checks a configuration that is already in memory."""
    values = _known(raw, KeeperConfig, source)
    if isinstance(values.get("peer"), Mapping):
        values["peer"] = _build(Peer, _known(values["peer"], Peer, f"{source}: peer"), source)
    if isinstance(values.get("snapshots"), Mapping):
        values["snapshots"] = _build(Snapshots, _known(values["snapshots"], Snapshots, f"{source}: snapshots"), source)
    for name in ("homes_path", "state_path", "secrets_path", "run_path"):
        if name in values:
            values[name] = Path(values[name])
    values["images"] = tuple(values.get("images") or ())
    config = _build(KeeperConfig, values, source)
    for name, allowed in (("site", SITES), ("first_role", ROLES[:2])):
        if getattr(config, name) not in allowed:
            raise KeeperError(f"{source}: {name} = {getattr(config, name)!r}; it must be one of {', '.join(allowed)}")
    if not 0 < config.beat_every_s * 2 < config.lease_ttl_s:
        raise KeeperError(
            f"{source}: beat_every_s = {config.beat_every_s:g} with lease_ttl_s = {config.lease_ttl_s:g}; "
            "a lease must outlive two beats, such as 2 and 15"
        )
    return config


def _known(raw: Any, kind: type, source: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise KeeperError(f"{source} is {type(raw).__name__}, not a mapping; run the deployment again")
    allowed = {item.name for item in fields(kind)}
    if unknown := sorted(set(raw) - allowed):
        raise KeeperError(f"{source}: there is no key {unknown[0]!r}; the keys are {', '.join(sorted(allowed))}")
    return dict(raw)


def _build(kind: type, values: Mapping[str, Any], source: str) -> Any:
    try:
        return kind(**values)
    except TypeError as error:
        raise KeeperError(f"{source}: {error}; run the deployment again") from None
