"""DNS zones, public and private: https://learn.microsoft.com/azure/dns/dns-zones-records."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from sandbox.azure.emulator import paths
from sandbox.azure.emulator.arm_types import RECORD_LISTS
from sandbox.azure.emulator.errors import bad
from sandbox.azure.emulator.kind import Call, Kind, Reference, between

_ZONE = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_RECORD = r"@|\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_])?"


def _check_record(call: Call) -> None:
    if paths.get(call.body, "properties.TTL") is None:
        raise bad(f"Record set '{call.id.name}' has no TTL.", code="BadRequest")
    between(call, "properties.TTL", 1, 2147483647)
    records = paths.get(call.body, f"properties.{RECORD_LISTS[call.id.types[-1].upper()]}")
    if not records and not paths.get(call.body, "properties.targetResource.id"):
        raise bad(f"Record set '{call.id.name}' has no records.", code="BadRequest")
    for _, address in paths.values_at(call.body, "properties.ARecords[].ipv4Address"):
        try:
            IPv4Address(address)
        except ValueError:
            raise bad(f"'{address}' in record set '{call.id.name}' is no IPv4 address.", code="BadRequest") from None


def _fill_record(call: Call, body: dict[str, Any]) -> None:
    zone = call.id.parent.rsplit("/", 1)[1]
    body["properties"]["fqdn"] = f"{zone}." if call.id.name == "@" else f"{call.id.name}.{zone}."


def _fill_zone(call: Call, body: dict[str, Any]) -> None:
    body["properties"]["nameServers"] = [f"ns{n}-01.azure-dns.example." for n in (1, 2)]
    body["properties"].setdefault("zoneType", "Public")


def _records(zone: str) -> list[Kind]:
    references = (Reference("properties.targetResource.id", holds=False),)
    return [
        Kind(
            f"{zone}/{type}",
            _RECORD,
            "a name in the zone, @ or *",
            location=False,
            references=references,
            check=_check_record,
            fill=_fill_record,
        )
        for type in RECORD_LISTS
    ]


KINDS = (
    Kind(
        "Microsoft.Network/dnsZones", _ZONE, "a domain name of at least two labels", fill=_fill_zone, slow_delete=True
    ),
    *_records("Microsoft.Network/dnsZones"),
    Kind(
        "Microsoft.Network/privateDnsZones", _ZONE, "a domain name of at least two labels", slow=True, slow_delete=True
    ),
    *_records("Microsoft.Network/privateDnsZones"),
    Kind(
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        r"[\w.\-]{1,80}",
        "1 to 80 letters, digits, _ - .",
        required=("properties.virtualNetwork.id",),
        references=(Reference("properties.virtualNetwork.id", "Microsoft.Network/virtualNetworks"),),
        slow=True,
        slow_delete=True,
    ),
)
