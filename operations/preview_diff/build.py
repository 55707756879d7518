"""A preview becomes a report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from operations.planned import UNKNOWN, Planned, Preview
from operations.preview_diff import security
from operations.preview_diff.differences import differences
from operations.preview_diff.model import Change, Cost, Difference, Op, Report, Verdict
from operations.preview_diff.references import Names

_SIGNS = re.compile(r"[\[\]\"\s,]+")


def build(
    preview: Preview,
    *,
    stack: str,
    cloud: str,
    baseline: str,
    verdicts: Sequence[Verdict] = (),
    cost: Cost | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """The report of a preview. `cost` overrides what the stack's outputs say."""
    names = Names(preview.resources)
    custom = [r for r in preview.resources if r.custom]
    changes = [
        _change(r, names) for r in custom if r.op in {"create", "update", "replace", "delete"} or _unprotected(r)
    ]
    order = {"replace": 0, "update": 1, "create": 2, "delete": 3}
    changes.sort(key=lambda c: (order[c.op], c.type, c.name))
    return Report(
        stack=stack,
        cloud=cloud,
        baseline=baseline,
        changes=tuple(changes),
        unchanged=len(custom) - len(changes),
        cost=cost or _cost(preview),
        verdicts=tuple(verdicts),
        notes=tuple(notes),
    )


def _unprotected(planned: Planned) -> bool:
    """Protection is an option of the program, no input: a resource that loses it counts as `same` for the engine."""
    return planned.op == "same" and (planned.protect != planned.was_protected or planned.retain != planned.was_retained)


def _change(planned: Planned, names: Names) -> Change:
    found = [_judged(planned.type, d) for d in differences(planned, names)]
    if planned.op in {"update", "replace", "same"}:
        for option, was, now in (
            ("protect", planned.was_protected, planned.protect),
            ("retainOnDelete", planned.was_retained, planned.retain),
        ):
            if was != now:
                lost = "" if now else "switched off"
                text = str(was).lower(), str(now).lower()
                found.append(Difference(f"option {option}", *text, security="protection", alarm=lost))
    reason = security.of_type(planned.type) if planned.op in {"create", "delete", "replace"} else ""
    return Change(
        op="update" if planned.op == "same" else cast("Op", planned.op),
        type=planned.type,
        name=planned.name,
        differences=tuple(found),
        security=reason,
        alarm=next((d.alarm for d in found if d.alarm), ""),
        homes=security.holds_homes(planned.type, planned.old_inputs.get("kind") or planned.inputs.get("kind")),
    )


def _judged(kind: str, difference: Difference) -> Difference:
    follows = difference.after is not None and not _SIGNS.sub("", difference.after.replace(str(UNKNOWN), ""))
    reason = security.of_property(kind, difference.path, secret=difference.secret, follows=follows)
    worse = security.alarm(kind, reason, difference.path, difference.before, difference.after)
    return replace(difference, security=reason, alarm=worse)


def _cost(preview: Preview) -> Cost | None:
    """From the output `monthly_cost_usd`, which each program computes itself."""
    totals: list[float | None] = []
    as_of = ""
    for outputs in (preview.old_outputs, preview.outputs):
        said = outputs.get("monthly_cost_usd")
        total = said.get("total") if isinstance(said, dict) else said
        totals.append(float(total) if isinstance(total, (int, float)) and not isinstance(total, bool) else None)
        if isinstance(said, dict) and isinstance(said.get("as_of"), str):
            as_of = str(said["as_of"])
    return Cost(totals[0], totals[1], as_of) if totals != [None, None] else None
