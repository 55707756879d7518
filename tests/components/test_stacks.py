"""Every committed stack file is a semester that can be planned, and no two of them share addresses."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from components.plan import plan
from components.semester import Semester, load_stack_file, secret_paths

pytestmark = pytest.mark.unit

CLOUD_STACKS = {
    "sp16": ("azure", "swarm", 480, 1),
    "fa16": ("aws", "swarm", 480, 2),
    "fa26": ("aws", "kubernetes", 1500, 6),
    "fa26-azure": ("azure", "kubernetes", 1500, 6),
}


@pytest.fixture(scope="module")
def semesters() -> dict[str, Semester]:
    folder = Path(__file__).resolve().parents[2] / "stacks"
    return {
        file.name.removeprefix("Pulumi.").removesuffix(".yaml"): load_stack_file(file)
        for file in sorted(folder.glob("Pulumi.*.yaml"))
    }


def test_every_stack_file_can_be_planned(semesters: dict[str, Semester]) -> None:
    for semester in semesters.values():
        assert plan(semester).peak_servers <= sum(course.students for course in semester.courses)


@pytest.mark.parametrize("name", CLOUD_STACKS)
def test_a_cloud_stack_is_what_its_introduction_says(name: str, semesters: dict[str, Semester]) -> None:
    semester = semesters[name]
    found = (
        semester.cloud,
        semester.orchestrator,
        sum(course.students for course in semester.courses),
        len(semester.courses),
    )
    assert found == CLOUD_STACKS[name]
    assert semester.account is not None


@pytest.mark.parametrize("name", CLOUD_STACKS)
def test_a_committed_stack_needs_no_secret(name: str, semesters: dict[str, Semester]) -> None:
    assert secret_paths(semesters[name]) == ()


def test_no_two_stacks_share_addresses_or_a_name(semesters: dict[str, Semester]) -> None:
    for one, other in combinations(semesters.values(), 2):
        assert not one.network.cidr.overlaps(other.network.cidr)
        assert one.domain != other.domain
