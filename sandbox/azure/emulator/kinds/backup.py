"""Microsoft.DataProtection and Microsoft.Logic: backups of disks, and what happens by the clock.

https://learn.microsoft.com/azure/backup/backup-managed-disks (what a disk's backup needs),
https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-definition-language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.errors import bad, conflict
from sandbox.azure.emulator.kind import Call, Kind, Reference, one_of
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

VAULT = "Microsoft.DataProtection/backupVaults"


def _check_vault(call: Call) -> None:
    settings = paths.get(call.body, "properties.storageSettings") or []
    if not settings:
        raise bad(f"Backup vault '{call.id.name}' has no storageSettings.", code="UserErrorInvalidRequest")
    for setting in settings:
        if setting.get("type") not in ("LocallyRedundant", "GeoRedundant", "ZoneRedundant"):
            raise bad(
                f"Backup vault '{call.id.name}': '{setting.get('type')}' is no redundancy.",
                code="UserErrorInvalidRequest",
            )


def _vault_is_empty(arm: Arm, vault: Resource) -> None:
    if arm.store.children(vault.id, f"{VAULT}/backupInstances") and arm.deleting_alone(vault):
        raise conflict(
            f"Backup vault '{vault.name}' still protects something; stop its backups first.",
            code="UserErrorVaultNotEmpty",
        )


def _check_instance(call: Call) -> None:
    one_of(call, "properties.objectType", ("BackupInstance",), required=True)


def _check_workflow(call: Call) -> None:
    definition = paths.get(call.body, "properties.definition")
    if not isinstance(definition, dict) or "$schema" not in definition:
        raise bad(f"Workflow '{call.id.name}' has no definition with a $schema.", code="InvalidTemplate")
    for part in ("triggers", "actions"):
        if not isinstance(definition.get(part), dict):
            raise bad(f"The definition of workflow '{call.id.name}' has no {part}.", code="InvalidTemplate")
    one_of(call, "properties.state", ("Enabled", "Disabled"))
    unknown = _after(definition["actions"])
    if unknown:
        raise bad(
            f"Workflow '{call.id.name}': runAfter names '{unknown}', which is no action beside it.",
            code="InvalidTemplate",
        )


def _after(actions: dict[str, Any]) -> str:
    """The first name in a `runAfter` that is no sibling."""
    for action in actions.values():
        missing = [name for name in action.get("runAfter") or {} if name not in actions]
        inner = action.get("actions")
        found = missing[0] if missing else _after(inner) if isinstance(inner, dict) else ""
        if found:
            return found
    return ""


def _fill_workflow(call: Call, body: dict[str, Any]) -> None:
    body["properties"].setdefault("state", "Enabled")
    old = call.old.at("properties.accessEndpoint") if call.old else None
    mark = call.arm.new_uuid(call.id.key).replace("-", "")
    body["properties"]["accessEndpoint"] = old or f"https://{body['location']}.logic.azure.example/workflows/{mark}"


KINDS = (
    Kind(
        VAULT,
        r"[A-Za-z][A-Za-z0-9-]{1,49}",
        "2 to 50 letters, digits and hyphens, beginning with a letter",
        fixed=("properties.storageSettings",),
        slow=True,
        slow_delete=True,
        check=_check_vault,
        before_delete=_vault_is_empty,
    ),
    Kind(
        f"{VAULT}/backupPolicies",
        r"[A-Za-z][A-Za-z0-9-]{2,149}",
        "3 to 150 letters, digits and hyphens, beginning with a letter",
        location=False,
        required=("properties.datasourceTypes", "properties.policyRules"),
    ),
    Kind(
        f"{VAULT}/backupInstances",
        r"[A-Za-z0-9][\w-]{0,259}",
        "1 to 260 letters, digits, _ -",
        location=False,
        required=("properties.dataSourceInfo.resourceID", "properties.policyInfo.policyId"),
        references=(
            Reference("properties.dataSourceInfo.resourceID", holds=False),
            Reference("properties.policyInfo.policyId", f"{VAULT}/backupPolicies", in_use="UserErrorPolicyInUse"),
        ),
        slow=True,
        slow_delete=True,
        check=_check_instance,
    ),
    Kind(
        "Microsoft.Logic/workflows",
        r"[\w().\-]{1,80}",
        "1 to 80 letters, digits, _ - . ( )",
        check=_check_workflow,
        fill=_fill_workflow,
    ),
)
