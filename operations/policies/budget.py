"""The month costs no more than the stack file allows."""

from __future__ import annotations

from collections.abc import Mapping

from operations.policies.facts import Facts, Findings


def within(facts: Facts, found: Findings) -> None:
    """The estimate stays within semesterhub:budget.monthly_usd."""
    if facts.budget_usd is None:
        return
    said = facts.preview.outputs.get("monthly_cost_usd")
    total = said.get("total") if isinstance(said, Mapping) else said
    if not isinstance(total, (int, float)) or isinstance(total, bool):
        found.later.append("output monthly_cost_usd")
    elif total > facts.budget_usd:
        found.found.append(
            f"output monthly_cost_usd is {total:,.2f}, above semesterhub:budget.monthly_usd: {facts.budget_usd:,.2f}. "
            "Take fewer or smaller nodes, or raise the budget (./hub cost shows what costs)."
        )
