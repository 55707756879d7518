"""Auto Scaling groups, their schedules and hooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from providers.base import UNKNOWN, ProviderError
from sandbox.aws.spec import ID, PROVIDER_DOCS, Call, In, Look, Spec, Update
from sandbox.aws.types.common import ask, known

_GROUP = {"AutoScalingGroupName": ID}
_SIZES = (
    "minSize maxSize healthCheckType healthCheckGracePeriod defaultInstanceWarmup defaultCooldown terminationPolicies"
)
METRICS = [
    "GroupMinSize",
    "GroupMaxSize",
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupPendingInstances",
    "GroupStandbyInstances",
    "GroupTerminatingInstances",
    "GroupTotalInstances",
]


def _group_tags(scope: Any) -> list[dict[str, Any]]:
    name = scope.inputs["name"]
    return [
        {
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
            "Key": t["key"],
            "Value": t["value"],
            "PropagateAtLaunch": t["propagateAtLaunch"],
        }
        for t in scope.inputs.get("tags") or []
    ]


def _template(scope: Any) -> Any:
    given = scope.inputs.get("launchTemplate")
    if not given:
        return None
    names = {"id": "LaunchTemplateId", "name": "LaunchTemplateName", "version": "Version"}
    return {names[key]: str(value) for key, value in given.items()}


def _zones(scope: Any) -> str | None:
    return ",".join(scope.inputs.get("vpcZoneIdentifiers") or []) or None


def _set_tags(scope: Any) -> None:
    wanted = _group_tags(scope)
    now = ask(
        scope,
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups[0].Tags",
        AutoScalingGroupNames=[scope.id],
    )
    gone = [
        {k: t[k] for k in ("ResourceId", "ResourceType", "Key")}
        for t in now or []
        if t["Key"] not in {w["Key"] for w in wanted}
    ]
    if gone:
        scope.api.call("autoscaling", "delete_tags", {"Tags": gone}, scope.region)
    if wanted:
        scope.api.call("autoscaling", "create_or_update_tags", {"Tags": wanted}, scope.region)


def _suspend(scope: Any) -> None:
    wanted = set(scope.inputs.get("suspendedProcesses") or [])
    path = "AutoScalingGroups[0].SuspendedProcesses[].ProcessName"
    now = set(ask(scope, "autoscaling", "describe_auto_scaling_groups", path, AutoScalingGroupNames=[scope.id]) or [])
    for operation, names in (("resume_processes", now - wanted), ("suspend_processes", wanted - now)):
        if names:
            scope.api.call(
                "autoscaling",
                operation,
                {"AutoScalingGroupName": scope.id, "ScalingProcesses": sorted(names)},
                scope.region,
            )


def _metrics(scope: Any) -> None:
    wanted = list(scope.inputs.get("enabledMetrics") or [])
    if wanted:
        call = {"AutoScalingGroupName": scope.id, "Metrics": wanted, "Granularity": "1Minute"}
        scope.api.call("autoscaling", "enable_metrics_collection", call, scope.region)


def _drain(scope: Any) -> None:
    """As the official provider: a group is emptied before it is deleted, unless it is told to force it."""
    if scope.inputs.get("forceDelete"):
        return
    empty = {"AutoScalingGroupName": scope.id, "MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    scope.api.call("autoscaling", "update_auto_scaling_group", empty, scope.region)
    left = ask(
        scope,
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups[0].Instances[].InstanceId",
        AutoScalingGroupNames=[scope.id],
    )
    if left:
        raise ProviderError(f"ScalingActivityInProgress: group {scope.id} still has {', '.join(left)}")


def _sizes(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    if known(values, "minSize", "maxSize") and values["minSize"] > values["maxSize"]:
        wrong.append(("minSize", f"{values['minSize']} is above maxSize {values['maxSize']}"))
    metrics = values.get("enabledMetrics")
    if isinstance(metrics, list):
        wrong += [
            ("enabledMetrics", f"{m!r} is no metric of a group")
            for m in metrics
            if m is not UNKNOWN and m not in METRICS
        ]
    if (
        values.get("launchTemplate") is None
        and values.get("mixedInstancesPolicy") is None
        and values.get("launchConfiguration") is None
    ):
        wrong.append(("launchTemplate", "a group needs one"))
    return wrong


def _desired_within(olds: Mapping[str, Any], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Only a capacity that the program sets anew has to lie within: the official provider sends no other, and AWS moves one
    that a new minimum or maximum overtakes (API_UpdateAutoScalingGroup)."""
    if (
        not known(values, "minSize", "maxSize", "desiredCapacity")
        or olds.get("desiredCapacity") == values["desiredCapacity"]
    ):
        return []
    least, wanted, most = (values[name] for name in ("minSize", "desiredCapacity", "maxSize"))
    if least <= wanted <= most:
        return []
    return [("desiredCapacity", f"{wanted} is not between minSize {least} and maxSize {most}")]


