"""The hub's name in a zone of Azure DNS, where the stack file says that the zone is there (`fallback.dns`).

The zone belongs to the campus, in a resource group of its own; only the hub's record is the semester's. A failover
changes the record outside Pulumi, so `up` makes it and never changes it: each `up` looks first at what is really there, and
would lead the class away from the fallback.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import dns as azure

from components.semester_access import AzureDns


@dataclass(frozen=True)
class NameArgs:
    domain: str
    dns: AzureDns
    address: pulumi.Input[str]


class Name(pulumi.ComponentResource):
    """``fqdn``: the record's whole name."""

    fqdn: pulumi.Output[str]

    def __init__(self, name: str, args: NameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Name", name, None, opts)
        record = azure.RecordSet(
            "hub-name",
            resource_group_name=args.dns.resource_group,
            zone_name=args.dns.zone,
            relative_record_set_name=relative(args.domain, args.dns.zone),
            record_type="A",
            ttl=float(args.dns.ttl_s),
            a_records=[azure.ARecordArgs(ipv4_address=args.address)],
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["aRecords", "ttl"]),
        )
        self.fqdn = record.fqdn
        self.register_outputs({"fqdn": self.fqdn})


def relative(domain: str, zone: str) -> str:
    """`hub.example.edu` in `example.edu` is `hub`; the zone itself is `@`."""
    return domain.removesuffix(zone).rstrip(".") or "@"
