"""Copies that stay when something is deleted by mistake: of the hub's disk by Azure Backup, of the homes as share snapshots.

The disk: a Backup vault takes incremental snapshots every four hours into the data group and keeps the first of each day
and week for as long as `homes.snapshots` says. The homes: Azure Backup takes SMB shares but no NFS shares, so a Logic App
asks Azure for a share snapshot each hour and removes those that the same numbers no longer keep. Both run without the hub
VM. Restoring: docs/azure.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import authorization, dataprotection, logic, managedidentity

from components.azure.access import Access, AccessArgs, Grant
from components.azure.identities import Identity
from components.azure.site import Site
from components.semester import Problem, SemesterError
from components.semester_parts import Snapshots

DISK_EVERY_H = 4
"""Azure Backup takes 1, 2, 4, 6, 8, 12 or 24 (learn.microsoft.com/azure/backup/disk-backup-overview)."""
DISK_DAYS_MAX = 360
SHARE_SNAPSHOTS_MAX = 200
"""Of one share, by Azure."""
STORAGE_API = "2024-01-01"
SHARE_ACTIONS = tuple(
    f"Microsoft.Storage/storageAccounts/fileServices/shares/{right}" for right in ("read", "write", "delete")
)
_OPERATIONAL = "OperationalStore"


@dataclass(frozen=True)
class CopiesArgs:
    site: Site
    group: pulumi.Input[str]
    data_group: pulumi.Input[str]
    data_group_id: pulumi.Input[str]
    disk_id: pulumi.Input[str]
    homes_account_id: pulumi.Input[str]
    share: str
    snapshots: Snapshots
    protect: bool


class Copies(pulumi.ComponentResource):
    """``vault_id`` (Backup vault) and ``timer_id`` (Logic App)."""

    vault_id: pulumi.Output[str]
    timer_id: pulumi.Output[str]

    def __init__(self, name: str, args: CopiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Copies", name, None, opts)
        self._args = args
        self.vault_id = self._of_disk()
        self.timer_id = self._of_homes()
        self.register_outputs({"vault_id": self.vault_id, "timer_id": self.timer_id})

    def _of_disk(self) -> pulumi.Output[str]:
        args = self._args
        kept = pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect)
        vault = dataprotection.BackupVault(
            "copies",
            vault_name=args.site.name("copies"),
            resource_group_name=args.data_group,
            location=args.site.region,
            identity=dataprotection.DppIdentityDetailsArgs(type="SystemAssigned"),
            properties=dataprotection.BackupVaultArgs(
                storage_settings=[
                    dataprotection.StorageSettingArgs(datastore_type="VaultStore", type="LocallyRedundant")
                ],
                security_settings=dataprotection.SecuritySettingsArgs(
                    soft_delete_settings=dataprotection.SoftDeleteSettingsArgs(
                        # What is deleted softly keeps its vault, and so a destroy that is meant, for 14 days.
                        state="On" if args.protect else "Off",
                        retention_duration_in_days=14.0,
                    )
                ),
            ),
            tags=args.site.tags,
            opts=kept,
        )
        policy = dataprotection.BackupPolicy(
            "copies-policy",
            backup_policy_name="hub-state",
            vault_name=vault.name,
            resource_group_name=args.data_group,
            properties=disk_policy(args.snapshots),
            opts=kept,
        )
        principal = vault.identity.apply(lambda made: (made.principal_id if made else "") or "")
        who = Identity(vault.id, principal, principal)
        rights = Access(
            "copies-access",
            AccessArgs(
                args.site,
                [
                    Grant("copies-read-disk", who, "back up disk", args.disk_id),
                    Grant("copies-write-snapshots", who, "snapshot disk", args.data_group_id),
                ],
            ),
            pulumi.ResourceOptions(parent=self),
        )
        name = args.site.name("hub-state")
        dataprotection.BackupInstance(
            "copies-hub-state",
            backup_instance_name=name,
            vault_name=vault.name,
            resource_group_name=args.data_group,
            properties=dataprotection.BackupInstanceArgs(
                object_type="BackupInstance",
                friendly_name=name,
                data_source_info=dataprotection.DatasourceArgs(
                    object_type="Datasource",
                    datasource_type="Microsoft.Compute/disks",
                    resource_type="Microsoft.Compute/disks",
                    resource_id=args.disk_id,
                    resource_uri=args.disk_id,
                    resource_name=name,
                    resource_location=args.site.region,
                ),
                policy_info=dataprotection.PolicyInfoArgs(
                    policy_id=policy.id,
                    policy_parameters=dataprotection.PolicyParametersArgs(
                        data_store_parameters_list=[
                            dataprotection.AzureOperationalStoreParametersArgs(
                                object_type="AzureOperationalStoreParameters",
                                data_store_type=_OPERATIONAL,
                                resource_group_id=args.data_group_id,
                            )
                        ]
                    ),
                ),
                # Azure needs minutes until it knows the rights above everywhere; its deep check would not wait.
                validation_type="ShallowValidation",
            ),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[rights], protect=args.protect, retain_on_delete=args.protect
            ),
        )
        return vault.id

    def _of_homes(self) -> pulumi.Output[str]:
        args = self._args
        child = pulumi.ResourceOptions(parent=self)
        identity = managedidentity.UserAssignedIdentity(
            "snapshots-identity",
            resource_name_=args.site.name("snapshots"),
            resource_group_name=args.group,
            location=args.site.region,
            tags=args.site.tags,
            opts=child,
        )
        role = authorization.RoleDefinition(
            "snapshots-role",
            role_definition_id=args.site.guid("snapshots-role"),
            role_name=args.site.name("snapshots"),
            role_type="CustomRole",
            description=f"Takes and removes snapshots of the homes of semester {args.site.stack}",
            scope=args.data_group_id,
            assignable_scopes=[args.data_group_id],
            permissions=[authorization.PermissionArgs(actions=list(SHARE_ACTIONS))],
            opts=child,
        )
        rights = Access(
            "snapshots-access",
            AccessArgs(
                args.site,
                [
                    Grant(
                        "snapshots-of-homes",
                        Identity(identity.id, identity.client_id, identity.principal_id),
                        role.id,
                        args.homes_account_id,
                    )
                ],
            ),
            pulumi.ResourceOptions(parent=self),
        )
        timer = logic.Workflow(
            "snapshots",
            workflow_name=args.site.name("snapshots"),
            resource_group_name=args.group,
            location=args.site.region,
            state="Enabled",
            identity=logic.ManagedServiceIdentityArgs(
                type=logic.ManagedServiceIdentityType.USER_ASSIGNED, user_assigned_identities=[identity.id]
            ),
            definition=pulumi.Output.all(args.homes_account_id, identity.id).apply(
                lambda ids: workflow(ids[0], args.share, ids[1], args.snapshots)
            ),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
        return timer.id


def disk_policy(snapshots: Snapshots) -> dataprotection.BackupPolicyArgs:
    """Every four hours; kept for the hours, days and weeks that `homes.snapshots` names, at most 360 days."""
    operational = dataprotection.DataStoreInfoBaseArgs(data_store_type=_OPERATIONAL, object_type="DataStoreInfoBase")
    kept = {
        "Default": max(1, math.ceil(snapshots.keep_hourly / 24)),
        "Daily": snapshots.keep_daily,
        "Weekly": snapshots.keep_weekly * 7,
    }
    first = {"Daily": "FirstOfDay", "Weekly": "FirstOfWeek"}
    tags = [tag for tag in ("Weekly", "Daily", "Default") if kept[tag]]
    rules: list[dataprotection.AzureBackupRuleArgs | dataprotection.AzureRetentionRuleArgs] = [
        dataprotection.AzureBackupRuleArgs(
            name="BackupIntervals",
            object_type="AzureBackupRule",
            data_store=operational,
            backup_parameters=dataprotection.AzureBackupParamsArgs(
                backup_type="Incremental", object_type="AzureBackupParams"
            ),
            trigger=dataprotection.ScheduleBasedTriggerContextArgs(
                object_type="ScheduleBasedTriggerContext",
                schedule=dataprotection.BackupScheduleArgs(
                    repeating_time_intervals=[f"R/2024-01-01T01:00:00+00:00/PT{DISK_EVERY_H}H"], time_zone="UTC"
                ),
                tagging_criteria=[
                    dataprotection.TaggingCriteriaArgs(
                        is_default=tag == "Default",
                        tag_info=dataprotection.RetentionTagArgs(tag_name=tag),
                        tagging_priority={"Weekly": 20.0, "Daily": 25.0, "Default": 99.0}[tag],
                        criteria=[
                            dataprotection.ScheduleBasedBackupCriteriaArgs(
                                object_type="ScheduleBasedBackupCriteria", absolute_criteria=[first[tag]]
                            )
                        ]
                        if tag in first
                        else None,
                    )
                    for tag in tags
                ],
            ),
        )
    ]
    rules += [
        dataprotection.AzureRetentionRuleArgs(
            name=tag,
            object_type="AzureRetentionRule",
            is_default=tag == "Default",
            lifecycles=[
                dataprotection.SourceLifeCycleArgs(
                    source_data_store=operational,
                    delete_after=dataprotection.AbsoluteDeleteOptionArgs(
                        object_type="AbsoluteDeleteOption", duration=f"P{min(kept[tag], DISK_DAYS_MAX)}D"
                    ),
                )
            ],
        )
        for tag in tags
    ]
    return dataprotection.BackupPolicyArgs(
        object_type="BackupPolicy", datasource_types=["Microsoft.Compute/disks"], policy_rules=rules
    )


def kept_expression(snapshots: Snapshots) -> str:
    """In the language of Logic Apps: whether a snapshot (`item()`) is still one of those to keep. Times are UTC."""
    taken = "item()?['properties']?['snapshotTime']"

    def younger(unit: str, count: int) -> str:
        return f"greater(ticks({taken}), ticks(add{unit}(utcNow(), -{count})))"

    at_midnight = f"equals(formatDateTime({taken}, 'HH'), '00')"
    on_sunday = f"equals(dayOfWeek({taken}), 0)"
    return (
        f"or({younger('Hours', snapshots.keep_hourly)}, "
        f"and({at_midnight}, {younger('Days', snapshots.keep_daily)}), "
        f"and({at_midnight}, {on_sunday}, {younger('Days', 7 * snapshots.keep_weekly)}))"
    )


def workflow(account_id: str, share: str, identity_id: str, snapshots: Snapshots) -> dict[str, Any]:
    """The timer: each hour one snapshot, then those away that are no longer kept. It never touches the share itself:
    what it deletes carries a snapshot's time."""
    shares = f"https://management.azure.com{account_id}/fileServices/default/shares"
    sign_in = {
        "type": "ManagedServiceIdentity",
        "identity": identity_id,
        "audience": "https://management.azure.com/",
    }

    def http(method: str, uri: str, queries: dict[str, str], **more: Any) -> dict[str, Any]:
        return {
            "method": method,
            "uri": uri,
            "queries": {"api-version": STORAGE_API, **queries},
            "authentication": sign_in,
            **more,
        }

    return {
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {},
        "triggers": {
            "hourly": {
                "type": "Recurrence",
                "recurrence": {
                    "frequency": "Hour",
                    "interval": 1,
                    "startTime": "2024-01-01T00:07:00Z",
                    "timeZone": "UTC",
                },
                "runtimeConfiguration": {"concurrency": {"runs": 1}},
            }
        },
        "actions": {
            "take": {
                "type": "Http",
                "inputs": http("PUT", f"{shares}/{share}", {"$expand": "snapshots"}, body={"properties": {}}),
                "runAfter": {},
            },
            "list": {
                "type": "Http",
                "inputs": http("GET", shares, {"$expand": "snapshots", "$filter": f"startswith(name, '{share}')"}),
                "runAfter": {"take": ["Succeeded", "Failed"]},
            },
            "old": {
                "type": "Query",
                "inputs": {
                    "from": "@coalesce(body('list')?['value'], createArray())",
                    "where": "@and(not(empty(item()?['properties']?['snapshotTime'])), "
                    f"not({kept_expression(snapshots)}))",
                },
                "runAfter": {"list": ["Succeeded"]},
            },
            "remove": {
                "type": "Foreach",
                "foreach": "@body('old')",
                "actions": {
                    "one": {
                        "type": "Http",
                        "inputs": http(
                            "DELETE",
                            f"{shares}/{share}",
                            {},
                            headers={"x-ms-snapshot": "@{item()?['properties']?['snapshotTime']}"},
                        ),
                        "runAfter": {},
                    }
                },
                "runAfter": {"old": ["Succeeded"]},
            },
        },
        "outputs": {},
    }


def check(snapshots: Snapshots) -> None:
    """Raises `SemesterError` when a share could not hold as many snapshots."""
    count = snapshots.keep_hourly + snapshots.keep_daily + snapshots.keep_weekly
    if count <= SHARE_SNAPSHOTS_MAX - 1:
        return
    problem = Problem(
        "semesterhub:homes.snapshots",
        f"{snapshots.keep_hourly} hourly, {snapshots.keep_daily} daily and {snapshots.keep_weekly} weekly copies",
        f"fewer than {SHARE_SNAPSHOTS_MAX} copies together: Azure keeps no more of one share",
        "lower keep_hourly",
    )
    raise SemesterError("the plan of this semester", [problem])
