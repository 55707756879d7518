"""Injected faults in ARM's words, seen by the stand-in as the engine would see them."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

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
