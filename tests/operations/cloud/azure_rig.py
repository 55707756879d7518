"""The sandbox's Azure with a hub VM, its network and the homes as the program names them, and the campus' DNS zone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.semester import Semester, load_stack_file
from operations.paths import ROOT
from sandbox.azure.emulator import ids
from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.http import Before
from sandbox.azure.faults import Faults
from sandbox.azure.server import campus
from sandbox.faults import Gate, parse
from tests.sandbox.azure import rig, world

STACK, ACCOUNT = "sp16", "00000000-0000-4000-8000-000000000016"
GROUP = f"/subscriptions/{ACCOUNT}/resourceGroups/semesterhub-{STACK}"
NET, COMPUTE = f"{GROUP}/providers/Microsoft.Network", f"{GROUP}/providers/Microsoft.Compute"
VM, CARD = f"{COMPUTE}/virtualMachines/semesterhub-{STACK}-hub", f"{NET}/networkInterfaces/semesterhub-{STACK}-hub"
FENCE = f"{NET}/networkSecurityGroups/semesterhub-{STACK}-fence"
HOMES = f"{GROUP}-data/providers/Microsoft.Storage/storageAccounts/shsp16homes"
ZONE, NAME = "example.edu", "hub-sp16.example.edu"
TAGS = {"tags": {"semesterhub:stack": STACK}}


def semester(**changes: Any) -> Semester:
    return load_stack_file(ROOT / "stacks" / "Pulumi.sp16.yaml").model_copy(update=changes)


def furnish(arm: Arm) -> None:
    """What the tests stop and close, in a cloud without anything else."""

    def put(id: str, body: dict[str, Any]) -> None:
        arm.put(ids.parse(id), {**body, **TAGS})
        arm.settle()

    for group in (GROUP, f"{GROUP}-data"):
        put(group, {"location": "westus2"})
    put(f"{NET}/virtualNetworks/net", world.vnet())
    put(f"{NET}/virtualNetworks/net/subnets/hub", world.subnet("10.20.0.0/24"))
    subnet = {"id": f"{NET}/virtualNetworks/net/subnets/hub"}
    put(CARD, world.properties(ipConfigurations=[{"name": "primary", "properties": {"subnet": subnet}}]))
    put(
        VM,
        world.properties(
            hardwareProfile={"vmSize": "Standard_D4s_v5"},
            networkProfile={"networkInterfaces": [{"id": CARD, "properties": {"primary": True}}]},
        ),
    )
    closed = {"networkAcls": {"defaultAction": "Deny", "bypass": "None"}, "publicNetworkAccess": "Enabled"}
    put(HOMES, {"location": "westus2", "kind": "FileStorage", "sku": {"name": "Premium_LRS"}, "properties": closed})
    campus(arm.store, {"account": ACCOUNT, "zone": ZONE, "zone_group": "campus-dns", "region": "westus2"})


@contextlib.contextmanager
def cloud(*, duration_s: float = 0.0, before: Before | None = None) -> Iterator[tuple[str, Arm]]:
    """The emulator, furnished; its address, and what is behind it."""
    with rig.emulator(duration_s=0.0, before=before) as (url, arm):
        furnish(arm)
        arm.operations.duration_s = duration_s
        yield url, arm


def faults(folder: Path, *rules: dict[str, Any]) -> Faults:
    """A bad day, as sandbox/faults.py describes it."""
    return Faults(Gate(folder, parse(json.dumps(rules))))


def power(arm: Arm) -> str:
    """Of the hub VM, as ARM shows it."""
    return arm.get(ids.parse(f"{VM}/instanceView"))["statuses"][1]["code"]
