"""Azure's profiles: at most 20, never fewer workers than the schedule where they hold, the usual week first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from components.plan import plan
from components.schedule import Schedule, schedule
from components.schedule_profiles import Profiles, profiles, windows_timezone
from components.semester import Semester, load_stack_file

pytestmark = pytest.mark.unit


def stack(repository: Path, name: str) -> tuple[Semester, Schedule]:
    semester = load_stack_file(repository / "stacks" / f"Pulumi.{name}.yaml")
    return semester, schedule(semester, plan(semester))


def workers(found: Profiles, moment: datetime) -> int:
    """As Azure evaluates them: a window, else the last weekly profile that began, else the default."""
    for window in found.windows:
        if window.starts <= moment < window.ends:
            return window.nodes
    here = moment.astimezone(ZoneInfo(found.timezone))
    minute = here.weekday() * 1440 + here.hour * 60 + here.minute
    begun = {(minute - (day * 1440 + each.at.hour * 60 + each.at.minute)) % 10080: each.nodes
             for each in found.weekly for day in each.days}  # fmt: skip
    return begun[min(begun)] if begun else found.default_nodes


def quarter_hours(semester: Semester) -> list[datetime]:
    zone = semester.term.timezone
    first = datetime.combine(semester.term.starts, datetime.min.time(), zone).astimezone(UTC)
    days = (semester.term.ends - semester.term.starts).days + 1
    return [first + timedelta(minutes=15 * n) for n in range(days * 96 - 8)]


@pytest.mark.parametrize("name", ["sp16", "fa16", "fa26", "fa26-azure"])
@pytest.mark.parametrize("most", [20, 14])
def test_there_are_never_fewer_workers_than_the_schedule_wants(name: str, most: int, repository: Path) -> None:
    semester, wanted = stack(repository, name)
    found = profiles(wanted, semester, most=most)
    assert 1 + len(found.weekly) + len(found.windows) <= most
    changes, level = list(wanted.changes()), wanted.base_nodes
    for moment in quarter_hours(semester):
        while changes and changes[0][0] <= moment:
            level = changes.pop(0)[1]
        assert workers(found, moment) >= level, moment


@pytest.mark.parametrize("name", ["sp16", "fa26-azure"])
def test_twenty_profiles_are_enough_to_be_exact_on_usual_days(name: str, repository: Path) -> None:
    semester, wanted = stack(repository, name)
    found = profiles(wanted, semester)
    usual = [moment for moment in quarter_hours(semester) if moment.astimezone(semester.term.timezone).month == 4 + 5 * (name != "sp16")
             and moment.astimezone(semester.term.timezone).day > 10]  # fmt: skip
    assert all(workers(found, moment) == wanted.nodes_at(moment) for moment in usual[::4])


def test_a_holiday_and_an_exam_are_windows(repository: Path) -> None:
    semester, wanted = stack(repository, "sp16")
    windows = {window.name: window for window in profiles(wanted, semester).windows}
    recess = windows["fewer-20160321"]
    assert (recess.starts, recess.ends, recess.nodes) == (
        datetime(2016, 3, 21, 7, tzinfo=UTC),
        datetime(2016, 3, 26, 7, tzinfo=UTC),
        2,
    )
    assert windows["more-20160512-1440"].nodes == 5


def test_a_window_that_is_over_leaves_its_place_to_the_next(repository: Path) -> None:
    semester, wanted = stack(repository, "fa26-azure")
    later = profiles(wanted, semester, now=datetime(2026, 11, 1, tzinfo=UTC), most=12)
    assert [window.name for window in later.windows] == [
        "fewer-20261111",
        "fewer-20261125",
        "more-20261215-1540",
        "more-20261217-2240",
    ]


def test_exams_come_before_holidays_when_places_are_few(repository: Path) -> None:
    semester, wanted = stack(repository, "fa26-azure")
    found = profiles(wanted, semester, most=10)
    assert [window.name[:5] for window in found.windows].count("more-") == 4


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("America/Los_Angeles", "Pacific Standard Time"),
        ("Europe/Berlin", "W. Europe Standard Time"),
        ("America/Vancouver", "Pacific Standard Time"),
        ("Asia/Kolkata", "India Standard Time"),
    ],
)
def test_windows_names_of_time_zones(zone: str, name: str) -> None:
    found = windows_timezone(ZoneInfo(zone), date(2026, 1, 10), date(2026, 6, 10))
    if zone == "America/Vancouver":  # several zones show the same clock
        from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

        other = ZoneInfo(WINDOWS_TO_OLSON[found])
        moments = [datetime(2026, month, 15, 12) for month in range(1, 7)]
        assert [other.utcoffset(moment) for moment in moments] == [
            ZoneInfo(zone).utcoffset(moment) for moment in moments
        ]
    else:
        assert found == name


def test_a_zone_that_windows_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="Antarctica/Troll"):
        windows_timezone(ZoneInfo("Antarctica/Troll"), date(2026, 1, 10), date(2026, 6, 10))
