"""Arithmetic and safety of load runs: arrivals, percentiles, interpolated CPU, reports, and where a run may go."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from operations.errors import UserError
from operations.load import report
from operations.load.class_run import arrivals, run_class
from operations.load.measure import Meter, Track
from operations.load.records import ClassResult, Spread, StudentRecord, percentile
from operations.load.runs import Comparison
from operations.load.target import Target, is_this_machine, refuse_foreign

pytestmark = pytest.mark.unit


def test_arrivals_repeat_with_the_seed_and_stay_inside_the_window() -> None:
    first = arrivals(40, 60, seed=7)
    assert first == arrivals(40, 60, seed=7)
    assert first != arrivals(40, 60, seed=8)
    assert first == sorted(first)
    assert first[0] == 0
    assert 30 < first[-1] <= 60


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([1.0], 95, 1.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.5), ([0.0, 10.0], 95, 9.5), ([1.0, 2.0, 3.0], 100, 3.0)],
)
def test_percentiles_interpolate(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == pytest.approx(expected)


def test_a_spread_leaves_out_what_was_not_reached() -> None:
    assert Spread.of([None, 3.0, 1.0]) == Spread(2, 2.0, pytest.approx(2.9), 3.0)
    assert Spread.of([None]) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "demo.localhost", "DEMO.LOCALHOST."])
def test_names_of_this_machine(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["hub.berkeley.edu", "10.0.0.1", "localhost.example.org", "0.0.0.0", "notlocalhost"])
def test_names_of_other_machines(host: str) -> None:
    assert not is_this_machine(host)
    with pytest.raises(UserError, match="--i-own-this-hub"):
        refuse_foreign(f"https://{host}")
    refuse_foreign(f"https://{host}", i_own_this_hub=True)


@pytest.mark.parametrize("url", ["", "demo.localhost", "ftp://localhost/", "https://"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="not a web address"):
        refuse_foreign(url, i_own_this_hub=True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"students": 0}, "--students"), ({"arrive_within_s": -1}, "--within"), ({"stay_s": 1e6}, "--stay")],
)
def test_impossible_numbers_name_their_option(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        run_class(Target("x", "http://127.0.0.1:1", "x"), **arguments)  # type: ignore[arg-type]


def test_a_class_is_not_sent_to_a_foreign_hub() -> None:
    with pytest.raises(UserError, match="not on this machine"):
        run_class(Target("x", "https://hub.example.org", "x"), 1)


def test_cpu_is_interpolated_between_samples() -> None:
    track = Track("m", times=[10.0, 12.0], cpu_s=[1.0, 2.0], memory_mib=[1, 1])
    assert track.cpu_at(11.0) == pytest.approx(1.5)
    assert track.cpu_at(12.0) == 2.0
    assert track.cpu_at(99.0) == 2.0
    assert track.cpu_at(9.0) is None


def test_a_students_container_is_found_among_earlier_ones_of_the_same_name() -> None:
    meter = Meter((), 1)
    meter.take("w1", {"t": 1.0, "c": {"old": [3.0, 100.0]}, "new": {"old": {"name": "x", "user": "ada"}}})
    meter.take("w2", {"t": 9.0, "c": {"young": [1.0, 90.0]}, "new": {"young": {"name": "y", "user": "ada"}}})
    meter.take("w2", {"t": 10.0, "c": {"young": [2.0, 95.0]}, "new": {}})
    track = meter.student("ada", 9.5)
    assert track is not None
    assert (track.machine, track.cpu_at(9.5)) == ("w2", 1.5)
    assert meter.student("bob", 9.5) is None


def test_hub_and_proxy_memory_come_from_their_containers() -> None:
    meter = Meter((), 1)
    meter.take("hub", {"t": 1.0, "c": {"a": [1.0, 100.0]}, "new": {"a": {"name": "semesterhub-hub", "user": ""}}})
    meter.take("hub", {"t": 2.0, "c": {"a": [1.5, 160.0]}, "new": {}})
    meter.take("hub", {"t": 3.0, "c": {"a": [3.0, 120.0]}, "new": {}})
    assert meter.services() == {"hub": {"before_mib": 100.0, "peak_mib": 160.0, "after_mib": 120.0, "cpu_s": 2.0}}


def some_result() -> ClassResult:
    good = StudentRecord("load-001", 0.0, login_s=0.1, queue_s=2.0, ready_s=5.0, lab_s=5.5, computed_s=7.0, cpu_s=2.2)
    good.queue_positions, good.node = [3, 1], "worker-1"
    bad = StudentRecord("load-002", 1.0, login_s=0.1, failed_step="server", failure="Spawn failed: cluster full")
    return ClassResult("demo", "https://demo.localhost", 1, 60, 30, "2026-09-01T09:00:00+00:00", 40.0, [good, bad])


def test_report_names_failures_and_counts_only_who_computed(tmp_path: Path) -> None:
    where = report.save(some_result(), tmp_path)
    document = json.loads((where / "result.json").read_text())
    assert document["summary"]["succeeded"] == 1
    assert document["summary"]["computed_s"]["p50"] == 7.0
    assert document["summary"]["login_s"]["count"] == 1
    assert document["summary"]["servers_per_node"] == {"worker-1": 1}
    assert document["summary"]["longest_queue"] == 3
    text = (where / "table.txt").read_text()
    assert "load-002 failed at server: Spawn failed: cluster full" in text
    assert (where / "curves.png").read_bytes().startswith(b"\x89PNG")


def one_of_each(computed_s: float, cpu_s: float | None, place: int) -> ClassResult:
    student = StudentRecord("load-001", 0.0, computed_s=computed_s, cpu_s=cpu_s, saved_s=computed_s)
    student.queue_positions = [place] if place else []
    return dataclasses.replace(some_result(), students=[student])


@pytest.mark.parametrize(
    ("tuned", "missed"),
    [
        (one_of_each(7, 1.2, 3), []),
        (one_of_each(12, 1.2, 3), ["a computed cell took 0.60 of the naive hub's time, promised is 0.5"]),
        (one_of_each(7, 2.6, 3), ["a start took 2.60 CPU-seconds, promised is 2.5"]),
        (one_of_each(7, None, 3), ["the CPU of a start is known for 0 of 1 students"]),
        (one_of_each(7, 1.2, 0), ["nobody saw a place in the queue: a larger class shows it (--students)"]),
        (dataclasses.replace(some_result()), ["1 of 2 students could not work", "the CPU of a start is known for 1 of 2 students"]),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(tuned: ClassResult, missed: list[str], tmp_path: Path) -> None:
    assert Comparison(tuned, one_of_each(20, 4.0, 0), tmp_path).missed() == missed
