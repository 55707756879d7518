"""The calendar: what meetings, exams and iCal files mean, as a table of cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.calendar_events import Event, events
from components.demand import timeline
from components.plan import plan
from components.semester import Semester, SemesterError, from_mapping

pytestmark = pytest.mark.unit

LOS_ANGELES, BERLIN = "America/Los_Angeles", "Europe/Berlin"
# Daylight saving: Los Angeles changes on 2026-03-08 and 2026-11-01, Berlin on 2026-03-29 and 2026-10-25.


def semester(course: dict[str, Any], starts: str, ends: str, zone: str, holidays: list[dict[str, str]]) -> Semester:
    login = {"kind": "github", "client_id": "x", "client_secret": {"secure": "v1:x"}, "allow_all": True}
    data = {
        "cloud": "aws",
        "region": "us-west-2",
        "title": "Test",
        "domain": "hub.example.edu",
        "authenticator": login,
        "term": {"starts": starts, "ends": ends, "timezone": zone, "holidays": holidays},
        "courses": [{"id": "data8", "title": "Data 8", "students": 100, **course}],
        "network": {"cidr": "10.88.0.0/16"},
    }
    return from_mapping(data, source="test")


def ical(*components: str) -> str:
    """A calendar of events, each given as lines without BEGIN, UID and DTSTAMP."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example.edu//test//EN"]
    for number, text in enumerate(components):
        own = [line.strip() for line in text.strip().splitlines()]
        uid = [] if any(line.startswith("UID") for line in own) else [f"UID:{number}@example.edu"]
        lines += ["BEGIN:VEVENT", *uid, "DTSTAMP:20260101T000000Z", *own, "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


@dataclass(frozen=True)
class Case:
    """Given a course (and an iCal file), these occurrences, as "start UTC/end UTC" in minutes."""

    name: str
    expected: list[str]
    meetings: list[dict[str, Any]] = field(default_factory=list)
    exams: list[dict[str, Any]] = field(default_factory=list)
    file: str = ""
    starts: str = "2026-10-26"
    ends: str = "2026-11-08"
    zone: str = LOS_ANGELES
    holidays: list[dict[str, str]] = field(default_factory=list)


MONDAY = {"days": ["mon"], "starts": "10:00", "ends": "11:00"}
WEEKLY = "DTSTART;TZID=America/Los_Angeles:20261026T100000\nDTEND;TZID=America/Los_Angeles:20261026T110000\n"

CASES = [
    Case("a weekly meeting keeps its local time when the clock goes back",
         ["2026-10-26T17:00/18:00", "2026-11-02T18:00/19:00"], meetings=[MONDAY]),
    Case("a weekly meeting keeps its local time when the clock goes forward",
         ["2026-03-02T18:00/19:00", "2026-03-09T17:00/18:00"], meetings=[MONDAY], starts="2026-03-01", ends="2026-03-14"),
    Case("a meeting in the hour that is skipped takes place one hour later by the clock",
         ["2026-03-08T10:30/11:00"], meetings=[{"days": ["sun"], "starts": "02:30", "ends": "03:00"}],
         starts="2026-03-08", ends="2026-03-09"),
    Case("a meeting over the skipped hour is an hour shorter",
         ["2026-03-08T09:30/10:30"], meetings=[{"days": ["sun"], "starts": "01:30", "ends": "03:30"}],
         starts="2026-03-08", ends="2026-03-09"),
    Case("a meeting over the hour that comes twice is an hour longer",
         ["2026-11-01T07:30/10:30"], meetings=[{"days": ["sun"], "starts": "00:30", "ends": "02:30"}],
         starts="2026-11-01", ends="2026-11-02"),
    Case("a meeting in the hour that comes twice is in the first one",
         ["2026-11-01T08:15/08:45"], meetings=[{"days": ["sun"], "starts": "01:15", "ends": "01:45"}],
         starts="2026-11-01", ends="2026-11-02"),
    Case("a European term changes its clock on another day",
         ["2026-10-19T08:00/09:00", "2026-10-26T09:00/10:00"], meetings=[MONDAY],
         starts="2026-10-19", ends="2026-10-30", zone=BERLIN),
    Case("a holiday has no meeting", ["2026-10-26T17:00/18:00"], meetings=[MONDAY],
         holidays=[{"title": "H", "starts": "2026-11-02"}]),
    Case("holidays of several days", [], meetings=[MONDAY],
         holidays=[{"title": "H", "starts": "2026-10-24", "ends": "2026-11-03"}]),
    Case("a cancelled meeting", ["2026-11-02T18:00/19:00"], meetings=[{**MONDAY, "cancelled": ["2026-10-26"]}]),
    Case("an exam on a holiday takes place", ["2026-11-02T18:00/20:00"],
         exams=[{"title": "Midterm", "starts": "2026-11-02 10:00", "ends": "2026-11-02 12:00"}],
         holidays=[{"title": "H", "starts": "2026-11-02"}]),
    Case("an exam over midnight", ["2026-11-03T06:00/09:00"],
         exams=[{"title": "Late", "starts": "2026-11-02 22:00", "ends": "2026-11-03 01:00"}]),
    Case("an exam over the night when the clock goes back is 25 hours long", ["2026-11-01T04:00/05:00+1"],
         exams=[{"title": "Take-home", "starts": "2026-10-31 21:00", "ends": "2026-11-01 21:00"}]),
    Case("meetings end with the term", ["2026-10-26T17:00/18:00"], meetings=[MONDAY], ends="2026-11-01"),
    Case("iCal: a weekly rule keeps its local time over the change of the clock",
         ["2026-10-26T17:00/18:00", "2026-11-02T18:00/19:00"], file=ical(WEEKLY + "RRULE:FREQ=WEEKLY")),
    Case("iCal: a weekly rule in UTC does not",
         ["2026-10-26T17:00/18:00", "2026-11-02T17:00/18:00"],
         file=ical("DTSTART:20261026T170000Z\nDTEND:20261026T180000Z\nRRULE:FREQ=WEEKLY")),
    Case("iCal: an event in another zone", ["2026-10-27T16:00/17:00"],
         file=ical("DTSTART;TZID=Europe/Berlin:20261027T170000\nDTEND;TZID=Europe/Berlin:20261027T180000")),
    Case("iCal: zones by their Windows names", ["2026-10-27T17:00/18:00"],
         file=ical("DTSTART;TZID=Pacific Standard Time:20261027T100000\nDTEND;TZID=Pacific Standard Time:20261027T110000")),
    Case("iCal: a time without a zone is in the term's", ["2026-10-27T17:00/18:00"],
         file=ical("DTSTART:20261027T100000\nDTEND:20261027T110000")),
    Case("iCal: EXDATE leaves one out", ["2026-10-26T17:00/18:00"],
         file=ical(WEEKLY + "RRULE:FREQ=WEEKLY\nEXDATE;TZID=America/Los_Angeles:20261102T100000")),
    Case("iCal: RDATE adds one", ["2026-10-26T17:00/18:00", "2026-10-30T17:00/18:00"],
         file=ical(WEEKLY + "RDATE;TZID=America/Los_Angeles:20261030T100000")),
    Case("iCal: UNTIL and COUNT end a rule", ["2026-10-26T17:00/18:00", "2026-10-27T17:00/18:00"],
         file=ical(WEEKLY + "RRULE:FREQ=DAILY;COUNT=2",
                   WEEKLY.replace("T10", "T09").replace("T11", "T10") + "RRULE:FREQ=DAILY;UNTIL=20261026T000000Z"
                   + "\nSTATUS:CANCELLED")),
    Case("iCal: several days of the week", ["2026-10-26T17:00/18:00", "2026-10-28T17:00/18:00", "2026-10-30T17:00/18:00"],
         file=ical(WEEKLY + "RRULE:FREQ=WEEKLY;BYDAY=MO,WE,FR;COUNT=3")),
    Case("iCal: an occurrence that was moved", ["2026-10-26T17:00/18:00", "2026-11-04T21:00/22:00"],
         file=ical("UID:a\n" + WEEKLY + "RRULE:FREQ=WEEKLY",
                   "UID:a\nRECURRENCE-ID;TZID=America/Los_Angeles:20261102T100000\n"
                   "DTSTART;TZID=America/Los_Angeles:20261104T130000\nDTEND;TZID=America/Los_Angeles:20261104T140000")),
    Case("iCal: an occurrence that was cancelled", ["2026-10-26T17:00/18:00"],
         file=ical("UID:a\n" + WEEKLY + "RRULE:FREQ=WEEKLY",
                   "UID:a\nRECURRENCE-ID;TZID=America/Los_Angeles:20261102T100000\nSTATUS:CANCELLED\n"
                   "DTSTART;TZID=America/Los_Angeles:20261102T100000\nDTEND;TZID=America/Los_Angeles:20261102T110000")),
    Case("iCal: a cancelled event", [], file=ical(WEEKLY + "RRULE:FREQ=WEEKLY\nSTATUS:CANCELLED")),
    Case("iCal: an all-day event lasts from midnight to midnight", ["2026-10-28T07:00/07:00+1"],
         file=ical("DTSTART;VALUE=DATE:20261028\nDTEND;VALUE=DATE:20261029\nSUMMARY:Hackathon")),
    Case("iCal: an all-day event without an end is one day", ["2026-10-28T07:00/07:00+1"],
         file=ical("DTSTART;VALUE=DATE:20261028")),
    Case("iCal: the day on which the clock goes back has 25 hours", ["2026-11-01T07:00/08:00+1"],
         file=ical("DTSTART;VALUE=DATE:20261101\nCATEGORIES:EXAM")),
    Case("iCal: the day on which the clock goes forward has 23 hours", ["2026-03-08T08:00/07:00+1"],
         file=ical("DTSTART;VALUE=DATE:20260308"), starts="2026-03-01", ends="2026-03-14"),
    Case("iCal: an all-day event that is marked as free is a note", [],
         file=ical("DTSTART;VALUE=DATE:20261028\nTRANSP:TRANSPARENT\nSUMMARY:Homework 3 is out")),
    Case("iCal: an exam that is marked as free is an exam", ["2026-10-28T07:00/07:00+1"],
         file=ical("DTSTART;VALUE=DATE:20261028\nTRANSP:TRANSPARENT\nCATEGORIES:Exam,Important")),
    Case("iCal: a deadline has no length", [], file=ical("DTSTART:20261028T235900\nSUMMARY:Homework 3 is due")),
    Case("iCal: a duration instead of an end", ["2026-10-28T17:00/18:30"],
         file=ical("DTSTART:20261028T100000\nDURATION:PT1H30M")),
    Case("iCal: an event over midnight", ["2026-10-29T06:00/08:00"],
         file=ical("DTSTART:20261028T230000\nDTEND:20261029T010000")),
    Case("iCal: an event that began before the term counts from its first day", ["2026-10-26T07:00/08:00"],
         file=ical("DTSTART:20261025T220000\nDTEND:20261026T010000")),
    Case("iCal: a rule that began before the term", ["2026-10-26T17:00/18:00", "2026-11-02T18:00/19:00"],
         file=ical(WEEKLY.replace("20261026", "20260831") + "RRULE:FREQ=WEEKLY")),
    Case("iCal: a holiday of the course", ["2026-10-26T17:00/18:00"], meetings=[MONDAY],
         file=ical("DTSTART;VALUE=DATE:20261101\nDTEND;VALUE=DATE:20261104\nCATEGORIES:HOLIDAY")),
    Case("iCal: a holiday of the term has no event of the file, but its exams",
         ["2026-11-02T18:00/19:00"], holidays=[{"title": "H", "starts": "2026-11-01", "ends": "2026-11-03"}],
         file=ical("DTSTART:20261102T080000\nDTEND:20261102T090000",
                   "DTSTART:20261102T100000\nDTEND:20261102T110000\nCATEGORIES:EXAM")),
    Case("iCal: seconds are rounded outwards to minutes", ["2026-10-28T17:00/18:01"],
         file=ical("DTSTART:20261028T100059\nDTEND:20261028T110001")),
    Case("meetings and a file together, each once", ["2026-10-26T17:00/18:00", "2026-10-28T17:00/18:00", "2026-11-02T18:00/19:00"],
         meetings=[MONDAY], file=ical("DTSTART:20261028T100000\nDTEND:20261028T110000")),
]  # fmt: skip


def shown(event: Event) -> str:
    later = (event.ends.date() - event.starts.date()).days
    return f"{event.starts:%Y-%m-%dT%H:%M}/{event.ends:%H:%M}" + (f"+{later}" if later else "")


def course_of(case: Case, root: Path) -> dict[str, Any]:
    if case.file:
        (root / "course.ics").write_text(case.file, encoding="utf-8", newline="")
    return {"meetings": case.meetings, "exams": case.exams, **({"calendar": "course.ics"} if case.file else {})}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_when_students_come(case: Case, tmp_path: Path) -> None:
    given = semester(course_of(case, tmp_path), case.starts, case.ends, case.zone, case.holidays)
    assert [shown(event) for event in events(given, tmp_path)] == case.expected


def test_there_are_at_least_25_cases_with_both_changes_of_the_clock() -> None:
    assert len(CASES) >= 25
    assert {"forward", "back"} <= {word for case in CASES for word in case.name.split()}


# What meets at the same moment is added up.


def of_two(first: dict[str, Any], second: dict[str, Any]) -> Semester:
    one = semester(first, "2026-10-26", "2026-10-30", LOS_ANGELES, [])
    other = semester({"id": "stat20", **second}, "2026-10-26", "2026-10-30", LOS_ANGELES, [])
    return one.model_copy(update={"courses": (*one.courses, *other.courses)})


def students_at(given: Semester, moment: str, root: Path) -> int:
    line = timeline(given, plan(given), events(given, root))
    return line.at(datetime.fromisoformat(moment).replace(tzinfo=given.term.timezone).astimezone(UTC)).students


TEN = {"days": ["mon"], "starts": "10:00", "ends": "12:00"}


@pytest.mark.parametrize(
    ("first", "second", "moment", "students"),
    [
        ([TEN], [{**TEN, "starts": "11:00"}], "2026-10-26 11:30", 200),
        ([TEN], [{**TEN, "starts": "11:00"}], "2026-10-26 10:30", 110),
        ([TEN], [{**TEN, "starts": "11:00"}], "2026-10-26 12:00", 20),
        ([{**TEN, "peak_concurrency": 0.4}], [{**TEN, "peak_concurrency": 0.25}], "2026-10-26 10:00", 65),
        ([{**TEN, "peak_concurrency": 0.3}, {**TEN, "peak_concurrency": 0.3}], [], "2026-10-26 10:00", 70),
        ([{**TEN, "peak_concurrency": 0.7}, {**TEN, "peak_concurrency": 0.7}], [], "2026-10-26 10:00", 110),
        ([{**TEN, "peak_concurrency": 0.05}], [], "2026-10-26 10:00", 20),
    ],
    ids=["both", "before the second begins", "after both", "shares", "two groups of one course", "no more than the class",
         "no fewer than work at home anyway"],
)  # fmt: skip
def test_courses_that_meet_at_once_are_added_up(
    first: list[dict[str, Any]], second: list[dict[str, Any]], moment: str, students: int, tmp_path: Path
) -> None:
    given = of_two({"meetings": first}, {"meetings": second})
    assert students_at(given, moment, tmp_path) == students


def test_an_exam_brings_everybody_and_an_event_may_say_its_share(tmp_path: Path) -> None:
    text = ical(
        "DTSTART:20261026T100000\nDTEND:20261026T110000\nCATEGORIES:EXAM",
        "DTSTART:20261027T100000\nDTEND:20261027T110000",
        "DTSTART:20261028T100000\nDTEND:20261028T110000\nX-SEMESTERHUB-CONCURRENCY:0.25",
    )
    (tmp_path / "course.ics").write_text(text, encoding="utf-8", newline="")
    given = semester({"calendar": "course.ics", "peak_concurrency": 0.6}, "2026-10-26", "2026-10-30", LOS_ANGELES, [])
    assert [students_at(given, f"2026-10-{day} 10:30", tmp_path) for day in (26, 27, 28)] == [100, 60, 25]


def test_an_exam_of_a_file_that_needs_more_than_the_most_nodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "course.ics").write_text(
        ical("DTSTART:20261026T100000\nDTEND:20261026T110000\nCATEGORIES:EXAM"), encoding="utf-8", newline=""
    )
    course = {"calendar": "course.ics", "students": 1000, "peak_concurrency": 0.1}
    given = semester(course, "2026-10-26", "2026-10-30", LOS_ANGELES, [])
    small = given.model_copy(
        update={"nodes": given.nodes.model_copy(update={"max": 3, "instance_type": "r6i.2xlarge"})}
    )
    with pytest.raises(
        SemesterError, match=r"nodes.max is 3[\s\S]*at least 7, what 1000 students on 2026-10-26 at 10:00"
    ):
        timeline(small, plan(small), events(small, tmp_path))


