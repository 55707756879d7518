"""`capacity` and `cost`: what they print is what the plan says, and the picture is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from components.cost import monthly_cost
from components.plan import plan
from operations import capacity, cost, stacks
from operations.errors import UserError

pytestmark = pytest.mark.unit


def test_the_actions_and_the_hours_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert capacity.show("fa16", "-") is None
    said = " ".join(capsys.readouterr().out.split())
    assert "Wed │ 09:40 │ 2016-08-24 │ 2016-11-16 │ 5" in said
    assert "Fri 2016-10-07 │ 18:40 │ 5 │ 480" not in said, "the connector's students are not in the midterm"
    assert "Fri 2016-10-07 │ 18:40 │ 5 │ 408" in said
    assert "at most 408 students, first on Fri 2016-10-07 19:00" in said


def test_the_picture_is_written_where_one_says(tmp_path: Path) -> None:
    for name, week in (("whole", ""), ("week", "2016-10-05")):
        path = capacity.show("fa16", str(tmp_path / f"{name}.png"), week=week)
        assert path is not None and path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("week", ["2030-01-01", "soon"])
def test_a_week_outside_the_term_or_no_day_is_refused(week: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--week"):
        capacity.show("fa16", str(tmp_path / "x.png"), week=week)


def test_the_cost_is_shown_with_its_sources_and_budget(capsys: pytest.CaptureFixture[str]) -> None:
    found = cost.show("sp16")
    said = " ".join(capsys.readouterr().out.split())
    assert f"{found.total_usd:,.2f}" in said
    assert "List prices of westus2 as of" in said
    assert "of the budget of 1,600.00 USD a month" in said


def test_the_dearest_resource_stands_first() -> None:
    semester = stacks.load("fa26")
    terminal = Console(width=120, record=True, file=None, quiet=False)
    with terminal.capture() as captured:
        terminal.print(cost.table(monthly_cost(semester, plan(semester))))
    rows = [line for line in captured.get().splitlines() if line.startswith("│")]
    assert rows[0].startswith("│ workers, r6i.4xlarge")
    assert rows[-1].startswith("│ together")


def test_prices_of_another_region_are_named_as_an_estimate() -> None:
    semester = stacks.load("fa16").model_copy(update={"region": "eu-central-1"})
    said = cost.sentences("fa16", semester, monthly_cost(semester, plan(semester)))
    assert any("--region eu-central-1" in sentence for sentence in said)
