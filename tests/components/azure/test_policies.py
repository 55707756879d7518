"""The program as it stands breaks none of the policies, and what they guard is really there for them to see."""

from __future__ import annotations

from typing import Any

import pytest

from operations.planned import SECRET, Planned, Preview
from operations.policies import Facts, check
from tests.components.azure.program import BOTH, Program, program

pytestmark = pytest.mark.unit
_SECRET_SIGN = "4dabf18193072939515e22adb298388d"


def facts(made: Program, **changes: dict[str, Any]) -> Facts:
    """The program's registrations as a preview plans them; `changes`: name -> inputs that are written over."""
    resources = tuple(
        Planned(
            urn=entry.urn,
            type=entry.type,
            name=entry.name,
            op="create",
            inputs={
                **{k: SECRET if isinstance(v, dict) and _SECRET_SIGN in v else v for k, v in entry.inputs.items()},
                **changes.get(entry.name.replace("-", "_"), {}),
            },
            protect=entry.protected,
            retain=entry.retained,
        )
        for entry in made.azure()
    )
    stack = made["group"]["tags"]["semesterhub:stack"]
    return Facts(Preview(resources, outputs=made.outputs), stack=stack, cloud="azure", budget_usd=100_000)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_no_policy_finds_anything_or_cannot_look(orchestrator: str) -> None:
    for verdict in check(facts(program(orchestrator))):
        assert not verdict.findings and not verdict.later, (verdict.rule, verdict.findings, verdict.later)


def rule(**changed: Any) -> dict[str, Any]:
    return {"securityRules": [{**program("swarm")["hub-nsg"]["securityRules"][1], **changed}]}


@pytest.mark.parametrize(
    ("name", "broken", "rule"),
    [
        ("hub_nsg", lambda: rule(sourceAddressPrefix="Internet"), "no-open-ssh"),
        ("operations_account", lambda: {"enableHttpsTrafficOnly": False}, "encrypted"),
        ("hub_vm", lambda: {"securityProfile": {"encryptionAtHost": False}}, "encrypted"),
        ("nat", lambda: {"tags": {}}, "tags"),
    ],
)
def test_a_change_for_the_worse_is_seen(name: str, broken: Any, rule: str) -> None:
    assert [verdict.rule for verdict in check(facts(program("swarm"), **{name: broken()})) if verdict.findings] == [
        rule
    ]
