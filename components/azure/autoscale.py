"""The calendar as an autoscale setting, and more nodes when a class is larger than planned.

Profiles come from :mod:`components.schedule_profiles`. Each says the fewest workers of its time; up to `nodes.max` Azure
adds one when the nodes' free memory runs low, and takes one away when nearly all of it is free, never below the
profile's number. A worker that goes is told so first and drains (:mod:`components.azure.nodes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pulumi
from pulumi_azure_native import monitor as azure

from components.azure.site import Site
from components.schedule_profiles import AZURE_PROFILES_MAX, Profiles, WeeklyProfile, Window

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FREE_SHARE_LOW, FREE_SHARE_HIGH = 0.12, 0.75
"""Of a node's memory: below the first a node is added, above the second one is taken away."""
BYTES_PER_GIB = 2**30


@dataclass(frozen=True)
class AutoscaleArgs:
    site: Site
    group: pulumi.Input[str]
    scale_set_id: pulumi.Input[str]
    profiles: Profiles
    most: int
    node_memory_gib: float
    admin_emails: Sequence[str]


class Autoscale(pulumi.ComponentResource):
    """``setting_id``. At most 20 profiles, as Azure takes no more."""

    setting_id: pulumi.Output[str]

    def __init__(self, name: str, args: AutoscaleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Autoscale", name, None, opts)
        self._args = args
        profiles = self._profiles()
        if len(profiles) > AZURE_PROFILES_MAX:
            raise AssertionError(f"{len(profiles)} profiles; Azure takes {AZURE_PROFILES_MAX}")
        setting = azure.AutoscaleSetting(
            "calendar",
            autoscale_setting_name=args.site.name("calendar"),
            name=args.site.name("calendar"),
            resource_group_name=args.group,
            location=args.site.region,
            target_resource_uri=args.scale_set_id,
            target_resource_location=args.site.region,
            enabled=True,
            profiles=profiles,
            notifications=[
                azure.AutoscaleNotificationArgs(
                    operation=azure.OperationType.SCALE,
                    email=azure.EmailNotificationArgs(
                        custom_emails=list(args.admin_emails),
                        send_to_subscription_administrator=False,
                        send_to_subscription_co_administrators=False,
                    ),
                )
            ]
            if args.admin_emails
            else [],
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.setting_id = setting.id
        self.register_outputs({"setting_id": self.setting_id, "profiles": len(profiles)})

    def _profiles(self) -> list[azure.AutoscaleProfileArgs]:
        given = self._args.profiles
        return [
            *(self._window(window) for window in given.windows),
            *(self._weekly(weekly) for weekly in given.weekly),
            self._profile("default", given.default_nodes),
        ]

    def _profile(
        self,
        name: str,
        nodes: int,
        *,
        fixed_date: azure.TimeWindowArgs | None = None,
        recurrence: azure.RecurrenceArgs | None = None,
    ) -> azure.AutoscaleProfileArgs:
        fewest = min(nodes, self._args.most)
        return azure.AutoscaleProfileArgs(
            name=name,
            capacity=azure.ScaleCapacityArgs(minimum=str(fewest), maximum=str(self._args.most), default=str(fewest)),
            rules=[self._more(), self._fewer()],
            fixed_date=fixed_date,
            recurrence=recurrence,
        )

    def _window(self, window: Window) -> azure.AutoscaleProfileArgs:
        return self._profile(
            window.name,
            window.nodes,
            fixed_date=azure.TimeWindowArgs(start=_moment(window.starts), end=_moment(window.ends), time_zone="UTC"),
        )

    def _weekly(self, weekly: WeeklyProfile) -> azure.AutoscaleProfileArgs:
        return self._profile(
            weekly.name,
            weekly.nodes,
            recurrence=azure.RecurrenceArgs(
                frequency=azure.RecurrenceFrequency.WEEK,
                schedule=azure.RecurrentScheduleArgs(
                    time_zone=self._args.profiles.windows_timezone,
                    days=[DAYS[day] for day in weekly.days],
                    hours=[weekly.at.hour],
                    minutes=[weekly.at.minute],
                ),
            ),
        )

    def _more(self) -> azure.ScaleRuleArgs:
        return self._rule(
            azure.ComparisonOperationType.LESS_THAN, FREE_SHARE_LOW, "PT5M", azure.ScaleDirection.INCREASE, "PT5M"
        )

    def _fewer(self) -> azure.ScaleRuleArgs:
        # Slowly: a quiet quarter of an hour between two lectures is not the end of the day.
        return self._rule(
            azure.ComparisonOperationType.GREATER_THAN, FREE_SHARE_HIGH, "PT30M", azure.ScaleDirection.DECREASE, "PT20M"
        )

    def _rule(
        self,
        operator: azure.ComparisonOperationType,
        share: float,
        window: str,
        direction: azure.ScaleDirection,
        cooldown: str,
    ) -> azure.ScaleRuleArgs:
        return azure.ScaleRuleArgs(
            metric_trigger=azure.MetricTriggerArgs(
                metric_name="Available Memory Bytes",
                metric_namespace="Microsoft.Compute/virtualMachineScaleSets",
                metric_resource_uri=self._args.scale_set_id,
                metric_resource_location=self._args.site.region,
                statistic=azure.MetricStatisticType.AVERAGE,
                time_aggregation=azure.TimeAggregationType.AVERAGE,
                time_grain="PT1M",
                time_window=window,
                operator=operator,
                threshold=float(round(share * self._args.node_memory_gib * BYTES_PER_GIB)),
                divide_per_instance=False,
            ),
            scale_action=azure.ScaleActionArgs(
                direction=direction, type=azure.ScaleType.CHANGE_COUNT, value="1", cooldown=cooldown
            ),
        )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
