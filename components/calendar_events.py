"""When students come: meetings and exams of the stack file, and of iCal files in the repository, as intervals in UTC.

`events(semester)` is everything that falls into the term. Rules for an iCal file (RFC 5545) of a course:

- A timed event is a meeting. Category EXAM makes it an exam, to which everybody comes and which no holiday cancels.
- Category HOLIDAY: no meetings of this course on its days. An all-day event without it lasts from midnight to midnight
  in the term's time zone, unless it is marked as free (TRANSP:TRANSPARENT), as calendars mark notes and deadlines.
- STATUS:CANCELLED, EXDATE and overridden occurrences (RECURRENCE-ID) do what they say. Events without a length do not
  count. Times without a zone are in the term's zone.
- X-SEMESTERHUB-CONCURRENCY: the share of the course that works at the same moment, from 0.01 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from components.semester import Course, Problem, Semester, SemesterError
from components.semester_errors import show

ROOT = Path(__file__).resolve().parent.parent
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ICAL_BYTES_MAX = 5 * 2**20
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, order=True)
class Event:
    """One occurrence of a meeting or exam: whole minutes, aware, in UTC; `ends` is the first moment after it."""

    starts: datetime
    ends: datetime
    course: str
    kind: Literal["meeting", "exam"]
    title: str
    share: float
    """Of the course's students, those who work at the same moment."""


def term_bounds(semester: Semester) -> tuple[datetime, datetime]:
    """The term's first moment and the first one after it, in UTC."""
    zone = semester.term.timezone
    return local(semester.term.starts, time(), zone), local(semester.term.ends + _DAY, time(), zone)


def local(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A local time as UTC. One that the clock skips in spring counts as if it had not been changed (02:30 is 03:30)."""
    return datetime.combine(day, at, zone).astimezone(UTC)


def events(semester: Semester, root: Path = ROOT) -> tuple[Event, ...]:
    """All meetings and exams within the term, sorted. Raises `SemesterError` for an iCal file that cannot be read."""
    found: list[Event] = []
    term_holidays = frozenset(day for holiday in semester.term.holidays
                              for day in _days(holiday.starts, holiday.ends or holiday.starts))  # fmt: skip
    for index, course in enumerate(semester.courses):
        from_file, own_holidays = _of_file(semester, index, root) if course.calendar else ([], frozenset())
        holidays = term_holidays | own_holidays
        found += _of_meetings(semester, course, holidays)
        found += _of_exams(semester, course)
        zone = semester.term.timezone
        found += [
            event for event in from_file if event.kind == "exam" or event.starts.astimezone(zone).date() not in holidays
        ]
    first, after = term_bounds(semester)
    inside = (
        Event(max(event.starts, first), min(event.ends, after), event.course, event.kind, event.title, event.share)
        for event in found
        if event.starts < after and event.ends > first
    )
    return tuple(sorted(inside))


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += _DAY


def _of_meetings(semester: Semester, course: Course, holidays: frozenset[date]) -> Iterator[Event]:
    zone = semester.term.timezone
    for meeting in course.meetings:
        weekdays = {DAYS.index(day) for day in meeting.days}
        share = meeting.peak_concurrency if meeting.peak_concurrency is not None else course.peak_concurrency
        for day in _days(semester.term.starts, semester.term.ends):
            if day.weekday() in weekdays and day not in holidays and day not in meeting.cancelled:
                starts, ends = local(day, meeting.starts, zone), local(day, meeting.ends, zone)
                if ends <= starts:  # the clock's change swallowed it: it begins later and lasts as long
                    ends = starts + (datetime.combine(day, meeting.ends) - datetime.combine(day, meeting.starts))
                yield Event(starts, ends, course.id, "meeting", course.title, share)


def _of_exams(semester: Semester, course: Course) -> Iterator[Event]:
    zone = semester.term.timezone
    for exam in course.exams:
        starts = exam.starts.replace(tzinfo=zone).astimezone(UTC)
        ends = exam.ends.replace(tzinfo=zone).astimezone(UTC)
        if ends <= starts:
            ends = starts + (exam.ends - exam.starts)
        yield Event(starts, ends, course.id, "exam", exam.title, exam.peak_concurrency)


def _of_file(semester: Semester, index: int, root: Path) -> tuple[list[Event], frozenset[date]]:
    """The events of a course's iCal file, and the days it marks as holidays."""
    import recurring_ical_events  # half a second with icalendar: only for semesters with a file

    course = semester.courses[index]
    calendar = _read(index, str(course.calendar), root)
    _known_zones(calendar, index, course)
    zone = semester.term.timezone
    # A day more on each side: an event in another zone may begin on the term's first day here.
    span = (semester.term.starts - _DAY, semester.term.ends + 2 * _DAY)
    try:
        occurrences = recurring_ical_events.of(calendar, skip_bad_series=False).between(*span)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        recurring_ical_events.InvalidCalendar,
    ) as error:
        raise _refuse(index, course, f"not a calendar that can be read: {error}", "events with valid rules") from error
    found, holidays = [], set()
    for component in occurrences:
        if str(component.get("STATUS", "")).upper() == "CANCELLED":
            continue
        categories = {category.upper() for category in _categories(component)}
        starts, ends = _interval(component, zone)
        if "HOLIDAY" in categories:
            last = ends - timedelta(microseconds=1)
            holidays.update(_days(starts.astimezone(zone).date(), last.astimezone(zone).date()))
            continue
        free = str(component.get("TRANSP", "")).upper() == "TRANSPARENT"
        if ends <= starts or (free and "EXAM" not in categories and "MEETING" not in categories):
            continue
        exam = "EXAM" in categories
        share = _share(component, 1.0 if exam else course.peak_concurrency, index, course)
        title = str(component.get("SUMMARY", "")) or course.title
        found.append(Event(_floor(starts), _ceil(ends), course.id, "exam" if exam else "meeting", title, share))
    return found, frozenset(holidays)


