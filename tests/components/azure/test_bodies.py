"""Every Azure resource of both orchestrators, as Microsoft's own models see its request."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.components.azure.arm_bodies import MODELS, body, problems
from tests.components.azure.program import BOTH, program

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("orchestrator", BOTH)
def test_every_body_is_accepted(orchestrator: str) -> None:
    found = [
        line
        for entry in program(orchestrator).azure()
        if entry.kind != "storage.Blob"
        for line in problems(entry.kind, entry.inputs)
    ]
    assert not found, "\n".join(found)


def test_every_model_is_of_a_kind_in_use() -> None:
    used = {entry.kind for orchestrator in BOTH for entry in program(orchestrator).azure()}
    optional = {"network.BastionHost"}
    assert used - {"storage.Blob"} | optional == set(MODELS)


def test_bodies_have_the_shape_of_azure_resource_manager() -> None:
    made, _ = body("network.Subnet", program("swarm")["nodes-subnet"])
    assert made["properties"]["addressPrefix"] == "10.16.128.0/17" and "addressPrefix" not in made
    account, _ = body("storage.StorageAccount", program("swarm")["homes-account"])
    assert account["properties"]["networkAcls"]["defaultAction"] == "Deny"
    assert account["properties"]["supportsHttpsTrafficOnly"] is True
    assert account["sku"] == {"name": "Premium_ZRS"}
    machine, _ = body("compute.VirtualMachine", program("swarm")["hub-vm"])
    assert machine["identity"]["userAssignedIdentities"] == {"/id/hub-identity": {}}


def changed(name: str, *path: Any, value: Any) -> list[str]:
    made = program("swarm").resources[name]
    inputs = copy.deepcopy(made.inputs)
    inner: Any = inputs
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return problems(made.kind, inputs)


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("vnet", ("adressSpace",), {}, "knows no such property"),
        ("vnet", ("addressSpace", "addressPrefixes"), "10.0.0.0/8", "is no list"),
        ("hub-nsg", ("securityRules", 0, "priority"), "100", "is no int"),
        ("hub-nsg", ("securityRules", 0, "access"), "Permit", "is none of"),
        ("hub-nsg", ("securityRules", 0, "colour"), "red", "knows no such property"),
        ("homes-account", ("allowSharedKeyAccess",), "no", "is no bool"),
        ("vnet", ("provisioningState",), "Succeeded", "Azure sets it itself"),
        ("workers", ("virtualMachineProfile", "osProfile", "computerName"), "w", "knows no such property"),
        ("calendar", ("profiles", 0, "capacity", "minimum"), 3, "is no str"),
        ("budget", ("timePeriod", "startDate"), "tomorrow", "is no datetime"),
    ],
)
def test_a_wrong_body_is_told(name: str, path: tuple[Any, ...], value: Any, said: str) -> None:
    assert any(said in line for line in changed(name, *path, value=value))


def test_what_is_missing_is_told() -> None:
    made = program("swarm").resources["homes-account"]
    assert any(
        "wants sku" in line for line in problems(made.kind, {k: v for k, v in made.inputs.items() if k != "sku"})
    )
