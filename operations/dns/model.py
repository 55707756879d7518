"""What every DNS provider offers, in one vocabulary: what a name says now, and making it say something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from operations.errors import UserError
from operations.patience import LaterError, Patience

KINDS = ("A", "AAAA", "CNAME")
"""The records that lead somebody to a machine; all three are the hub's own to change."""
TTL_MAX_S = 86400

Records = Mapping[str, tuple[str, ...]]
"""Kind -> its values, sorted; kinds without a record are absent."""


class DnsError(UserError):
    """A DNS server or provider that said no, or nothing. One sentence that says what to do."""


@dataclass(frozen=True)
class Seen:
    """What the authoritative side says of a name: addresses (or one host name), and for how many seconds resolvers may
    remember it. () and None where there is no record."""

    addresses: tuple[str, ...]
    ttl_s: int | None

    def __str__(self) -> str:
        if not self.addresses:
            return "nothing"
        return f"{', '.join(self.addresses)} for {self.ttl_s} s"


@dataclass(frozen=True)
class Switched:
    """A name that says what it should, read back. `behind`: other name servers of the zone that still say otherwise."""

    seen: Seen
    changed: bool
    took_s: float
    behind: tuple[str, ...] = ()


class Dns(Protocol):
    """One name at one provider."""

    @property
    def name(self) -> str:
        """The name that is looked at and switched."""
        ...

    @property
    def where(self) -> str:
        """Who holds it, for messages: `the DNS server ns1.example.edu`."""
        ...

    def look(self) -> Seen:
        """What the name says now. Raises DnsError."""
        ...

    def switch(self, addresses: Iterable[str], ttl_s: int) -> Switched:
        """Let the name lead to these addresses (or to one host name), and only there. May be repeated at any time.
        Returns when it was read back; raises DnsError when it could not be."""
        ...

    def check(self) -> str:
        """ "" when the provider would take a change of the name, else one sentence that says why not. Changes nothing."""
        ...


def records_of(addresses: Iterable[str], name: str, zone: str) -> Records:
    """Addresses sorted by kind of record. Raises DnsError for what no name can lead to."""
    found: dict[str, set[str]] = {}
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            found.setdefault("CNAME", set()).add(text.rstrip(".").lower() + ".")
            continue
        found.setdefault("A" if address.version == 4 else "AAAA", set()).add(str(address))
    if not found:
        raise DnsError(f"{name} must lead somewhere: give an address")
    hosts = found.get("CNAME", set())
    if hosts and (len(hosts) > 1 or len(found) > 1):
        raise DnsError(
            f"{name} cannot lead to {', '.join(sorted({*addresses}))} at once: either addresses, or one host name"
        )
    if hosts and name == zone:
        raise DnsError(
            f"{name} is the zone itself, which can only lead to addresses, not to the host name {min(hosts)} "
            "(RFC 1912, 2.4): write an address as semesterhub:fallback.address"
        )
    return {kind: tuple(sorted(values)) for kind, values in sorted(found.items())}


def seen_of(records: Records, ttls: Iterable[int]) -> Seen:
    """The same as one answer; of several lifetimes the longest counts."""
    addresses = [value.rstrip(".") for kind in KINDS for value in records.get(kind, ())]
    return Seen(tuple(addresses), max(ttls, default=None) if addresses else None)


def check_ttl(ttl_s: int) -> None:
    """Raises DnsError outside of 1 second to a day."""
    if not 1 <= ttl_s <= TTL_MAX_S:
        raise DnsError(f"a lifetime of {ttl_s} s is not possible; allowed are 1 to {TTL_MAX_S}")


def reached(
    dns: Dns,
    wanted: Seen,
    change: Callable[[], None],
    patience: Patience,
    behind: Callable[[Seen], tuple[str, ...]] = lambda _: (),
) -> Switched:
    """Change unless it is so already, then look until it is so. Raises DnsError when the provider says yes and the name
    goes on saying something else."""
    began = time.monotonic()
    before = dns.look()
    if changed := not _same(before, wanted):
        change()

    def looked() -> Seen:
        now = dns.look()
        if not _same(now, wanted):
            raise LaterError(f"{now}")
        return now

    try:
        seen = patience.until(looked)
    except LaterError as still:
        raise DnsError(
            f"{dns.where} took the change of {dns.name}, but after {patience.total_s:.0f} s it still answers {still} instead of "
            f"{wanted}: look whether something else writes there or the zone is frozen, then run this again"
        ) from None
    return Switched(seen, changed, time.monotonic() - began, behind(seen))


def _same(one: Seen, other: Seen) -> bool:
    return sorted(one.addresses) == sorted(other.addresses) and one.ttl_s == other.ttl_s
