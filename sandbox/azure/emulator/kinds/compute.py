"""Microsoft.Compute: machines, scale sets, disks. Nothing boots here.

Rules: https://learn.microsoft.com/azure/virtual-machines/linux/ (names, admin names),
https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-orchestration-modes,
https://learn.microsoft.com/rest/api/compute/virtual-machine-scale-sets/create-or-update.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.errors import ArmError, bad, conflict
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of
from sandbox.azure.emulator.kinds.network import NIC, NSG, SUBNET
from sandbox.azure.emulator.operations import Answer
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

C = "Microsoft.Compute"
VM, VMSS, DISK = f"{C}/virtualMachines", f"{C}/virtualMachineScaleSets", f"{C}/disks"
SIZE = re.compile(r"Standard_[A-Z]{1,3}\d+(?:-\d+)?[a-z]*(?:_v\d)?")
# fmt: off
FORBIDDEN_ADMINS = frozenset(
    {
        "1", "123", "a", "actuser", "adm", "admin", "admin1", "admin2", "administrator", "aspnet", "backup",
        "console", "david", "guest", "john", "owner", "root", "server", "sql", "support",
        "support_388945a0", "sys", "test", "test1", "test2", "test3", "user", "user1", "user2", "user3",
        "user4", "user5",
    }
)
# fmt: on
CUSTOM_DATA_MAX = 87380
"""Characters of base64: 65,535 bytes."""


def check_size(call: Call, path: str) -> None:
    """A name of the form of Azure's machine sizes."""
    size = paths.get(call.body, path)
    if not isinstance(size, str) or not SIZE.fullmatch(size):
        raise bad(f"The value '{size}' provided for the VM size is not valid.", target=path)


def _check_os(call: Call, base: str) -> None:
    profile = paths.get(call.body, base)
    if profile is None:
        return
    user = str(paths.get(call.body, f"{base}.adminUsername") or "")
    if not user or user.lower() in FORBIDDEN_ADMINS:
        raise bad(f"The Admin Username '{user}' specified is not allowed.", target="adminUsername")
    linux = paths.get(call.body, f"{base}.linuxConfiguration") or {}
    if not linux.get("disablePasswordAuthentication") and not paths.get(call.body, f"{base}.adminPassword"):
        raise bad("Authentication using either SSH or by user name and password must be enabled in Linux profile.")
    keys = [v for _, v in paths.values_at(linux, "ssh.publicKeys[]")]
    if linux.get("disablePasswordAuthentication") and not keys:
        raise bad("linuxConfiguration.ssh.publicKeys must hold a key when passwords are disabled.")
    for key in keys:
        if key.get("path") != f"/home/{user}/.ssh/authorized_keys":
            raise bad(
                f"Destination path for SSH public keys is currently limited to its default value /home/{user}/.ssh/authorized_keys."
            )
        if not re.match(r"(?:ssh-rsa|ssh-ed25519) [A-Za-z0-9+/=]{40,}", str(key.get("keyData"))):
            raise bad(
                f"The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid: {str(key.get('keyData'))[:20]}"
            )
    check_custom_data(paths.get(call.body, f"{base}.customData"))


def check_custom_data(text: Any) -> None:
    """Custom data is base64 of at most 64 KiB."""
    if text is None:
        return
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise bad(
            "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 characters.",
            target="customData",
        ) from None
    if len(text) > CUSTOM_DATA_MAX:
        raise bad(
            "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 characters.",
            target="customData",
        )


def _check_image(call: Call, base: str) -> None:
    image = paths.get(call.body, f"{base}.imageReference")
    if image is None:
        return
    parts = [image.get(name) for name in ("publisher", "offer", "sku", "version")]
    if not (all(parts) or image.get("id") or image.get("communityGalleryImageId") or image.get("sharedGalleryImageId")):
        raise bad("imageReference needs publisher, offer, sku and version, or an id.", target="imageReference")
    one_of(call, f"{base}.osDisk.createOption", ("FromImage", "Attach", "Empty"), required=True)
    one_of(
        call,
        f"{base}.osDisk.managedDisk.storageAccountType",
        ("Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS"),
    )
    between(call, f"{base}.osDisk.diskSizeGB", 30, 4095)


def _check_spot(call: Call, base: str) -> None:
    priority = one_of(call, f"{base}.priority", ("Regular", "Low", "Spot"))
    if paths.get(call.body, f"{base}.evictionPolicy") and priority != "Spot":
        raise bad("evictionPolicy is for priority Spot only.", target="evictionPolicy")


