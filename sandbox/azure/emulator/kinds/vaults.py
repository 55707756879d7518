"""Microsoft.KeyVault: vaults that are deleted softly, and the ARM side of their secrets.

https://learn.microsoft.com/azure/key-vault/general/soft-delete-overview: soft delete is always on; a vault's name stays
taken until it is purged, which purge protection forbids; protection cannot be turned off.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.errors import ArmError, bad, conflict
from sandbox.azure.emulator.ids import ResourceId
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

VAULT = "Microsoft.KeyVault/vaults"


def _check_vault(call: Call) -> None:
    one_of(call, "properties.sku.name", ("standard", "premium"), required=True)
    one_of(call, "properties.sku.family", ("A",), required=True)
    if not paths.get(call.body, "properties.tenantId"):
        raise bad(f"Vault '{call.id.name}' has no tenantId.", code="BadRequest")
    if paths.get(call.body, "properties.enableSoftDelete") is False:
        raise bad("Soft delete cannot be turned off.", code="BadRequest")
    protection = paths.get(call.body, "properties.enablePurgeProtection")
    if protection is False:
        raise bad(
            "The property 'enablePurgeProtection' cannot be set to false. Once on it stays, and off is written by leaving it out.",
            code="BadRequest",
        )
    between(call, "properties.softDeleteRetentionInDays", 7, 90)
    if (
        paths.get(call.body, "properties.enableRbacAuthorization") is not True
        and paths.get(call.body, "properties.accessPolicies") is None
    ):
        raise bad(f"Vault '{call.id.name}' has neither accessPolicies nor enableRbacAuthorization.", code="BadRequest")
    if call.old is None:
        _not_softly_deleted(call)
    else:
        was, now = (paths.get(b, "properties.softDeleteRetentionInDays", 90) for b in (call.old.body, call.body))
        if was != now:
            raise bad("softDeleteRetentionInDays cannot be changed after creation.", code="BadRequest")


def _not_softly_deleted(call: Call) -> None:
    name = call.id.name.lower()
    deleted = call.arm.store.state.deleted_vaults.get(name)
    mode = one_of(call, "properties.createMode", ("default", "recover"))
    if mode == "recover":
        if deleted is None:
            raise ArmError(404, "DeletedVaultNotFound", f"There is no deleted vault '{name}' to recover.")
        for saved in deleted["resources"]:
            if saved["id"].lower() != call.id.key:
                call.arm.store.put(Resource(**copy.deepcopy(saved)))
        del call.arm.store.state.deleted_vaults[name]
    elif deleted is not None:
        raise conflict(
            "A vault with the same name already exists in deleted state. "
            f"You need to either recover or purge existing key vault. ('{name}')",
            code="ConflictError",
        )


def _fill_vault(call: Call, body: dict[str, Any]) -> None:
    properties = body["properties"]
    properties["vaultUri"] = f"https://{call.id.name}.vault.azure.net/"
    properties.pop("createMode", None)
    properties["enableSoftDelete"] = True
    if call.old and call.old.at("properties.enablePurgeProtection"):
        properties["enablePurgeProtection"] = True
    properties.setdefault("softDeleteRetentionInDays", 90)


def _delete_softly(arm: Arm, vault: Resource) -> None:
    kept = [vault, *arm.store.children(vault.id, f"{VAULT}/secrets")]
    arm.store.state.deleted_vaults[vault.name.lower()] = {
        "id": vault.id,
        "location": vault.body["location"],
        "purge_protection": bool(vault.at("properties.enablePurgeProtection")),
        "resources": [asdict(resource) for resource in kept],
    }


def _body_of_deleted(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "vaultId": entry["id"],
        "location": entry["location"],
        "purgeProtectionEnabled": entry["purge_protection"],
    }
    return {"name": name, "type": "Microsoft.KeyVault/deletedVaults", "properties": properties}


def deleted_vault(arm: Arm, id: ResourceId) -> dict[str, Any]:
    """What is known of a softly deleted vault; without a name all of them."""
    deleted = arm.store.state.deleted_vaults
    if not id.name:
        return {"value": [_body_of_deleted(name, entry) for name, entry in deleted.items()]}
    if id.name.lower() not in deleted:
        raise ArmError(404, "DeletedVaultNotFound", f"There is no deleted vault '{id.name}'.")
    return _body_of_deleted(id.name, deleted[id.name.lower()])


def deleted_vault_action(arm: Arm, id: ResourceId, action: str) -> dict[str, Any]:
    """`purge`: forget a softly deleted vault and its secrets."""
    deleted_vault(arm, id)
    name = id.name.lower()
    if action.lower() != "purge":
        raise bad(f"'{action}' is no action on a deleted vault.", code="InvalidRequestUri")
    if arm.store.state.deleted_vaults[name]["purge_protection"]:
        raise ArmError(403, "Forbidden", f"Vault '{id.name}' has purge protection and goes when its retention ends.")
    del arm.store.state.deleted_vaults[name]
    arm.store.state.secrets = {k: v for k, v in arm.store.state.secrets.items() if not k.startswith(f"{name}/")}
    arm.store.save()
    return {}


def _check_secret(call: Call) -> None:
    key = f"{call.id.names[0].lower()}/{call.id.name.lower()}"
    if call.old is None and call.arm.store.state.secrets.get(key, {}).get("deleted"):
        raise conflict(
            f"Secret {call.id.name} is currently in a deleted but recoverable state, and its name cannot be reused.",
            code="ObjectIsDeletedButRecoverable",
        )
    value = paths.get(call.body, "properties.value")
    if value is not None and len(str(value).encode()) > 25600:
        raise bad(f"Secret '{call.id.name}' is larger than 25 KiB.", code="BadParameter")


def _fill_secret(call: Call, body: dict[str, Any]) -> None:
    vault, name = call.id.names
    value = paths.get(call.body, "properties.value")
    key = f"{vault.lower()}/{name.lower()}"
    known = call.arm.store.state.secrets.get(key)
    if value is not None and (known is None or known["value"] != value):
        version = call.arm.new_uuid(key).replace("-", "")
        call.arm.store.state.secrets[key] = {"name": name, "value": value, "version": version, "deleted": False}
    version = call.arm.store.state.secrets[key]["version"] if key in call.arm.store.state.secrets else ""
    uri = f"https://{vault}.vault.azure.net/secrets/{name}"
    body["properties"] |= {"secretUri": uri, "secretUriWithVersion": f"{uri}/{version}"}


KINDS = (
    Kind(
        VAULT,
        r"[A-Za-z](?:-?[A-Za-z0-9]){2,23}",
        "3 to 24 letters, digits and single hyphens, beginning with a letter",
        references=(
            Reference(
                "properties.networkAcls.virtualNetworkRules[].id",
                "Microsoft.Network/virtualNetworks/subnets",
                holds=False,
            ),
        ),
        global_name="VaultAlreadyExists",
        slow=True,
        check=_check_vault,
        fill=_fill_vault,
        after_delete=_delete_softly,
    ),
    Kind(
        f"{VAULT}/secrets",
        r"[A-Za-z0-9-]{1,127}",
        "1 to 127 letters, digits and hyphens",
        location=False,
        hidden=("properties.value",),
        no_arm_delete=True,
        check=_check_secret,
        fill=_fill_secret,
    ),
)
