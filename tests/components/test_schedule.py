"""Scaling actions: replayed in order they are the timeline, also over holidays, exams and the clock's changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.calendar_events import events
from components.demand import Timeline, timeline
from components.plan import plan
from components.schedule import OnceAction, Schedule, WeeklyAction, schedule
from components.semester import Semester, from_mapping, load_stack_file

pytestmark = pytest.mark.unit


def semester(*courses: dict[str, Any], **changes: Any) -> Semester:
    """A class on AWS whose nodes hold 155 servers each: 400 students need 3 of them."""
    login = {"kind": "github", "client_id": "x", "client_secret": {"secure": "v1:x"}, "allow_all": True}
    course = {"title": "Course", "students": 400, "background_concurrency": 0.1}
    data = {
        "cloud": "aws",
        "region": "us-west-2",
        "title": "Test",
        "domain": "hub.example.edu",
        "authenticator": login,
        "term": {"starts": "2026-08-26", "ends": "2026-12-18", "timezone": "America/Los_Angeles"},
        "courses": [{"id": f"c{number}", **course, **given} for number, given in enumerate(courses)],
        "nodes": {"max": 50, "instance_type": "r6i.2xlarge", "warm_up_min": 20, "cool_down_min": 40},
        "network": {"cidr": "10.88.0.0/16"},
    }
    return from_mapping({**data, **changes}, source="test")


def line_of(given: Semester) -> Timeline:
    return timeline(given, plan(given), events(given))


def of(given: Semester) -> Schedule:
    return schedule(given, plan(given))


def replays(given: Semester) -> None:
    """The replayed actions change the number of workers exactly when the timeline does, and to what it says."""
    line, actions = line_of(given), of(given)
    levels = [(step.starts, step.nodes) for step in line.steps] + [(line.ends, given.nodes.min)]
    before = [actions.base_nodes, *(nodes for _, nodes in levels)]
    assert actions.changes() == tuple(level for level, last in zip(levels, before, strict=False) if level[1] != last)


@pytest.mark.parametrize("name", ["demo", "sp16", "fa16", "fa26", "fa26-azure"])
def test_the_actions_of_a_committed_stack_replay_to_its_timeline(name: str, repository: Path) -> None:
    replays(load_stack_file(repository / "stacks" / f"Pulumi.{name}.yaml"))


def test_a_class_three_days_a_week_is_two_weekly_actions() -> None:
    meeting = {"days": ["mon", "wed", "fri"], "starts": "10:00", "ends": "11:00"}
    found = of(semester({"meetings": [meeting]}))
    assert found.base_nodes == 1
    term = {"timezone": "America/Los_Angeles", "starts": date(2026, 8, 26), "ends": date(2026, 12, 18)}
    assert found.weekly == (
        WeeklyAction("mon-wed-fri-0940-from-20260826", (0, 2, 4), time(9, 40), nodes=3, **term),
        WeeklyAction("mon-wed-fri-1140-from-20260826", (0, 2, 4), time(11, 40), nodes=1, **term),
    )
    assert [action.cron for action in found.weekly] == ["40 9 * * 1,3,5", "40 11 * * 1,3,5"]
    assert found.once == ()


def test_without_a_calendar_the_peak_always_stands_until_the_term_ends() -> None:
    end = datetime(2026, 12, 19, 8, tzinfo=UTC)
    assert of(semester({})) == Schedule(3, (), (OnceAction("once-20261219-0800", end, 1),))


def test_an_exam_is_two_single_actions() -> None:
    exam = {"title": "Midterm", "starts": "2026-10-16 19:00", "ends": "2026-10-16 21:00"}
    up, down = datetime(2026, 10, 17, 1, 40, tzinfo=UTC), datetime(2026, 10, 17, 4, 40, tzinfo=UTC)
    assert of(semester({"exams": [exam]})).once == (
        OnceAction("once-20261017-0140", up, 3),
        OnceAction("once-20261017-0440", down, 1),
    )


def test_a_holiday_is_a_gap_and_not_an_action() -> None:
    meeting = {"days": ["wed"], "starts": "10:00", "ends": "11:00"}
    holiday = {"title": "Thanksgiving", "starts": "2026-11-25", "ends": "2026-11-27"}
    term = {"starts": "2026-08-26", "ends": "2026-12-18", "timezone": "America/Los_Angeles", "holidays": [holiday]}
    found = of(semester({"meetings": [meeting]}, term=term))
    assert found.once == ()
    assert {(action.starts, action.ends) for action in found.weekly} == {
        (date(2026, 8, 26), date(2026, 11, 18)),
        (date(2026, 12, 2), date(2026, 12, 16)),
    }


def test_what_is_over_is_left_out() -> None:
    exams = [{"title": "A", "starts": "2026-10-16 19:00", "ends": "2026-10-16 21:00"},
             {"title": "B", "starts": "2026-11-16 19:00", "ends": "2026-11-16 21:00"}]  # fmt: skip
    whole = of(semester({"exams": exams}))
    left = whole.remaining(datetime(2026, 10, 17, 2, tzinfo=UTC))
    assert [action.nodes for action in whole.once] == [3, 1, 3, 1]
    assert left.once == whole.once[1:]
    assert whole.remaining(datetime(2027, 1, 1, tzinfo=UTC)) == Schedule(1, (), ())


def test_names_fit_every_cloud_and_are_distinct(repository: Path) -> None:
    found = of(load_stack_file(repository / "stacks" / "Pulumi.fa26.yaml"))
    names = [action.name for action in (*found.weekly, *found.once)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 60 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_no_two_actions_act_at_the_same_moment(repository: Path) -> None:
    moments = [moment for moment, _ in of(load_stack_file(repository / "stacks" / "Pulumi.fa26.yaml")).changes()]
    assert all(one < other for one, other in pairwise(moments))


times = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
meetings = st.builds(
    lambda days, at, share: {
        "days": sorted(days), "starts": min(at), "ends": max(at), "peak_concurrency": share,
    },
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
    st.lists(times, min_size=2, max_size=2, unique=True),
    st.sampled_from([0.1, 0.5, 1.0]),
)  # fmt: skip
zones = st.sampled_from(["America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(meetings, max_size=4), min_size=1, max_size=3), zones, st.integers(0, 90), st.integers(0, 120))
def test_any_semester_replays(
    given_meetings: list[list[dict[str, Any]]], zone: str, warm_up: int, cool_down: int
) -> None:
    nodes = {"max": 9, "instance_type": "r6i.2xlarge", "warm_up_min": warm_up, "cool_down_min": cool_down}
    holiday = {"title": "H", "starts": "2026-10-24", "ends": "2026-10-27"}
    term = {"starts": "2026-10-01", "ends": "2026-11-20", "timezone": zone, "holidays": [holiday]}
    given = semester(*({"meetings": each} for each in given_meetings), term=term, nodes=nodes)
    replays(given)
    assert all(given.nodes.min <= nodes <= given.nodes.max for _, nodes in of(given).changes())
    assert ZoneInfo(zone) == given.term.timezone


def test_workers_do_not_go_and_come_back_within_the_hour() -> None:
    meetings = [
        {"days": ["mon"], "starts": "09:00", "ends": "10:00"},
        {"days": ["mon"], "starts": "11:30", "ends": "12:30"},  # 9:00 to 10:40 and 11:10 to 13:10: half an hour between
        {"days": ["mon"], "starts": "15:00", "ends": "16:00"},
    ]
    found = of(semester({"meetings": meetings}))
    assert [(action.at, action.nodes) for action in found.weekly] == [
        (time(8, 40), 3),
        (time(13, 10), 1),
        (time(14, 40), 3),
        (time(16, 40), 1),
    ]