def _check_vm(call: Call) -> None:
    check_size(call, "properties.hardwareProfile.vmSize")
    if not re.fullmatch(
        r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?",
        str(paths.get(call.body, "properties.osProfile.computerName", call.id.name)),
    ):
        raise bad(
            "Linux host name cannot exceed 64 characters and holds letters, digits and hyphens only.",
            target="computerName",
        )
    _check_os(call, "properties.osProfile")
    _check_image(call, "properties.storageProfile")
    _check_spot(call, "properties")
    zone = (paths.get(call.body, "zones") or [None])[0]
    luns = [paths.get(d, "lun") for _, d in paths.values_at(call.body, "properties.storageProfile.dataDisks[]")]
    if len(luns) != len(set(luns)):
        raise bad("Two data disks have the same lun.", target="dataDisks")
    for _, target in paths.values_at(call.body, "properties.networkProfile.networkInterfaces[].id"):
        _free_for(call, target, "properties.networkProfile.networkInterfaces[].id", "NicInUse")
    for _, target in paths.values_at(call.body, "properties.storageProfile.dataDisks[].managedDisk.id"):
        _free_for(call, target, "properties.storageProfile.dataDisks[].managedDisk.id", "AttachDiskWhileBeingAttached")
        disk = call.arm.need(target)
        if "ZRS" not in str(paths.get(disk.body, "sku.name")) and (disk.body.get("zones") or [None])[0] != zone:
            raise bad(f"Disk '{target}' is not in the zone of virtual machine '{call.id.name}'.", code="BadRequest")


def _free_for(call: Call, target: str, path: str, code: str) -> None:
    for other in call.arm.store.of_type(VM):
        held = [v.lower() for _, v in paths.values_at(other.body, path)]
        if other.key != call.id.key and target.lower() in held:
            raise conflict(f"'{target}' is attached to '{other.id}' already.", code=code)


def _told(during: str, after: str) -> Callable[[Arm, Resource, dict[str, Any]], Any]:
    """An action on a machine's power: answered at once, true when it is over. Azure lets a newer one overtake it."""

    def act(arm: Arm, vm: Resource, _body: dict[str, Any]) -> Any:
        operation = arm.operations.begin(vm, "Updating")
        arm.store.state.powers[vm.key] = {"now": during, "then": after, "at": operation.ready_at}
        arm.store.save()
        return Answer(202, None, operation)

    return act


def _instance_view(arm: Arm, vm: Resource) -> dict[str, Any]:
    """https://learn.microsoft.com/rest/api/compute/virtual-machines/instance-view"""
    told = arm.store.state.powers.get(vm.key, {"now": "", "then": "running", "at": 0.0})
    power = told["then"] if time.time() >= told["at"] else told["now"]
    codes = (f"ProvisioningState/{vm.state.lower()}", f"PowerState/{power}")
    return {"statuses": [{"code": code, "level": "Info"} for code in codes]}


def _forget_power(arm: Arm, vm: Resource) -> None:
    arm.store.state.powers.pop(vm.key, None)


def _fill_vm(call: Call, body: dict[str, Any]) -> None:
    old = call.old.at("properties.vmId") if call.old else None
    body["properties"]["vmId"] = old or call.arm.new_uuid(call.id.key)
    disk = paths.get(body, "properties.storageProfile.osDisk")
    if isinstance(disk, dict):
        disk.setdefault("name", f"{call.id.name}_OsDisk_1")


_CONFIGS = "properties.virtualMachineProfile.networkProfile.networkInterfaceConfigurations[]"


def _check_vmss(call: Call) -> None:
    check_size(call, "sku.name")
    mode = one_of(call, "properties.orchestrationMode", ("Uniform", "Flexible")) or "Uniform"
    between(call, "sku.capacity", 0, 1000)
    between(call, "properties.platformFaultDomainCount", 1, 5)
    profile = "properties.virtualMachineProfile"
    prefix = str(paths.get(call.body, f"{profile}.osProfile.computerNamePrefix", call.id.name))
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,57})?", prefix):
        raise bad(
            f"computerNamePrefix '{prefix}' is not valid: at most 58 letters, digits, hyphens.",
            target="computerNamePrefix",
        )
    if mode == "Uniform":
        one_of(call, "properties.upgradePolicy.mode", ("Manual", "Automatic", "Rolling"), required=True)
    elif paths.get(call.body, f"{profile}.networkProfile.networkInterfaceConfigurations") and not paths.get(
        call.body, f"{profile}.networkProfile.networkApiVersion"
    ):
        raise bad("networkApiVersion is required with orchestrationMode Flexible.", target="networkApiVersion")
    if paths.get(call.body, f"{profile}.storageProfile") is None and mode == "Uniform":
        raise bad("Required parameter 'storageProfile' is missing (null).", target="storageProfile")
    _check_os(call, f"{profile}.osProfile")
    _check_image(call, f"{profile}.storageProfile")
    _check_spot(call, profile)
    check_custom_data(paths.get(call.body, f"{profile}.userData"))
    configs = [v for _, v in paths.values_at(call.body, _CONFIGS)]
    if configs and [bool(paths.get(c, "properties.primary")) for c in configs].count(True) != 1:
        raise bad(
            f"Scale set '{call.id.name}' must have exactly one primary network interface.", code="InvalidRequestFormat"
        )
    healthy = paths.get(call.body, "properties.automaticRepairsPolicy.enabled")
    probes = paths.get(call.body, f"{profile}.networkProfile.healthProbe")
    extensions = [
        str(paths.get(e, "properties.type"))
        for _, e in paths.values_at(call.body, f"{profile}.extensionProfile.extensions[]")
    ]
    if (
        (healthy or paths.get(call.body, "properties.upgradePolicy.mode") == "Rolling")
        and not probes
        and not any(e.startswith("ApplicationHealth") for e in extensions)
    ):
        raise ArmError(
            400,
            "BadRequest",
            f"Scale set '{call.id.name}' needs a health probe or the application health extension for repairs and rolling upgrades.",
        )


