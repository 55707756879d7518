"""The ARM-shaped emulator: what is common to all types, each rule kept once and broken once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.azure.emulator import ids
from sandbox.azure.emulator.errors import ArmError
from tests.sandbox.azure.world import (
    COMPUTE,
    FILES,
    GROUP,
    LOCATION,
    NET,
    PUBLIC_IP,
    STORAGE,
    STORAGE_ENDPOINT,
    SUBNET,
    SUBSCRIPTION,
    VNET,
    World,
    account,
    cluster,
    nic,
    properties,
    rule,
    subnet,
    vm,
    vmss,
    vnet,
    with_network,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def world() -> World:
    return with_network(World())


def test_what_was_put_is_seen_and_ids_have_no_case(world: World) -> None:
    seen = world.get(VNET.replace("resourceGroups/rg", "RESOURCEGROUPS/RG").replace("/vnet", "/VNet"))
    assert seen["id"] == VNET and seen["name"] == "vnet" and seen["type"] == "Microsoft.Network/virtualNetworks"
    assert seen["properties"]["provisioningState"] == "Succeeded" and seen["location"] == "westus2" and seen["etag"]


def test_new_is_201_and_known_is_200(world: World) -> None:
    path = ids.parse(f"{NET}/natGateways/nat")
    body = {"location": "West US 2", "sku": {"name": "Standard"}}
    assert world.arm.put(path, body)[0] == 201
    world.arm.settle()
    status, answer, operation = world.arm.put(path, body)
    assert status == 200 and operation is not None and answer is not None and answer["location"] == "westus2"


def test_a_type_nobody_knows_is_refused(world: World) -> None:
    with pytest.raises(ArmError, match="not one that this emulator knows"):
        world.put(f"{GROUP}/providers/Microsoft.Quantum/workspaces/w", LOCATION)


def test_group_and_parent_must_be_there() -> None:
    world = World()
    with pytest.raises(ArmError) as missing:
        world.put(VNET, vnet())
    assert (missing.value.status, missing.value.code) == (404, "ResourceGroupNotFound")
    world.put(GROUP, LOCATION)
    with pytest.raises(ArmError) as orphan:
        world.put(SUBNET, subnet("10.20.0.0/24"))
    assert (orphan.value.status, orphan.value.code) == (404, "ParentResourceNotFound")
    with pytest.raises(ArmError) as nothing:
        world.get(VNET)
    assert (nothing.value.status, nothing.value.code) == (404, "ResourceNotFound")


def test_location_is_required_known_and_stays(world: World) -> None:
    for body, code in (({}, "LocationRequired"), ({"location": "atlantis"}, "LocationNotAvailableForResourceType")):
        with pytest.raises(ArmError) as refused:
            world.put(f"{NET}/networkSecurityGroups/nsg", body)
        assert refused.value.code == code
    with pytest.raises(ArmError) as moved:
        world.put(VNET, {**vnet(), "location": "eastus"})
    assert (moved.value.status, moved.value.code) == (409, "InvalidResourceLocation")


@pytest.mark.parametrize(
    ("id", "body", "code"),
    [
        (f"{STORAGE}/No_Capitals", account(), "AccountNameInvalid"),
        (f"{STORAGE}/ab", account(), "AccountNameInvalid"),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults/two--hyphens", LOCATION, "InvalidResourceName"),
        (f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/a-b-c-d", LOCATION, "InvalidResourceName"),
        (f"{COMPUTE}/virtualMachineScaleSets/_x", vmss(), "InvalidResourceName"),
        (f"{VNET}/subnets/-x", subnet("10.20.0.0/24"), "InvalidResourceName"),
        (
            f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/c/agentPools/Too-Long",
            {},
            "InvalidResourceName",
        ),
        (f"{SUBSCRIPTION}/resourceGroups/ends.", LOCATION, "InvalidResourceName"),
        (f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/no-uuid", {}, "InvalidResourceName"),
    ],
)
def test_names_have_rules(world: World, id: str, body: dict[str, object], code: str) -> None:
    with pytest.raises(ArmError) as refused:
        world.put(id, body)
    assert (refused.value.status, refused.value.code) == (400, code)


def test_some_names_are_the_whole_worlds(world: World) -> None:
    world.put(f"{STORAGE}/shared1", account())
    other = f"{SUBSCRIPTION}/resourceGroups/other"
    world.put(other, LOCATION)
    with pytest.raises(ArmError) as taken:
        world.put(f"{other}/providers/Microsoft.Storage/storageAccounts/shared1", account())
    assert (taken.value.status, taken.value.code) == (409, "StorageAccountAlreadyTaken")


def test_references_must_lead_somewhere_of_the_right_type(world: World) -> None:
    path = f"{NET}/networkInterfaces/nic"
    with pytest.raises(ArmError) as missing:
        world.put(path, nic(subnet=f"{VNET}/subnets/nowhere"))
    assert missing.value.status == 404 and "nowhere" in str(missing.value)
    with pytest.raises(ArmError) as wrong:
        world.put(path, nic(subnet=VNET))
    assert wrong.value.code == "InvalidResourceReference"
    with pytest.raises(ArmError) as nonsense:
        world.put(path, nic(subnet="nodes"))
    assert nonsense.value.code == "LinkedInvalidPropertyId"


def test_what_is_joined_is_in_one_location(world: World) -> None:
    world.put(f"{NET}/networkInterfaces/nic", nic())
    with pytest.raises(ArmError, match="same location"):
        world.put(f"{COMPUTE}/virtualMachines/hub", {**vm(), "location": "eastus"})


def test_what_is_in_use_stays(world: World) -> None:
    interface, machine = f"{NET}/networkInterfaces/nic", f"{COMPUTE}/virtualMachines/hub"
    world.put(interface, nic())
    world.put(machine, vm())
    for id, code in (
        (interface, "NicInUse"),
        (SUBNET, "InUseSubnetCannotBeDeleted"),
        (VNET, "InUseSubnetCannotBeDeleted"),
    ):
        with pytest.raises(ArmError) as used:
            world.delete(id)
        assert (used.value.status, used.value.code) == (409, code)
    assert [world.delete(id) for id in (machine, interface, VNET)] == [202, 202, 202]
    assert not world.exists(SUBNET)


def test_deleting_nothing_is_no_error(world: World) -> None:
    assert world.delete(f"{NET}/natGateways/never") == 204


def test_a_group_takes_everything_along(world: World) -> None:
    world.put(f"{NET}/networkInterfaces/nic", nic())
    world.put(f"{COMPUTE}/virtualMachines/hub", vm())
    assert world.delete(GROUP) == 202
    assert world.left == []


def test_a_group_whose_things_are_used_from_outside_stays(world: World) -> None:
    other = f"{SUBSCRIPTION}/resourceGroups/other"
    world.put(other, LOCATION)
    world.put(f"{other}/providers/Microsoft.Network/networkInterfaces/nic", nic())
    with pytest.raises(ArmError) as used:
        world.delete(GROUP)
    assert used.value.status == 409 and world.exists(SUBNET)


def test_a_lock_holds_what_is_within_and_around(world: World) -> None:
    lock = f"{VNET}/providers/Microsoft.Authorization/locks/keep"
    world.put(lock, {"properties": {"level": "CanNotDelete"}})
    for id in (VNET, SUBNET, GROUP):
        with pytest.raises(ArmError) as locked:
            world.delete(id)
        assert (locked.value.status, locked.value.code) == (409, "ScopeLocked")
    world.put(VNET, vnet(subnets=[{"name": "nodes", **subnet("10.20.64.0/18")}]))  # changing is allowed
    world.delete(lock)
    assert world.delete(GROUP) == 202
    world.put(GROUP, LOCATION)
    with pytest.raises(ArmError, match="level"):
        world.put(f"{GROUP}/providers/Microsoft.Authorization/locks/keep", {"properties": {"level": "Sometimes"}})


def test_a_read_only_lock_also_refuses_changes(world: World) -> None:
    world.put(f"{VNET}/providers/Microsoft.Authorization/locks/keep", {"properties": {"level": "ReadOnly"}})
    with pytest.raises(ArmError) as locked:
        world.put(SUBNET, subnet("10.20.64.0/18"))
    assert locked.value.code == "ScopeLocked"


def test_slow_work_is_seen_going_on_and_ends() -> None:
    world = World(duration_s=0.2)
    world.arm.put(ids.parse(GROUP), LOCATION)
    _, body, operation = world.arm.put(ids.parse(VNET), vnet())
    assert operation is not None and body is not None and body["properties"]["provisioningState"] == "Creating"
    assert world.arm.operations.body(operation)["status"] == "InProgress"
    with pytest.raises(ArmError) as busy:
        world.arm.put(ids.parse(VNET), vnet())
    assert (busy.value.status, busy.value.code) == (409, "AnotherOperationInProgress")
    time.sleep(0.25)
    assert world.get(VNET)["properties"]["provisioningState"] == "Succeeded"
    assert world.arm.operations.body(operation)["status"] == "Succeeded"
    status, _, deletion = world.arm.delete(ids.parse(VNET))
    assert status == 202 and deletion is not None and world.get(VNET)["properties"]["provisioningState"] == "Deleting"
    time.sleep(0.25)
    assert not world.exists(VNET)


def test_slow_work_may_fail_and_leaves_what_it_made(world: World) -> None:
    machine = f"{COMPUTE}/virtualMachines/hub"
    world.arm.fail_next.append(("virtualMachines", ArmError(500, "AllocationFailed", "no room for this size")))
    world.put(f"{NET}/networkInterfaces/nic", nic())
    world.put(machine, vm())
    assert world.get(machine)["properties"]["provisioningState"] == "Failed"
    world.put(machine, vm())
    assert world.get(machine)["properties"]["provisioningState"] == "Succeeded"


def test_what_is_refused_leaves_no_trace(world: World) -> None:
    group = f"{NET}/networkSecurityGroups/nsg"
    with pytest.raises(ArmError, match="priority"):
        world.put(group, properties(securityRules=[{"name": "a", **rule(100)}, {"name": "b", **rule(100)}]))
    assert not world.exists(group)


def test_a_killed_emulator_knows_everything_again(tmp_path: Path) -> None:
    world = with_network(World(tmp_path))
    world.put(f"{STORAGE}/kept", FILES)
    again = World(tmp_path)
    assert again.left == world.left and again.get(SUBNET) == world.get(SUBNET)
    assert (tmp_path / "arm.json").stat().st_mode & 0o077 == 0
    assert [p.name for p in tmp_path.iterdir()] == ["arm.json"]


def test_a_patch_changes_only_what_it_names(world: World) -> None:
    _, body, _ = world.arm.patch(ids.parse(VNET), {"tags": {"course": "data8"}})
    assert body is not None and body["tags"] == {"course": "data8"}
    assert [s["name"] for s in body["properties"]["subnets"]] == ["nodes"]
    assert body["properties"]["subnets"][0]["properties"]["serviceEndpoints"] == STORAGE_ENDPOINT


def test_lists(world: World) -> None:
    names = {
        path: [item["name"] for item in world.get(path)["value"]]
        for path in (
            f"{VNET}/subnets",
            f"{SUBSCRIPTION}/resourceGroups",
            f"{SUBSCRIPTION}/providers/Microsoft.Network/virtualNetworks",
        )
    }
    assert list(names.values()) == [["nodes"], ["rg", "NetworkWatcherRG"], ["vnet"]]


def test_azure_makes_things_of_its_own_and_takes_them_along(world: World) -> None:
    path = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/hub"
    made = world.put(path, cluster())
    group = f"{SUBSCRIPTION}/resourceGroups/{made['properties']['nodeResourceGroup']}"
    assert world.exists(group) and made["properties"]["identityProfile"]["kubeletidentity"]["objectId"]
    world.delete(path)
    assert not world.exists(group)
    assert world.exists(f"{SUBSCRIPTION}/resourceGroups/NetworkWatcherRG")


def test_public_addresses_are_distinct_and_stay(world: World) -> None:
    one, two = (world.put(f"{NET}/publicIPAddresses/{n}", PUBLIC_IP) for n in ("one", "two"))
    assert one["properties"]["ipAddress"] != two["properties"]["ipAddress"]
    again = world.put(f"{NET}/publicIPAddresses/one", {**PUBLIC_IP, "tags": {"a": "b"}})
    assert again["properties"]["ipAddress"] == one["properties"]["ipAddress"]
