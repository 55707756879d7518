"""`cost`: what a month of a semester costs, resource by resource, before it is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from operations import stacks

if TYPE_CHECKING:
    from components.cost import Cost
    from components.semester import Semester


def show(stack: str) -> Cost:
    """Print the cost of the dearest month. Raises SemesterError when it is above the stack's budget."""
    from components.cost import monthly_cost, within_budget
    from components.plan import plan

    semester = stacks.load(stack)
    found = monthly_cost(semester, plan(semester))
    terminal = Console()
    if found.lines:
        terminal.print(table(found))
    for sentence in sentences(stack, semester, found):
        terminal.print(sentence)
    within_budget(semester, found)
    return found


def table(cost: Cost) -> Table:
    """One row a resource, the dearest first."""
    rows = Table("resource", "amount", "unit", "USD each", "USD a month", "share")
    for column in (1, 3, 4, 5):
        rows.columns[column].justify = "right"
    for line in sorted(cost.lines, key=lambda line: line.usd, reverse=True):
        share = line.usd / cost.total_usd if cost.total_usd else 0
        rows.add_row(
            line.resource, f"{line.quantity:,.1f}", line.unit, f"{line.price_usd}", f"{line.usd:,.2f}", f"{share:.0%}"
        )
    rows.add_section()
    rows.add_row(f"together, {cost.month}", "", "", "", f"{cost.total_usd:,.2f}", "")
    return rows


def sentences(stack: str, semester: Semester, cost: Cost) -> list[str]:
    """What the figures mean, and where they come from."""
    if not cost.lines:
        return ["This machine costs nothing but its power."]
    said = [
        f"{cost.per_student_hour_usd:.4f} USD for one student working for one hour ({cost.student_hours:,.0f} such hours "
        f"are expected in {cost.month}, the dearest month of the term).",
        f"List prices of {cost.region} as of {cost.as_of}, without tax, discounts and free amounts; "
        f"`./hub cost.refresh --cloud {semester.cloud}` fetches today's (it needs the internet).",
    ]
    if not cost.exact_region:
        said.append(
            f"There are no prices of {semester.region} in components/prices/{semester.cloud}.yaml, so this is an estimate: "
            f"`./hub cost.refresh --cloud {semester.cloud} --region {semester.region}` adds them."
        )
    if semester.budget is None:
        said.append(
            f"No budget is set: `semesterhub:budget.monthly_usd` in stacks/Pulumi.{stack}.yaml makes `up` refuse more."
        )
    else:
        share = float(cost.total_usd) / semester.budget.monthly_usd
        said.append(f"{share:.0%} of the budget of {semester.budget.monthly_usd:,.2f} USD a month.")
    return said