def _read(index: int, name: str, root: Path) -> Any:
    import icalendar

    path = (root / name).resolve()
    key = f"semesterhub:courses[{index}].calendar"
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise _error(key, show(name), "an iCal file in this repository", "add the file or correct the path")
    if path.stat().st_size > ICAL_BYTES_MAX:
        raise _error(key, show(name), "an iCal file of at most 5 MiB", "export only this semester's calendar")
    try:
        return icalendar.Calendar.from_ical(path.read_bytes())
    except (ValueError, KeyError, IndexError) as error:
        raise _error(
            key, f"{show(name)}: {error}", "an iCal file (BEGIN:VCALENDAR … END:VCALENDAR)", "export it anew"
        ) from error


def _known_zones(calendar: Any, index: int, course: Course) -> None:
    """An event in a zone that neither the file nor the time zone database knows would quietly be in the term's zone."""
    for component in calendar.walk("VEVENT"):
        for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
            given = component.get(name)
            moment = getattr(given, "dt", None)
            zone = given.params.get("TZID") if given is not None and hasattr(given, "params") else None
            if zone and isinstance(moment, datetime) and moment.tzinfo is None:
                raise _refuse(
                    index, course, f"an event in the unknown time zone {show(zone)}", "IANA names such as Europe/Berlin"
                )


def _interval(component: Any, zone: ZoneInfo) -> tuple[datetime, datetime]:
    starts = component["DTSTART"].dt
    if "DTEND" in component:
        ends = component["DTEND"].dt
    elif "DURATION" in component:
        ends = starts + component["DURATION"].dt
    else:
        ends = starts + (_DAY if not isinstance(starts, datetime) else timedelta())
    if not isinstance(starts, datetime):
        # Local midnights: the day on which the clock changes has 23 or 25 hours.
        last = ends.date() if isinstance(ends, datetime) else ends
        return local(starts, time(), zone), local(max(last, starts + _DAY), time(), zone)
    return _utc(starts, zone), _utc(ends, zone)


def _utc(moment: datetime, zone: ZoneInfo) -> datetime:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _categories(component: Any) -> Iterable[str]:
    value = component.get("CATEGORIES", ())
    for each in value if isinstance(value, list) else [value]:
        yield from (str(item) for item in getattr(each, "cats", [each]))


def _share(component: Any, default: float, index: int, course: Course) -> float:
    text = component.get("X-SEMESTERHUB-CONCURRENCY")
    if text is None:
        return default
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.01 <= share <= 1:
        raise _refuse(
            index, course, f"X-SEMESTERHUB-CONCURRENCY:{text} of an event", "a share of the course from 0.01 to 1"
        )
    return share


def _floor(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _ceil(moment: datetime) -> datetime:
    return _floor(moment + _MINUTE - timedelta(microseconds=1))


def _refuse(index: int, course: Course, value: str, allowed: str) -> SemesterError:
    return _error(
        f"semesterhub:courses[{index}].calendar", f"{show(course.calendar)} with {value}", allowed, "correct the file"
    )


def _error(key: str, value: str, allowed: str, remedy: str) -> SemesterError:
    return SemesterError("the calendar of this semester", [Problem(key, value, allowed, remedy)])
