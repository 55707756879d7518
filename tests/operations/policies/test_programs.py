"""The policies and the program agree: what the components declare keeps every policy, on both orchestrators."""

from __future__ import annotations

import pytest

from operations.planned import Planned, Preview
from operations.policies import Facts, check
from tests.components.aws import program as aws

pytestmark = pytest.mark.unit

AMI = {"ami-pinned": "ami-0123456789abcdef0"}
"""The mocks' image id is a word."""


def planned(entry: aws.Registered) -> Planned:
    inputs = {name: AMI.get(value, value) if isinstance(value, str) else value for name, value in entry.inputs.items()}
    return Planned(
        urn=entry.urn,
        type=entry.type,
        name=entry.name,
        op="create",
        inputs=inputs,
        protect=entry.protect,
        retain=entry.retain,
    )


@pytest.mark.parametrize("orchestrator", ["swarm", "kubernetes"])
def test_the_aws_program_keeps_every_policy(orchestrator: str) -> None:
    run = aws.swarm() if orchestrator == "swarm" else aws.kubernetes()
    resources = tuple(planned(entry) for entry in run.cloud())
    assert len(resources) > 80
    facts = Facts(Preview(resources, {}, run.outputs), stack=aws.STACK, cloud="aws")
    assert {v.rule: v.findings for v in check(facts) if v.findings} == {}
    assert {v.rule: v.later for v in check(facts) if v.later} == {}
