"""A class at once: a sample of `./hub load.class --students 40`. Beside the naive hub stands `./hub load.compare`, which takes
too long for every run of the tests. Their figures are in docs/benchmarks.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from operations.load import report
from operations.load.class_run import run_class
from tests.end_to_end.cluster import Cluster

pytestmark = pytest.mark.load

STUDENTS = 14
WITHIN_S = 20


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