def _fill_vmss(call: Call, body: dict[str, Any]) -> None:
    old = call.old.at("properties.uniqueId") if call.old else None
    body["properties"]["uniqueId"] = old or call.arm.new_uuid(call.id.key)
    body["sku"].setdefault("tier", "Standard")


def _check_disk(call: Call) -> None:
    one_of(
        call,
        "sku.name",
        (
            "Standard_LRS",
            "StandardSSD_LRS",
            "StandardSSD_ZRS",
            "Premium_LRS",
            "Premium_ZRS",
            "PremiumV2_LRS",
            "UltraSSD_LRS",
        ),
    )
    how = one_of(
        call,
        "properties.creationData.createOption",
        ("Empty", "FromImage", "Copy", "Restore", "Import", "Upload"),
        required=True,
    )
    size = paths.get(call.body, "properties.diskSizeGB")
    if how == "Empty" and not size:
        raise bad("Required parameter 'diskSizeGB' is missing (null).", target="diskSizeGB")
    between(call, "properties.diskSizeGB", 1, 65536)
    was = call.old.at("properties.diskSizeGB") if call.old else None
    if was and size and size < was:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Disk '{call.id.name}' cannot be made smaller: {was} GiB now, {size} GiB asked for.",
        )
    if "ZRS" in str(paths.get(call.body, "sku.name")) and call.body.get("zones"):
        raise bad("A zone-redundant disk is in no single zone.", code="BadRequest")


_NAME = r"[A-Za-z0-9](?:[\w.\-]{0,62}[\w])?"
_SAYS = "1 to 64 letters, digits, _ - ."
_FIXED = (
    "zones",
    "properties.osProfile.adminUsername",
    "properties.osProfile.computerName",
    "properties.storageProfile.imageReference",
)
KINDS = (
    Kind(
        VM,
        _NAME,
        _SAYS,
        required=("properties.hardwareProfile.vmSize", "properties.networkProfile"),
        references=(
            Reference("properties.networkProfile.networkInterfaces[].id", NIC, here=True, in_use="NicInUse"),
            Reference(
                "properties.storageProfile.dataDisks[].managedDisk.id", DISK, here=True, in_use="OperationNotAllowed"
            ),
        ),
        hidden=("properties.osProfile.customData", "properties.osProfile.adminPassword", "properties.userData"),
        fixed=_FIXED,
        slow=True,
        slow_delete=True,
        check=_check_vm,
        fill=_fill_vm,
        after_delete=_forget_power,
        actions={
            "start": _told("starting", "running"),
            "powerOff": _told("stopping", "stopped"),
            "deallocate": _told("deallocating", "deallocated"),
        },
        views={"instanceView": _instance_view},
    ),
    Kind(
        f"{VM}/extensions",
        _NAME,
        _SAYS,
        required=("properties.publisher", "properties.type"),
        hidden=("properties.protectedSettings",),
        slow=True,
        slow_delete=True,
    ),
    Kind(
        VMSS,
        _NAME,
        _SAYS,
        required=("sku.name",),
        references=(
            Reference(
                f"{_CONFIGS}.properties.ipConfigurations[].properties.subnet.id",
                SUBNET,
                in_use="InUseSubnetCannotBeDeleted",
            ),
            Reference(
                f"{_CONFIGS}.properties.networkSecurityGroup.id",
                NSG,
                here=True,
                in_use="InUseNetworkSecurityGroupCannotBeDeleted",
            ),
            Reference(
                f"{_CONFIGS}.properties.ipConfigurations[].properties.loadBalancerBackendAddressPools[].id",
                "Microsoft.Network/loadBalancers/backendAddressPools",
                in_use="LoadBalancerInUseByVirtualMachineScaleSet",
            ),
        ),
        hidden=(
            "properties.virtualMachineProfile.osProfile.customData",
            "properties.virtualMachineProfile.osProfile.adminPassword",
            "properties.virtualMachineProfile.userData",
        ),
        fixed=(
            "zones",
            "properties.orchestrationMode",
            "properties.platformFaultDomainCount",
            "properties.virtualMachineProfile.osProfile.computerNamePrefix",
            "properties.virtualMachineProfile.osProfile.adminUsername",
            "properties.virtualMachineProfile.priority",
        ),
        slow=True,
        slow_delete=True,
        check=_check_vmss,
        fill=_fill_vmss,
    ),
    Kind(
        f"{VMSS}/extensions",
        _NAME,
        _SAYS,
        location=False,
        required=("properties.publisher", "properties.type"),
        hidden=("properties.protectedSettings",),
        slow=True,
        slow_delete=True,
    ),
    Kind(
        DISK,
        r"[\w.\-]{1,80}",
        "1 to 80 letters, digits, _ - .",
        fixed=("zones", "properties.creationData.createOption"),
        slow=True,
        slow_delete=True,
        check=_check_disk,
    ),
)
