"""A zone in Azure DNS, asked and changed through Azure Resource Manager.

Each kind of record is a resource of its own, so a name cannot change from one kind to another in one step: new addresses
come before the old ones go, and only a host name (CNAME), which stands alone by the rules of DNS, must wait for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from operations.dns import model, wire
from operations.dns.model import KINDS, DnsError, Records, Seen, Switched
from operations.patience import LaterError, Patience
from operations.preflight.arm import MANAGEMENT, Arm, ArmError, signed_in

if TYPE_CHECKING:
    from components.semester import Semester
    from components.semester_access import AzureDns

T = TypeVar("T")
VERSION = "2018-05-01"
LISTS = {"A": ("ARecords", "ipv4Address"), "AAAA": ("AAAARecords", "ipv6Address"), "CNAME": ("CNAMERecord", "cname")}
"""Kind -> where its values are (learn.microsoft.com/rest/api/dns/record-sets)."""


@dataclass(frozen=True)
class AzureZone:
    """One name in one zone. `asked`: whether the zone's name servers can be asked too, which an emulator has not got."""

    name: str
    zone: str
    group: str
    subscription: str
    arm: Arm
    asked: bool = True
    patience: Patience = field(default_factory=lambda: Patience(90, first_s=1))
    follow: Patience = field(default_factory=lambda: Patience(60, first_s=1))

    @classmethod
    def of(cls, semester: Semester, settings: AzureDns, endpoint: str = "") -> AzureZone:
        """As the stack file says, as whoever is signed in. Raises DnsError without a subscription to look in."""
        if semester.cloud != "azure" or semester.account is None:
            raise DnsError(
                f"semesterhub:fallback.dns.provider is azure, but the stack is of cloud {semester.cloud} and so names no "
                "subscription: take rfc2136 or route53, or switch the name by hand"
            )
        arm = Arm((lambda _scope: "sandbox") if endpoint else signed_in(), endpoint or MANAGEMENT)
        return cls(semester.domain, settings.zone, settings.resource_group, semester.account, arm, asked=not endpoint)

    @property
    def where(self) -> str:
        return "Azure DNS"

    def look(self) -> Seen:
        return model.seen_of(*_read(self._sets()))

    def switch(self, addresses: Iterable[str], ttl_s: int) -> Switched:
        model.check_ttl(ttl_s)
        records = model.records_of(addresses, self.name, self.zone)
        wanted = model.seen_of(records, [ttl_s])
        return model.reached(self, wanted, lambda: self._change(records, ttl_s), self.patience, self._behind)

    def check(self) -> str:
        try:
            self._sets()
        except DnsError as problem:
            return str(problem)
        return ""

    @property
    def _zone_path(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/Microsoft.Network/dnsZones/{self.zone}"

    def _path(self, kind: str) -> str:
        relative = self.name.removesuffix(self.zone).rstrip(".") or "@"
        return f"{self._zone_path}/{kind}/{relative}"

    def _asked(self, ask: Callable[[], T], what: str) -> T:
        """Repeat while Azure is busy, late, or somebody else was quicker. Raises DnsError."""

        def once() -> T:
            try:
                return ask()
            except ArmError as error:
                if error.passing or error.status == 412:
                    raise LaterError(str(error), error.after_s) from None
                raise DnsError(self._refused(error, what)) from None

        try:
            return self.patience.until(once)
        except LaterError as never:
            raise DnsError(
                f"{what} in Azure DNS failed for {self.patience.total_s:.0f} s: {never}; try again"
            ) from None

    def _refused(self, error: ArmError, what: str) -> str:
        if error.status == 401:
            return f"Azure does not know who you are ({error}): sign in with `az login`"
        if error.status == 403:
            return (
                f"you may not do this in Azure: {what} ({error}); the role DNS Zone Contributor on the zone allows it"
            )
        if error.status == 404:
            return (
                f"the resource group {self.group} of subscription {self.subscription} has no zone {self.zone} in Azure DNS: correct "
                "semesterhub:fallback.dns.zone or resource_group"
            )
        return f"{what} in Azure DNS was refused: {error}"

    def _sets(self) -> dict[str, dict[str, Any]]:
        """Kind -> its record set as Azure has it."""
        found: dict[str, dict[str, Any]] = {}
        for kind in KINDS:
            one = self._asked(lambda kind=kind: self._get(kind), f"reading {self.name}")
            if one is not None:
                found[kind] = one
        for kind, one in found.items():
            if (one["properties"].get("targetResource") or {}).get("id"):
                raise DnsError(
                    f"{self.name} ({kind}) in Azure DNS is an alias of another resource, which Semesterhub has not made: make it a "
                    "simple record, then run this again"
                )
        if not found:  # no record, or no zone?
            self._asked(lambda: self.arm.get(self._zone_path, VERSION), f"looking for the zone {self.zone}")
        return found

    def _get(self, kind: str) -> dict[str, Any] | None:
        try:
            return self.arm.get(self._path(kind), VERSION)
        except ArmError as error:
            if error.status == 404:
                return None
            raise

    def _change(self, wanted: Records, ttl_s: int) -> None:
        put = [(kind, values) for kind, values in wanted.items()]
        gone = [kind for kind in KINDS if kind not in wanted]
        if "CNAME" in wanted:
            self._take_away(gone)
            self._put(put, ttl_s)
            return
        self._take_away(["CNAME"])
        self._put(put, ttl_s)
        self._take_away(gone)

    def _take_away(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            if kind in self._sets():
                self._asked(
                    lambda kind=kind: self.arm.change("DELETE", self._path(kind), VERSION),
                    f"taking away {kind} of {self.name}",
                )

    def _put(self, records: Iterable[tuple[str, tuple[str, ...]]], ttl_s: int) -> None:
        for kind, values in records:
            place, key = LISTS[kind]

            def put(kind: str = kind, place: str = place, key: str = key, values: tuple[str, ...] = values) -> None:
                # Read anew each time: only what was read is replaced, so two admins do not mix their records.
                old = self._get(kind)
                kept = {"metadata": old["properties"]["metadata"]} if old and old["properties"].get("metadata") else {}
                items: Any = [{key: value.rstrip(".")} for value in values]
                body = {"properties": {"TTL": ttl_s, place: items[0] if kind == "CNAME" else items, **kept}}
                self.arm.change("PUT", self._path(kind), VERSION, body, match=old["etag"] if old else "-")

            self._asked(put, f"the change of {self.name}")

    def _behind(self, wanted: Seen) -> tuple[str, ...]:
        if not self.asked:
            return ()
        zone = self._asked(lambda: self.arm.get(self._zone_path, VERSION), f"reading the zone {self.zone}")
        servers = [wire.Server(str(name).rstrip(".")) for name in zone["properties"].get("nameServers") or ()]
        return wire.behind(servers, self.name, wanted, self.follow)


def _read(sets: dict[str, dict[str, Any]]) -> tuple[Records, list[int]]:
    records: dict[str, tuple[str, ...]] = {}
    for kind, one in sets.items():
        place, key = LISTS[kind]
        items = one["properties"].get(place) or []
        texts = [str(item[key]) for item in ([items] if isinstance(items, dict) else items)]
        records[kind] = tuple(sorted(f"{t.rstrip('.').lower()}." if kind == "CNAME" else t.lower() for t in texts))
    return records, [int(one["properties"]["TTL"]) for one in sets.values()]
