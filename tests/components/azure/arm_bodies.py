"""A second opinion on each request: a resource's inputs as the body Azure would get, judged by Microsoft's own models.

Pulumi's names are those of the same specification, flattened; `body()` undoes that with the help of the `azure-mgmt-*`
models and says what these do not know, want of another kind, refuse as read-only, or miss. Their API versions are newer
than the provider's in places, so a property that has gone since would be found here as well.
"""

from __future__ import annotations

import base64
import binascii
import enum
import importlib
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

SERVICES = {
    "authorization": "authorization",
    "compute": "compute",
    "consumption": "consumption",
    "containerregistry": "containerregistry",
    "containerservice": "containerservice",
    "dataprotection": "dataprotection",
    "dns": "dns",
    "keyvault": "keyvault",
    "logic": "logic",
    "managedidentity": "msi",
    "monitor": "monitor",
    "network": "network",
    "resources": "resource.resources",
    "storage": "storage",
}
"""Pulumi's module -> azure.mgmt's."""
MODELS: dict[str, tuple[str, set[str]]] = {
    "authorization.ManagementLockByScope": ("resource.locks:ManagementLockObject", {"scope", "lockName"}),
    "authorization.RoleAssignment": ("RoleAssignmentCreateParameters", {"scope", "roleAssignmentName"}),
    "authorization.RoleDefinition": ("RoleDefinition", {"scope", "roleDefinitionId"}),
    "compute.Disk": ("Disk", {"diskName"}),
    "compute.VirtualMachine": ("VirtualMachine", {"vmName"}),
    "compute.VirtualMachineExtension": ("VirtualMachineExtension", {"vmName", "vmExtensionName"}),
    "compute.VirtualMachineScaleSet": ("VirtualMachineScaleSet", {"vmScaleSetName"}),
    "consumption.Budget": ("Budget", {"scope", "budgetName"}),
    "containerregistry.Registry": ("Registry", {"registryName"}),
    "containerservice.AgentPool": ("AgentPool", {"resourceName", "agentPoolName"}),
    "containerservice.MaintenanceConfiguration": ("MaintenanceConfiguration", {"resourceName", "configName"}),
    "containerservice.ManagedCluster": ("ManagedCluster", {"resourceName"}),
    "dataprotection.BackupInstance": ("BackupInstanceResource", {"vaultName", "backupInstanceName"}),
    "dataprotection.BackupPolicy": ("BaseBackupPolicyResource", {"vaultName", "backupPolicyName"}),
    "dataprotection.BackupVault": ("BackupVaultResource", {"vaultName"}),
    "dns.RecordSet": ("RecordSet", {"zoneName", "relativeRecordSetName", "recordType"}),
    "keyvault.Secret": ("SecretCreateOrUpdateParameters", {"vaultName", "secretName"}),
    "keyvault.Vault": ("VaultCreateOrUpdateParameters", {"vaultName"}),
    "logic.Workflow": ("Workflow", {"workflowName"}),
    "managedidentity.UserAssignedIdentity": ("Identity", {"resourceName"}),
    "monitor.ActionGroup": ("ActionGroupResource", {"actionGroupName"}),
    "monitor.AutoscaleSetting": ("AutoscaleSettingResource", {"autoscaleSettingName"}),
    "monitor.MetricAlert": ("MetricAlertResource", {"ruleName"}),
    "network.BastionHost": ("BastionHost", {"bastionHostName"}),
    "network.FlowLog": ("FlowLog", {"networkWatcherName", "flowLogName"}),
    "network.NatGateway": ("NatGateway", {"natGatewayName"}),
    "network.NetworkInterface": ("NetworkInterface", {"networkInterfaceName"}),
    "network.NetworkSecurityGroup": ("NetworkSecurityGroup", {"networkSecurityGroupName"}),
    "network.PublicIPAddress": ("PublicIPAddress", {"publicIpAddressName"}),
    "network.Subnet": ("Subnet", {"virtualNetworkName", "subnetName"}),
    "network.VirtualNetwork": ("VirtualNetwork", {"virtualNetworkName"}),
    "resources.ResourceGroup": ("ResourceGroup", set()),
    "storage.BlobContainer": ("BlobContainer", {"accountName", "containerName"}),
    "storage.BlobServiceProperties": ("BlobServiceProperties", {"accountName", "blobServicesName"}),
    "storage.FileServiceProperties": ("FileServiceProperties", {"accountName", "fileServicesName"}),
    "storage.FileShare": ("FileShare", {"accountName", "shareName"}),
    "storage.ManagementPolicy": ("ManagementPolicy", {"accountName", "managementPolicyName"}),
    "storage.StorageAccount": ("StorageAccountCreateParameters", {"accountName"}),
}
"""Kind -> model of its body, and the inputs that are part of the address. `storage.Blob` is written to the blob service,
not to Azure Resource Manager: it has no such body."""
_OLD_LISTS = (".hardwareProfile.vmSize",)
"""Properties whose list of values Microsoft no longer keeps ("This enum is currently deprecated")."""
_SECRET_SIGN = "4dabf18193072939515e22adb298388d"


