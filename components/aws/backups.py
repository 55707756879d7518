"""Copies of homes and of the hub's disk in AWS Backup: hourly, daily and weekly, as `homes.snapshots` says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import backup, iam

from components.aws import policies
from components.aws.scope import Scope
from components.semester_parts import Snapshots

START_WINDOW_MIN, COMPLETION_WINDOW_MIN = 60, 720
"""The shortest start that AWS Backup takes; a full first copy of some TiB takes hours."""


@dataclass(frozen=True)
class BackupsArgs:
    scope: Scope
    snapshots: Snapshots
    timezone: str
    """Name of the time zone that nights are in."""
    key_arn: pulumi.Input[str]
    resources: Sequence[pulumi.Input[str]]
    """ARNs of what is copied."""
    protect: bool
    """Keep the vault with its copies when the stack is destroyed."""


def rules(
    snapshots: Snapshots, timezone: str, vault: pulumi.Input[str], tags: Mapping[str, str]
) -> list[backup.PlanRuleArgsDict]:
    """Backup rules. AWS Backup counts days, not copies: 24 hourly copies are one day's."""
    wanted = (
        ("hourly", "cron(30 * * * ? *)", math.ceil(snapshots.keep_hourly / 24)),
        ("daily", "cron(0 3 * * ? *)", snapshots.keep_daily),
        ("weekly", "cron(0 4 ? * SUN *)", 7 * snapshots.keep_weekly),
    )
    return [
        {
            "rule_name": name,
            "target_vault_name": vault,
            "schedule": schedule,
            "schedule_expression_timezone": timezone,
            "start_window": START_WINDOW_MIN,
            "completion_window": COMPLETION_WINDOW_MIN,
            "lifecycle": {"delete_after": days},
            "recovery_point_tags": dict(tags),
        }
        for name, schedule, days in wanted
        if days
    ]


class Backups(pulumi.ComponentResource):
    """`vault`: where the copies are. Without any kind of copy asked for there is no plan."""

    vault: pulumi.Output[str]

    def __init__(self, name: str, args: BackupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Backups", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        vault = backup.Vault(
            "vault",
            name=scope.name("copies"),
            kms_key_arn=args.key_arn,
            force_destroy=not args.protect,
            tags=scope.tagged("copies"),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect),
        )
        self.vault = vault.name
        wanted = rules(args.snapshots, args.timezone, vault.name, scope.tags)
        if wanted:
            plan = backup.Plan(
                "plan",
                name=scope.name("copies"),
                rules=wanted,
                tags=scope.tagged("copies"),
                opts=child,
            )
            role = iam.Role(
                "backup",
                name=scope.name("backup"),
                description="Copies homes and the hub's disk, and brings them back",
                assume_role_policy=pulumi.Output.json_dumps(
                    policies.assumed_by("backup.amazonaws.com", policies.own_account(scope))
                ),
                tags=scope.tagged("backup"),
                opts=child,
            )
            rights = [
                iam.RolePolicyAttachment(
                    kind,
                    role=role.name,
                    policy_arn=scope.managed_policy(f"service-role/AWSBackupServiceRolePolicyFor{policy}"),
                    opts=child,
                )
                for kind, policy in (("backup", "Backup"), ("restore", "Restores"))
            ]
            backup.Selection(
                "homes-and-hub",
                name="homes-and-hub",
                plan_id=plan.id,
                iam_role_arn=role.arn,
                resources=list(args.resources),
                opts=pulumi.ResourceOptions(parent=self, depends_on=rights),
            )
        self.register_outputs({"vault": self.vault})
