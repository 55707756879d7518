"""Asking one DNS server, and what it means when it does not answer as it should."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig

from operations.dns.model import KINDS, DnsError, Records, Seen, seen_of
from operations.patience import LaterError, Patience

TIMEOUT_S = 3.0
NOT_OWN = ("RRSIG", "NSEC", "NSEC3", "HINFO")
"""Signatures, and what a server that keeps the rest to itself answers (RFC 8482)."""


@dataclass(frozen=True)
class Server:
    """Where a DNS server answers. `host` is a name or an address."""

    host: str
    port: int = 53
    timeout_s: float = TIMEOUT_S

    def __str__(self) -> str:
        return f"the DNS server {self.host}" + ("" if self.port == 53 else f" port {self.port}")

    def addresses(self) -> tuple[str, ...]:
        """Of the host. Raises DnsError when there is no such host."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        except (socket.gaierror, UnicodeError):
            raise DnsError(
                f"there is no host {self.host}: correct semesterhub:fallback.dns.server, or write its address there"
            ) from None
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def exchange(self, message: dns.message.Message, *, tcp: bool) -> dns.message.Message:
        """The server's answer. LaterError when there is none (now); DnsError for a TSIG key that it does not take."""
        problem = ""
        for address in self.addresses():
            try:
                if tcp:
                    return dns.query.tcp(message, address, self.timeout_s, self.port)
                return dns.query.udp_with_fallback(message, address, self.timeout_s, self.port, ignore_unexpected=True)[
                    0
                ]
            except dns.exception.Timeout:
                problem = problem or f"no answer within {self.timeout_s:g} s"
            except (OSError, EOFError, ssl.SSLError) as error:
                problem = problem or getattr(error, "strerror", None) or "it ended the connection"
            except (
                dns.tsig.PeerError,
                dns.tsig.BadSignature,
                dns.tsig.BadKey,
                dns.tsig.BadAlgorithm,
                dns.tsig.BadTime,
            ) as error:
                raise DnsError(self._bad_key(error, message)) from None
            except (dns.exception.DNSException, ValueError) as error:
                if message.had_tsig and isinstance(error, dns.exception.FormError):  # dnspython's word for unsigned
                    raise DnsError(self._bad_key(error, message)) from None
                problem = problem or f"its answer is not readable ({type(error).__name__})"
        raise LaterError(
            f"{self} does not answer ({problem}): is it running, and does its firewall let this machine in (port {self.port}, UDP "
            "and TCP)?"
        )

    def _bad_key(self, error: Exception, message: dns.message.Message) -> str:
        key = str(message.keyname).rstrip(".")
        if isinstance(error, dns.tsig.PeerBadKey):
            return (
                f"{self} knows no TSIG key named {key} with this algorithm: correct semesterhub:fallback.dns.key_name or "
                "key_algorithm, or give the server the key"
            )
        if isinstance(error, dns.tsig.PeerBadTime | dns.tsig.BadTime):
            return (
                f"{self} refuses the signature because its clock and this machine's differ by minutes: set the clocks"
            )
        if isinstance(error, dns.tsig.PeerBadSignature):
            return (
                f"{self} has another secret for the TSIG key {key}: put the server's own key into "
                "semesterhub:fallback.dns.key_file or key_secret"
            )
        return (
            f"the answer of {self} is not signed with the TSIG key {key}, so something in between may have made it up"
        )

    def records(self, name: str) -> tuple[Records, list[int]]:
        """The hub's records that this server answers with authority, and their lifetimes. LaterError without an answer;
        DnsError when it is not the server to ask."""
        wanted = dns.name.from_text(name)
        found: dict[str, tuple[str, ...]] = {}
        ttls: dict[str, int] = {}
        for question in ("A", "AAAA"):
            query = dns.message.make_query(wanted, question)
            query.flags &= ~dns.flags.RD
            answer = self.exchange(query, tcp=False)
            code = answer.rcode()
            if code == dns.rcode.SERVFAIL:
                raise LaterError(f"{self} cannot answer for {name} at the moment (SERVFAIL): look at its log")
            if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not answer.flags & dns.flags.AA:
                raise DnsError(
                    f"{self} does not hold a zone with {name} ({said(code)}): correct semesterhub:fallback.dns.server or zone"
                )
            for rrset in answer.answer:
                kind = dns.rdatatype.to_text(rrset.rdtype)
                if rrset.name == wanted and kind in KINDS:
                    found[kind] = tuple(sorted(str(rdata).lower() for rdata in rrset))
                    ttls[kind] = rrset.ttl
        return found, list(ttls.values())

    def beside(self, name: str) -> tuple[str, ...]:
        """Kinds of records that the name has besides the hub's own and those that signing makes, as far as the server tells."""
        query = dns.message.make_query(name, "ANY")
        query.flags &= ~dns.flags.RD
        answer = self.exchange(query, tcp=True)
        kinds = {
            dns.rdatatype.to_text(rrset.rdtype) for rrset in answer.answer if rrset.name == dns.name.from_text(name)
        }
        return tuple(sorted(kinds - {*KINDS, *NOT_OWN}))

    def holds(self, zone: str) -> bool:
        """Whether it answers for the zone itself with authority. LaterError without an answer."""
        query = dns.message.make_query(zone, "SOA")
        query.flags &= ~dns.flags.RD
        answer = self.exchange(query, tcp=False)
        if answer.rcode() == dns.rcode.SERVFAIL:
            raise LaterError(f"{self} cannot answer for the zone {zone} at the moment (SERVFAIL): look at its log")
        return bool(answer.flags & dns.flags.AA) and any(_is(rrset, zone, "SOA") for rrset in answer.answer)

    def name_servers(self, zone: str) -> Iterator[str]:
        """The zone's own list of its name servers. LaterError without an answer."""
        query = dns.message.make_query(zone, "NS")
        query.flags &= ~dns.flags.RD
        for rrset in self.exchange(query, tcp=False).answer:
            if _is(rrset, zone, "NS"):
                yield from (str(rdata).rstrip(".").lower() for rdata in rrset)


def behind(servers: Iterable[Server], name: str, wanted: Seen, patience: Patience) -> tuple[str, ...]:
    """Those that still do not say so after a while, whether they say something else or nothing: resolvers ask these, too."""
    waiting = {str(server): server for server in servers}

    def followed() -> None:
        for label, server in list(waiting.items()):
            try:
                if seen_of(*server.records(name)) == wanted:
                    del waiting[label]
            except (LaterError, DnsError):
                continue
        if waiting:
            raise LaterError(", ".join(waiting))

    with contextlib.suppress(LaterError):
        patience.until(followed)
    return tuple(waiting)


def _is(rrset: dns.rrset.RRset, name: str, kind: str) -> bool:
    return rrset.name == dns.name.from_text(name) and dns.rdatatype.to_text(rrset.rdtype) == kind


def said(code: dns.rcode.Rcode) -> str:
    """The server's own word for a refusal, as DNS people know it."""
    return dns.rcode.to_text(code) if code != dns.rcode.NOERROR else "no authority"
