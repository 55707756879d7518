"""The calendar as scaling actions: weekly ones, and single ones for what no week repeats. Pure.

`schedule(semester, plan)` gives exactly the workers of `demand.timeline`: replaying its actions in order gives the same
number at every moment of the term. Holidays are gaps in weekly actions, so nothing has to fight a weekly action.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from components.calendar_events import DAYS, ROOT, events, local
from components.demand import Timeline, timeline
from components.plan import Plan
from components.semester import Problem, Semester, SemesterError

ACTIONS_MAX = 120
"""AWS takes 125 scheduled actions for one group (docs.aws.amazon.com, "Quotas for Amazon EC2 Auto Scaling")."""
_DAY, _WEEK = timedelta(days=1), timedelta(weeks=1)


@dataclass(frozen=True)
class WeeklyAction:
    """On these days of each week (0 is Monday) from `starts` to `ends`, at the local time `at`, there shall be `nodes`."""

    name: str
    days: tuple[int, ...]
    at: time
    timezone: str
    starts: date
    ends: date
    nodes: int

    @property
    def dates(self) -> tuple[date, ...]:
        """Every day on which it acts."""
        span = range((self.ends - self.starts).days + 1)
        return tuple(day for day in (self.starts + timedelta(days=n) for n in span) if day.weekday() in self.days)

    @property
    def moments(self) -> tuple[datetime, ...]:
        """Every moment at which it acts, in UTC."""
        return tuple(local(day, self.at, ZoneInfo(self.timezone)) for day in self.dates)

    @property
    def cron(self) -> str:
        """As five cron fields in local time, days as 0 (Sunday) to 6."""
        return f"{self.at.minute} {self.at.hour} * * {','.join(str(day) for day in sorted((d + 1) % 7 for d in self.days))}"


@dataclass(frozen=True)
class OnceAction:
    """At this moment (UTC) there shall be `nodes`."""

    name: str
    at: datetime
    nodes: int


@dataclass(frozen=True)
class Schedule:
    """`base_nodes` stand outside meetings, also before the first action; after the term nodes.min do."""

    base_nodes: int
    weekly: tuple[WeeklyAction, ...]
    once: tuple[OnceAction, ...]

    def changes(self) -> tuple[tuple[datetime, int], ...]:
        """All actions in their order: (moment in UTC, workers from then on)."""
        found = [(moment, action.nodes) for action in self.weekly for moment in action.moments]
        return tuple(sorted([*found, *((action.at, action.nodes) for action in self.once)]))

    def nodes_at(self, moment: datetime) -> int:
        """Workers at a moment."""
        return next((nodes for at, nodes in reversed(self.changes()) if at <= moment), self.base_nodes)

    def remaining(self, now: datetime) -> Schedule:
        """Without what is over: a cloud refuses single actions in the past and forgets them after they happened."""
        today = now.date() - _DAY  # a day of tolerance for zones
        return replace(
            self,
            weekly=tuple(action for action in self.weekly if action.ends >= today),
            once=tuple(action for action in self.once if action.at > now),
        )


def schedule(semester: Semester, planned: Plan, root: Path = ROOT) -> Schedule:
    """The scaling actions of a semester. Raises `SemesterError` for an iCal file that cannot be read, and for
    a calendar that needs more actions than clouds take."""
    line = timeline(semester, planned, events(semester, root))
    found = actions(line, semester.term.timezone, semester.nodes.min)
    if (count := len(found.weekly) + len(found.once)) > ACTIONS_MAX:
        problem = Problem(
            "semesterhub:courses",
            f"meetings and exams that need {count} scaling actions",
            f"at most {ACTIONS_MAX}",
            "let meetings begin and end at the same times, raise nodes.min so that small groups need no nodes of their "
            "own, or raise nodes.cool_down_min so that nodes stay between meetings",
        )
        raise SemesterError("the calendar of this semester", [problem])
    return found


def actions(line: Timeline, zone: ZoneInfo, after_term: int) -> Schedule:
    """The actions that give this timeline."""
    levels = [(step.starts, step.nodes) for step in line.steps] + [(line.ends, after_term)]
    changes, level = [], line.base_nodes
    for moment, nodes in levels:
        if nodes != level:
            changes.append((moment, nodes))
            level = nodes
    by_key: dict[tuple[int, time, int], list[date]] = {}
    once: list[OnceAction] = []
    for moment, nodes in changes:
        here = moment.astimezone(zone)
        if _is_twice_or_never(here):
            once.append(_once(moment, nodes))
        else:
            by_key.setdefault((here.weekday(), here.time(), nodes), []).append(here.date())
    runs: list[WeeklyAction] = []
    for (weekday, at, nodes), days in by_key.items():
        for run in _runs(days):
            if len(run) == 1:
                once.append(_once(local(run[0], at, zone), nodes))
            else:
                runs.append(WeeklyAction("", (weekday,), at, zone.key, run[0], run[-1], nodes))
    weekly = tuple(sorted(map(_named, _merged(runs)), key=lambda action: (action.starts, action.at, action.days)))
    return Schedule(line.base_nodes, weekly, tuple(sorted(once, key=lambda action: action.at)))


def _is_twice_or_never(here: datetime) -> bool:
    """Whether the clock shows this time twice or not at all on this day: clouds differ in what a weekly action does then."""
    other = here.replace(fold=1 - here.fold)
    return here.utcoffset() != other.utcoffset()


def _runs(days: Iterable[date]) -> Iterable[list[date]]:
    """Days of one weekday in stretches of week after week."""
    run: list[date] = []
    for day in sorted(days):
        if run and day - run[-1] != _WEEK:
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _merged(runs: list[WeeklyAction]) -> list[WeeklyAction]:
    """Actions of several weekdays in one, where that acts on the same days."""
    merged: list[WeeklyAction] = []
    for run in sorted(runs, key=lambda run: (run.starts, run.at, run.days)):
        for index, other in enumerate(merged):
            if (other.at, other.nodes) != (run.at, run.nodes):
                continue
            both = replace(
                other,
                days=tuple(sorted({*other.days, *run.days})),
                starts=min(other.starts, run.starts),
                ends=max(other.ends, run.ends),
            )
            if set(both.dates) == {*other.dates, *run.dates}:
                merged[index] = both
                break
        else:
            merged.append(run)
    return merged


def _named(action: WeeklyAction) -> WeeklyAction:
    days = "-".join(DAYS[day] for day in action.days)
    return replace(action, name=f"{days}-{action.at:%H%M}-from-{action.starts:%Y%m%d}")


def _once(moment: datetime, nodes: int) -> OnceAction:
    return OnceAction(f"once-{moment.astimezone(UTC):%Y%m%d-%H%M}", moment.astimezone(UTC), nodes)