# Files that cannot be read are refused before anything is touched.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is \"course.ics\""),
        ("hello", "an iCal file"),
        (ical("DTSTART:20261026T100000\nDTEND:20261026T110000\nRRULE:FREQ=SOMETIMES"), "course.ics"),
        (ical("DTSTART;TZID=Mars/Olympus:20261026T100000\nDTEND;TZID=Mars/Olympus:20261026T110000"), "Mars/Olympus"),
        (ical("DTSTART:20261026T100000\nDTEND:20261026T110000\nX-SEMESTERHUB-CONCURRENCY:70"), "0.01 to 1"),
        ("BEGIN:VCALENDAR\r\n" + "X" * (5 * 2**20) + "\r\nEND:VCALENDAR\r\n", "at most 5 MiB"),
    ],
    ids=["missing", "no calendar", "unknown frequency", "unknown zone", "no share", "too large"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "course.ics").write_text(text, encoding="utf-8", newline="")
    given = semester({"calendar": "course.ics"}, "2026-10-26", "2026-11-08", LOS_ANGELES, [])
    with pytest.raises(SemesterError) as refused:
        events(given, tmp_path)
    assert "semesterhub:courses[0].calendar" in str(refused.value)
    assert said in str(refused.value)


def test_a_link_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (tmp_path / "outside.ics").write_text(ical(), encoding="utf-8")
    (root / "course.ics").symlink_to(tmp_path / "outside.ics")
    given = semester({"calendar": "course.ics"}, "2026-10-26", "2026-11-08", LOS_ANGELES, [])
    with pytest.raises(SemesterError, match="an iCal file in this repository"):
        events(given, root)
