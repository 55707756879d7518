"""What a check found: one line that passes, or says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`state` unknown: it cannot be told from here; `remedy` says how to tell. Only `fail` keeps a semester from `up`."""

    check: str
    state: Literal["pass", "fail", "unknown"]
    said: str
    remedy: str = ""


def passed(check: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "pass", said)


def failed(check: str, said: str, remedy: str) -> Finding:
    """`up` would fail, or the class would."""
    return Finding(check, "fail", said, remedy)


def unknown(check: str, said: str, remedy: str) -> Finding:
    """A person has to look."""
    return Finding(check, "unknown", said, remedy)


def enough(check: str, *, limit: float | None, used: int, needed: int, unit: str, remedy: str) -> Finding:
    """A quota against the plan: `used` by others, `needed` by this semester. `limit` None: not known."""
    if limit is None:
        said = f"the limit cannot be read; this semester needs {needed} {unit}, others use {used}"
        return unknown(check, said, f"see the limit in the cloud's console; {remedy}")
    room = int(limit) - used
    said = f"{needed} {unit} needed, {room} of {int(limit)} free"
    return passed(check, said) if needed <= room else failed(check, said, remedy)
