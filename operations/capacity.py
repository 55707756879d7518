"""`capacity`: the term's workers against expected students, as a table in the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from operations import stacks
from operations.errors import UserError
from operations.paths import ROOT, WORK_DIR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from components.demand import Step, Timeline
    from components.plan import Plan
    from components.schedule import Schedule
    from components.semester import Semester

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def show(stack: str, out: str = "", *, week: str = "") -> Path | None:
    """Print the calendar's scaling actions and what they amount to, and write the picture. Its path, None for no picture.

    `out` is the picture's path ("" for the usual one, "-" for none), `week` (YYYY-MM-DD) a day whose week is shown alone.
    Raises UserError and SemesterError.
    """
    from components.calendar_events import events
    from components.demand import timeline
    from components.plan import plan
    from components.schedule import schedule

    semester = stacks.load(stack)
    planned = plan(semester)
    line = timeline(semester, planned, events(semester))
    actions = schedule(semester, planned)
    terminal = Console()
    for table in tables(semester, planned, line, actions):
        terminal.print(table)
    terminal.print(summary(semester, line))
    if out == "-":
        return None
    path = Path(out) if out else WORK_DIR / stack / "capacity.png"
    span = _week(week, semester.term.timezone) if week else None
    draw(line, semester, path, span)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    terminal.print(f"The picture: {shown}")
    return path


def tables(semester: Semester, planned: Plan, line: Timeline, actions: Schedule) -> list[Table]:
    """What happens each week, and what happens once."""
    zone = semester.term.timezone
    kind = planned.workers.instance_type or "workers of this machine"
    weekly = Table(
        "days", f"at ({zone.key})", "from", "to", "workers", title=f"Each week ({kind})", title_justify="left"
    )
    for action in actions.weekly:
        days = " ".join(DAYS[day] for day in action.days)
        weekly.add_row(days, f"{action.at:%H:%M}", str(action.starts), str(action.ends), str(action.nodes))
    once = Table("day", "at", "workers", "expected", title="Once", title_justify="left")
    for action in actions.once:
        here = action.at.astimezone(zone)
        expected = str(_most(line, action.at, actions)) if action.at < line.ends else "the term is over"
        once.add_row(f"{here:%a %Y-%m-%d}", f"{here:%H:%M}", str(action.nodes), expected)
    return [table for table, rows in ((weekly, actions.weekly), (once, actions.once)) if rows]


def _most(line: Timeline, begin: datetime, actions: Schedule) -> int:
    """The most students until the next change of workers."""
    end = next((moment for moment, _ in actions.changes() if moment > begin), line.ends)
    return max(step.students for step, length in line.lengths() if step.starts < end and step.starts + length > begin)


def summary(semester: Semester, line: Timeline) -> str:
    """Hours of workers against the hours if the peak always stood."""
    hours = sum(length.total_seconds() / 3600 * step.nodes for step, length in line.lengths())
    always = max(step.nodes for step in line.steps) * sum(length.total_seconds() / 3600 for _, length in line.lengths())
    students = sum(length.total_seconds() / 3600 * step.students for step, length in line.lengths())
    peak = max(line.steps, key=lambda step: (step.nodes, step.students))
    busiest = max(line.steps, key=lambda step: step.students)
    when = busiest.starts.astimezone(semester.term.timezone)
    return (
        f"From {line.base_nodes} workers outside class to {peak.nodes}; at most {busiest.students} students, first on "
        f"{when:%a %Y-%m-%d %H:%M}.\n"
        f"{hours:,.0f} worker hours in the term ({hours / always:.0%} of what the peak all the time would be) for "
        f"{students:,.0f} student hours."
    )


def _week(day: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    try:
        given = datetime.fromisoformat(day)
    except ValueError:
        raise UserError(f"--week {day!r} is no day. Allowed: YYYY-MM-DD, such as 2026-10-12.") from None
    monday = (given - timedelta(days=given.weekday())).replace(hour=0, minute=0, tzinfo=zone)
    return monday, monday + timedelta(days=7)


def draw(line: Timeline, semester: Semester, path: Path, span: tuple[datetime, datetime] | None = None) -> None:
    """The picture: the whole term and its busiest week below each other, or the span alone."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    zone = semester.term.timezone
    first, busiest = line.steps[0].starts, max(line.steps, key=lambda step: (step.nodes, step.students))
    spans = [span] if span else [(first, line.ends), _week(f"{busiest.starts.astimezone(zone):%Y-%m-%d}", zone)]
    figure, axes = plt.subplots(len(spans), 1, figsize=(12, 4 * len(spans)), squeeze=False, layout="constrained")
    try:
        for panel, (begin, end) in zip(axes[:, 0], spans, strict=True):
            last = (end - timedelta(microseconds=1)).astimezone(zone)
            title = f"{semester.title}: {begin.astimezone(zone):%Y-%m-%d} to {last:%Y-%m-%d}"
            _panel(panel, _points(line, begin, end), zone, title)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    finally:
        plt.close(figure)


def _points(line: Timeline, begin: datetime, end: datetime) -> list[tuple[datetime, Step]]:
    """The steps within a span, the first one from its begin, the last one again at its end."""
    inside = [
        (max(begin, step.starts), step)
        for step, length in line.lengths()
        if step.starts < end and step.starts + length > begin
    ]
    if not inside:
        raise UserError("this week is not in the term. Choose a day of the term for --week.")
    return [*inside, (min(end, line.ends), inside[-1][1])]


def _panel(axes: Axes, points: Iterable[tuple[datetime, Step]], zone: ZoneInfo, title: str) -> None:
    from matplotlib import dates

    given = list(points)
    moments = dates.date2num([moment.astimezone(zone) for moment, _ in given])
    students, nodes = [step.students for _, step in given], [step.nodes for _, step in given]
    axes.fill_between(moments, students, step="post", color="#9ecae1", label="students expected")
    axes.set_ylabel("students")
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left")
    other = axes.twinx()
    other.step(moments, nodes, where="post", color="#b30000", label="workers")
    other.set_ylabel("workers")
    other.set_ylim(bottom=0)
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    handles = [axes.get_legend_handles_labels(), other.get_legend_handles_labels()]
    axes.legend(handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], loc="upper left")
