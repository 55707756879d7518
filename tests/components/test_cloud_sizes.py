"""Sizes of what stands beside the workers, and the clock that a deployment goes by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components import clock
from components.cloud_sizes import aws_endpoints, hub_size
from components.semester import Semester, SemesterError, from_mapping
from components.semester_yaml import read_stack_file

pytestmark = pytest.mark.unit
DATA = read_stack_file(Path("tests/components/stacks/cloud.yaml")).data


def semester(**nodes: Any) -> Semester:
    return from_mapping({**DATA, "nodes": {"max": 20, **nodes}}, source="test")


@pytest.mark.parametrize(
    ("vcpus", "memory_gib", "name"),
    [
        (2, 2, "m6i.large"), (2, 8, "m6i.large"), (2, 9, "r6i.large"), (3, 8, "m6i.xlarge"), (4, 16, "m6i.xlarge"),
        (2, 33, "r6i.2xlarge"), (32, 256, "r6i.8xlarge"),
    ],
)  # fmt: skip
def test_the_hub_gets_the_smallest_machine_that_has_what_it_asks_for(vcpus: int, memory_gib: float, name: str) -> None:
    assert hub_size(semester(hub_vcpus=vcpus, hub_memory_gib=memory_gib)).name == name


@pytest.mark.parametrize(("key", "value"), [("hub_vcpus", 33), ("hub_memory_gib", 300)])
def test_a_hub_that_no_machine_can_hold_is_refused_with_the_table(key: str, value: int) -> None:
    with pytest.raises(SemesterError, match=rf"(?s)nodes\.{key} is {value}.*r6i\.8xlarge \(32 cores, 256 GiB\)"):
        hub_size(semester(**{key: value}))


def test_each_orchestrator_has_the_endpoints_that_its_machines_need() -> None:
    assert set(aws_endpoints("swarm")) ^ set(aws_endpoints("kubernetes")) == {"autoscaling", "sts"}
    assert {"ssm", "ssmmessages", "ecr.api", "ecr.dkr"} <= set(aws_endpoints("swarm"))


def test_the_clock_can_be_fixed_and_else_is_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1787734800")
    assert clock.now() == datetime(2026, 8, 26, 9, 0, tzinfo=UTC)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
