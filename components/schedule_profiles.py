"""The same calendar as autoscale profiles: Azure knows a week that repeats and single windows, and at most 20 of both.

`profiles(schedule, semester)` never has fewer workers than the schedule at any moment of the windows it holds, and never
fewer than the schedule's usual week. Where 20 profiles are too few it raises the workers between two meetings of a day;
where windows are too many it takes the next ones, and the next `up` takes those that follow. Times are as in
https://learn.microsoft.com/azure/azure-monitor/autoscale/autoscale-multiprofile.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from components.calendar_events import DAYS, local, term_bounds
from components.schedule import Schedule
from components.semester import Semester

AZURE_PROFILES_MAX = 20
"""Profiles of one autoscale setting, the default one included (learn.microsoft.com, "Azure Monitor service limits")."""
_WINDOWS_KEPT = 6
"""Places kept for exams and holidays when the week itself needs many profiles."""
_DAY = timedelta(days=1)
_BRIDGED = timedelta(hours=3)
_WEEK_MIN = 7 * 24 * 60

_Week = tuple[tuple[int, int], ...]
"""(minute of the week from Monday 00:00, workers from then on), sorted; before the first one the last one holds."""


@dataclass(frozen=True)
class WeeklyProfile:
    """From `at` (local) on these days (0 is Monday) until the next weekly profile there shall be `nodes`."""

    name: str
    days: tuple[int, ...]
    at: time
    nodes: int


@dataclass(frozen=True)
class Window:
    """From `starts` to `ends` (UTC) there shall be `nodes`, whatever the week says."""

    name: str
    starts: datetime
    ends: datetime
    nodes: int


@dataclass(frozen=True)
class Profiles:
    """`default_nodes` holds when nothing else does. `timezone` is the IANA name, `windows_timezone` Azure's for it."""

    default_nodes: int
    timezone: str
    windows_timezone: str
    weekly: tuple[WeeklyProfile, ...]
    windows: tuple[Window, ...]


def profiles(
    schedule: Schedule, semester: Semester, *, now: datetime | None = None, most: int = AZURE_PROFILES_MAX
) -> Profiles:
    """The profiles, the default one counted in `most`. `now` (aware) leaves out windows that are over."""
    zone = semester.term.timezone
    changes = schedule.changes()
    usual = _usual_week(schedule, semester, changes)
    week = _coarser(usual, most - 1 - _WINDOWS_KEPT)
    weekly = _weekly_profiles(week)
    windows = _more(schedule, semester, changes, week)
    windows = [window for window in windows if now is None or window.ends > now]
    room = max(0, most - 1 - len(weekly))
    kept = windows[:room]
    fewer = [window for window in _holidays(schedule, semester, changes, week) if now is None or window.ends > now]
    kept += [window for window in fewer if not any(window.starts < other.ends and other.starts < window.ends
                                                   for other in kept)][: room - len(kept)]  # fmt: skip
    return Profiles(
        default_nodes=schedule.base_nodes,
        timezone=zone.key,
        windows_timezone=windows_timezone(zone, semester.term.starts, semester.term.ends),
        weekly=weekly,
        windows=tuple(sorted(kept, key=lambda window: window.starts)),
    )


def windows_timezone(zone: ZoneInfo, first: date, last: date) -> str:
    """A Windows time zone whose clock shows the same as `zone` from `first` to `last`: Azure takes no IANA names.

    The zone's own one by the Unicode CLDR's table where there is one. Raises ValueError when no zone fits.
    """
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON  # CLDR's windowsZones; a quarter of a second

    def offsets(one: ZoneInfo) -> list[timedelta | None]:
        return [one.utcoffset(datetime.combine(first + n * _DAY, time(12))) for n in range((last - first).days + 1)]

    by_zone = {olson: name for name, olson in reversed(WINDOWS_TO_OLSON.items())}
    if zone.key in by_zone:
        return by_zone[zone.key]
    wanted = offsets(zone)
    found = next((name for name, olson in WINDOWS_TO_OLSON.items() if offsets(ZoneInfo(olson)) == wanted), None)
    if found is None:
        raise ValueError(f"no Windows time zone shows the same clock as {zone.key} from {first} to {last}")
    return found


def _level(changes: tuple[tuple[datetime, int], ...], moment: datetime, base: int) -> int:
    index = bisect_right(changes, moment, key=lambda change: change[0])
    return changes[index - 1][1] if index else base