def _desired(scope: Any) -> int | None:
    """The capacity if it changed, as the official provider sends it; else AWS's own affair."""
    wanted = scope.inputs.get("desiredCapacity")
    return wanted if wanted != (scope.state or {}).get("desiredCapacity") else None


GROUP = Spec(
    type="aws:autoscaling/group:Group",
    docs=PROVIDER_DOCS + "autoscaling_group",
    create=Call(
        "autoscaling",
        "create_auto_scaling_group",
        {
            "AutoScalingGroupName": In("name"),
            "Tags": _group_tags,
            "LaunchTemplate": _template,
            "VPCZoneIdentifier": _zones,
        },
        take=f"{_SIZES} desiredCapacity",
    ),
    id="{name}",
    looks=(
        Look(
            Call("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": [ID]}), "AutoScalingGroups[0]"
        ),
    ),
    updates=(
        Update(
            f"{_SIZES} desiredCapacity launchTemplate vpcZoneIdentifiers",
            (
                Call(
                    "autoscaling",
                    "update_auto_scaling_group",
                    _GROUP | {"LaunchTemplate": _template, "VPCZoneIdentifier": _zones, "DesiredCapacity": _desired},
                    take=_SIZES,
                ),
            ),
        ),
        Update("tags", (_set_tags,)),
        Update("suspendedProcesses", (_suspend,), create=True),
        Update("enabledMetrics", (_metrics,), create=True),
    ),
    before_delete=(_drain,),
    delete=Call("autoscaling", "delete_auto_scaling_group", _GROUP | {"ForceDelete": In("forceDelete")}),
    force_new="name namePrefix",
    seen={
        "name": "AutoScalingGroupName",
        "vpcZoneIdentifiers": lambda g: (g.get("VPCZoneIdentifier") or "").split(","),
        "launchTemplate": lambda g: (
            g.get("LaunchTemplate")
            and {"id": g["LaunchTemplate"].get("LaunchTemplateId"), "version": g["LaunchTemplate"].get("Version")}
        ),
        "suspendedProcesses": "SuspendedProcesses[].ProcessName",
        "enabledMetrics": None,
        "tags": "Tags[].{key: Key, value: Value, propagateAtLaunch: PropagateAtLaunch}",
    },
    outputs={
        "arn": "AutoScalingGroupARN",
        "availabilityZones": "AvailabilityZones",
        "desiredCapacity": "DesiredCapacity",
    },
    # What the official provider does with them (start an instance refresh, wait for machines) needs machines that boot.
    kept="instanceRefresh waitForCapacityTimeout forceDelete protectFromScaleIn metricsGranularity ignoreFailedScalingActivities",
    computed="desiredCapacity availabilityZones",
    autoname="name",
    check=_sizes,
    check_change=_desired_within,
)


def field_ok(text: str, low: int, high: int) -> bool:
    """One field of a cron expression: `*`, numbers, ranges, lists, steps."""

    def part(item: str) -> bool:
        body, _, step = item.partition("/")
        if step and not step.isdigit():
            return False
        if body == "*":
            return True
        ends = body.split("-")
        return len(ends) <= 2 and all(e.isdigit() and low <= int(e) <= high for e in ends)

    return all(part(item) for item in text.split(","))


