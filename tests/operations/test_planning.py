"""A plan that breaks a policy goes no further, and one that would lose homes says how it is done safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.semester import Semester, fixed, load_stack_file
from operations import planning
from operations.engine import Pulumi, Result
from operations.errors import UserError
from tests.operations.preview_diff.events import replaced, step

pytestmark = pytest.mark.unit

GROUP = "aws:ec2/securityGroup:SecurityGroup"
SSH = {"ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["0.0.0.0/0"]}]}


class Engine(Pulumi):
    """Tells events, and fails if so asked."""

    def __init__(self, *events: dict[str, Any], error: str = "") -> None:
        self.stack, self.events, self.error = "fa26", events, error
        self.actions: list[str] = []
        self.deployed: Any = None

    def output(self, name: str) -> Any:
        return self.deployed if name == "fixed" else None

    def run(self, action: Any, arguments: Any = (), observe: Any = None) -> Result:
        self.actions.append(action)
        for event in self.events:
            observe(event)
        if self.error:
            raise UserError(self.error)
        return Result(action, "fa26", {}, (), 1.0, Path("record"))


@pytest.fixture(scope="module")
def semester(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.fa26.yaml")


def test_a_plan_is_judged(semester: Semester) -> None:
    _, preview, verdicts = planning.plan(Engine(step("create", GROUP, "sg", None, SSH)), semester)
    assert [r.name for r in preview.resources] == ["sg"]
    with pytest.raises(UserError, match="no-open-ssh: no SSH") as told:
        planning.refuse_broken("fa26", verdicts)
    assert "SecurityGroup 'sg': source of port 22 (SSH) is 0.0.0.0/0." in str(told.value)
    assert "Nothing was touched" in str(told.value)


def test_a_waived_policy_is_told_and_does_not_refuse(semester: Semester, capsys: pytest.CaptureFixture[str]) -> None:
    waive = planning.waived(" no-open-ssh, tags,")
    assert waive == ("no-open-ssh", "tags")
    _, _, verdicts = planning.plan(Engine(step("create", GROUP, "sg", None, SSH)), semester, waive)
    planning.refuse_broken("fa26", verdicts, waive)
    assert "waived by --waive" in capsys.readouterr().err


def test_protected_homes_end_a_preview_with_the_safe_way(semester: Semester) -> None:
    steps = replaced("aws:efs/fileSystem:FileSystem", "homes", {"encrypted": False}, {"encrypted": True}, "encrypted")
    with pytest.raises(UserError) as told:
        planning.plan(Engine(*steps, error="preview of stack 'fa26' failed."), semester)
    assert str(told.value).startswith(
        "preview of stack 'fa26' failed.\n  FileSystem 'homes' would be replaced because of encrypted"
    )
    assert "./hub semester.new" in str(told.value)


def test_other_failures_stay_as_they_are(semester: Semester) -> None:
    with pytest.raises(UserError, match="boom"):
        planning.plan(Engine(step("create", GROUP, "sg", None, SSH), error="boom"), semester)


def test_what_is_known_only_after_up_is_judged_then(semester: Semester) -> None:
    planning.judge_done(semester, "fa26", [], ())
    with pytest.raises(UserError, match="what was deployed of stack 'fa26' breaks") as told:
        planning.judge_done(semester, "fa26", [step("create", GROUP, "sg", None, SSH)])
    assert "Nothing was touched" not in str(told.value)


def test_this_machines_own_cloud_has_no_policies(repository: Path) -> None:
    local = load_stack_file(repository / "stacks" / "Pulumi.demo.yaml")
    _, _, verdicts = planning.plan(Engine(step("create", GROUP, "sg", None, SSH)), local)
    assert verdicts == ()


def test_what_may_not_change_is_refused_before_anything_is_planned(semester: Semester) -> None:
    engine = Engine()
    engine.deployed = {**fixed(semester), "semesterhub:region": "eu-west-1", "semesterhub:some.older.key": "x"}
    with pytest.raises(UserError) as refused:
        planning.plan(engine, semester)
    assert "semesterhub:region cannot change from eu-west-1 to us-west-2: homes and logins live there" in str(
        refused.value
    )
    assert "./hub semester.new" in str(refused.value) and engine.actions == []
    engine.deployed = fixed(semester)
    planning.plan(engine, semester)
    assert engine.actions == ["preview"]
