"""A campus DNS server that takes signed dynamic updates (RFC 2136, TSIG of RFC 8945), such as BIND, Knot or Windows DNS.

One update is one transaction: the server checks that the name still says what was seen here, takes the old records away
and puts the new ones in, or does nothing at all. So two admins at once, or an answer that got lost, never leave a mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from operations.dns import model, wire
from operations.dns.model import KINDS, DnsError, Records, Seen, Switched
from operations.dns.tsig import TsigKey
from operations.dns.wire import Server, said
from operations.patience import LaterError, Patience

T = TypeVar("T")

NOBODY = "0.0.0.0"  # noqa: S104 (no address that anything listens on: a record that no name has)
"""An address no record holds: taking it away needs the same rights as a switch and changes nothing."""
MOVED = (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)
"""Answers to a prerequisite that does not hold any more."""


@dataclass(frozen=True)
class Rfc2136:
    """One name on one primary server. `brief`: how long a check goes on asking a silent one. `others`: the zone's other name
    servers, by default as the zone lists them."""

    name: str
    zone: str
    server: Server
    key: Callable[[], TsigKey]
    patience: Patience = field(default_factory=lambda: Patience(20))
    brief: Patience = field(default_factory=lambda: Patience(4))
    follow: Patience = field(default_factory=lambda: Patience(15, first_s=1))
    others: Callable[[], Sequence[Server]] | None = None

    @property
    def where(self) -> str:
        return str(self.server)

    def look(self) -> Seen:
        return model.seen_of(*self._records())

    def switch(self, addresses: Iterable[str], ttl_s: int) -> Switched:
        model.check_ttl(ttl_s)
        records = model.records_of(addresses, self.name, self.zone)
        wanted = model.seen_of(records, [ttl_s])
        return model.reached(self, wanted, lambda: self._change(records, ttl_s), self.patience, self._behind)

    def check(self) -> str:
        try:
            if not self._asked(lambda: self.server.holds(self.zone), self.brief):
                return (
                    f"{self.server} does not hold the zone {self.zone}: correct semesterhub:fallback.dns.server or zone"
                )
            update = self._update()
            update.delete(self._name, "A", NOBODY)
            self._asked(lambda: self._sent(update), self.brief)
        except DnsError as problem:
            return str(problem)
        return ""

    @property
    def _name(self) -> dns.name.Name:
        return dns.name.from_text(self.name)

    def _asked(self, ask: Callable[[], T], patience: Patience | None = None) -> T:
        """Repeat while the server does not answer. Raises DnsError."""
        try:
            return (patience or self.patience).until(ask)
        except LaterError as never:
            raise DnsError(str(never)) from None

    def _records(self) -> tuple[Records, list[int]]:
        return self._asked(lambda: self.server.records(self.name))

    def _update(self) -> dns.update.UpdateMessage:
        key = self.key()
        signing = dns.tsig.Key(dns.name.from_text(key.name), key.secret, f"{key.algorithm}.")
        return dns.update.UpdateMessage(self.zone, keyring=signing)

    def _change(self, wanted: Records, ttl_s: int) -> None:
        target = model.seen_of(wanted, [ttl_s])

        def attempt() -> None:
            # Looked at anew each time: the answer to an update that was carried out may have got lost.
            now, ttls = self.server.records(self.name)
            if model.seen_of(now, ttls) == target:
                return
            if "CNAME" in wanted and (beside := self.server.beside(self.name)):
                # The server would take the addresses away, leave the host name out, and say that all is well.
                raise DnsError(
                    f"{self.name} has other records at {self.server} ({', '.join(beside)}), and a host name stands alone (RFC 1034, "
                    "3.6.2): write an address as semesterhub:fallback.address, or take those records away"
                )
            update = self._update()
            for kind in KINDS:
                if kind in now:
                    update.present(self._name, kind, *now[kind])
                else:
                    update.absent(self._name, kind)
            for kind in KINDS:
                update.delete(self._name, kind)
            for kind, values in wanted.items():
                for value in values:
                    update.add(self._name, ttl_s, kind, value)
            self._sent(update)

        self._asked(attempt)

    def _sent(self, update: dns.update.UpdateMessage) -> None:
        answer = self.server.exchange(update, tcp=True)
        code = answer.rcode()
        if code in MOVED:
            raise LaterError(f"{self.name} is being changed by somebody else at {self.server} at this moment")
        if code == dns.rcode.SERVFAIL:
            raise LaterError(
                f"{self.server} cannot write the zone {self.zone} (SERVFAIL): look at its log and its disk"
            )
        if code == dns.rcode.NOERROR:
            return
        raise DnsError(self._refused(code, str(update.keyname).rstrip(".")))

    def _refused(self, code: dns.rcode.Rcode, key: str) -> str:
        if code == dns.rcode.REFUSED:
            return (
                f"{self.server} refuses a change of {self.name} in the zone {self.zone} with the TSIG key {key}: give the key the right "
                f"there (BIND: `update-policy {{ grant {key} name {self.name}. A AAAA CNAME; }};`)"
            )
        if code == dns.rcode.NOTAUTH:
            return (
                f"{self.server} is not the primary server of the zone {self.zone} (NOTAUTH): write the primary one as "
                "semesterhub:fallback.dns.server"
            )
        if code == dns.rcode.NOTIMP:
            return f"{self.server} takes no dynamic updates (NOTIMP): turn them on for the zone {self.zone}"
        return f"{self.server} refuses the change of {self.name} in the zone {self.zone}: {said(code)}"

    def _behind(self, wanted: Seen) -> tuple[str, ...]:
        return wire.behind((self.others or self._listed)(), self.name, wanted, self.follow)

    def _listed(self) -> list[Server]:
        """What the zone itself lists, without the server that was written to. The list says nothing of ports: with
        another port than 53 here, it is another room, and nobody else is asked."""
        if self.server.port != 53:
            return []
        own = set(self.server.addresses())
        found: list[Server] = []
        try:
            names = list(self.server.name_servers(self.zone))
        except (LaterError, DnsError):
            return []
        for name in names:
            server = Server(name, timeout_s=self.server.timeout_s)
            try:
                if not own & set(server.addresses()):
                    found.append(server)
            except DnsError:
                continue  # a name that leads nowhere answers nobody
        return found
