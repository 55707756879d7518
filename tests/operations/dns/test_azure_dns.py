"""The hub's name in Azure DNS, against the sandbox's ARM: busy, late, lying, and with another admin at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operations.dns import DnsError, Seen, open_dns
from operations.dns.azure import AzureZone
from operations.patience import Patience
from operations.preflight.arm import Arm, ArmError
from sandbox.azure.emulator import ids
from sandbox.azure.emulator.arm import Arm as Cloud
from sandbox.faults import calls
from tests.operations.cloud.aws_rig import replaced
from tests.operations.cloud.azure_rig import ACCOUNT, NAME, STACK, ZONE, cloud, faults, semester
from tests.operations.dns.campus import Campus, serving

pytestmark = pytest.mark.unit

CLOUD, FALLBACK = "192.0.2.1", "192.0.2.2"
HASTY = Patience(2, first_s=0.05, most_s=0.2)
ZONE_ID = f"/subscriptions/{ACCOUNT}/resourceGroups/campus-dns/providers/Microsoft.Network/dnsZones/{ZONE}"


def name_at(url: str, patience: Patience = HASTY) -> AzureZone:
    it = open_dns(semester(), STACK, endpoint=url)
    assert isinstance(it, AzureZone)
    return replaced(it, patience=patience)


@pytest.fixture
def at() -> Iterator[tuple[AzureZone, Cloud]]:
    with cloud() as (url, arm):
        yield name_at(url), arm


def record(arm: Cloud, kind: str) -> dict[str, Any] | None:
    found = arm.store.get(f"{ZONE_ID}/{kind}/hub-sp16")
    return found.body["properties"] if found else None


def test_a_name_is_looked_at_switched_and_read_back(at: tuple[AzureZone, Cloud]) -> None:
    name, arm = at
    assert name.name == NAME and name.look() == Seen((), None) and name.check() == ""
    assert name.switch([CLOUD], 60).seen == Seen((CLOUD,), 60)
    done = name.switch([FALLBACK], 30)
    assert done.changed and name.look() == done.seen == Seen((FALLBACK,), 30)
    assert not name.switch([FALLBACK], 30).changed
    assert (record(arm, "A") or {})["ARecords"] == [{"ipv4Address": FALLBACK}]


def test_kinds_of_records_replace_each_other(at: tuple[AzureZone, Cloud]) -> None:
    name, arm = at
    assert name.switch([CLOUD, "2001:db8::1"], 60).seen.addresses == (CLOUD, "2001:db8::1")
    assert name.switch(["hub0.example.org"], 60).seen.addresses == ("hub0.example.org",)
    assert record(arm, "A") is record(arm, "AAAA") is None
    assert name.switch([FALLBACK], 60).seen.addresses == (FALLBACK,)


def test_what_the_campus_noted_at_the_record_stays(at: tuple[AzureZone, Cloud]) -> None:
    name, arm = at
    body = {"properties": {"TTL": 60, "ARecords": [{"ipv4Address": CLOUD}], "metadata": {"owner": "data8"}}}
    arm.put(ids.parse(f"{ZONE_ID}/A/hub-sp16"), body)
    name.switch([FALLBACK], 60)
    assert (record(arm, "A") or {})["metadata"] == {"owner": "data8"}


def test_a_zone_that_is_not_there_is_one_sentence(at: tuple[AzureZone, Cloud]) -> None:
    for it in (replaced(at[0], zone="example.org", name="hub.example.org"), replaced(at[0], group="nowhere")):
        said = it.check()
        assert "has no zone" in said and "semesterhub:fallback.dns.zone or resource_group" in said and "\n" not in said
        with pytest.raises(DnsError, match="has no zone"):
            it.switch([FALLBACK], 60)


def test_nobody_who_is_signed_in_is_one_sentence(at: tuple[AzureZone, Cloud]) -> None:
    def nobody(_scope: str) -> str:
        raise ArmError(401, "", "no credentials")

    assert "sign in with `az login`" in replaced(at[0], arm=Arm(nobody)).check()


def test_a_stack_of_another_cloud_names_no_subscription() -> None:
    with pytest.raises(DnsError, match="so names no subscription"):
        open_dns(semester(cloud="aws"), STACK)


def test_an_alias_that_somebody_made_is_not_overwritten(at: tuple[AzureZone, Cloud]) -> None:
    name, arm = at
    zone = {"id": ZONE_ID}
    arm.put(ids.parse(f"{ZONE_ID}/A/hub-sp16"), {"properties": {"TTL": 60, "targetResource": zone}})
    with pytest.raises(DnsError, match="is an alias of another resource, which Semesterhub has not made"):
        name.switch([FALLBACK], 60)


def test_an_arm_that_throttles_and_then_answers_late_is_asked_again(tmp_path: Path) -> None:
    rules = [
        {"kind": "throttle", "call": "PUT Microsoft.Network/dnsZones/A", "times": 2},
        {"kind": "timeout", "call": "PUT Microsoft.Network/dnsZones/A", "nth": 3, "seconds": 0.2},
    ]
    with cloud(before=faults(tmp_path, *rules)) as (url, _arm):
        name = name_at(url, Patience(20, first_s=0.05, most_s=0.2))
        assert name.switch([FALLBACK], 60).seen == Seen((FALLBACK,), 60)
    assert [c["fault"] for c in calls(tmp_path)] == ["throttle", "throttle", "timeout", None]


def test_a_record_that_shows_late_is_waited_for(tmp_path: Path) -> None:
    with cloud(before=faults(tmp_path, {"kind": "lag", "reads": 3})) as (url, _arm):
        assert name_at(url).switch([FALLBACK], 60).seen == Seen((FALLBACK,), 60)


def test_an_arm_that_throttles_for_good_ends_in_a_sentence(tmp_path: Path) -> None:
    with (
        cloud(before=faults(tmp_path, {"kind": "throttle", "times": 0})) as (url, _arm),
        pytest.raises(DnsError, match=f"the change of {NAME} in Azure DNS failed for 2 s: TooManyRequests.*try again"),
    ):
        name_at(url).switch([FALLBACK], 60)


def test_a_yes_that_changes_nothing_is_not_believed() -> None:
    async def lie(request: web.Request) -> web.Response | None:
        return web.json_response({}) if request.method == "PUT" else None

    with (
        cloud(before=lie) as (url, _arm),
        pytest.raises(DnsError, match=f"still answers nothing instead of {FALLBACK} for 60 s"),
    ):
        name_at(url).switch([FALLBACK], 60)


def test_somebody_who_was_quicker_is_read_again() -> None:
    """Between look and change another admin makes the record: the change is for what was seen, so it is refused once."""
    behind: list[Cloud] = []
    puts: list[int] = []

    async def meddle(request: web.Request) -> web.Response | None:
        if request.method == "PUT":
            puts.append(1)
            if len(puts) == 1:
                body = {"properties": {"TTL": 7, "ARecords": [{"ipv4Address": "192.0.2.99"}]}}
                behind[0].put(ids.parse(f"{ZONE_ID}/A/hub-sp16"), body)
        return None

    with cloud(before=meddle) as (url, arm):
        behind.append(arm)
        assert name_at(url).switch([FALLBACK], 60).seen == Seen((FALLBACK,), 60)
        assert len(puts) == 2


def test_the_zones_own_name_servers_are_asked_too(at: tuple[AzureZone, Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    from operations.dns import azure, wire

    name, arm = at
    zone = arm.store.get(ZONE_ID)
    assert zone is not None
    zone.body.setdefault("properties", {})["nameServers"] = ["127.0.0.1."]
    with serving(Campus()) as server:
        server.set("A", CLOUD, name=NAME)
        asked = wire.Server("127.0.0.1", server.port, timeout_s=0.2)
        monkeypatch.setattr(azure.wire, "Server", lambda _host: asked)
        real = replaced(name, asked=True, follow=Patience(0.5, first_s=0.05))
        assert real.switch([FALLBACK], 60).behind == (str(asked),)
        server.set("A", FALLBACK, name=NAME)
        assert real.switch([FALLBACK], 60).behind == ()
