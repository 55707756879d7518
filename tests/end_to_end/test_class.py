"""A class at once, and the same 20 students on the tuned and on the naive hub: a sample of `./hub load.class --students 40`,
and what `./hub load.compare` does. Their figures are in docs/benchmarks.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from operations.load import compare, report
from operations.load.class_run import run_class
from tests.end_to_end.cluster import Cluster

pytestmark = pytest.mark.load

STUDENTS = 14
WITHIN_S = 20
COMPARED = 20
RATIO = 0.5
CPU_S_FOR_A_START = 2.5


def folder(repository: Path) -> Path:
    return Path(os.environ.get("SEMESTERHUB_TEST_RESULTS") or repository / ".semesterhub" / "load")


def test_students_who_come_together_all_compute_on_the_workers(empty: Cluster, repository: Path) -> None:
    result = run_class(empty.target, STUDENTS, WITHIN_S, 5, seed=40)
    report.print_result(result)
    report.save(result, folder(repository))
    assert [f"{s.name} at {s.failed_step}: {s.failure}" for s in result.failures] == []
    nodes = result.servers_per_node()
    assert sum(nodes.values()) == STUDENTS
    assert set(nodes) == {"worker-1", "worker-2"}
    assert min(nodes.values()) >= STUDENTS * 0.3
    assert {"hub", "proxy"} <= set(result.memory)
    assert empty.servers() == []


def test_the_same_class_is_at_least_twice_as_fast_as_on_the_naive_hub(empty: Cluster) -> None:
    comparison = compare(empty.stack, COMPARED)
    assert comparison.tuned.failures == []
    assert comparison.ratio("computed_s") <= RATIO
    assert comparison.tuned.longest_queue() > 0, "nobody saw a place in the queue"
    cpu = comparison.tuned.spread("cpu_s")
    assert cpu is not None
    assert cpu.count == COMPARED
    print(f"CPU-seconds for a start: {cpu.p50:.2f} (naive: {comparison.naive.spread('cpu_s')})")
    assert cpu.p50 <= CPU_S_FOR_A_START
