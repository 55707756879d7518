"""A moment as an admin says it: `1 hour ago`, `yesterday 14:00`, `2016-03-02 10:00`, `2016-03-02T10:00:00-08:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from .errors import KeeperError

_UNITS = {"minute": 60, "min": 60, "hour": 3600, "day": 86400, "week": 604800}
_AGO = re.compile(r"(?P<count>\d{1,5}|an?|one)\s*(?P<unit>minute|min|hour|day|week)s?\s+ago")
_DAY = re.compile(r"(?P<day>today|yesterday|\d{4}-\d{2}-\d{2})(?:[ t]+(?P<time>\d{1,2}:\d{2}(?::\d{2})?))?")
_ALLOWED = (
    "allowed are `now`, `1 hour ago` (minutes, hours, days, weeks), `yesterday 14:00`, `2016-03-02 10:00`, "
    "`2016-03-02` (the end of that day), or an ISO time with its offset such as `2016-03-02T10:00:00-08:00`"
)
FUTURE_ALLOWED = timedelta(minutes=2)
"""Two machines' clocks differ by so much without anybody noticing."""


def parse_when(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """The moment that ``text`` means, in ``zone`` unless it names an offset of its own. ``now`` is aware.

    KeeperError: not understood, or in the future.
    """
    said = " ".join(text.lower().split())
    moment = _parsed(said, now.astimezone(zone))
    if moment is None:
        raise KeeperError(f"the time {text!r} is not understood; {_ALLOWED}.")
    if moment > now + FUTURE_ALLOWED:
        raise KeeperError(
            f"{text!r} is in the future ({moment:%Y-%m-%d %H:%M %Z}; now it is {now.astimezone(zone):%Y-%m-%d %H:%M}): "
            "say a time of which a copy can exist."
        )
    return moment


def _parsed(said: str, now: datetime) -> datetime | None:
    if said in ("now", "latest"):
        return now
    if ago := _AGO.fullmatch(said):
        count = int(ago["count"]) if ago["count"].isdigit() else 1
        # In elapsed seconds, so that the hour of a clock change counts as what it was.
        return (now.astimezone(UTC) - timedelta(seconds=count * _UNITS[ago["unit"]])).astimezone(now.tzinfo)
    if day := _DAY.fullmatch(said):
        return _on_day(day["day"], day["time"], now)
    try:
        moment = datetime.fromisoformat(said.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def _on_day(day: str, time: str | None, now: datetime) -> datetime | None:
    shift = {"today": 0, "yesterday": 1}.get(day)
    try:
        date = datetime.fromisoformat(day).date() if shift is None else now.date() - timedelta(days=shift)
        if time is None:
            end = datetime(date.year, date.month, date.day, 23, 59, 59, tzinfo=now.tzinfo)
            return min(end, now) if date == now.date() else end
        hour, minute, *second = (int(part) for part in time.split(":"))
        return datetime(date.year, date.month, date.day, hour, minute, *second, tzinfo=now.tzinfo)
    except ValueError:
        return None
