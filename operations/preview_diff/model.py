"""What a report says, in plain values that go through JSON unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Op = Literal["create", "update", "replace", "delete"]
OPS: tuple[Op, ...] = ("replace", "update", "create", "delete")
"""In the order in which a reader wants them."""


@dataclass(frozen=True)
class Difference:
    """One property. `before` and `after` are texts to show, None where there is no value; a secret's are never here."""

    path: str
    before: str | None
    after: str | None
    secret: bool = False
    replaces: bool = False
    security: str = ""
    """Why a change of it is a matter of security (`network access`, `encryption`, …); empty where it is none."""
    alarm: str = ""
    """What is worse than before (`open to the internet`); empty where nothing is."""


@dataclass(frozen=True)
class Change:
    """One resource that does not stay as it is."""

    op: Op
    type: str
    name: str
    differences: tuple[Difference, ...] = ()
    security: str = ""
    """Why the resource itself, created or deleted, is a matter of security."""
    alarm: str = ""
    homes: bool = False
    """It holds students' files."""

    @property
    def short_type(self) -> str:
        """`aws:ec2/vpc:Vpc` as `ec2.Vpc`."""
        parts = self.type.split(":")
        if len(parts) != 3:
            return self.type
        module = parts[1].split("/", 1)[0]
        return parts[2] if module in {"", "index"} else f"{module}.{parts[2]}"


@dataclass(frozen=True)
class Cost:
    """An estimate per month, US dollars. `lines`: (what, before, after) where the two differ."""

    before: float | None
    after: float | None
    as_of: str = ""
    lines: tuple[tuple[str, float | None, float | None], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What one policy says; `findings` is empty when it is kept."""

    rule: str
    title: str
    findings: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    """What could not be looked at, because only the update will know it."""


@dataclass(frozen=True)
class Report:
    """All there is to say about one stack."""

    stack: str
    cloud: str
    baseline: str
    """What it is compared with, for a reader: a ref and its commit."""
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    cost: Cost | None = None
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    """Why there is no difference to show; then the rest is empty."""

    def of(self, op: Op) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.op == op)

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The policies that are not kept."""
        return tuple(verdict for verdict in self.verdicts if verdict.findings)
