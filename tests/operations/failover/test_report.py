"""What a drill concludes from what it measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from operations.failover import report
from operations.failover.report import DrillReport, Leg
from operations.failover.visitors import Loss, loss

pytestmark = pytest.mark.unit

NOTHING_LOST = Loss(acknowledged=40, found=40, lost=0, window_s=0.0)


def leg(kind: str = "failover", **changes: object) -> Leg:
    values: dict[str, object] = {
        "kind": kind,
        "source": "cloud",
        "target": "fallback",
        "spans": [("preflight", 0.0, 1.2), ("fence", 1.2, 3.0), ("dns", 9.0, 0.4)],
        "command_s": 9.6,
        "students": {"drill-1": 17.5, "drill-2": 21.0},
        "problems": [],
        "home": NOTHING_LOST,
        "hub": NOTHING_LOST,
    }
    return Leg(**{**values, **changes})  # type: ignore[arg-type]


def drill(*legs: Leg, planned: bool = True) -> DrillReport:
    return DrillReport("demo", "Semesterhub demo", 1_456_000_000.0, planned, 60, 60, list(legs))


def test_a_write_counts_as_lost_when_it_was_acknowledged_and_is_not_there() -> None:
    acknowledged = {1: 100.0, 2: 101.0, 3: 102.5, 4: 103.0}
    assert loss(acknowledged, 4, 100.0) == Loss(4, 4, 0, 0.0)
    assert loss(acknowledged, 2, 101.0) == Loss(4, 2, 2, 0.5)
    assert loss({}, 0, None) == Loss(0, 0, 0, 0.0)


def test_a_lost_write_older_than_the_watermark_is_counted_apart() -> None:
    assert loss({1: 100.0, 2: 101.0}, 0, 100.5) == Loss(2, 0, 2, 1.0, older_than_watermark=1)


def test_a_drill_passes_when_every_promise_is_kept() -> None:
    assert drill(leg(), leg("failback")).passed
    assert drill().passed is False, "no leg, no proof"


@pytest.mark.parametrize(
    "changes",
    [
        {"students": {"drill-1": 61.0}},
        {"students": {"drill-1": 10.0, "drill-2": None}},
        {"problems": ["drill-1: has to sign in again"]},
        {"home": Loss(40, 39, 1, 0.5)},
        {"hub": Loss(40, 39, 1, 0.5)},
        {"home": Loss(40, 40, 0, 0.0, older_than_watermark=1)},
    ],
)
def test_a_drill_fails_when_one_promise_is_not_kept(changes: dict[str, object]) -> None:
    assert not drill(leg(), leg("failback", **changes)).passed


def test_an_unplanned_drill_may_lose_what_the_stack_allows_and_no_more() -> None:
    assert drill(leg(home=Loss(40, 20, 20, 12.0), hub=Loss(40, 39, 1, 1.9)), planned=False).passed
    assert not drill(leg(home=Loss(400, 20, 380, 61.0)), planned=False).passed
    assert not drill(leg(hub=Loss(40, 30, 10, 2.1)), planned=False).passed


def test_the_report_says_the_verdict_the_steps_and_who_was_not_served(tmp_path: Path) -> None:
    done = drill(leg(students={"drill-1": 17.5, "drill-2": None}, problems=["drill-2: the cell raised <NameError>"]))
    where = report.save(done, tmp_path)
    text = (where / "report.md").read_text()
    assert "**FAILED.**" in text and "| drill-2 | never |" in text and "drill-2: the cell raised <NameError>" in text
    assert "| fencing the cloud site | 1.2 s | 3.0 s |" in text
    page = (where / "report.html").read_text()
    assert "&lt;NameError&gt;" in page and "<NameError>" not in page, "what a cell said is shown, not run"
    assert re.search(r'src="data:image/png;base64,iVBOR', page)
    assert (where / "timeline.png").stat().st_size > 5_000
