"""Homes, bundle and backups on Azure: closed to the world, kept when the semester goes."""

from __future__ import annotations

import pytest

from tests.components.azure.program import BOTH, program, run, semester

pytestmark = pytest.mark.unit

KEPT = {"data-group", "homes-account", "homes", "backups-account", "backups-container"}


@pytest.mark.parametrize("orchestrator", BOTH)
def test_homes_are_an_nfs_share_that_only_the_semesters_subnets_reach(orchestrator: str) -> None:
    made = program(orchestrator)
    account, share = made["homes-account"], made["homes"]
    assert (account["kind"], account["sku"]["name"]) == ("FileStorage", "Premium_ZRS")
    assert (share["enabledProtocols"], share["rootSquash"], share["shareName"]) == ("NFS", "NoRootSquash", "homes")
    assert share["shareQuota"] == made.plan.homes_gib
    rules = account["networkRuleSet"]
    assert (rules["defaultAction"], rules["bypass"]) == ("Deny", "None") and "ipRules" not in rules
    assert [r["virtualNetworkResourceId"] for r in rules["virtualNetworkRules"]] == [
        "/id/hub-subnet",
        "/id/nodes-subnet",
    ]
    assert account["allowSharedKeyAccess"] is False and account["allowBlobPublicAccess"] is False


def test_a_small_class_gets_the_smallest_share_that_azure_sells() -> None:
    made = run(semester(homes={"size_gib": 0.1}))
    assert made.plan.homes_gib < 100 and made["homes"]["shareQuota"] == 100


def test_a_region_without_zones_gets_copies_in_one_building() -> None:
    made = run(semester(region="westus"))
    assert (
        made["homes-account"]["sku"]["name"] == "Premium_LRS"
        and made["backups-account"]["sku"]["name"] == "Standard_LRS"
    )
    assert "zones" not in made["nat-ip"]


@pytest.mark.parametrize("orchestrator", BOTH)
def test_homes_and_backups_are_protected_and_retained_in_a_group_of_their_own(orchestrator: str) -> None:
    made = program(orchestrator)
    for name in KEPT:
        assert made.resources[name].protected and made.resources[name].retained, name
    for name in KEPT - {"data-group"}:
        assert (
            made[name]["resourceGroupName"]
            == made["data-group"]["resourceGroupName"]
            == f"{made['group']['resourceGroupName']}-data"
        )
    assert not made.resources["group"].protected and not made.resources["group"].retained


@pytest.mark.parametrize("orchestrator", BOTH)
def test_nothing_that_stays_depends_on_a_group_that_goes(orchestrator: str) -> None:
    made = program(orchestrator)
    for entry in made.azure():
        if entry.retained and "resourceGroupName" in entry.inputs:
            assert entry.inputs["resourceGroupName"] == made["data-group"]["resourceGroupName"], entry.name


def test_with_protect_off_everything_goes_with_the_semester() -> None:
    made = run(semester(homes={"protect": False}))
    assert not [
        entry.name for entry in made.azure() if entry.protected or (entry.retained and entry.kind != "keyvault.Secret")
    ]
    assert not made.of_kind("authorization.ManagementLockByScope")


@pytest.mark.parametrize("orchestrator", BOTH)
def test_blobs_are_versioned_kept_after_deletion_and_never_public(orchestrator: str) -> None:
    made = program(orchestrator)
    for name in ("operations-service", "backups-service"):
        service = made[name]
        assert service["isVersioningEnabled"] is True
        assert service["deleteRetentionPolicy"]["enabled"] and service["containerDeleteRetentionPolicy"]["enabled"]
    for container in made.of_kind("storage.BlobContainer").values():
        assert container["publicAccess"] == "None"
    for account in made.of_kind("storage.StorageAccount").values():
        assert account["minimumTlsVersion"] == "TLS1_2" and account["allowBlobPublicAccess"] is False
        assert account["encryption"]["requireInfrastructureEncryption"] is True
        assert account["allowCrossTenantReplication"] is False


@pytest.mark.parametrize("orchestrator", BOTH)
def test_backups_take_no_keys_and_nobody_but_the_hubs_subnet(orchestrator: str) -> None:
    account = program(orchestrator)["backups-account"]
    assert account["sku"]["name"] == "Standard_ZRS"
    assert account["allowSharedKeyAccess"] is False and account["enableHttpsTrafficOnly"] is True
    rules = account["networkRuleSet"]
    assert rules["defaultAction"] == "Deny"
    assert [r["virtualNetworkResourceId"] for r in rules["virtualNetworkRules"]] == ["/id/hub-subnet"]


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_backups_lock_is_made_last_and_goes_first(orchestrator: str) -> None:
    made = program(orchestrator)
    lock = made["backups-lock"]
    assert (lock["level"], lock["scope"]) == ("CanNotDelete", "/id/backups-account")
    below = {"hub-writes-backups", "backups-container", "backups-service", "backups-expiry"}
    assert below <= made.waits_at_last_for("backups-lock") and not made.resources["backups-lock"].retained
