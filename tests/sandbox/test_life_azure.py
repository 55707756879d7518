"""The whole life of the Azure stacks, offline: up, no change, drift, mended, gone. Real engine, real program."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from operations.engine import Result
from tests.sandbox.offline import Offline, changed

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]
LIMIT_S = 90.0


@pytest.fixture(scope="module", params=["sp16", "fa26-azure"])
def life(request: pytest.FixtureRequest, brought_up: Callable[[str], Offline]) -> Offline:
    """A stack that is up; destroyed at the end by the last test, or with its folder."""
    return brought_up(request.param)


def arm(session: Any, method: str, id: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A request beside Pulumi, as somebody in the portal makes it."""
    request = urllib.request.Request(
        f"{session.endpoints['azure']}{id}?api-version=2024-05-01",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": "Bearer somebody"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def within_limit(result: Result) -> bool:
    return result.seconds < LIMIT_S


def test_up_makes_everything_in_time(life: Offline) -> None:
    up = life.results["up"]
    assert up.changes["create"] > 60 and set(up.changes) == {"create"} and within_limit(up)
    assert up.outputs["hub_url"].startswith("https://") and up.outputs["homes"].endswith("/homes")
    with life.session() as offline:
        there = offline.inventory()
    assert len(there) > 40, there


def test_a_second_look_shows_no_change_and_drift_is_seen_and_mended(life: Offline) -> None:
    began = time.monotonic()
    with life.session() as offline:
        engine = life.engine(offline)
        quiet = engine.run("preview")
        assert changed(quiet) == {} and quiet.changed == 0 and within_limit(quiet)
        there = offline.inventory()
        guard = next(
            i for i in there if i.endswith("-hub") and "/networkSecurityGroups/" in i and "/securityRules/" not in i
        )
        rule = next(i for i in there if i.startswith(guard) and i.endswith("/securityRules/web"))
        alert = next(i for i in there if "/metricAlerts/" in i)
        seen_rule = arm(offline, "GET", rule)
        arm(
            offline,
            "PUT",
            rule,
            {"properties": {**seen_rule["properties"], "destinationPortRanges": ["80", "443", "8443"]}},
        )
        arm(offline, "DELETE", alert)
        seen = engine.run("refresh")
        gone = {name for name, op in changed(seen).items() if op == "delete"}
        assert len(gone) == 1 and next(iter(gone)).startswith("MetricAlert ")
        assert {name: op for name, op in changed(seen).items() if name not in gone} == {
            "NetworkSecurityGroup hub-nsg": "update"
        }
        wanted = engine.run("preview")
        assert changed(wanted) == {next(iter(gone)): "create", "NetworkSecurityGroup hub-nsg": "update"}
        mended = engine.run("up")
        assert changed(mended) == changed(wanted)
        assert arm(offline, "GET", rule)["properties"]["destinationPortRanges"] == ["80", "443"]
    assert time.monotonic() - began < 3 * LIMIT_S


def test_destroy_leaves_nothing(life: Offline) -> None:
    with life.session() as offline:
        gone = life.engine(offline).run("destroy", release=True)
        assert within_limit(gone) and set(gone.changes) == {"delete"}
        assert offline.inventory() == []
