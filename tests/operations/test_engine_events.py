"""The engine's events become a picture of the run, and a failure becomes one message."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from operations import deploy
from operations.engine import Result
from operations.engine_events import Run, explain_failure
from operations.engine_view import View

pytestmark = pytest.mark.unit

STACK = "urn:pulumi:demo::semesterhub::pulumi:pulumi:Stack::semesterhub-demo"
HUB = "urn:pulumi:demo::semesterhub::semesterhub:local:Nodes$localcloud:index:Machine::hub"


def meta(op: str, urn: str = HUB, **more: Any) -> dict[str, Any]:
    kind = urn.split("::")[-2].rsplit("$", 1)[-1]
    return {"metadata": {"op": op, "urn": urn, "type": kind, "new": {"custom": "localcloud" in kind}, **more}}


def diagnostic(text: str, severity: str = "error", urn: str = HUB, **more: Any) -> dict[str, Any]:
    return {"diagnosticEvent": {"message": text, "severity": severity, "urn": urn, "color": "never", **more}}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def play(*events: dict[str, Any], terminal: bool = False) -> tuple[Run, str]:
    """Each event a second after the one before."""
    clock = Clock()
    run = Run(clock)
    out = io.StringIO()
    with View(run, "bringing up demo", Console(file=out, width=120, force_terminal=terminal, _environ={})) as view:
        for event in events:
            clock.now += 1
            view.show(run.take(event))
    return run, out.getvalue()


def test_a_created_resource_is_told_with_its_time() -> None:
    run, text = play({"resourcePreEvent": meta("create")}, {"resOutputsEvent": meta("create")})
    assert run.finished[0].label == "Machine hub"
    assert (run.finished[0].began_s, run.finished[0].ended_s) == (1, 2)
    assert "created" in text
    assert "Machine hub" in text
    assert "1.0 s" in text


def test_unchanged_resources_and_groups_are_not_told() -> None:
    _, text = play(
        {"resourcePreEvent": meta("same")},
        {"resOutputsEvent": meta("same")},
        {"resourcePreEvent": meta("create", STACK)},
        {"resOutputsEvent": meta("create", STACK)},
    )
    assert "Machine" not in text
    assert "Stack" not in text


def test_a_builds_lines_reach_a_log_and_a_terminal() -> None:
    start = {"resourcePreEvent": meta("create")}
    line = diagnostic("Step 3/9 : RUN pip install\n", "info", ephemeral=True)
    for terminal in (False, True):
        _, text = play(start, line, terminal=terminal)
        assert "Step 3/9 : RUN pip install" in text


def test_a_failed_resource_is_told_with_its_providers_words() -> None:
    run, text = play(
        {"resourcePreEvent": meta("create")},
        diagnostic("<{%reset%}>error: Exception calling application: port 8443 is taken by nginx<{%reset%}>\n"),
        {"resOpFailedEvent": meta("create")},
        diagnostic("update failed", urn=STACK),
    )
    assert "failed creating" in text
    assert explain_failure(run) == "Machine hub: port 8443 is taken by nginx"


def test_a_resource_that_was_made_but_not_finished_is_told_on_one_line() -> None:
    run, _ = play(
        {"resourcePreEvent": meta("create")},
        diagnostic(
            "<{%reset%}>error: 1 error occurred:\n\t* ec2:ModifyVpcAttribute: the call was refused\n\n<{%reset%}>\n"
        ),
    )
    assert explain_failure(run) == "Machine hub: ec2:ModifyVpcAttribute: the call was refused"


def test_several_reasons_of_one_resource_are_told_a_line_each() -> None:
    run, _ = play(
        {"resourcePreEvent": meta("create")},
        diagnostic("error: 2 errors occurred:\n\t* disk full\n\t* no address left\n\n"),
    )
    assert explain_failure(run).splitlines() == ["Machine hub: disk full", "no address left"]


def test_two_failures_are_both_named_once() -> None:
    other = HUB.replace("::hub", "::worker-1")
    run, _ = play(
        {"resourcePreEvent": meta("create")},
        {"resourcePreEvent": meta("create", other)},
        diagnostic("error: disk full"),
        diagnostic("error: disk full"),
        diagnostic("error: disk full", urn=other),
    )
    assert explain_failure(run).splitlines() == ["Machine hub: disk full", "Machine worker-1: disk full"]


TRACEBACK = """error: Program failed with an unhandled exception:
Traceback (most recent call last):
  File "/x/__main__.py", line 3, in <module>
    load()
"""


def test_our_own_error_in_the_program_is_told_without_its_traceback() -> None:
    message = (
        "components.semester_errors.SemesterError: stacks/Pulumi.demo.yaml: 1 problem\n  1. courses[0].students is 0\n"
    )
    run, _ = play(diagnostic(TRACEBACK + message, urn=STACK))
    assert explain_failure(run) == "stacks/Pulumi.demo.yaml: 1 problem\n  1. courses[0].students is 0"


def test_a_defect_in_the_program_is_told_by_its_last_line() -> None:
    run, _ = play(diagnostic(TRACEBACK + "KeyError: 'hub'\n", urn=STACK))
    assert explain_failure(run) == "KeyError: 'hub'"


def test_a_failure_before_any_event_is_told_from_the_engines_output() -> None:
    lines = ["Updating (demo):", "error: incorrect passphrase", ""]
    assert explain_failure(Run(), lines) == "incorrect passphrase"


def test_warnings_are_told() -> None:
    _, text = play(diagnostic("warning: homes are nearly full", "warning"))
    assert "homes are nearly full" in text


def test_brackets_in_messages_are_not_markup() -> None:
    _, text = play({"resourcePreEvent": meta("create")}, diagnostic("pull [bold]x[/] [1/2]", "info"))
    assert "pull [bold]x[/] [1/2]" in text


def result(run: Run, **changes: int) -> Result:
    return Result("up", "demo", changes, tuple(run.finished), 9.0, __file__)  # pyright: ignore[reportArgumentType]


def test_the_time_table_names_what_was_slow_and_sums_up_the_rest() -> None:
    clock = Clock()
    run = Run(clock)
    for urn, took in ((HUB, 7.0), (HUB.replace("::hub", "::w1"), 0.2), (HUB.replace("::hub", "::w2"), 0.3)):
        run.take({"resourcePreEvent": meta("create", urn)})
        clock.now += took
        run.take({"resOutputsEvent": meta("create", urn)})
    out = Console(file=io.StringIO(), width=100)
    out.print(deploy.time_table(result(run, create=3), prepared_s=2.0))
    text = out.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "created Machine hub" in text
    assert "7.0 s" in text
    assert "2 more resources" in text
    assert "0.5 s" in text
    assert "11 s" in text  # 9 of the run and 2 before it


def test_refreshed_and_unchanged_resources_are_no_changes() -> None:
    assert result(Run(), same=12, refresh=12).changed == 0
    assert result(Run(), same=12, create=1, delete=2).changed == 3
