"""Copies of homes and hub state on Azure: who takes them, how long they stay, that nothing else is ever removed."""

from __future__ import annotations

from typing import Any

import pytest

from components.azure.copies import kept_expression, workflow
from components.semester import SemesterError
from components.semester_parts import Snapshots
from tests.components.azure.program import BOTH, program, run, semester

pytestmark = pytest.mark.unit

KEEP = Snapshots(keep_hourly=24, keep_daily=14, keep_weekly=16)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_hubs_disk_is_copied_into_what_stays(orchestrator: str) -> None:
    made = program(orchestrator)
    instance = made["copies-hub-state"]["properties"]
    assert instance["dataSourceInfo"]["resourceID"] == "/id/hub-state"
    [store] = instance["policyInfo"]["policyParameters"]["dataStoreParametersList"]
    assert store["resourceGroupId"] == "/id/data-group" and instance["policyInfo"]["policyId"] == "/id/copies-policy"
    for name in ("copies", "copies-policy", "copies-hub-state"):
        assert made.resources[name].protected and made.resources[name].retained
        assert made[name]["resourceGroupName"] == made["data-group"]["resourceGroupName"]
    assert {"copies-read-disk", "copies-write-snapshots"} <= made.waits_at_last_for("copies-hub-state")
    grants = made.of_kind("authorization.RoleAssignment")
    assert grants["copies-read-disk"]["scope"] == "/id/hub-state"
    assert {grants[n]["principalId"] for n in ("copies-read-disk", "copies-write-snapshots")} == {"principal-copies"}


def policy(**keep: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The backup rule, and tag -> how long."""
    made = run(semester(homes={"snapshots": keep}))["copies-policy"]["properties"]
    assert made["datasourceTypes"] == ["Microsoft.Compute/disks"]
    backup, *retention = made["policyRules"]
    return backup, {rule["name"]: rule["lifecycles"][0]["deleteAfter"]["duration"] for rule in retention}


def test_disk_copies_stay_as_long_as_the_stack_file_says() -> None:
    backup, kept = policy(keep_hourly=48, keep_daily=14, keep_weekly=100)
    assert kept == {"Weekly": "P360D", "Daily": "P14D", "Default": "P2D"}
    assert backup["trigger"]["schedule"]["repeatingTimeIntervals"] == ["R/2024-01-01T01:00:00+00:00/PT4H"]
    criteria = {c["tagInfo"]["tagName"]: c for c in backup["trigger"]["taggingCriteria"]}
    assert criteria["Daily"]["criteria"][0]["absoluteCriteria"] == ["FirstOfDay"]
    assert criteria["Default"]["isDefault"] is True and not criteria["Weekly"]["isDefault"]
    assert policy(keep_hourly=24, keep_daily=0, keep_weekly=0)[1] == {"Default": "P1D"}


def test_without_protection_the_copies_go_with_the_semester() -> None:
    made = run(semester(homes={"protect": False}))
    soft = made["copies"]["properties"]["securitySettings"]["softDeleteSettings"]
    assert soft["state"] == "Off" and not made.resources["copies"].protected
    assert program("swarm")["copies"]["properties"]["securitySettings"]["softDeleteSettings"]["state"] == "On"


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_timer_of_the_homes_may_do_snapshots_and_nothing_else(orchestrator: str) -> None:
    made = program(orchestrator)
    [permission] = made["snapshots-role"]["permissions"]
    assert all(
        action.startswith("Microsoft.Storage/storageAccounts/fileServices/shares/") for action in permission["actions"]
    )
    grant = made["snapshots-of-homes"]
    assert (grant["principalId"], grant["scope"]) == ("principal-snapshots-identity", "/id/homes-account")
    assert grant["roleDefinitionId"] == "/id/snapshots-role"
    timer = made["snapshots"]
    assert timer["identity"]["userAssignedIdentities"] == ["/id/snapshots-identity"] and timer["state"] == "Enabled"
    assert timer["definition"] == workflow(
        "/id/homes-account", "homes", "/id/snapshots-identity", made.semester.homes.snapshots
    )


def test_each_hour_one_snapshot_is_taken_and_only_snapshots_are_removed() -> None:
    made = workflow("/a", "homes", "/i", KEEP)
    assert made["triggers"]["hourly"]["recurrence"]["frequency"] == "Hour"
    take, remove = made["actions"]["take"]["inputs"], made["actions"]["remove"]["actions"]["one"]["inputs"]
    share = "https://management.azure.com/a/fileServices/default/shares/homes"
    assert (take["method"], take["uri"], take["queries"]["$expand"]) == ("PUT", share, "snapshots")
    assert (remove["method"], remove["uri"]) == ("DELETE", share)
    # Without this header Azure would delete the share itself.
    assert remove["headers"] == {"x-ms-snapshot": "@{item()?['properties']?['snapshotTime']}"}
    assert made["actions"]["old"]["inputs"]["where"].startswith(
        "@and(not(empty(item()?['properties']?['snapshotTime'])), "
    )
    assert all(step["authentication"]["identity"] == "/i" for step in (take, remove))


def test_which_snapshots_stay_is_the_stack_files_word() -> None:
    said = kept_expression(KEEP)
    for part in (
        "addHours(utcNow(), -24)",
        "addDays(utcNow(), -14)",
        "addDays(utcNow(), -112)",
        "'HH'), '00'",
        "dayOfWeek",
    ):
        assert part in said
    assert said.count("(") == said.count(")")


def test_more_copies_than_a_share_holds_are_refused_before_anything_is_made() -> None:
    with pytest.raises(
        SemesterError, match=r"homes\.snapshots is 180 hourly, 14 daily and 16 weekly(?s:.)*lower keep_hourly"
    ):
        run(semester(homes={"snapshots": {"keep_hourly": 180}}))
