"""Engine events become a plan: one entry a resource, secrets and unknowns as what they are."""

from __future__ import annotations

import pytest

from operations.planned import SECRET, UNKNOWN, Asset, collect, decode
from tests.operations.preview_diff.events import SECRET as SECRET_EVENT
from tests.operations.preview_diff.events import UNKNOWN as UNKNOWN_EVENT
from tests.operations.preview_diff.events import recorded, replaced, step

pytestmark = pytest.mark.unit


def test_a_recorded_preview_is_told_resource_by_resource() -> None:
    preview = collect(recorded())
    assert {r.name: r.op for r in preview.resources if r.custom} == {
        "gone": "delete", "homes": "same", "same": "same", "secret": "update", "sg": "update", "vpc": "replace",
    }  # fmt: skip
    vpc = next(r for r in preview.resources if r.name == "vpc")
    assert (vpc.old_inputs["cidrBlock"], vpc.inputs["cidrBlock"]) == ("10.0.0.0/16", "10.1.0.0/16")
    assert vpc.replacing == ("cidrBlock",)
    assert preview.outputs["monthly_cost_usd"] == {"as_of": "2026-01-01", "total": 13.5}
    homes = next(r for r in preview.resources if r.name == "homes")
    assert homes.protect
    assert homes.retain


def test_refreshes_are_no_changes() -> None:
    assert collect([step("refresh", "aws:ec2/vpc:Vpc", "vpc", {"a": 1}, {"a": 2})]).resources == ()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_replacement_is_one_change_in_whichever_order_its_steps_come(backwards: bool) -> None:
    steps = replaced("aws:ec2/vpc:Vpc", "vpc", {"cidrBlock": "a"}, {"cidrBlock": "b"}, "cidrBlock")
    only = collect(reversed(steps) if backwards else steps).resources
    assert [r.op for r in only] == ["replace"]
    assert only[0].inputs == {"cidrBlock": "b"}
    assert only[0].old_inputs == {"cidrBlock": "a"}


def test_special_values_are_what_they_are() -> None:
    asset = {
        "4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17",
        "hash": "0123456789abcdef",
        "text": "x",
    }
    value = decode({"a": [SECRET_EVENT, UNKNOWN_EVENT, asset], "__defaults": [], "n": 1})
    assert value == {"a": [SECRET, UNKNOWN, Asset("0123456789abcdef")], "n": 1}
    assert str(value["a"][2]) == "(file 0123456789ab)"
