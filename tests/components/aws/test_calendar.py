"""The calendar as scheduled actions: what Auto Scaling is told, on which day, and what it would refuse."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from components.aws import schedules
from components.schedule import OnceAction, Schedule, WeeklyAction
from components.semester import SemesterError
from tests.components.aws import program as programs

pytestmark = pytest.mark.unit

WEEKLY = WeeklyAction("mon-0940", (0,), time(9, 40), "America/Los_Angeles", date(2026, 8, 31), date(2026, 12, 14), 6)


def test_class_begins_with_nodes_and_ends_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1785542400")  # 2026-08-01
    made = programs.run(programs.in_class())
    actions = made.of_type("autoscaling.Schedule")
    up = [action for action in actions.values() if action.get("recurrence") == "40 9 * * 1,3,5"]
    assert up, {name: action.get("recurrence") for name, action in actions.items()}
    for name, action in actions.items():
        assert action["scheduledActionName"] == name and action["autoscalingGroupName"] == "semesterhub-fa26-nodes"
        assert (action["minSize"], action["maxSize"]) == (-1, -1), "the group's bounds stay"
        assert 1 <= action["desiredCapacity"] <= 20
        options = made.resources[f"autoscaling.Schedule/{name}"].request
        assert (
            options.deleteBeforeReplace and "desiredCapacity" in options.replaceOnChanges and not options.ignoreChanges
        )
        if "recurrence" in action:
            assert action["timeZone"] == "America/Los_Angeles" and action["endTime"] > "2026-08-01"
            assert "startTime" not in options.replaceOnChanges, "left out once it is over, and nothing happens"
        else:
            assert "startTime" in options.replaceOnChanges
            assert "timeZone" not in action and action["startTime"].endswith("Z")


def test_after_the_term_there_is_nothing_left_to_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1798761600")  # 2027-01-01
    made = programs.run(programs.in_class())
    assert made.of_type("autoscaling.Schedule") == {} and made["autoscaling.Group/nodes"]["desiredCapacity"] == 1


@pytest.mark.parametrize(
    ("now", "start"),
    [
        (datetime(2026, 8, 1, tzinfo=UTC), "2026-08-31T16:40:00Z"),  # 09:40 in summer time
        (datetime(2026, 8, 31, 16, 39, tzinfo=UTC), "2026-08-31T16:40:00Z"),
        (datetime(2026, 8, 31, 16, 40, tzinfo=UTC), None),
        (datetime(2026, 11, 2, tzinfo=UTC), None),
    ],
)
def test_an_action_starts_with_its_first_class_and_never_in_the_past(now: datetime, start: str | None) -> None:
    assert schedules.stamp(schedules.first_moment(WEEKLY, now)) == start


def test_an_action_ends_with_its_last_day_in_local_time() -> None:
    assert schedules.stamp(schedules.after(WEEKLY)) == "2026-12-15T08:00:00Z", "winter time: midnight is 08:00 UTC"


def test_more_actions_than_a_group_takes_are_refused_before_anything_is_made() -> None:
    many = tuple(OnceAction(f"once-{n}", datetime(2026, 9, 1, n // 60, n % 60, tzinfo=UTC), 2) for n in range(126))
    args = schedules.SchedulesArgs(group="g", schedule=Schedule(1, (), many), now=datetime(2026, 8, 1, tzinfo=UTC))
    with pytest.raises(SemesterError, match=r"(?s)126 scaling actions.*at most 125"):
        schedules.check(args.schedule.remaining(args.now))
    schedules.check(Schedule(1, (), many[:125]))
