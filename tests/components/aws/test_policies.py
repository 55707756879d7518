"""The program as it stands breaks none of the policies, and what they guard is really there for them to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operations.planned import SECRET, Planned, Preview
from operations.policies import Facts, check
from tests.components.aws import program as programs
from tests.components.aws.program import Program

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])


def facts(made: Program, **changes: dict[str, Any]) -> Facts:
    """The program's registrations as a preview plans them; `changes`: key -> inputs that are written over."""
    resources = tuple(
        Planned(
            urn=entry.urn,
            type=entry.type,
            name=entry.name,
            op="create",
            inputs={
                **{name: SECRET if programs.is_secret(value) else value for name, value in entry.inputs.items()},
                **changes.get(entry.key, {}),
            },
            protect=entry.protect,
            retain=entry.retain,
        )
        for entry in made.cloud()
    )
    return Facts(Preview(resources, outputs=made.outputs), stack=programs.STACK, cloud="aws", budget_usd=100_000)


@BOTH
def test_no_policy_finds_anything_or_cannot_look(program: Callable[[], Program]) -> None:
    for verdict in check(facts(program())):
        assert not verdict.findings and not verdict.later, (verdict.rule, verdict.findings, verdict.later)


@pytest.mark.parametrize(
    ("key", "broken", "rule"),
    [
        ("vpc.SecurityGroupIngressRule/hub-ssh-192.0.2.0-24", {"cidrIpv4": "0.0.0.0/0"}, "no-open-ssh"),
        ("ec2.Subnet/private-1", {"mapPublicIpOnLaunch": True}, "no-public-nodes"),
        ("efs.FileSystem/homes", {"encrypted": False}, "encrypted"),
        ("ec2.LaunchTemplate/nodes", {"metadataOptions": {"httpTokens": "optional"}}, "metadata-v2"),
        ("ec2.Instance/hub", {"ami": "resolve:ssm:/aws/service/x"}, "pinned-images"),
        ("ec2.NatGateway/nat", {"tags": {}}, "tags"),
    ],
)
def test_a_change_for_the_worse_is_seen(key: str, broken: dict[str, Any], rule: str) -> None:
    made = programs.swarm()
    assert key in made.resources
    assert [verdict.rule for verdict in check(facts(made, **{key: broken})) if verdict.findings] == [rule]
