"""Injected faults in ARM's words, seen by the stand-in as the engine would see them."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
import requests

from sandbox.azure.faults import Faults
from sandbox.faults import Gate, calls, parse
from tests.sandbox.azure import rig as rigs

pytestmark = pytest.mark.unit

GROUP = {"resourceGroupName": "rg"}
NAT = {**GROUP, "natGatewayName": "nat", "sku": {"name": "Standard"}}
CALL = "PUT Microsoft.Network/natGateways"


def faults(folder: Path, **rule: object) -> Faults:
    return Faults(Gate(folder, parse(json.dumps([{"call": CALL, **rule}]))))


@pytest.mark.parametrize(
    ("kind", "says"), [("error", "InjectedFault, status 400"), ("quota", "QuotaExceeded, status 409")]
)
def test_a_refusal_comes_once_and_changes_nothing(tmp_path: Path, kind: str, says: str) -> None:
    with rigs.rig(before=faults(tmp_path, kind=kind)) as rig:
        rig.create("resources:ResourceGroup", GROUP)
        with pytest.raises(grpc.RpcError, match=says):
            rig.create("network:NatGateway", NAT)
        assert rig.create("network:NatGateway", NAT).read()[0]


@pytest.mark.parametrize(
    "rule", [{"kind": "throttle", "times": 2}, {"kind": "timeout", "seconds": 0.1}, {"kind": "lag", "reads": 3}]
)
def test_a_bad_moment_is_lived_through(tmp_path: Path, rule: dict[str, object]) -> None:
    with rigs.rig(before=faults(tmp_path, **rule)) as rig:
        rig.create("resources:ResourceGroup", GROUP)
        made = rig.create("network:NatGateway", NAT)
        assert made.outputs["provisioningState"] == "Succeeded"


def test_each_changing_call_is_noted_by_its_type(tmp_path: Path) -> None:
    with rigs.rig(before=faults(tmp_path, kind="error", nth=99)) as rig:
        group = rig.create("resources:ResourceGroup", GROUP)
        rig.create("network:NatGateway", NAT).delete()
        group.delete()
    names = [entry["call"] for entry in calls(tmp_path)]
    group_type = "Microsoft.Resources/resourceGroups"
    assert names == [f"PUT {group_type}", CALL, "DELETE Microsoft.Network/natGateways", f"DELETE {group_type}"]


def test_an_order_to_a_machine_is_a_changing_call_and_a_question_for_keys_is_none(tmp_path: Path) -> None:
    with rigs.emulator(before=faults(tmp_path, kind="error")) as (address, _arm):
        base = f"{address}/subscriptions/{rigs.SUBSCRIPTION_ID}/resourceGroups/rg/providers/Microsoft."
        for path in ("Storage/storageAccounts/homes/listKeys", "Compute/virtualMachines/hub/deallocate"):
            headers = {"Authorization": "Bearer x"}
            assert requests.post(f"{base}{path}?api-version=2024-07-01", headers=headers, timeout=10).status_code == 404
    assert [entry["call"] for entry in calls(tmp_path)] == ["POST Microsoft.Compute/virtualMachines/deallocate"]
