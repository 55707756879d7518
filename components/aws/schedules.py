"""The calendar as scheduled actions of an Auto Scaling group: nodes are there before class and go after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pulumi
from pulumi_aws import autoscaling

from components.schedule import OnceAction, Schedule, WeeklyAction
from components.semester import Problem, SemesterError

ACTIONS_MAX = 125
"""Scheduled actions of one group (docs.aws.amazon.com/autoscaling/ec2/userguide, "Quotas")."""
UNCHANGED = -1
_MEANING = ("desiredCapacity", "recurrence", "timeZone", "endTime")


@dataclass(frozen=True)
class SchedulesArgs:
    group: pulumi.Input[str]
    """Name of the Auto Scaling group."""
    schedule: Schedule
    now: datetime


class Schedules(pulumi.ComponentResource):
    """One resource an action that is still to come. Raises `SemesterError` when there are too many, see `check`."""

    def __init__(self, name: str, args: SchedulesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Schedules", name, None, opts)
        left = args.schedule.remaining(args.now)
        check(left)
        for weekly in left.weekly:
            starts = first_moment(weekly, args.now)
            self._action(args, weekly, start=starts, end=after(weekly), recurrence=weekly.cron, zone=weekly.timezone)
        for once in left.once:
            self._action(args, once, start=once.at)
        self.register_outputs({"actions": len(left.weekly) + len(left.once)})

    def _action(
        self,
        args: SchedulesArgs,
        action: WeeklyAction | OnceAction,
        *,
        start: datetime | None,
        end: datetime | None = None,
        recurrence: str | None = None,
        zone: str | None = None,
    ) -> None:
        autoscaling.Schedule(
            action.name,
            scheduled_action_name=action.name,
            autoscaling_group_name=args.group,
            min_size=UNCHANGED,
            max_size=UNCHANGED,
            desired_capacity=action.nodes,
            recurrence=recurrence,
            time_zone=zone,
            start_time=stamp(start),
            end_time=stamp(end),
            # Put again, an action would carry the start that AWS has in mind for it, and be refused when that is over.
            # A weekly action's own start is left out once it is over: no reason to touch it.
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,
                replace_on_changes=list(_MEANING) + ([] if recurrence else ["startTime"]),
            ),
        )


def check(left: Schedule) -> None:
    """Raises `SemesterError` for more actions than a group takes."""
    count = len(left.weekly) + len(left.once)
    if count > ACTIONS_MAX:
        problem = Problem(
            "semesterhub:courses",
            f"calendars with {count} scaling actions",
            f"at most {ACTIONS_MAX}, what one Auto Scaling group takes",
            "merge meetings that touch each other, or raise nodes.min so that small ones need no action",
        )
        raise SemesterError("the calendar of this semester", [problem])


def first_moment(action: WeeklyAction, now: datetime) -> datetime | None:
    """When it acts first (AWS acts at the start time itself); None when that is over: AWS refuses a start in the past."""
    first = action.moments[0]
    return first if first > now else None


def after(action: WeeklyAction) -> datetime:
    """The midnight after its last day."""
    return datetime.combine(action.ends + timedelta(days=1), time(), ZoneInfo(action.timezone))


def stamp(moment: datetime | None) -> str | None:
    """As the API takes it: `2026-08-26T16:40:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
