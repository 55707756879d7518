"""Who is told when something is wrong: one SNS topic with the admins' addresses, and the alarms that send to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, sns

from components.aws import policies
from components.aws.scope import Scope
from components.semester import Semester

HEALTH_REGIONS = {"aws": "us-east-1"}
"""Route 53 reports its health checks in this region only, wherever the hub is, and an alarm's topic must be beside it."""


@dataclass(frozen=True)
class TopicArgs:
    scope: Scope
    addresses: Sequence[str]
    """E-mail addresses; each gets one message to confirm."""


def addresses(semester: Semester) -> tuple[str, ...]:
    """Who is written to: `hub.acme_email` and the admins whose user names are e-mail addresses."""
    contact = (semester.hub.acme_email,) if semester.hub.acme_email else ()
    return tuple(dict.fromkeys((*contact, *(name for name in semester.admins if "@" in name))))


def health_region(scope: Scope) -> str:
    """Region of the topic and of the alarm on the hub's health check."""
    return HEALTH_REGIONS.get(scope.partition, scope.region)


class Topic(pulumi.ComponentResource):
    """`arn`: where alarms and the budget send."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: TopicArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Topic", name, None, opts)
        scope, child, region = args.scope, pulumi.ResourceOptions(parent=self), health_region(args.scope)
        topic = sns.Topic("admins", name=scope.name("admins"), region=region, tags=scope.tagged("admins"), opts=child)
        policy = sns.TopicPolicy(
            "admins",
            arn=topic.arn,
            region=region,
            policy=pulumi.Output.json_dumps(policies.topic_policy(scope, topic.arn)),
            opts=child,
        )
        for address in args.addresses:
            sns.TopicSubscription(
                address,
                topic=topic.arn,
                region=region,
                protocol="email",
                endpoint=address,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            )
        self.arn = topic.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True)
class AlarmsArgs:
    scope: Scope
    topic_arn: pulumi.Input[str]
    instance_id: pulumi.Input[str]
    health_check_id: pulumi.Input[str]


class Alarms(pulumi.ComponentResource):
    """The hub does not answer from outside; the hub's hardware fails (then AWS moves it, address and disk stay)."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Alarms", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        unreachable = cloudwatch.MetricAlarm(
            "unreachable",
            name=scope.name("hub-unreachable"),
            region=health_region(scope),
            alarm_description="Students cannot reach the hub: runbook docs/runbooks/failover.md",
            namespace="AWS/Route53",
            metric_name="HealthCheckStatus",
            dimensions={"HealthCheckId": args.health_check_id},
            statistic="Minimum",
            period=60,
            evaluation_periods=2,
            comparison_operator="LessThanThreshold",
            threshold=1,
            treat_missing_data="breaching",
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            tags=scope.tagged("hub-unreachable"),
            opts=child,
        )
        cloudwatch.MetricAlarm(
            "hardware",
            name=scope.name("hub-hardware"),
            alarm_description="The hub VM's host fails; AWS starts the machine on another one",
            namespace="AWS/EC2",
            metric_name="StatusCheckFailed_System",
            dimensions={"InstanceId": args.instance_id},
            statistic="Maximum",
            period=60,
            evaluation_periods=2,
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            alarm_actions=[f"arn:{scope.partition}:automate:{scope.region}:ec2:recover"],
            tags=scope.tagged("hub-hardware"),
            opts=child,
        )
        self.register_outputs({"unreachable": unreachable.arn})
