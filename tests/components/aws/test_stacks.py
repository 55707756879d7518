"""The repository's own semesters on AWS, run to their end under mocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.semester import load_stack_file
from tests.components.aws import program as programs

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("stack", "nodes", "group"),
    [("fa16", "autoscaling.Group/nodes", "semesterhub-fa16-nodes"), ("fa26", "eks.NodeGroup/students", "students-1")],
)
def test_a_committed_semester_declares_its_nodes_and_its_name(
    stack: str, nodes: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1785542400")  # 2026-08-01: before fa26, long after fa16
    semester = load_stack_file(Path(f"stacks/Pulumi.{stack}.yaml"))
    made = programs.run(semester, stack=stack)
    assert nodes in made.resources and made.outputs["node_group"] == group
    assert made["route53.Record/hub"]["name"] == semester.domain
    assert made.of_type("ec2.Subnet")["private-1"]["tags"]["semesterhub:stack"] == stack
    assert bool(made.of_type("autoscaling.Schedule")) == (stack == "fa26"), "a term that is over asks for nothing"
    assert made.outputs["monthly_cost_usd"]["total"] > 100
    assert not made.of_type("ssm.Parameter").keys() - {"join-token"}, "LTI has no secret"
