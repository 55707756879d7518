"""The costs of copying homes, measured small, and what is said when they are too high."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations import sync_cost
from operations.sync_cost import Cost

pytestmark = pytest.mark.unit


def test_a_small_store_is_measured_copied_and_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_cost, "verdict", lambda costs: "")
    record = sync_cost.run(10, 50, 3, root=tmp_path / "sync", say=lambda text: None)
    changed = [(cost["what"], cost["homes"], cost["changed"]) for cost in record["costs"]]
    assert changed == [
        ("first copy", 10, 500),
        ("1% of the files, in every home at work", 10, 5),
        ("as many files, in 1% of the homes", 10, 5),
        ("nothing", 10, 0),
        ("first copy of what was added", 30, 1000),
        ("1% of the files, in every home at work", 30, 5),
        ("as many files, in 1% of the homes", 30, 5),
        ("nothing", 30, 0),
    ]
    moved = [cost["moved_bytes"] for cost in record["costs"]]
    assert moved[0] > 500 * sync_cost.BYTES > 20 * moved[1] > 0
    assert moved[3] == moved[7] == 0
    assert not (tmp_path / "sync").exists()


def costs(*cpu_s: float) -> list[Cost]:
    what = ["first copy", "spread", "few", "nothing", "first copy of what was added", "spread", "few", "nothing"]
    return [Cost(w, 1, 100, int(w in ("spread", "few")), 1.0, cpu, 10) for w, cpu in zip(what, cpu_s, strict=True)]


def test_too_high_costs_are_said() -> None:
    assert sync_cost.verdict(costs(100, 4, 1, 1, 900, 5, 1, 9)) == ""
    assert "costs 6.0% of the first copy" in sync_cost.verdict(costs(100, 6, 1, 1, 900, 6, 1, 1))
    assert "costs 2.0 times as much" in sync_cost.verdict(costs(100, 4, 1, 1, 900, 8, 1, 1))
    assert "| spread | 1 | 100 | 1 | 1.00 | 4.00 | 4.0% | 0.00 |" in sync_cost.table(costs(100, 4, 1, 1, 900, 5, 1, 9))
