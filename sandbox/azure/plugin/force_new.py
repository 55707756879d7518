"""Which inputs cannot change in place: a change means a new resource.

Not in the Python SDK, so it stands here with the page that says so. `names`, `resourceGroupName`, scopes and `location`
are the same for every type and not repeated. Azure refuses a PUT that changes such a property (the emulator does, too:
tests compare its `fixed` with this table).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REST = "https://learn.microsoft.com/rest/api"
_AKS = f"{_REST}/aks/managed-clusters/create-or-update"
_POOL = "https://learn.microsoft.com/azure/aks/manage-node-pools"
_VM = (
    "https://learn.microsoft.com/azure/virtual-machines/linux/faq, the model's `osProfile` remarks in "
    + f"{_REST}/compute/virtual-machines/create-or-update"
)
_VMSS = f"{_REST}/compute/virtual-machine-scale-sets/create-or-update"
_STORAGE = f"{_REST}/storagerp/storage-accounts/create"
_IP = f"{_REST}/virtualnetwork/public-ip-addresses/create-or-update"
_ROLE = "https://learn.microsoft.com/azure/role-based-access-control/role-assignments-portal (an assignment cannot be edited)"
_OS = ("osProfile.adminUsername", "osProfile.computerName", "osProfile.customData", "storageProfile.imageReference")
_CLUSTER_POOL = (
    "vmSize",
    "osDiskSizeGB",
    "osDiskType",
    "vnetSubnetID",
    "podSubnetID",
    "availabilityZones",
    "maxPods",
    "osType",
)

FORCE_NEW: dict[str, Mapping[str, str]] = {
    "network:PublicIPAddress": dict.fromkeys(("sku.name", "zones", "publicIPAddressVersion"), _IP),
    "network:NatGateway": {"zones": "https://learn.microsoft.com/azure/nat-gateway/nat-availability-zones"},
    "network:LoadBalancer": {"sku.name": "https://learn.microsoft.com/azure/load-balancer/skus"},
    "storage:StorageAccount": {
        "kind": _STORAGE,
        "isHnsEnabled": _STORAGE,
        "encryption.requireInfrastructureEncryption": "https://learn.microsoft.com/azure/storage/common/infrastructure-encryption-enable",
    },
    "storage:FileShare": {"enabledProtocols": f"{_REST}/storagerp/file-shares/create"},
    "authorization:RoleAssignment": dict.fromkeys(("principalId", "roleDefinitionId", "principalType"), _ROLE),
    "compute:VirtualMachine": dict.fromkeys((*_OS, "zones"), _VM),
    "compute:Disk": dict.fromkeys(("zones", "creationData.createOption"), f"{_REST}/compute/disks/create-or-update"),
    "compute:VirtualMachineScaleSet": dict.fromkeys(
        (
            "zones",
            "orchestrationMode",
            "platformFaultDomainCount",
            "virtualMachineProfile.osProfile.computerNamePrefix",
            "virtualMachineProfile.osProfile.adminUsername",
            "virtualMachineProfile.priority",
        ),
        _VMSS,
    ),
    "containerservice:ManagedCluster": dict.fromkeys(
        (
            "dnsPrefix",
            "nodeResourceGroup",
            "networkProfile.networkPlugin",
            "networkProfile.serviceCidr",
            "networkProfile.dnsServiceIP",
            "networkProfile.podCidr",
            "apiServerAccessProfile.enablePrivateCluster",
            *(f"agentPoolProfiles.{name}" for name in _CLUSTER_POOL),
        ),
        _AKS,
    ),
    "containerservice:AgentPool": dict.fromkeys((*_CLUSTER_POOL, "scaleSetPriority"), _POOL),
    "dataprotection:BackupVault": {
        "properties.storageSettings": "https://learn.microsoft.com/azure/backup/create-manage-backup-vault (redundancy)"
    },
    "keyvault:Vault": {
        "properties.softDeleteRetentionInDays": "https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview"
    },
}
"""By token without `azure-native:`: path of the input (list positions left out) -> where it is written."""


def replaces(token: str, path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a change at `path` (`virtualMachineProfile.osProfile.customData`, `zones[0]`) needs a new resource."""
    plain = _plain(path)
    for fixed in FORCE_NEW.get(token.removeprefix("azure-native:"), {}):
        if plain == fixed or plain.startswith(fixed + "."):
            return True
        # An object given or left out as a whole: it depends on what is in it.
        if fixed.startswith(plain + ".") and _at(old, fixed) is not None and _at(old, fixed) != _at(new, fixed):
            return True
    return False


def _plain(path: str) -> str:
    result, depth = [], 0
    for letter in path:
        depth += (letter == "[") - (letter == "]")
        if depth == 0 and letter != "]":
            result.append(letter)
    return "".join(result)


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, list):
            value = [_at(item, part) for item in value]
            continue
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
