"""How an admin says a time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.when import parse_when

pytestmark = pytest.mark.unit

BERKELEY = ZoneInfo("America/Los_Angeles")
NOW = datetime(2016, 3, 2, 18, 30, tzinfo=UTC)  # 10:30 in Berkeley


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("now", "2016-03-02T10:30:00-08:00"),
        ("1 hour ago", "2016-03-02T09:30:00-08:00"),
        ("an hour ago", "2016-03-02T09:30:00-08:00"),
        ("90 minutes ago", "2016-03-02T09:00:00-08:00"),
        ("2  Days  AGO", "2016-02-29T10:30:00-08:00"),
        ("a week ago", "2016-02-24T10:30:00-08:00"),
        ("yesterday 14:00", "2016-03-01T14:00:00-08:00"),
        ("yesterday", "2016-03-01T23:59:59-08:00"),
        ("today", "2016-03-02T10:30:00-08:00"),
        ("today 9:05", "2016-03-02T09:05:00-08:00"),
        ("2016-03-01", "2016-03-01T23:59:59-08:00"),
        ("2016-03-02 10:00", "2016-03-02T10:00:00-08:00"),
        ("2016-03-02T10:00:30", "2016-03-02T10:00:30-08:00"),
        ("2016-03-02T18:00:00Z", "2016-03-02T18:00:00+00:00"),
        ("2016-03-02T19:00:00+01:00", "2016-03-02T19:00:00+01:00"),
    ],
)
def test_a_time_is_meant_in_the_semesters_zone_unless_it_names_its_own(said: str, meant: str) -> None:
    assert parse_when(said, NOW, BERKELEY).isoformat() == meant


def test_hours_ago_are_elapsed_hours_also_over_a_change_of_clocks() -> None:
    after = datetime(2016, 3, 13, 11, 0, tzinfo=UTC)  # 4:00, two hours after 2:00 became 3:00
    assert parse_when("3 hours ago", after, BERKELEY).isoformat() == "2016-03-13T00:00:00-08:00"


@pytest.mark.parametrize(
    "said", ["", "sometime", "1 fortnight ago", "2016-13-40", "yesterday 25:00", "ago", "-1 hour ago"]
)
def test_what_is_not_understood_is_refused_with_examples(said: str) -> None:
    with pytest.raises(KeeperError, match=r"not understood; allowed are .*1 hour ago"):
        parse_when(said, NOW, BERKELEY)


def test_the_future_is_refused() -> None:
    with pytest.raises(KeeperError, match=r"in the future \(2016-03-02 11:00 PST; now it is 2016-03-02 10:30\)"):
        parse_when("2016-03-02 11:00", NOW, BERKELEY)
