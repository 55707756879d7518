"""The hub's name, the look at it from outside, alarms, and the budget."""

from __future__ import annotations

from typing import Any

import pytest

from tests.components.aws import program as programs

pytestmark = pytest.mark.unit
ROUTE53 = {
    "host": "hub0.example.edu",
    "ssh_key": "~/.ssh/id",
    "dns": {"provider": "route53", "zone": "example.edu", "ttl_s": 30},
}


def test_in_a_zone_of_route_53_the_name_leads_to_the_hubs_address() -> None:
    made = programs.run(programs.semester(fallback=ROUTE53))
    record = made["route53.Record/hub"]
    assert record == {
        "zoneId": "ZCAMPUS",
        "name": "hub.example.edu",
        "type": "A",
        "ttl": 30,
        "records": ["192.0.2.200"],
    }
    assert [args for token, args, _ in made.asked if "getZone" in token] == [{"name": "example.edu"}]
    assert not made.of_type("route53.Zone") and "name_servers" not in made.outputs


def test_without_a_zone_elsewhere_the_stack_has_its_own_and_tells_its_name_servers() -> None:
    made = programs.run(programs.semester(fallback=None))
    assert made["route53.Zone/zone"]["name"] == "hub.example.edu"
    assert made["route53.Record/hub"]["zoneId"] == "Z1" and made["route53.Record/hub"]["ttl"] == 60
    assert made.outputs["name_servers"] == ["ns-1.example.net"]


def test_a_name_that_another_provider_holds_is_left_to_it() -> None:
    made = programs.swarm()  # rfc2136
    assert not made.of_type("route53.Record") and not made.of_type("route53.Zone")
    assert not [token for token, _, _ in made.asked if "route53" in token]


def test_the_hub_is_looked_at_from_outside_and_its_silence_reaches_the_admins() -> None:
    made = programs.swarm()
    check = made["route53.HealthCheck/hub"]
    assert (check["type"], check["fqdn"], check["port"], check["resourcePath"]) == (
        "HTTPS",
        "hub.example.edu",
        443,
        "/hub/health",
    )
    assert check["enableSni"] is True
    alarm = made["cloudwatch.MetricAlarm/unreachable"]
    assert alarm["dimensions"] == {"HealthCheckId": "HealthCheck:hub"} and alarm["alarmActions"] == ["arn:Topic:admins"]
    assert (alarm["comparisonOperator"], alarm["threshold"], alarm["treatMissingData"]) == (
        "LessThanThreshold",
        1,
        "breaching",
    )
    # Route 53 has its metrics there and nowhere else, and an alarm sends only within its region.
    assert (
        alarm["region"] == made["sns.Topic/admins"]["region"] == made["sns.TopicPolicy/admins"]["region"] == "us-east-1"
    )


def test_failing_hardware_moves_the_hub_by_itself() -> None:
    alarm = programs.swarm()["cloudwatch.MetricAlarm/hardware"]
    assert alarm["dimensions"] == {"InstanceId": "Instance:hub"} and "region" not in alarm
    assert alarm["metricName"] == "StatusCheckFailed_System"
    assert alarm["alarmActions"] == ["arn:aws:automate:us-west-2:ec2:recover"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"admins": ["ada"]}, set()),
        (
            {"admins": ["ada@example.edu", "bob"], "hub": {"acme_email": "hub@example.edu"}},
            {"ada@example.edu", "hub@example.edu"},
        ),
        ({"admins": ["ada@example.edu"], "hub": {"acme_email": "ada@example.edu"}}, {"ada@example.edu"}),
    ],
)
def test_everybody_with_an_address_is_written_to_once(changes: dict[str, Any], told: set[str]) -> None:
    made = programs.run(programs.semester(**changes))
    mails = made.of_type("sns.TopicSubscription")
    assert {mail["endpoint"] for mail in mails.values()} == told == set(mails)
    assert all(
        m["protocol"] == "email" and m["region"] == "us-east-1" and m["topic"] == "arn:Topic:admins"
        for m in mails.values()
    )


def test_the_budget_counts_what_carries_the_stacks_tag_and_warns_at_each_share_once() -> None:
    made = programs.run(programs.semester(budget={"monthly_usd": 2500, "alert_percent": [100, 50, 80, 50]}))
    budget = made["budgets.Budget/monthly"]
    assert (budget["limitAmount"], budget["limitUnit"], budget["timeUnit"], budget["budgetType"]) == (
        "2500.00",
        "USD",
        "MONTHLY",
        "COST",
    )
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:semesterhub:stack$fa26"]}]
    assert [n["threshold"] for n in budget["notifications"]] == [50, 80, 100]
    assert all(n["subscriberSnsTopicArns"] == ["arn:Topic:admins"] for n in budget["notifications"])


def test_without_a_budget_there_is_no_alarm_on_the_bill() -> None:
    data = {key: value for key, value in programs.data().items() if key != "budget"}
    assert not programs.run(programs.from_mapping(data, source="test")).of_type("budgets.Budget")
