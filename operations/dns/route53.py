"""A zone in Route 53: one batch of changes is one transaction, and Route 53 says when all its name servers have it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from operations.aws_asking import asked, of_account
from operations.dns import model
from operations.dns.model import KINDS, DnsError, Records, Seen, Switched
from operations.patience import LaterError, Patience

if TYPE_CHECKING:
    from components.semester import Semester
    from components.semester_access import Route53Dns

T = TypeVar("T")
OVERTAKEN = ("not found", "do not match")
"""In the text of an InvalidChangeBatch: the record has changed since it was read."""
DONE = "INSYNC"


@dataclass(frozen=True)
class Route53:
    """One name in one hosted zone. `clients` makes boto3 clients by service. `account`: whose the zone must be; "" for a
    stack of another cloud, whose account says nothing about AWS."""

    name: str
    zone: str
    clients: Callable[[str], Any]
    account: str = ""
    patience: Patience = field(default_factory=lambda: Patience(120, first_s=1))

    @classmethod
    def of(cls, semester: Semester, settings: Route53Dns, endpoint: str = "") -> Route53:
        """As the stack file says, with the credentials of whoever is signed in."""
        from operations.preflight import aws_clients

        account = (semester.account or "") if semester.cloud == "aws" else ""
        return cls(semester.domain, settings.zone, functools.cache(aws_clients(semester, endpoint)), account)

    @property
    def where(self) -> str:
        return "Route 53"

    def look(self) -> Seen:
        return model.seen_of(*self._records(self._zone_id()))

    def switch(self, addresses: Iterable[str], ttl_s: int) -> Switched:
        model.check_ttl(ttl_s)
        records = model.records_of(addresses, self.name, self.zone)
        zone = self._zone_id()
        return model.reached(
            self, model.seen_of(records, [ttl_s]), lambda: self._change(zone, records, ttl_s), self.patience
        )

    def check(self) -> str:
        try:
            self._records(self._zone_id())
        except DnsError as problem:
            return str(problem)
        return ""

    def _asked(self, call: Callable[[], T], what: str) -> T:
        """Repeat while Route 53 is busy or late. Raises DnsError."""
        try:
            return self.patience.until(lambda: asked(call, f"{what} in Route 53", DnsError, _overtaken))
        except LaterError as never:
            raise DnsError(f"{what} in Route 53 failed for {self.patience.total_s:.0f} s: {never}; try again") from None

    def _zone_id(self) -> str:
        """Of the one public zone of that name in the right account. Raises DnsError."""
        if self.account:
            self._asked(lambda: of_account(self.clients("sts"), self.account, DnsError), "asking who you are")
        listed = self._asked(
            lambda: self.clients("route53").list_hosted_zones_by_name(DNSName=self.zone)["HostedZones"],
            f"looking for the zone {self.zone}",
        )
        own = [z["Id"] for z in listed if z["Name"].rstrip(".") == self.zone and not z["Config"].get("PrivateZone")]
        if len(own) != 1:
            have = (
                f"{len(own)} public zones {self.zone}, and nobody can tell which one the world asks"
                if own
                else (f"no public zone {self.zone}")
            )
            raise DnsError(
                f"your AWS account has {have} in Route 53: correct semesterhub:fallback.dns.zone, or the account"
            )
        return own[0]

    def _sets(self, zone: str) -> list[dict[str, Any]]:
        """The record sets of the name, of the hub's kinds."""
        found = self._asked(
            lambda: self.clients("route53").list_resource_record_sets(HostedZoneId=zone, StartRecordName=self.name),
            f"reading {self.name}",
        )["ResourceRecordSets"]
        own = [s for s in found if s["Name"].rstrip(".").lower() == self.name and s["Type"] in KINDS]
        for record in own:
            if "ResourceRecords" not in record or record.get("SetIdentifier"):
                raise DnsError(
                    f"{self.name} ({record['Type']}) in Route 53 is an alias or has a routing policy, which Semesterhub has not made: "
                    "make it a simple record, then run this again"
                )
        return own

    def _records(self, zone: str) -> tuple[Records, list[int]]:
        sets = self._sets(zone)
        records = {s["Type"]: tuple(sorted(r["Value"].lower() for r in s["ResourceRecords"])) for s in sets}
        return records, [int(s["TTL"]) for s in sets]

    def _change(self, zone: str, wanted: Records, ttl_s: int) -> None:
        route53 = self.clients("route53")

        def attempt() -> Any:
            # Taking a record away needs its exact content, so it is read anew each time.
            gone = [{"Action": "DELETE", "ResourceRecordSet": s} for s in self._sets(zone) if s["Type"] not in wanted]
            put = [
                {
                    "Action": "UPSERT",
                    "ResourceRecordSet": {
                        "Name": self.name,
                        "Type": kind,
                        "TTL": ttl_s,
                        "ResourceRecords": [{"Value": value} for value in values],
                    },
                }
                for kind, values in wanted.items()
            ]
            batch = {"Comment": "semesterhub: where the hub is", "Changes": gone + put}
            return route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)

        change = self._asked(attempt, f"the change of {self.name}")["ChangeInfo"]

        def everywhere() -> None:
            info = self._asked(lambda: route53.get_change(Id=change["Id"])["ChangeInfo"], "asking for the change")
            state = info["Status"]
            if state != DONE:
                raise LaterError(f"Route 53 has not spread the change of {self.name} to all its name servers ({state})")

        try:
            self.patience.until(everywhere)
        except LaterError as never:
            raise DnsError(f"{never} within {self.patience.total_s:.0f} s; run this again to go on waiting") from None


def _overtaken(code: str, said: str) -> bool:
    return code == "InvalidChangeBatch" and any(words in said for words in OVERTAKEN)
