"""A preview that is looked at: what it plans, what the policies say, and whether that may go on."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations import policies
from operations.engine import Pulumi, Result
from operations.errors import UserError
from operations.planned import Preview, collect
from operations.preview_diff import Report, Verdict, render, to_json
from operations.progress import note

if TYPE_CHECKING:
    from components.semester import Semester


def waived(option: str) -> tuple[str, ...]:
    """The policies that `--waive a,b` names."""
    return tuple(name.strip() for name in option.split(",") if name.strip())


def judge(semester: Semester, stack: str, preview: Preview, waive: Collection[str] = ()) -> tuple[Verdict, ...]:
    """What the policies say; nothing on this machine's own cloud, which they are not for."""
    if semester.cloud == "local":
        return ()
    budget = semester.budget.monthly_usd if semester.budget else None
    facts = policies.Facts(preview, stack=stack, cloud=str(semester.cloud), budget_usd=budget)
    return policies.check(facts, waive)


def plan(
    engine: Pulumi, semester: Semester, waive: Collection[str] = ()
) -> tuple[Result, Preview, tuple[Verdict, ...]]:
    """Preview with the engine and judge. Raises UserError when the preview itself fails; of homes that would go it says
    how it is done safely."""
    refuse_moves(engine, semester)
    events: list[dict[str, Any]] = []
    try:
        result = engine.run("preview", observe=events.append)
    except UserError as error:
        raise UserError(str(error) + lost_homes(semester, engine.stack, events), exit_code=error.exit_code) from None
    preview = collect(events)
    return result, preview, judge(semester, engine.stack, preview, waive)


def refuse_moves(engine: Pulumi, semester: Semester) -> None:
    """Raise UserError when the stack file says something else than what is deployed in a key that may not change:
    before anything is planned, and in the words of the stack file instead of the engine's."""
    from components.semester import moved

    deployed = engine.output("fixed")
    changes = moved(deployed, semester) if isinstance(deployed, dict) else ()
    if changes:
        listed = "".join(f"\n  {number}. {change}" for number, change in enumerate(changes, start=1))
        raise UserError(
            f"stack '{engine.stack}' is deployed, and this cannot change while it is; nothing was touched.{listed}"
        )


def lost_homes(semester: Semester, stack: str, events: Sequence[dict[str, Any]]) -> str:
    """For a preview that failed because homes are protected: which change would lose them, and what to do instead."""
    found = [f for v in judge(semester, stack, collect(events)) if v.rule == "homes-stay" for f in v.findings]
    return "".join(f"\n  {finding}" for finding in found)


def refuse_broken(stack: str, verdicts: Sequence[Verdict], waive: Collection[str] = ()) -> None:
    """Raise UserError when a policy is broken; tell what was waived."""
    if waive:
        note(f"waived by --waive, so not looked at: {', '.join(waive)}")
    message = policies.refusal(stack, verdicts)
    if message:
        raise UserError(message)


def judge_done(semester: Semester, stack: str, events: Sequence[dict[str, Any]], waive: Collection[str] = ()) -> None:
    """After `up`: what a preview could not know is known now. Raises UserError when it breaks a policy."""
    verdicts = judge(semester, stack, collect(events), waive)
    message = policies.refusal(stack, verdicts)
    if message:
        told = message.replace(
            "  Nothing was touched. ", "  It is deployed as it is: put it right and run ./hub up again. "
        )
        raise UserError(told.replace("the plan of stack", "what was deployed of stack", 1))


WHOLE = "The artifact of the run has everything."


def write_reports(reports: Sequence[Report], output: str) -> None:
    """Into the folder `output` (relative to where the user stands): `preview.md` for a reader, and `report-<stack>.json`
    of each stack for operations/preview_comment.py."""
    folder = Path(os.environ.get("SEMESTERHUB_CWD") or Path.cwd()) / output
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        (folder / f"report-{report.stack}.json").write_text(to_json(report), "utf-8")
    text = render(reports, whole=WHOLE) if reports else "No stack of a cloud, so nothing to compare.\n"
    (folder / "preview.md").write_text(text, "utf-8")
