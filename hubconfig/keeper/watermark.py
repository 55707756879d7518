"""What is surely on the other site, and since when: `watermark.json`, the same on both sites.

It never says more than what is on the standby's disk. One that is older than the truth does no harm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .config import KeeperConfig
from .errors import KeeperError
from .store import read_json, write_json

HELD_MAX = 10
"""Homes named in a watermark, at most."""


@dataclass(frozen=True)
class Watermark:
    """Times are the active site's clock, s since 1970."""

    epoch: int
    """Of the active site whose files these are."""
    seq: int
    """Grows by one with each publication of an epoch."""
    homes_until: float
    """Everything that was written to homes before this moment is on the standby; 0: not all homes are there yet."""
    hub_state_until: float
    """The same for the hub's database, secrets and certificates; 0: not there yet."""
    published_at: float
    users: int = 0
    """Homes on the active site."""
    bytes: int = 0
    """Moved for it over the wire by the last copy of homes."""
    took_s: float = 0
    """How long the last copy of homes took."""
    left: int = 0
    """Homes of which nothing surely is on the standby yet (a first copy that goes on)."""
    held_by: dict[str, str] = field(default_factory=dict)
    """Homes that hold `homes_until` back, and why; the others are copied."""


def load(config: KeeperConfig) -> Watermark | None:
    """The published one; None where there is none, or none that can be read."""
    try:
        raw = read_json(config.watermark_file)
        return None if raw is None else from_json(raw)
    except (KeeperError, TypeError):
        return None


def from_json(raw: dict[str, Any]) -> Watermark:
    """From the file or the wire; keys of a newer version are left out."""
    known = {item.name for item in fields(Watermark)}
    return Watermark(**{name: value for name, value in raw.items() if name in known})


def publish(config: KeeperConfig, watermark: Watermark) -> None:
    """Writes it, durably and atomically. An older one of the same epoch never replaces a newer one."""
    present = load(config)
    if present and (present.epoch, present.seq) >= (watermark.epoch, watermark.seq):
        return
    write_json(config.watermark_file, asdict(watermark), mode=0o644)