def _usual_week(schedule: Schedule, semester: Semester, changes: tuple[tuple[datetime, int], ...]) -> _Week:
    """At each minute of the week what most weeks have; of two equally frequent numbers the larger one."""
    zone = semester.term.timezone
    first, after = term_bounds(semester)
    minutes = {0} | {_minute(moment.astimezone(zone)) for moment, _ in changes if moment < after}
    days = [semester.term.starts + n * _DAY for n in range((semester.term.ends - semester.term.starts).days + 1)]
    week: list[tuple[int, int]] = []
    for minute in sorted(minutes | {day * 1440 for day in range(7)}):
        at = time(minute % 1440 // 60, minute % 60)
        moments = [local(day, at, zone) for day in days if day.weekday() == minute // 1440]
        counted = Counter(_level(changes, moment, schedule.base_nodes) for moment in moments if first <= moment < after)
        nodes = max(counted, key=lambda level: (counted[level], level)) if counted else schedule.base_nodes
        week.append((minute, nodes))
    return _plain(week)


def _minute(here: datetime) -> int:
    return here.weekday() * 1440 + here.hour * 60 + here.minute


def _plain(week: list[tuple[int, int]]) -> _Week:
    """Without steps that change nothing; one step at least."""
    kept = [step for index, step in enumerate(week) if step[1] != week[index - 1][1]]
    return tuple(kept or week[:1])


def _at(week: _Week, minute: int) -> int:
    index = bisect_right(week, minute, key=lambda step: step[0])
    return week[index - 1][1]  # index 0: the last step of the week before


def _weekly_profiles(week: _Week) -> tuple[WeeklyProfile, ...]:
    if len(week) == 1:
        return ()
    groups: dict[tuple[int, int], list[int]] = {}
    for minute, nodes in week:
        groups.setdefault((minute % 1440, nodes), []).append(minute // 1440)
    found = [
        WeeklyProfile(
            f"{'-'.join(DAYS[day] for day in days)}-{minute // 60:02d}{minute % 60:02d}",
            tuple(days),
            time(minute // 60, minute % 60),
            nodes,
        )
        for (minute, nodes), days in groups.items()
    ]
    return tuple(sorted(found, key=lambda profile: (profile.days, profile.at)))


def _count(week: _Week) -> int:
    return len({(minute % 1440, nodes) for minute, nodes in week}) if len(week) > 1 else 0


def _coarser(week: _Week, most: int) -> _Week:
    """The week with at most this many profiles: steps raised to a neighbour's level, the cheapest in node-hours first."""
    while _count(week) > most:
        tries = []
        for index, (minute, nodes) in enumerate(week):
            before, (after_minute, after) = week[index - 1][1], week[(index + 1) % len(week)]
            higher = [level for level in (before, after) if level > nodes]
            if not higher:
                continue
            key = (minute % 1440, after_minute % 1440, nodes)
            raised, cost = [], 0
            for other, (start, level) in enumerate(week):
                end = week[(other + 1) % len(week)][0]
                same = (start % 1440, end % 1440, level) == key
                cost += (min(higher) - level) * ((end - start) % _WEEK_MIN) if same else 0
                raised.append((start, max(level, min(higher)) if same else level))
            result = _plain(raised)
            saved = _count(week) - _count(result)
            tries.append((cost / max(saved, 0.25), cost, result))
        week = min(tries, key=lambda each: each[:2])[2]
    return week


def _spans(
    schedule: Schedule, semester: Semester, changes: tuple[tuple[datetime, int], ...], week: _Week
) -> list[tuple[datetime, datetime, int, int]]:
    """The term in pieces: (starts, ends, workers of the schedule, workers of the week)."""
    zone = semester.term.timezone
    first, after = term_bounds(semester)
    moments = {first, after} | {moment for moment, _ in changes if first < moment < after}
    day = semester.term.starts
    while day <= semester.term.ends:
        moments.add(local(day, time(), zone))
        moments |= {local(day, time(m % 1440 // 60, m % 60), zone) for m, _ in week if m // 1440 == day.weekday()}
        day += _DAY
    ordered = sorted(moment for moment in moments if first <= moment <= after)
    return [
        (begin, end, _level(changes, begin, schedule.base_nodes), _at(week, _minute(begin.astimezone(zone))))
        for begin, end in itertools.pairwise(ordered)
    ]


def _more(
    schedule: Schedule, semester: Semester, changes: tuple[tuple[datetime, int], ...], week: _Week
) -> list[Window]:
    """Windows where the schedule has more than the week, such as exams; near ones become one."""
    found: list[Window] = []
    spans = _spans(schedule, semester, changes, week)
    for begin, end, wanted, usual in spans:
        if wanted <= usual:
            continue
        starts = begin
        if found and begin - found[-1].ends <= _BRIDGED:
            starts = found.pop().starts
        nodes = max(wanted for b, e, wanted, _ in spans if b < end and e > starts)
        found.append(Window(f"more-{starts:%Y%m%d-%H%M}", starts, end, nodes))
    return found


def _holidays(
    schedule: Schedule, semester: Semester, changes: tuple[tuple[datetime, int], ...], week: _Week
) -> list[Window]:
    """Whole days of the term on which the schedule has fewer than the week; neighbours become one window."""
    zone = semester.term.timezone
    by_day: dict[date, list[tuple[int, int]]] = {}
    for begin, _, wanted, usual in _spans(schedule, semester, changes, week):
        by_day.setdefault(begin.astimezone(zone).date(), []).append((wanted, usual))
    found: list[Window] = []
    for day, levels in sorted(by_day.items()):
        nodes = max(wanted for wanted, _ in levels)
        if any(wanted > usual for wanted, usual in levels) or nodes >= max(usual for _, usual in levels):
            continue
        starts, ends = local(day, time(), zone), local(day + _DAY, time(), zone)
        if found and found[-1].ends == starts:
            last = found.pop()
            starts, nodes = last.starts, max(last.nodes, nodes)
        found.append(Window(f"fewer-{starts:%Y%m%d}", starts, ends, nodes))
    return found