@dataclass(frozen=True)
class Slot:
    """Where one input goes: JSON path in the body, and what may stand there."""

    path: tuple[str, ...]
    kind: Any
    read_only: bool
    required: bool


def problems(kind: str, inputs: Mapping[str, Any]) -> list[str]:
    """What Microsoft's models have against the inputs of one resource; [] when nothing."""
    return list(body(kind, inputs)[1])


def body(kind: str, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The request's body, and what is wrong with it."""
    name, address = MODELS[kind]
    module, _, name = name.rpartition(":")
    models = importlib.import_module(f"azure.mgmt.{module or SERVICES[kind.partition('.')[0]]}.models")
    skipped = address | {"resourceGroupName"}
    found: list[str] = []
    made = _model(getattr(models, name), {k: v for k, v in inputs.items() if k not in skipped}, kind, found)
    return made, found


def _model(model: Any, data: Mapping[str, Any], where: str, found: list[str]) -> dict[str, Any]:
    model = _chosen(model, data)
    slots = _slots(model)
    made: dict[str, Any] = {}
    for key, value in data.items():
        slot = slots.get(key.lower()) or slots.get(_snake(key))
        here = f"{where}.{key}"
        if slot is None:
            found.append(f"{here}: {model.__name__} knows no such property")
            continue
        if slot.read_only:
            found.append(f"{here}: Azure sets it itself")
        target = made
        for step in slot.path[:-1]:
            target = target.setdefault(step, {})
        target[slot.path[-1]] = _value(slot.kind, value, here, found)
    for slot in {id(slot): slot for slot in slots.values()}.values():
        if slot.required and not slot.read_only and not _has(made, slot.path):
            found.append(f"{where}: {model.__name__} wants {'.'.join(slot.path)}")
    return made


def _has(made: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    inner: Any = made
    for step in path:
        if not isinstance(inner, Mapping) or step not in inner:
            # A part of an object that is not there at all is not missing.
            return step != path[-1] and step == path[0]
        inner = inner[step]
    return True


def _value(kind: Any, value: Any, where: str, found: list[str]) -> Any:
    if isinstance(value, Mapping) and _SECRET_SIGN in value:
        value = value["value"]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object or value is None:
        return value
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        return _union([one for one in arguments if one is not type(None)], value, where, found)
    if origin in {list, typing.List} or kind is list:  # noqa: UP006
        # The provider takes a list of identities and sends the mapping that Azure wants.
        if not isinstance(value, list):
            found.append(f"{where}: {value!r} is no list")
            return value
        inner = arguments[0] if arguments else Any
        return [_value(inner, item, f"{where}[{n}]", found) for n, item in enumerate(value)]
    if origin in {dict, typing.Dict} or kind is dict:  # noqa: UP006
        if where.endswith("userAssignedIdentities") and isinstance(value, list):
            value = {item: {} for item in value}
        if not isinstance(value, Mapping):
            found.append(f"{where}: {value!r} is no mapping")
            return value
        inner = arguments[1] if arguments else Any
        return {k: _value(inner, item, f"{where}.{k}", found) for k, item in value.items()}
    if origin is typing.Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        values = arguments if origin is typing.Literal else [member.value for member in kind]
        allowed = {str(each).lower() for each in values}
        if where.endswith(_OLD_LISTS):
            return value
        if not all(part.strip().lower() in allowed for part in str(value).split(",")):
            found.append(f"{where}: {value!r} is none of {sorted(allowed)}")
        return value
    if _is_model(kind):
        if not isinstance(value, Mapping):
            found.append(f"{where}: {value!r} is no {kind.__name__}")
            return value
        return _model(kind, value, where, found)
    if not _is_plain(kind, value):
        found.append(f"{where}: {value!r} is no {getattr(kind, '__name__', kind)}")
    return value


def _union(kinds: list[Any], value: Any, where: str, found: list[str]) -> Any:
    enums = [one for one in kinds if isinstance(one, type) and issubclass(one, enum.Enum)]
    tried: list[list[str]] = []
    for one in enums or kinds:
        own: list[str] = []
        made = _value(one, value, where, own)
        if not own:
            return made
        tried.append(own)
    found += min(tried, key=len)
    return value


def _is_plain(kind: Any, value: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return not isinstance(value, bool) and isinstance(value, int | float) and float(value).is_integer()
    if kind in {float, Decimal}:
        return not isinstance(value, bool) and isinstance(value, int | float)
    if kind is str:
        return isinstance(value, str)
    if kind is bytes:
        try:
            return bool(base64.b64decode(value, validate=True))
        except (binascii.Error, TypeError, ValueError):
            return False
    if kind is datetime or getattr(kind, "__name__", "") in {"datetime", "date", "time"}:
        return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d(T.*)?|\d\d:\d\d.*", value))
    raise AssertionError(f"no rule for {kind!r}")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and (hasattr(kind, "_attribute_map") or hasattr(kind, "_is_model_base") or _new(kind))


def _new(kind: type) -> bool:
    return any(base.__name__ == "_MyMutableMapping" for base in kind.__mro__)


def _chosen(model: Any, data: Mapping[str, Any]) -> Any:
    """The model that a discriminator names."""
    if hasattr(model, "_subtype_map") and model._subtype_map:
        [(attribute, by_value)] = model._subtype_map.items()
        for key, value in data.items():
            if _snake(key) == attribute and value in by_value:
                return getattr(sys.modules[model.__module__], by_value[value])
    mapping = getattr(model, "__mapping__", None)
    if mapping:
        for value in data.values():
            if isinstance(value, str) and value in mapping:
                return mapping[value]
    return model


@cache
def _slots(model: Any) -> dict[str, Slot]:
    """Lower-case wire name and snake-case attribute -> slot; `properties` flattened where Pulumi flattens it."""
    found: dict[str, Slot] = {}
    for attribute, slot in _own_slots(model):
        for key in (slot.path[-1].lower(), attribute):
            if key not in found or found[key].read_only:
                found[key] = slot
    properties = found.get("properties")
    if properties is not None and not properties.read_only:
        inner = next((k for k in _parts(properties.kind) if _is_model(k)), None)
        if inner is not None and not getattr(inner, "__mapping__", None):
            for key, slot in _slots(inner).items():
                moved = Slot(("properties", *slot.path), slot.kind, slot.read_only, slot.required)
                if key not in found or found[key].read_only:
                    found[key] = moved
    return found


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for argument in typing.get_args(kind):
        yield from _parts(argument)


def _own_slots(model: Any) -> Iterator[tuple[str, Slot]]:
    if hasattr(model, "_attribute_map"):
        rules = getattr(model, "_validation", {})
        for attribute, entry in model._attribute_map.items():
            rule = rules.get(attribute, {})
            path = tuple(re.split(r"(?<!\\)\.", entry["key"]))
            clean = tuple(step.replace("\\.", ".") for step in path)
            yield (
                attribute,
                Slot(clean, _old_kind(model, entry["type"]), bool(rule.get("readonly")), bool(rule.get("required"))),
            )
        return
    models = sys.modules[model.__module__]
    package = importlib.import_module(model.__module__.rpartition(".")[0])
    hints = typing.get_type_hints(model, vars(models), {"_models": package, "_types": _Anything()})
    for base in reversed(model.__mro__):
        for attribute, field in vars(base).items():
            if type(field).__name__ != "_RestField" or attribute not in hints:
                continue
            optional = type(None) in typing.get_args(hints[attribute])
            yield (
                attribute,
                Slot(
                    (field._rest_name_input or attribute,),
                    hints[attribute],
                    field._visibility == ["read"],
                    not optional and not field._is_discriminator,
                ),
            )


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return Any


def _old_kind(model: Any, text: str) -> Any:
    if text.startswith("["):
        return list[_old_kind(model, text[1:-1])]
    if text.startswith("{"):
        return dict[str, _old_kind(model, text[1:-1])]
    plain = {
        "str": str, "int": int, "long": int, "float": float, "bool": bool, "object": Any, "decimal": float,
        "iso-8601": datetime, "bytearray": bytes, "duration": str, "rfc-1123": str, "date": datetime,
    }  # fmt: skip
    if text in plain:
        return plain[text]
    package = importlib.import_module(model.__module__.rpartition(".")[0])
    return getattr(package, text)


def _snake(name: str) -> str:
    first = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", first).lower()
