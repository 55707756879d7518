"""An emulator in this process, and short ways to ask it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from sandbox.azure.emulator import ids
from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.arm_types import TENANT
from sandbox.azure.emulator.store import Store

SUBSCRIPTION = "/subscriptions/12345678-1234-4234-8234-123456789012"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
NET = f"{GROUP}/providers/Microsoft.Network"
COMPUTE = f"{GROUP}/providers/Microsoft.Compute"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts"
VNET = f"{NET}/virtualNetworks/vnet"
SUBNET = f"{VNET}/subnets/nodes"
KEY = "ssh-ed25519 " + "A" * 68


class World:
    """One cloud without waiting. `put` answers the body and goes through slow work at once."""

    def __init__(self, folder: Path | None = None, duration_s: float = 0.0) -> None:
        self.arm = Arm(Store(folder), duration_s=duration_s)

    def put(self, id: str, body: dict[str, Any]) -> dict[str, Any]:
        self.arm.settle()
        _, answer, _ = self.arm.put(ids.parse(id), copy.deepcopy(body))
        self.arm.settle()
        assert answer is not None
        return answer

    def get(self, id: str) -> dict[str, Any]:
        self.arm.settle()
        return self.arm.get(ids.parse(id))

    def delete(self, id: str) -> int:
        self.arm.settle()
        status, _, _ = self.arm.delete(ids.parse(id))
        self.arm.settle()
        return status

    def post(self, id: str, body: dict[str, Any] | None = None) -> Any:
        return self.arm.post(ids.parse(id), body or {})

    def exists(self, id: str) -> bool:
        self.arm.settle()
        return self.arm.store.get(id) is not None

    @property
    def left(self) -> list[str]:
        """What is there, without what Azure makes by itself."""
        return [r.id for r in self.arm.store.all() if not r.by_azure]


LOCATION = {"location": "westus2"}


def properties(**values: Any) -> dict[str, Any]:
    return {"location": "westus2", "properties": values}


def vnet(*cidrs: str, **more: Any) -> dict[str, Any]:
    return properties(addressSpace={"addressPrefixes": list(cidrs or ("10.20.0.0/16",))}, **more)


def subnet(cidr: str, **more: Any) -> dict[str, Any]:
    return {"properties": {"addressPrefix": cidr, **more}}


STORAGE_ENDPOINT = [{"service": "Microsoft.Storage"}]


def rule(priority: int = 100, direction: str = "Inbound", **more: Any) -> dict[str, Any]:
    values = {
        "priority": priority,
        "direction": direction,
        "access": "Allow",
        "protocol": "Tcp",
        "sourceAddressPrefix": "Internet",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "443",
        **more,
    }
    return {"properties": {key: value for key, value in values.items() if value is not None}}


def account(**more: Any) -> dict[str, Any]:
    return {"location": "westus2", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, **more}


FILES = account(kind="FileStorage", sku={"name": "Premium_LRS"})
PUBLIC_IP = {"location": "westus2", "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}}


def nic(name: str = "nic", *, subnet: str = SUBNET, address: str = "", public: str = "") -> dict[str, Any]:
    config: dict[str, Any] = {"subnet": {"id": subnet}}
    if address:
        config |= {"privateIPAddress": address, "privateIPAllocationMethod": "Static"}
    if public:
        config["publicIPAddress"] = {"id": public}
    return properties(ipConfigurations=[{"name": name, "properties": config}])


def profile(**more: Any) -> dict[str, Any]:
    return {
        "adminUsername": "hub",
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [{"path": "/home/hub/.ssh/authorized_keys", "keyData": KEY}]},
        },
        **more,
    }


IMAGE = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}


def vm(nic_id: str = f"{NET}/networkInterfaces/nic", **more: Any) -> dict[str, Any]:
    values = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "osProfile": profile(computerName="hub"),
        "storageProfile": {"imageReference": IMAGE, "osDisk": {"createOption": "FromImage"}},
        "networkProfile": {"networkInterfaces": [{"id": nic_id}]},
        **more,
    }
    return properties(**values)


def vmss(**more: Any) -> dict[str, Any]:
    config = {"name": "i", "properties": {"subnet": {"id": SUBNET}}}
    network = {"name": "n", "properties": {"primary": True, "ipConfigurations": [config]}}
    return {
        "location": "westus2",
        "sku": {"name": "Standard_E8s_v5", "capacity": 4},
        "properties": {
            "orchestrationMode": "Uniform",
            "upgradePolicy": {"mode": "Manual"},
            "virtualMachineProfile": {
                "osProfile": profile(computerNamePrefix="w"),
                "storageProfile": {"imageReference": IMAGE, "osDisk": {"createOption": "FromImage"}},
                "networkProfile": {"networkInterfaceConfigurations": [network]},
            },
            **more,
        },
    }


def vault(**more: Any) -> dict[str, Any]:
    values = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True, **more}
    return properties(**values)


def pool(**more: Any) -> dict[str, Any]:
    return {"mode": "System", "vmSize": "Standard_D4s_v5", "count": 2, "vnetSubnetID": SUBNET, **more}


def cluster(**more: Any) -> dict[str, Any]:
    values = {
        "dnsPrefix": "hub",
        "agentPoolProfiles": [{"name": "system", **pool()}],
        "networkProfile": {"networkPlugin": "azure", "serviceCidr": "10.0.0.0/16"},
        **more,
    }
    return {**properties(**values), "identity": {"type": "SystemAssigned"}}


def with_network(world: World) -> World:
    """A group with a network and one subnet in it."""
    world.put(GROUP, LOCATION)
    world.put(VNET, vnet())
    world.put(SUBNET, subnet("10.20.64.0/18", serviceEndpoints=STORAGE_ENDPOINT))
    return world