def cron_ok(text: str) -> bool:
    """Five fields, as `PutScheduledUpdateGroupAction` takes them; names of days and months as numbers or three letters."""
    names = {n: str(i) for i, n in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
    months = {
        n: str(i)
        for i, n in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
    }
    fields = text.split()
    if len(fields) != 5:
        return False
    fields[3] = re.sub(r"[A-Za-z]{3}", lambda m: months.get(m[0].lower(), "?"), fields[3])
    fields[4] = re.sub(r"[A-Za-z]{3}", lambda m: names.get(m[0].lower(), "?"), fields[4])
    return all(
        field_ok(f, low, high)
        for f, (low, high) in zip(fields, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)
    )


def _schedule_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    if known(values, "recurrence") and not cron_ok(values["recurrence"]):
        wrong.append(("recurrence", f"{values['recurrence']!r} is no cron expression of five fields"))
    if known(values, "timeZone"):
        try:
            ZoneInfo(values["timeZone"])
        except (ZoneInfoNotFoundError, ValueError):
            wrong.append(("timeZone", f"{values['timeZone']!r} is no name of the IANA time zone database"))
    for name in ("startTime", "endTime"):
        if known(values, name) and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", values[name]):
            wrong.append((name, f"{values[name]!r} is not of the form 2026-08-26T16:40:00Z"))
    return wrong


def _no_group(scope: Any, inputs: Mapping[str, Any]) -> str | None:
    name = inputs.get("autoscalingGroupName")
    path = "AutoScalingGroups[0].AutoScalingGroupName"
    if ask(scope, "autoscaling", "describe_auto_scaling_groups", path, AutoScalingGroupNames=[name]) is None:
        return f"ValidationError: AutoScalingGroup name not found - no such group: {name}"
    return None


def _size(name: str) -> Any:
    return In(name, via=lambda v: None if v == -1 else v)  # the official provider: -1 leaves it as it is


_ACTION = {
    "AutoScalingGroupName": In("autoscalingGroupName"),
    "ScheduledActionName": In("scheduledActionName"),
    "MinSize": _size("minSize"),
    "MaxSize": _size("maxSize"),
    "DesiredCapacity": _size("desiredCapacity"),
}
_PUT = Call("autoscaling", "put_scheduled_update_group_action", _ACTION, take="recurrence timeZone startTime endTime")


def _moment(name: str) -> Any:
    def seen(action: Mapping[str, Any]) -> Any:
        value = action.get(name)
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value

    return seen


def _unchanged(name: str) -> Any:
    def seen(action: Mapping[str, Any]) -> int:
        value = action.get(name)
        return -1 if value is None else value

    return seen


SCHEDULE = Spec(
    type="aws:autoscaling/schedule:Schedule",
    docs=PROVIDER_DOCS + "autoscaling_schedule",
    create=_PUT,
    id="{scheduledActionName}",
    looks=(
        Look(
            Call(
                "autoscaling",
                "describe_scheduled_actions",
                {"AutoScalingGroupName": In("autoscalingGroupName"), "ScheduledActionNames": [ID]},
            ),
            "ScheduledUpdateGroupActions[0]",
        ),
    ),
    updates=(Update("minSize maxSize desiredCapacity recurrence timeZone startTime endTime", (_PUT,)),),
    delete=Call(
        "autoscaling",
        "delete_scheduled_action",
        {"AutoScalingGroupName": In("autoscalingGroupName"), "ScheduledActionName": ID},
    ),
    force_new="autoscalingGroupName scheduledActionName",
    seen={
        "startTime": _moment("StartTime"),
        "endTime": _moment("EndTime"),
        "minSize": _unchanged("MinSize"),
        "maxSize": _unchanged("MaxSize"),
        "desiredCapacity": _unchanged("DesiredCapacity"),
    },
    outputs={"arn": "ScheduledActionARN"},
    check=_schedule_check,
    refuse_create=(_no_group,),
)

_HOOK = {"AutoScalingGroupName": In("autoscalingGroupName"), "LifecycleHookName": In("name")}
_PUT_HOOK = Call(
    "autoscaling",
    "put_lifecycle_hook",
    _HOOK,
    take="lifecycleTransition defaultResult heartbeatTimeout notificationMetadata notificationTargetArn roleArn",
)

LIFECYCLE_HOOK = Spec(
    type="aws:autoscaling/lifecycleHook:LifecycleHook",
    docs=PROVIDER_DOCS + "autoscaling_lifecycle_hook",
    create=_PUT_HOOK,
    id="{name}",
    looks=(
        Look(
            Call(
                "autoscaling",
                "describe_lifecycle_hooks",
                {"AutoScalingGroupName": In("autoscalingGroupName"), "LifecycleHookNames": [ID]},
            ),
            "LifecycleHooks[0]",
        ),
    ),
    updates=(
        Update(
            "lifecycleTransition defaultResult heartbeatTimeout notificationMetadata notificationTargetArn roleArn",
            (_PUT_HOOK,),
        ),
    ),
    delete=Call("autoscaling", "delete_lifecycle_hook", _HOOK),
    force_new="name autoscalingGroupName",
    seen={"name": "LifecycleHookName"},
    autoname="name",
    refuse_create=(_no_group,),
)

SPECS = (GROUP, SCHEDULE, LIFECYCLE_HOOK)
