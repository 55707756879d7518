"""The hub's name in Route 53, against the sandbox's AWS: busy, late, lying, and not ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.dns import DnsError, Seen, open_dns
from operations.dns.route53 import Route53
from operations.patience import Patience
from sandbox.faults import calls
from tests.operations.cloud.aws_rig import NAME, STACK, ZONE, Between, clients, emulator, replaced, semester

pytestmark = [pytest.mark.unit, pytest.mark.xdist_group("aws-emulator")]

CLOUD, FALLBACK = "192.0.2.1", "192.0.2.2"
HASTY = Patience(3, first_s=0.05, most_s=0.2)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("route53")) as url:
        yield url


@pytest.fixture
def name(cloud: str) -> Route53:
    """The name, without a record."""
    it = open_dns(semester(), STACK, endpoint=cloud)
    assert isinstance(it, Route53)
    it = replaced(it, patience=HASTY, clients=clients(cloud))
    forget(it)
    return it


def forget(it: Route53) -> None:
    route53 = it.clients("route53")
    zone = route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
    for record in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]:
        if record["Name"].startswith(NAME):
            change(it, "DELETE", record)


def change(it: Route53, action: str, record: dict[str, Any]) -> None:
    route53 = it.clients("route53")
    zone = route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def between(it: Route53, **answers: Any) -> Route53:
    real = it.clients
    return replaced(
        it, clients=lambda service: Between(real(service), **answers) if service == "route53" else real(service)
    )


def test_a_name_is_looked_at_switched_and_read_back(name: Route53) -> None:
    assert name.look() == Seen((), None) and name.check() == ""
    assert name.switch([CLOUD], 60).seen == Seen((CLOUD,), 60)
    done = name.switch([FALLBACK], 30)
    assert done.changed and name.look() == done.seen == Seen((FALLBACK,), 30)
    assert not name.switch([FALLBACK], 30).changed


def test_kinds_of_records_replace_each_other(name: Route53) -> None:
    assert name.switch([CLOUD, "2001:db8::1"], 60).seen.addresses == (CLOUD, "2001:db8::1")
    assert name.switch(["hub0.example.org"], 60).seen.addresses == ("hub0.example.org",)
    assert name.switch([FALLBACK], 60).seen.addresses == (FALLBACK,)


def test_other_records_of_the_name_stay(name: Route53) -> None:
    change(name, "CREATE", {"Name": NAME, "Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": '"campus"'}]})
    name.switch([FALLBACK], 60)
    zone = name.clients("route53").list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
    kinds = {
        r["Type"]
        for r in name.clients("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        if r["Name"].startswith(NAME)
    }
    assert kinds == {"A", "TXT"}


def test_a_zone_that_is_not_there_is_one_sentence(name: Route53) -> None:
    it = replaced(name, zone="example.org", name="hub.example.org")
    said = it.check()
    assert "no public zone example.org" in said and "semesterhub:fallback.dns.zone" in said
    with pytest.raises(DnsError, match="no public zone"):
        it.switch([FALLBACK], 60)


def test_another_account_is_refused_before_the_zone_is_looked_at(name: Route53) -> None:
    said = replaced(name, account="999999999999").check()
    assert "but the stack belongs to 999999999999" in said and "AWS_PROFILE" in said


def test_a_stack_of_another_cloud_may_have_its_name_here(cloud: str) -> None:
    it = open_dns(
        semester(cloud="azure", region="westus2", account="00000000-0000-4000-8000-000000000016"), STACK, endpoint=cloud
    )
    assert it.check() == ""


def test_a_routing_policy_that_somebody_made_is_not_overwritten(name: Route53) -> None:
    weighted = {
        "Name": NAME,
        "Type": "A",
        "TTL": 60,
        "SetIdentifier": "blue",
        "Weight": 1,
        "ResourceRecords": [{"Value": CLOUD}],
    }
    change(name, "CREATE", weighted)
    with pytest.raises(DnsError, match="has a routing policy, which Semesterhub has not made"):
        name.switch([FALLBACK], 60)


def test_route_53_that_throttles_and_then_answers_late_is_asked_again(tmp_path: Path) -> None:
    busy = {"kind": "throttle", "call": "route53:*", "times": 3}
    late = {"kind": "timeout", "call": "route53:*", "nth": 4, "times": 2, "seconds": 0.3}
    with emulator(tmp_path, busy, late) as url:
        it = open_dns(semester(), STACK, endpoint=url)
        it = replaced(it, clients=clients(url), patience=Patience(30, first_s=0.05, most_s=0.2))
        assert it.switch([FALLBACK], 60).seen == Seen((FALLBACK,), 60)
        assert [entry["fault"] for entry in calls(tmp_path / "cloud")][:6] == ["throttle"] * 3 + ["timeout"] * 2 + [
            None
        ]


def test_route_53_that_throttles_for_good_ends_in_a_sentence(name: Route53) -> None:
    def busy(_real: Any, _asked: dict[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "ChangeResourceRecordSets")

    with pytest.raises(DnsError, match=r"failed for 3 s: AWS is busy \(Throttling\); try again"):
        between(name, change_resource_record_sets=busy).switch([FALLBACK], 60)


def test_a_role_that_may_not_change_records_is_one_sentence(name: Route53) -> None:
    def forbidden(_real: Any, _asked: dict[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "ChangeResourceRecordSets")

    with pytest.raises(
        DnsError, match=r"may not do this: the change of hub\.campus\.edu in Route 53 \(not authorized\)"
    ):
        between(name, change_resource_record_sets=forbidden).switch([FALLBACK], 60)


def test_a_change_that_spreads_late_is_waited_for(name: Route53) -> None:
    answers = iter(["PENDING", "PENDING"])

    def late(real: Any, asked: dict[str, Any]) -> Any:
        found = real(**asked)
        found["ChangeInfo"]["Status"] = next(answers, "INSYNC")
        return found

    assert between(name, get_change=late).switch([FALLBACK], 60).changed
    assert next(answers, None) is None


def test_a_change_that_never_spreads_is_a_sentence(name: Route53) -> None:
    def never(real: Any, asked: dict[str, Any]) -> Any:
        found = real(**asked)
        found["ChangeInfo"]["Status"] = "PENDING"
        return found

    with pytest.raises(DnsError, match=r"has not spread the change of hub\.campus\.edu .* \(PENDING\) within 3 s"):
        between(name, get_change=never).switch([FALLBACK], 60)


def test_a_yes_that_changes_nothing_is_not_believed(name: Route53) -> None:
    name.switch([CLOUD], 60)
    info = {"ChangeInfo": {"Id": "/change/C0", "Status": "INSYNC"}}
    lying = between(name, change_resource_record_sets=lambda _real, _asked: info, get_change=lambda _real, _asked: info)
    with pytest.raises(DnsError, match=f"still answers {CLOUD} for 60 s instead of {FALLBACK} for 60 s"):
        lying.switch([FALLBACK], 60)


def test_somebody_who_was_quicker_is_read_again(name: Route53) -> None:
    """A record that is to go has changed since it was read: the batch is refused as a whole, and made anew."""
    name.switch(["hub0.example.org"], 60)
    tries: list[int] = []

    def meddling(real: Any, asked: dict[str, Any]) -> Any:
        if not tries:
            tries.append(1)
            record = {"Name": NAME, "Type": "CNAME", "TTL": 7, "ResourceRecords": [{"Value": "hub9.example.org."}]}
            change(name, "UPSERT", record)
        return real(**asked)

    assert between(name, change_resource_record_sets=meddling).switch([FALLBACK], 60).seen == Seen((FALLBACK,), 60)
