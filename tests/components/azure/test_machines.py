"""Hub VM and workers on Azure: identities, disks, addresses, what they boot with, how they go."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
import yaml

from components.azure.machines import locked_key
from components.azure.nodes import notice_minutes
from components.node_agent.config import NodeConfig
from tests.components.azure.program import BOTH, program, run, semester

pytestmark = pytest.mark.unit


def node(custom_data: str) -> NodeConfig:
    """The description of itself that a machine boots with."""
    document = yaml.safe_load(gzip.decompress(base64.b64decode(custom_data)))
    [text] = [file["content"] for file in document["write_files"] if file["path"] == "/etc/semesterhub/node.json"]
    return NodeConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()})


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_hub_has_the_planned_address_and_size_and_a_public_address_of_its_own(orchestrator: str) -> None:
    made = program(orchestrator)
    [card] = made["hub-nic"]["ipConfigurations"]
    assert (card["privateIPAllocationMethod"], card["privateIPAddress"]) == ("Static", made.plan.hub_ip)
    assert card["subnet"]["id"] == "/id/hub-subnet" and card["publicIPAddress"]["id"] == "/id/hub-ip"
    machine = made["hub-vm"]
    assert [n["id"] for n in machine["networkProfile"]["networkInterfaces"]] == ["/id/hub-nic"]
    sizes = {"swarm": "Standard_D2as_v5", "kubernetes": "Standard_D4as_v5"}
    assert machine["hardwareProfile"]["vmSize"] == sizes[orchestrator]
    assert made.outputs["hub_address"] == made["hub-name"]["aRecords"][0]["ipv4Address"] == "192.0.2.6"


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_hubs_state_is_on_a_protected_disk_that_no_machine_deletes(orchestrator: str) -> None:
    made = program(orchestrator)
    disk = made.resources["hub-state"]
    assert (
        disk.protected and disk.retained and disk.inputs["resourceGroupName"] == made["data-group"]["resourceGroupName"]
    )
    assert disk.inputs["networkAccessPolicy"] == "DenyAll" and disk.inputs["publicNetworkAccess"] == "Disabled"
    [attached] = made["hub-vm"]["storageProfile"]["dataDisks"]
    assert (attached["lun"], attached["createOption"], attached["deleteOption"]) == (0, "Attach", "Detach")
    assert attached["managedDisk"] == {"id": "/id/hub-state"} and attached["caching"] == "None"
    assert disk.inputs["zones"] == made["hub-vm"]["zones"] == ["1"]


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_next_hub_vm_is_made_after_the_last_one_is_gone(orchestrator: str) -> None:
    request = program(orchestrator).resources["hub-vm"].request
    assert request.deleteBeforeReplace
    assert {"osProfile", "storageProfile.imageReference"} <= set(request.replaceOnChanges)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_hub_boots_after_its_rights_its_homes_and_its_bundle(orchestrator: str) -> None:
    made = program(orchestrator)
    needed = made.waits_at_last_for("hub-vm")
    assert {"hub-pulls-images", "hub-reads-bundle", "homes", "bundle", "hub-state"} <= needed
    assert ("hub-writes-join-token" if orchestrator == "swarm" else "hub-uses-cluster") in needed


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_hub_boots_with_everything_it_asks_for(orchestrator: str) -> None:
    made = program(orchestrator)
    described = node(made["hub-vm"]["osProfile"]["customData"])
    assert (described.role, described.cloud, described.orchestrator) == ("hub", "azure", orchestrator)
    assert described.identity_client_id == "client-hub-identity"
    assert described.secret_store == f"keyvault:https://{made['vault']['vaultName']}.vault.azure.net"
    account = made["homes-account"]["accountName"]
    assert described.homes == f"nfs4:{account}.file.core.windows.net:/{account}/homes"
    assert described.bundle == (
        f"https://{made['operations-account']['accountName']}.blob.core.windows.net/"
        f"{made['bundle-container']['containerName']}/{made['bundle']['blobName']}"
    )
    assert described.registry == f"{made['registry']['registryName']}.azurecr.io"
    assert described.state_device == "/dev/disk/azure/scsi1/lun0"


def test_workers_boot_with_the_same_places_but_no_disk_of_state() -> None:
    made = program("swarm")
    described = node(made["workers"]["virtualMachineProfile"]["osProfile"]["customData"])
    hub = node(made["hub-vm"]["osProfile"]["customData"])
    assert (described.role, described.identity_client_id, described.state_device) == (
        "worker",
        "client-nodes-identity",
        "",
    )
    assert (described.homes, described.bundle, described.registry) == (hub.homes, hub.bundle, hub.registry)
    assert described.student_memory_mib == made.plan.workers.allocatable_memory_mib


def machine_parts(made: Any) -> list[dict[str, Any]]:
    return [made["hub-vm"], made["workers"]["virtualMachineProfile"]]


def test_machines_are_encrypted_signed_and_without_passwords() -> None:
    for part in machine_parts(program("swarm")):
        security = part["securityProfile"]
        assert security["encryptionAtHost"] is True and security["securityType"] == "TrustedLaunch"
        linux = part["osProfile"]["linuxConfiguration"]
        assert linux["disablePasswordAuthentication"] is True and "adminPassword" not in part["osProfile"]
        image = part["storageProfile"]["imageReference"]
        assert (image["publisher"], image["offer"], image["sku"]) == ("Debian", "debian-12", "12-gen2")
        assert image["version"] != "latest"


def test_the_key_that_azure_wants_is_well_formed_and_made_of_a_sentence() -> None:
    kind, blob, _ = locked_key().split()
    raw = base64.b64decode(blob)
    assert kind == "ssh-ed25519" and raw[:15] == b"\x00\x00\x00\x0bssh-ed25519" and raw[15:19] == b"\x00\x00\x00 "
    assert len(raw) == 51 and locked_key() == locked_key()


def test_workers_have_no_public_address_and_are_spread_over_the_zones() -> None:
    made = program("swarm")
    workers = made["workers"]
    [card] = workers["virtualMachineProfile"]["networkProfile"]["networkInterfaceConfigurations"]
    [address] = card["ipConfigurations"]
    assert address["subnet"] == {"id": "/id/nodes-subnet"} and "publicIPAddressConfiguration" not in address
    assert workers["zones"] == ["1", "2", "3"]
    assert set(made.of_kind("network.PublicIPAddress")) == {"nat-ip", "hub-ip"}


def test_workers_come_and_go_without_a_hand() -> None:
    made = program("swarm")
    workers = made["workers"]
    assert workers["orchestrationMode"] == "Uniform" and workers["overprovision"] is False
    assert workers["upgradePolicy"]["mode"] == "Manual"
    notice = workers["virtualMachineProfile"]["scheduledEventsProfile"]["terminateNotificationProfile"]
    assert notice == {"enable": True, "notBeforeTimeout": "PT11M"}
    assert made.resources["workers"].request.ignoreChanges == ["sku.capacity"]
    assert workers["sku"]["capacity"] == made.outputs["nodes"]["desired"]
    assert {"nodes-pull-images", "nodes-read-join-token", "hub-vm"} <= made.waits_at_last_for("workers")


@pytest.mark.parametrize(("drain_s", "minutes"), [(0, 5), (240, 5), (241, 6), (600, 11), (840, 15), (86400, 15)])
def test_the_notice_is_as_long_as_draining_within_azures_limits(drain_s: int, minutes: int) -> None:
    assert notice_minutes(drain_s) == minutes


def test_another_class_size_changes_no_running_machine() -> None:
    course = semester().courses[0].model_dump(mode="json", exclude_none=True)
    larger = run(semester(courses=[{**course, "students": 400}]))
    assert larger["hub-vm"] == program("swarm")["hub-vm"]
    custom = [p["workers"]["virtualMachineProfile"]["osProfile"]["customData"] for p in (larger, program("swarm"))]
    assert custom[0] == custom[1]


def test_a_region_without_zones_names_none() -> None:
    made = run(semester(region="westus"))
    assert "zones" not in made["workers"] and "zones" not in made["hub-vm"] and "zones" not in made["hub-state"]
    assert made["workers"]["platformFaultDomainCount"] == 5
