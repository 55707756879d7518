"""A cloud's notice that it takes this machine away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    id: str
    """The cloud's name of the event."""
    wait_s: float
    """How long students may go on before their servers are stopped."""
    reason: str
