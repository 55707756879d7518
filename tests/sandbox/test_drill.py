"""Errors injected into `up`: each message names its resource, the next runs go on, and at the end all is as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operations.errors import UserError
from sandbox.drill import NAMED, Drill, Point, named, pick
from tests.sandbox.offline import Offline

SEED = 4


@pytest.mark.sandbox
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("stack", "stride"), [("fa16", 9), ("sp16", 7)])
def test_eight_errors_in_a_row_are_told_and_overcome(stack: str, stride: int, tmp_path: Path) -> None:
    trials = Drill(stack, tmp_path).cascade(8, stride, SEED)
    assert [t.problems for t in trials] == [[]] * 8
    assert all(t.named for t in trials)


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_a_busy_slow_and_forgetful_cloud_is_borne(tmp_path: Path) -> None:
    """Throttling, lost answers and eventual consistency are no reason to fail."""
    rules = [
        {"kind": "throttle", "call": "ec2:Create*", "nth": 3, "times": 2},
        {"kind": "timeout", "call": "iam:CreateRole", "nth": 1, "seconds": 0.2},
        {"kind": "lag", "call": "ec2:CreateVpc", "reads": 3},
        {"kind": "lag", "call": "ec2:CreateSecurityGroup", "times": 0, "reads": 2},
    ]
    life = Offline("fa16", "aws", tmp_path)
    up = life.run("up", faults=json.dumps(rules))
    assert set(up.changes) == {"create"}
    with life.session() as offline:
        assert life.engine(offline).run("preview").changed == 0
        life.engine(offline).run("destroy", release=True)
        assert offline.inventory() == []


@pytest.mark.unit
def test_a_sample_is_spread_over_the_run_and_repeatable() -> None:
    points = [Point("a:B", n) for n in range(1, 31)]
    chosen = pick(points, 3, seed=1)
    assert [p.occurrence // 10 for p in chosen] == [0, 1, 2] or len(chosen) == 3
    assert chosen == pick(points, 3, seed=1) and pick(points, 0, seed=1) == points
    with pytest.raises(UserError, match="allowed: 1 to 30"):
        pick(points, -1, seed=1)


@pytest.mark.unit
def test_calls_are_chosen_by_a_part_of_their_name() -> None:
    points = [
        Point("ec2:CreateVpc", 1),
        Point("ec2:RevokeSecurityGroupEgress", 1),
        Point("ec2:RevokeSecurityGroupEgress", 2),
    ]
    assert named(points, "revoke") == points[1:] and named(points, "") == points
    with pytest.raises(
        UserError, match="no changing call has 'Delete' in its name; there are ec2:CreateVpc, ec2:Revoke"
    ):
        named(points, "Delete")


@pytest.mark.unit
def test_the_resource_is_found_in_the_message() -> None:
    text = "up of stack 'fa16' failed.\n  Vpc vpc: ec2:CreateVpc: InjectedFault: injected fault 'error' at ec2:CreateVpc (number 1)"
    found = NAMED.search(text)
    assert found is not None and found[1] == "Vpc vpc"
    assert NAMED.search("up failed: injected fault") is None
