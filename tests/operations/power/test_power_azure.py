"""Switching a site on Azure off, against the sandbox's ARM: read back, busy, late, lying, forced, not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operations.patience import Patience
from operations.power import PowerError, power_of
from operations.power.azure import AzureSite
from operations.power.fence import Fence
from operations.preflight.arm import Arm, ArmError
from sandbox.azure.emulator import ids
from sandbox.azure.emulator.arm import Arm as Cloud
from sandbox.faults import calls
from tests.operations.cloud.aws_rig import replaced
from tests.operations.cloud.azure_rig import ACCOUNT, CARD, FENCE, HOMES, STACK, VM, cloud, faults, power, semester

pytestmark = pytest.mark.unit

HASTY = {"ask": Patience(15, 0.02, 0.1), "gently": Patience(0.6, 0.02, 0.1), "hard": Patience(1.2, 0.02, 0.1)}


def fence(url: str) -> Fence:
    it = power_of(STACK, semester(), endpoint=url)
    assert isinstance(it, Fence)
    return replaced(it, **HASTY)


def at(arm: Cloud, id: str) -> dict[str, Any]:
    arm.settle()
    return arm.get(ids.parse(id))["properties"]


def test_the_hub_vm_is_deallocated_and_nothing_leads_to_it_or_to_the_homes() -> None:
    with cloud() as (url, arm):
        proof = fence(url).stop()
        assert proof.how == "cloud" and f"semesterhub-{STACK}-hub is off" in proof.detail and ACCOUNT in proof.detail
        assert power(arm) == "PowerState/deallocated"
        assert at(arm, CARD)["networkSecurityGroup"]["id"] == FENCE
        rules = {(r["properties"]["direction"], r["properties"]["access"]) for r in at(arm, FENCE)["securityRules"]}
        assert rules == {("Inbound", "Deny"), ("Outbound", "Deny")}
        assert at(arm, HOMES)["publicNetworkAccess"] == "Disabled"
        assert fence(url).stop() == proof


def test_it_starts_again_as_it_was() -> None:
    with cloud() as (url, arm):
        before = {id: arm.get(ids.parse(id))["properties"] for id in (CARD, HOMES)}
        fence(url).stop()
        assert fence(url).state() == "off"
        fence(url).start()
        assert power(arm) == "PowerState/running" and fence(url).state() == "running"
        assert {id: at(arm, id) for id in (CARD, HOMES)} == before and arm.store.get(FENCE) is None


def test_a_denial_that_somebody_softened_is_made_whole() -> None:
    with cloud() as (url, arm):
        fence(url).stop()
        rules = [r for r in at(arm, FENCE)["securityRules"] if r["name"] == "deny-outbound"]
        arm.put(ids.parse(FENCE), {"location": "westus2", "properties": {"securityRules": rules}})
        fence(url).stop()
        assert len(at(arm, FENCE)["securityRules"]) == 2


def test_a_machine_of_another_stack_is_not_touched() -> None:
    with cloud() as (url, arm):
        resource = arm.store.get(VM)
        assert resource is not None
        resource.body["tags"]["semesterhub:stack"] = "sp99"
        with pytest.raises(PowerError, match="no machine of this stack, so nothing proves"):
            fence(url).stop()
        assert power(arm) == "PowerState/running"


def test_a_subscription_that_one_does_not_reach_is_one_sentence() -> None:
    with cloud() as (url, _arm):
        it = fence(url)
        refused = Arm(nobody, url)
        assert isinstance(it.site, AzureSite)
        said = replaced(it, site=replaced(it.site, arm=refused)).check()
        assert "Azure does not know who you are" in said and "az login" in said and "\n" not in said


def nobody(_scope: str) -> str:
    raise ArmError(401, "", "no credentials")


def test_a_role_that_may_not_stop_machines_is_one_sentence() -> None:
    async def forbid(request: web.Request) -> web.Response | None:
        if request.method == "POST":
            body = {"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization"}}
            return web.json_response(body, status=403)
        return None

    with (
        cloud(before=forbid) as (url, _arm),
        pytest.raises(PowerError, match=r"you may not do this .* role Contributor"),
    ):
        fence(url).stop()


def test_an_arm_that_throttles_and_then_answers_late_is_asked_again(tmp_path: Path) -> None:
    stop = "POST Microsoft.Compute/virtualMachines/deallocate"
    rules = [
        {"kind": "throttle", "call": stop, "times": 2},
        {"kind": "timeout", "call": stop, "nth": 3, "times": 1, "seconds": 0.2},
        {"kind": "throttle", "call": "PUT Microsoft.Network/networkInterfaces", "times": 1},
    ]
    with cloud(before=faults(tmp_path, *rules)) as (url, _arm):
        assert "is off" in fence(url).stop().detail
    assert [c["fault"] for c in calls(tmp_path) if c["fault"]] == ["throttle", "throttle", "timeout", "throttle"]


def test_an_operation_that_takes_its_time_is_waited_for() -> None:
    with cloud(duration_s=0.4) as (url, arm):
        assert "is off" in fence(url).stop().detail and power(arm) == "PowerState/deallocated"


def test_a_machine_that_does_not_end_in_order_loses_its_power() -> None:
    async def hang(request: web.Request) -> web.Response | None:
        """Deallocation is taken and never ends: the operating system does not let go."""
        return web.Response(status=202) if request.path.endswith("/deallocate") else None

    with cloud(before=hang) as (url, arm):
        assert "is off" in fence(url).stop().detail and power(arm) == "PowerState/stopped"


def test_a_cloud_that_says_stopped_while_it_runs_is_not_believed() -> None:
    async def lie(request: web.Request) -> web.Response | None:
        return web.Response(status=202) if request.method == "POST" else None

    with cloud(before=lie) as (url, arm):
        with pytest.raises(PowerError, match=f"semesterhub-{STACK}-hub in the Azure subscription .* still run"):
            fence(url).stop()
        assert power(arm) == "PowerState/running"


def test_a_door_that_is_said_to_be_closed_is_looked_at() -> None:
    async def lie(request: web.Request) -> web.Response | None:
        closing = request.method == "PATCH" and "storageAccounts" in request.path
        return web.json_response(json.loads("{}")) if closing else None

    with cloud(before=lie) as (url, _arm), pytest.raises(PowerError, match=r"the homes \(shsp16homes\) are reachable"):
        replaced(fence(url), ask=Patience(0.5, 0.05, 0.1)).stop()


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    with cloud(before=faults(tmp_path)) as (url, _arm):
        assert fence(url).check() == "" and fence(url).state() == "running"
    assert calls(tmp_path) == []
