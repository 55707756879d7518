"""Who is told when something is wrong or dear: an action group, alerts on hub and homes, the budget.

The budget counts what carries the stack's tag, in both resource groups and in the one that AKS makes. Azure does not
stop spending at a budget; it warns. What a plan may cost is checked before it is deployed (`budget.monthly_usd`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pulumi
from pulumi_azure_native import consumption, monitor

from components.azure.site import Site
from components.semester import Semester

OWNER_ROLE = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
"""Built-in role Owner: its holders get alerts besides `hub.acme_email`."""
HOMES_FULL_SHARE = 0.85
BYTES_PER_GIB = 2**30
HUB_MEMORY_FREE_SHARE = 0.08
MONTHS_AHEAD_MAX = 12
"""A budget begins at most 12 months from now (learn.microsoft.com, "Budgets - Create Or Update")."""


@dataclass(frozen=True)
class WatchArgs:
    site: Site
    group: pulumi.Input[str]
    semester: Semester
    hub_vm_id: pulumi.Input[str]
    hub_memory_gib: float
    homes_account_id: pulumi.Input[str]
    homes_gib: int
    today: date


def admin_emails(semester: Semester) -> list[str]:
    """Where alerts go: the address that the certificate authority writes to as well, if there is one."""
    return [semester.hub.acme_email] if semester.hub.acme_email else []


def budget_starts(term_starts: date, today: date) -> date:
    """The first day of the month in which the term begins, or of this one when that is over or a year away."""
    first = today.replace(day=1)
    begins = term_starts.replace(day=1)
    return begins if first <= begins <= first + timedelta(days=30 * (MONTHS_AHEAD_MAX - 1)) else first


class Watch(pulumi.ComponentResource):
    """``action_group_id``: where alerts go."""

    action_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Watch", name, None, opts)
        self._args = args
        emails = admin_emails(args.semester)
        admins = monitor.ActionGroup(
            "admins",
            action_group_name=args.site.name("admins"),
            group_short_name="semesterhub",
            resource_group_name=args.group,
            location="Global",
            enabled=True,
            email_receivers=[
                monitor.MicrosoftCommonEmailReceiverArgs(
                    name=f"admins-{number}", email_address=email, use_common_alert_schema=True
                )
                for number, email in enumerate(emails, 1)
            ],
            arm_role_receivers=[
                monitor.ArmRoleReceiverArgs(name="owners", role_id=OWNER_ROLE, use_common_alert_schema=True)
            ],
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.action_group_id = admins.id
        vm = "Microsoft.Compute/virtualMachines"
        self._alert(
            "hub-down", "The hub VM does not run.", args.hub_vm_id, vm, "VmAvailabilityMetric", "LessThan", 1, 0
        )
        self._alert(
            "hub-memory",
            "The hub VM is about to run out of memory.",
            args.hub_vm_id,
            vm,
            "Available Memory Bytes",
            "LessThan",
            round(args.hub_memory_gib * HUB_MEMORY_FREE_SHARE * BYTES_PER_GIB),
            2,
        )
        self._alert(
            "hub-busy",
            "The hub VM computes without a pause.",
            args.hub_vm_id,
            vm,
            "Percentage CPU",
            "GreaterThan",
            90,
            2,
        )
        self._alert(
            "homes-full",
            "Students' homes fill up: raise homes.size_gib.",
            pulumi.Output.concat(args.homes_account_id, "/fileServices/default"),
            "Microsoft.Storage/storageAccounts/fileServices",
            "FileCapacity",
            "GreaterThan",
            round(args.homes_gib * HOMES_FULL_SHARE * BYTES_PER_GIB),
            2,
            ("PT1H", "PT1H"),
        )
        if args.semester.budget is not None:
            self._budget(args.semester.budget.monthly_usd, args.semester.budget.alert_percent, emails)
        self.register_outputs({"action_group_id": self.action_group_id})

    def _alert(
        self,
        label: str,
        text: str,
        scope: pulumi.Input[str],
        namespace: str,
        metric: str,
        operator: str,
        threshold: float,
        severity: int,
        every_and_window: tuple[str, str] = ("PT5M", "PT15M"),
    ) -> None:
        args = self._args
        every, window = every_and_window
        monitor.MetricAlert(
            label,
            rule_name=args.site.name(label),
            resource_group_name=args.group,
            location="global",
            description=text,
            severity=severity,
            enabled=True,
            scopes=[scope],
            evaluation_frequency=every,
            window_size=window,
            auto_mitigate=True,
            criteria=monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs(
                odata_type="Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                all_of=[
                    monitor.MetricCriteriaArgs(
                        criterion_type="StaticThresholdCriterion",
                        name=label,
                        metric_namespace=namespace,
                        metric_name=metric,
                        operator=operator,
                        threshold=float(threshold),
                        time_aggregation="Average",
                    )
                ],
            ),
            actions=[monitor.MetricAlertActionArgs(action_group_id=self.action_group_id)],
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _budget(self, monthly_usd: float, percents: Sequence[int], emails: Sequence[str]) -> None:
        args = self._args
        consumption.Budget(
            "budget",
            budget_name=args.site.prefix,
            scope=args.site.subscription_id,
            category="Cost",
            amount=monthly_usd,
            time_grain="Monthly",
            time_period=consumption.BudgetTimePeriodArgs(
                start_date=f"{budget_starts(args.semester.term.starts, args.today):%Y-%m-%d}T00:00:00Z"
            ),
            filter=consumption.BudgetFilterArgs(
                tags=consumption.BudgetComparisonExpressionArgs(
                    name="semesterhub:stack", operator="In", values=[args.site.stack]
                )
            ),
            notifications={
                f"at-{percent}-percent": consumption.NotificationArgs(
                    enabled=True,
                    operator="GreaterThanOrEqualTo",
                    threshold=float(percent),
                    threshold_type="Actual",
                    contact_emails=list(emails),
                    contact_groups=[self.action_group_id],
                    contact_roles=["Owner"],
                )
                for percent in percents
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                # Azure lets a budget begin this month or later: the month of its creation stays.
                ignore_changes=["timePeriod"],
            ),
        )
