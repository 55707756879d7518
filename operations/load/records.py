"""What a load run measures, as plain data. Times are seconds since the student arrived where no name says otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class StudentRecord:
    """One student's way from the login page to logging out. A step that was not reached stays None."""

    name: str
    arrival_s: float
    """Seconds after the class began."""
    login_s: float | None = None
    """The login form was accepted."""
    queue_s: float | None = None
    """Time in the visible queue: from asking for a server until a message other than the queue's (0: no queue)."""
    ready_s: float | None = None
    """The hub said the server is ready."""
    lab_s: float | None = None
    """JupyterLab's page arrived."""
    computed_s: float | None = None
    """The first cell's result arrived and was right."""
    saved_s: float | None = None
    left_s: float | None = None
    queue_positions: list[int] = field(default_factory=list)
    """The distinct numbers of "N ahead of you", in the order they were shown."""
    messages: list[tuple[float, str]] = field(default_factory=list)
    """Every message of the pending page's event stream with the second it was first shown."""
    stream_reconnects: int = 0
    node: str | None = None
    cpu_s: float | None = None
    """CPU-seconds of the student's container (server and kernel) when the first cell had computed."""
    memory_mib: float | None = None
    """Highest working set of the student's container that was sampled."""
    server_started: bool = False
    failed_step: str | None = None
    failure: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.failure is None and self.computed_s is not None


@dataclass(frozen=True)
class Spread:
    """Median, 95th percentile and maximum of one measure over the class."""

    count: int
    p50: float
    p95: float
    max: float

    @staticmethod
    def of(values: Iterable[float | None]) -> Spread | None:
        known = sorted(v for v in values if v is not None)
        if not known:
            return None
        return Spread(len(known), percentile(known, 50), percentile(known, 95), known[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Linear interpolation between closest ranks, as numpy's default. `ordered` must be sorted and not empty."""
    if not ordered:
        raise ValueError("percentile of nothing")
    rank = (len(ordered) - 1) * percent / 100
    low, high = math.floor(rank), math.ceil(rank)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


MEASURES: tuple[tuple[str, str, str], ...] = (
    ("login_s", "logged in", "s"),
    ("queue_s", "waited in the queue", "s"),
    ("ready_s", "server ready", "s"),
    ("lab_s", "JupyterLab open", "s"),
    ("computed_s", "first cell computed", "s"),
    ("saved_s", "file saved", "s"),
    ("cpu_s", "CPU for the start", "CPU-s"),
    ("memory_mib", "memory of one server", "MiB"),
)
"""(field, heading, unit): the rows of the table; times count from the student's arrival."""


@dataclass
class ClassResult:
    """Everything one class run found out."""

    target: str
    hub_url: str
    seed: int
    arrive_within_s: float
    stay_s: float
    began_at: str
    """Wall clock, ISO 8601 with zone."""
    duration_s: float
    students: list[StudentRecord]
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    """hub/proxy/edge -> {"before_mib", "peak_mib", "after_mib", "cpu_s"} during the run."""
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[StudentRecord]:
        return [s for s in self.students if not s.succeeded]

    def spread(self, measure: str) -> Spread | None:
        return Spread.of(getattr(s, measure) for s in self.students if s.succeeded)

    def servers_per_node(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for student in self.students:
            if student.node:
                counts[student.node] = counts.get(student.node, 0) + 1
        return dict(sorted(counts.items()))

    def longest_queue(self) -> int:
        return max((p for s in self.students for p in s.queue_positions), default=0)

    def as_json(self) -> dict[str, Any]:
        document = asdict(self)
        document["summary"] = {
            "students": len(self.students),
            "succeeded": len(self.students) - len(self.failures),
            "servers_per_node": self.servers_per_node(),
            "longest_queue": self.longest_queue(),
            **{name: asdict(spread) for name, _, _ in MEASURES if (spread := self.spread(name))},
        }
        return document
