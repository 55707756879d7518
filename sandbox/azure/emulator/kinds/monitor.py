"""Microsoft.Insights, Microsoft.OperationalInsights, Microsoft.Consumption: autoscale, alerts, logs, budgets.

Rules: https://learn.microsoft.com/azure/azure-monitor/autoscale/autoscale-understanding-settings (profiles),
https://learn.microsoft.com/rest/api/consumption/budgets/create-or-update.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of

PROFILES_MAX = 20
RULES_MAX = 10
DAYS = frozenset(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])


def _check_autoscale(call: Call) -> None:
    profiles = [profile for _, profile in paths.values_at(call.body, "properties.profiles[]")]
    if not 1 <= len(profiles) <= PROFILES_MAX:
        raise bad(
            f"Autoscale setting '{call.id.name}' has {len(profiles)} profiles; 1 to {PROFILES_MAX} are allowed.",
            code="BadRequest",
        )
    names = [str(profile.get("name")) for profile in profiles]
    if len(set(names)) != len(names):
        raise bad(f"Autoscale setting '{call.id.name}' has two profiles of one name.", code="BadRequest")
    for profile in profiles:
        _check_profile(profile)
    target = str(paths.get(call.body, "properties.targetResourceUri")).lower()
    for other in call.arm.store.of_type("Microsoft.Insights/autoscaleSettings"):
        if other.key != call.id.key and str(other.at("properties.targetResourceUri")).lower() == target:
            raise ArmError(409, "Conflict", f"Target '{target}' has the autoscale setting '{other.name}' already.")


def _check_profile(profile: dict[str, Any]) -> None:
    name = profile.get("name")
    try:
        low, high, default = (int((profile.get("capacity") or {})[key]) for key in ("minimum", "maximum", "default"))
    except (KeyError, ValueError, TypeError):
        raise bad(
            f"Profile '{name}' needs capacity with minimum, maximum and default, whole numbers in quotes.",
            code="BadRequest",
        ) from None
    if not 0 <= low <= default <= high:
        raise bad(
            f"Profile '{name}': minimum {low} <= default {default} <= maximum {high} does not hold.", code="BadRequest"
        )
    if len(profile.get("rules") or []) > RULES_MAX:
        raise bad(f"Profile '{name}' has more than {RULES_MAX} rules.", code="BadRequest")
    fixed, recurrence = profile.get("fixedDate"), profile.get("recurrence")
    if fixed and recurrence:
        raise bad(f"Profile '{name}' has both fixedDate and recurrence.", code="BadRequest")
    if fixed:
        start, end = (datetime.fromisoformat(str(fixed.get(key)).replace("Z", "")) for key in ("start", "end"))
        if start >= end:
            raise bad(f"Profile '{name}' ends before it starts.", code="BadRequest")
    if recurrence:
        schedule = recurrence.get("schedule") or {}
        days = set(schedule.get("days") or [])
        hours, minutes = (schedule.get(key) or [] for key in ("hours", "minutes"))
        if recurrence.get("frequency") != "Week" or not days or not days <= DAYS or not schedule.get("timeZone"):
            raise bad(
                f"Profile '{name}' needs frequency Week, timeZone, and days of {', '.join(sorted(DAYS))}.",
                code="BadRequest",
            )
        if len(hours) != 1 or len(minutes) != 1 or not 0 <= hours[0] <= 23 or not 0 <= minutes[0] <= 59:
            raise bad(f"Profile '{name}' needs one hour (0 to 23) and one minute (0 to 59).", code="BadRequest")


def _check_budget(call: Call) -> None:
    amount = paths.get(call.body, "properties.amount")
    if not isinstance(amount, (int, float)) or amount <= 0:
        raise bad(f"Budget '{call.id.name}': amount {amount} must be above 0.", code="400")
    one_of(call, "properties.category", ("Cost", "ReservationUtilization"), required=True)
    one_of(
        call,
        "properties.timeGrain",
        (
            "Monthly",
            "Quarterly",
            "Annually",
            "BillingMonth",
            "BillingQuarter",
            "BillingAnnual",
            "Last7Days",
            "Last30Days",
        ),
        required=True,
    )
    start = str(paths.get(call.body, "properties.timePeriod.startDate"))
    if not re.match(r"\d{4}-\d\d-01(?:T|$)", start):
        raise bad(f"Budget '{call.id.name}': startDate '{start}' must be the first day of a month.", code="400")
    end = paths.get(call.body, "properties.timePeriod.endDate")
    if end and str(end)[:10] <= start[:10]:
        raise bad(f"Budget '{call.id.name}' ends before it starts.", code="400")
    notifications = paths.get(call.body, "properties.notifications") or {}
    if len(notifications) > 5:
        raise bad(f"Budget '{call.id.name}' has more than 5 notifications.", code="400")
    for name, notification in notifications.items():
        if not 0 < float(notification.get("threshold", 0)) <= 1000:
            raise bad(f"Notification '{name}': threshold must be above 0 and at most 1000 percent.", code="400")
        if not any(notification.get(key) for key in ("contactEmails", "contactRoles", "contactGroups")):
            raise bad(f"Notification '{name}' reaches nobody.", code="400")


def _check_alert(call: Call) -> None:
    between(call, "properties.severity", 0, 4)
    if not paths.get(call.body, "properties.scopes"):
        raise bad(f"Alert '{call.id.name}' has no scopes.", code="BadRequest")
    if not paths.get(call.body, "properties.criteria"):
        raise bad(f"Alert '{call.id.name}' has no criteria.", code="BadRequest")


def _fill_workspace(call: Call, body: dict[str, Any]) -> None:
    old = call.old.at("properties.customerId") if call.old else None
    body["properties"]["customerId"] = old or call.arm.new_uuid(call.id.key)


def _check_action_group(call: Call) -> None:
    short = str(paths.get(call.body, "properties.groupShortName") or "")
    if not 1 <= len(short) <= 12:
        raise bad(
            f"Action group '{call.id.name}': groupShortName '{short}' must have 1 to 12 characters.", code="BadRequest"
        )


_NAME, _SAYS = r"[^*#&+:<>?@%{}\\/|]{1,260}", "1 to 260 characters except *#&+:<>?@%{}\\/|"
_ACTIONS = Reference("properties.actions[].actionGroupId", "Microsoft.Insights/actionGroups", holds=False)
KINDS = (
    Kind(
        "Microsoft.Insights/autoscaleSettings",
        _NAME,
        _SAYS,
        required=("properties.targetResourceUri",),
        references=(Reference("properties.targetResourceUri", here=True, holds=False),),
        check=_check_autoscale,
    ),
    Kind("Microsoft.Insights/actionGroups", _NAME, _SAYS, check=_check_action_group),
    Kind(
        "Microsoft.Insights/metricAlerts",
        _NAME,
        _SAYS,
        references=(Reference("properties.scopes[]", holds=False), _ACTIONS),
        check=_check_alert,
    ),
    Kind(
        "Microsoft.Insights/activityLogAlerts",
        _NAME,
        _SAYS,
        required=("properties.scopes", "properties.condition", "properties.actions"),
        references=(
            Reference(
                "properties.actions.actionGroups[].actionGroupId", "Microsoft.Insights/actionGroups", holds=False
            ),
        ),
    ),
    Kind(
        "Microsoft.Insights/scheduledQueryRules",
        _NAME,
        _SAYS,
        references=(Reference("properties.scopes[]", holds=False),),
        check=_check_alert,
    ),
    Kind(
        "Microsoft.Insights/diagnosticSettings",
        _NAME,
        _SAYS,
        location=False,
        references=(
            Reference("properties.workspaceId", "Microsoft.OperationalInsights/workspaces", holds=False),
            Reference("properties.storageAccountId", "Microsoft.Storage/storageAccounts", holds=False),
        ),
    ),
    Kind("Microsoft.Insights/dataCollectionRules", _NAME, _SAYS),
    Kind(
        "Microsoft.Insights/dataCollectionRuleAssociations",
        _NAME,
        _SAYS,
        location=False,
        references=(Reference("properties.dataCollectionRuleId", "Microsoft.Insights/dataCollectionRules"),),
    ),
    Kind(
        "Microsoft.OperationalInsights/workspaces",
        r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
        "4 to 63 letters, digits and hyphens",
        slow=True,
        slow_delete=True,
        fill=_fill_workspace,
    ),
    Kind(
        "Microsoft.Consumption/budgets",
        r"[\w-]{1,63}",
        "1 to 63 letters, digits, _ -",
        location=False,
        check=_check_budget,
    ),
)
