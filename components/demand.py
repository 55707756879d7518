"""How many students are expected at each moment, and how many workers that takes. Pure.

Outside meetings a share of each class works (`background_concurrency`). During meetings and exams the shares of all that
take place at the same moment are added up, for each course to at most its peak. Workers are there `nodes.warm_up_min`
before they are needed and stay `nodes.cool_down_min` longer; dips of less than an hour are filled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from components.calendar_events import Event, term_bounds
from components.plan import Plan, nodes_wanted
from components.semester import Problem, Semester, SemesterError

DIP_BRIDGED = timedelta(hours=1)
"""Fewer workers for less than this are not worth it: see `_bridged`."""


@dataclass(frozen=True)
class Step:
    """From `starts` (UTC) until the next step."""

    starts: datetime
    students: int
    """Expected to work at the same moment, all courses together."""
    nodes: int
    """Workers that stand, warm-up and cool-down included."""


@dataclass(frozen=True)
class Timeline:
    """The whole term, gapless: the first step begins with the term, the last one ends at `ends`."""

    steps: tuple[Step, ...]
    ends: datetime
    base_nodes: int
    """Workers outside meetings."""

    def at(self, moment: datetime) -> Step:
        """The step that holds at this moment of the term."""
        return max((step for step in self.steps if step.starts <= moment), key=lambda step: step.starts)

    def lengths(self) -> tuple[tuple[Step, timedelta], ...]:
        """Each step with how long it holds."""
        bounds = [*(step.starts for step in self.steps[1:]), self.ends]
        return tuple((step, end - step.starts) for step, end in zip(self.steps, bounds, strict=True))


def has_calendar(semester: Semester) -> bool:
    """Whether anything says when the class meets. Otherwise it may come at any time."""
    return any(course.meetings or course.exams or course.calendar for course in semester.courses)


def timeline(semester: Semester, planned: Plan, events: Sequence[Event]) -> Timeline:
    """Students and workers over the term. Without a calendar: the peak, always. Raises `SemesterError` for an exam of an
    iCal file that needs more than nodes.max."""
    first, after = term_bounds(semester)
    peaks = {course.id: course.peak_servers for course in planned.courses}
    if not has_calendar(semester):
        return Timeline((Step(first, sum(peaks.values()), planned.workers.count),), after, planned.workers.count)
    students = {course.id: course.students for course in semester.courses}
    background = {
        course.id: min(peaks[course.id], _of(course.students, course.background_concurrency))
        for course in semester.courses
    }
    needs: dict[tuple[int, ...], int] = {}

    def nodes(servers: Mapping[str, int]) -> int:
        key = tuple(servers.values())
        if key not in needs:
            needs[key] = nodes_wanted(semester, planned, servers)
        return needs[key]

    base = min(nodes(background), semester.nodes.max)
    segments: list[tuple[datetime, datetime, int, int]] = []
    for begin, end, active in _slices(events):
        servers = dict(background)
        for course in {event.course for event in active}:
            own = [event for event in active if event.course == course]
            together = sum(_of(students[course], event.share) for event in own)
            exams = [_of(students[course], event.share) for event in own if event.kind == "exam"]
            servers[course] = min(max(peaks[course], *exams, 0), max(background[course], together))
        wanted = nodes(servers)
        if wanted > semester.nodes.max:
            raise _too_many(semester, wanted, sum(servers.values()), begin)
        segments.append((begin, end, sum(servers.values()), wanted))
    return Timeline(_steps(segments, semester, first, after, sum(background.values()), base), after, base)


def _too_many(semester: Semester, wanted: int, students: int, begin: datetime) -> SemesterError:
    when = begin.astimezone(semester.term.timezone)
    problem = Problem(
        "semesterhub:nodes.max",
        str(semester.nodes.max),
        f"at least {wanted}, what {students} students on {when:%Y-%m-%d at %H:%M} need",
        f"write `max: {wanted}`, or choose larger nodes",
    )
    return SemesterError("the calendar of this semester", [problem])


def _of(students: int, share: float) -> int:
    return math.ceil(students * Fraction(str(share)))


def _slices(events: Sequence[Event]) -> Iterable[tuple[datetime, datetime, tuple[Event, ...]]]:
    """Intervals in which the same events take place."""
    moments = sorted({moment for event in events for moment in (event.starts, event.ends)})
    waiting, active = sorted(events, reverse=True), []
    for begin, end in itertools.pairwise(moments):
        while waiting and waiting[-1].starts <= begin:
            active.append(waiting.pop())
        active = [event for event in active if event.ends > begin]
        if active:
            yield begin, end, tuple(active)


def _steps(
    segments: Sequence[tuple[datetime, datetime, int, int]],
    semester: Semester,
    first: datetime,
    after: datetime,
    students: int,
    base: int,
) -> tuple[Step, ...]:
    warm, cool = timedelta(minutes=semester.nodes.warm_up_min), timedelta(minutes=semester.nodes.cool_down_min)
    spans = [(max(first, begin - warm), min(after, end + cool), nodes) for begin, end, _, nodes in segments]
    moments = {first}
    for begin, end, *_ in segments:
        moments |= {begin, end}
    for begin, end, _ in spans:
        moments |= {begin, end}
    steps: list[Step] = []
    present = next_span = next_segment = 0
    standing: list[tuple[datetime, datetime, int]] = []
    for moment in sorted(moment for moment in moments if first <= moment < after):
        while next_span < len(spans) and spans[next_span][0] <= moment:
            standing.append(spans[next_span])
            next_span += 1
        standing = [span for span in standing if span[1] > moment]
        while next_segment < len(segments) and segments[next_segment][1] <= moment:
            next_segment += 1
        present = students
        if next_segment < len(segments) and segments[next_segment][0] <= moment:
            present = segments[next_segment][2]
        step = Step(moment, present, max([base, *(nodes for _, _, nodes in standing)]))
        if not steps or (steps[-1].students, steps[-1].nodes) != (step.students, step.nodes):
            steps.append(step)
    return _bridged(steps)


def _bridged(steps: list[Step]) -> tuple[Step, ...]:
    """Without short dips of workers: a machine that goes and comes back within the hour costs its students a restart."""
    begins: list[int] = []  # where each stretch of equally many workers begins
    for index, step in enumerate(steps):
        if not index or steps[index - 1].nodes != step.nodes:
            begins.append(index)
    raised = list(steps)
    for before, dip, after in zip(begins, begins[1:], begins[2:], strict=False):
        level = min(steps[before].nodes, steps[after].nodes)
        if steps[dip].nodes < level and steps[after].starts - steps[dip].starts < DIP_BRIDGED:
            raised[dip:after] = [replace(step, nodes=level) for step in steps[dip:after]]
    return tuple(raised)
