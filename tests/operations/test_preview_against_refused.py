"""What cannot be compared is said in a sentence, before anything is started."""

from __future__ import annotations

import pytest

from operations import git_tree, preview_against
from operations.errors import UserError
from operations.git_tree import Version

pytestmark = pytest.mark.unit

OLD = Version("v1", "0123456789abcdef0123456789abcdef01234567", 1_474_372_800)


@pytest.mark.parametrize(
    ("held", "stack_file", "said"),
    [
        ((), "", "v1 (0123456789) has no stack fa16, so everything shows as created."),
        (("stacks/Pulumi.fa16.yaml",), "", "The program of v1 (0123456789) cannot be run offline for aws"),
        (
            ("stacks/Pulumi.fa16.yaml", "components/aws/__init__.py"),
            "",
            "The program of v1 (0123456789) cannot be run offline for aws",
        ),
        (
            ("stacks/Pulumi.fa16.yaml", "components/aws/__init__.py", "sandbox"),
            "config: {'semesterhub:cloud': azure}",
            "In v1 (0123456789) the stack is on azure",
        ),
        (
            ("stacks/Pulumi.fa16.yaml", "components/aws/__init__.py", "sandbox"),
            "config: {'semesterhub:cloud': aws}",
            "",
        ),
    ],
)
def test_a_ref_that_cannot_be_brought_up_is_told_why(
    held: tuple[str, ...], stack_file: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_tree, "has", lambda _version, path: path in held)
    monkeypatch.setattr(git_tree, "text_of", lambda _version, _path: stack_file)
    because = preview_against._missing("fa16", "aws", OLD)
    assert because.startswith(said)
    assert bool(because) == bool(said)


def test_this_machines_own_cloud_is_refused_with_what_to_write() -> None:
    with pytest.raises(UserError, match="'demo' is `cloud: local`") as told:
        preview_against._named("demo", OLD)
    assert "./hub preview --stack demo" in str(told.value)


def test_all_are_the_stacks_of_clouds() -> None:
    named = preview_against._named("all", OLD)
    assert {"fa16", "fa26", "sp16"} <= set(named)
    assert "demo" not in named


def test_the_engines_error_is_told_without_where_its_log_is() -> None:
    error = UserError("up of stack 'fa16' failed.\n  Vpc vpc: taken\n  Everything the engine said: /somewhere/x.log")
    assert preview_against._reason(error) == "up of stack 'fa16' failed.\nVpc vpc: taken"
    assert preview_against._in_a_sentence(error) == "Vpc vpc: taken"
