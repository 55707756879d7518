"""A small authoritative DNS server of the tests' own, which checks TSIG and prerequisites for real (RFC 2136, RFC 8945).

What a real BIND does beyond that is tested against the real one (test_bind.py).
"""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

ZONE, NAME = "example.edu", "hub.example.edu"
KEY_NAME = "semesterhub"
SECRET = base64.b64encode(b"a secret of the campus' own, 32 b").decode()

Records = dict[tuple[str, str], tuple[int, set[str]]]
"""(name, kind) -> (ttl, values)"""


@dataclass
class Campus:
    """The server. `rights`: names that the key may change. `mood`: called with each message before it is answered; may
    sleep, or return False to leave it without an answer. `lies`: updates are said to be done, and are not."""

    port: int = 0
    zone: str = ZONE
    records: Records = field(default_factory=dict)
    rights: set[str] = field(default_factory=lambda: {NAME})
    key_name: str = KEY_NAME
    secret: str = SECRET
    algorithm: str = "hmac-sha256."
    lies: bool = False
    signs: bool = True
    mood: Callable[[dns.message.Message], bool] = lambda _message: True
    rcode: dns.rcode.Rcode | None = None
    updates: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, kind: str, *values: str, name: str = NAME, ttl: int = 60) -> None:
        self.records[(name, kind)] = (ttl, set(values))

    def get(self, kind: str, name: str = NAME) -> set[str]:
        return self.records.get((name, kind), (0, set()))[1]

    @property
    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        name = dns.name.from_text(self.key_name)
        return {name: dns.tsig.Key(name, self.secret, self.algorithm)}

    def answer(self, wire: bytes) -> bytes | None:
        try:
            message = dns.message.from_wire(wire, keyring=self.keyring)
        except dns.message.UnknownTSIGKey:
            return self._not_signed_well(wire, dns.rcode.BADKEY)
        except dns.tsig.BadAlgorithm:
            return self._not_signed_well(wire, dns.rcode.BADKEY)
        except dns.tsig.BadSignature:
            return self._not_signed_well(wire, dns.rcode.BADSIG)
        if not self.mood(message):
            return None
        with self.lock:
            answer = self._update(message) if message.opcode() == dns.opcode.UPDATE else self._query(message)
        if not self.signs:
            answer.tsig, answer.keyring = None, None
        return answer.to_wire()

    def _not_signed_well(self, wire: bytes, error: dns.rcode.Rcode) -> bytes:
        """RFC 8945, 5.2: NOTAUTH, with the reason in an unsigned TSIG record."""
        question = dns.message.from_wire(wire, keyring=False)
        answer = dns.message.make_response(question)
        answer.set_rcode(dns.rcode.NOTAUTH)
        answer.use_tsig(dns.tsig.Key(dns.name.from_text(KEY_NAME), b"x", self.algorithm), tsig_error=int(error))
        return answer.to_wire()

    def _query(self, message: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(message)
        question = message.question[0]
        if not question.name.is_subdomain(dns.name.from_text(self.zone)):
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
            return answer
        answer.flags |= dns.flags.AA
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        there = [known for at, known in self.records if at == name]
        for found in there if kind == "ANY" else (kind, "CNAME"):
            if (name, found) in self.records:
                ttl, values = self.records[(name, found)]
                rrset = dns.rrset.from_text_list(question.name, ttl, "IN", found, sorted(values))
                if rrset not in answer.answer:
                    answer.answer.append(rrset)
        if kind == "SOA" and name == self.zone:
            soa = f"ns.{name}. root.{name}. {self.updates + 1} 60 60 60 60"
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "SOA", soa))
        if not answer.answer and not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _update(self, message: dns.message.Message) -> dns.message.Message:
        assert isinstance(message, dns.update.UpdateMessage)
        answer = dns.message.make_response(message)
        if message.zone[0].name != dns.name.from_text(self.zone):
            answer.set_rcode(dns.rcode.NOTAUTH)
        elif self.rcode is not None:
            answer.set_rcode(self.rcode)
        elif not message.had_tsig:
            answer.set_rcode(dns.rcode.REFUSED)
        elif code := self._prerequisites(message):
            answer.set_rcode(code)
        elif any(self._text(rrset.name) not in self.rights for rrset in message.update):
            answer.set_rcode(dns.rcode.REFUSED)
        elif not self.lies:
            self._apply(message)
        return answer

    def _text(self, name: dns.name.Name) -> str:
        whole = name if name.is_absolute() else name.concatenate(dns.name.from_text(self.zone))
        return whole.to_text(omit_final_dot=True).lower()

    def _prerequisites(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode | None:
        for rrset in message.prerequisite:
            name, kind = self._text(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
            there = self.get(kind, name)
            if rrset.deleting == dns.rdataclass.NONE and there:
                return dns.rcode.YXRRSET
            if rrset.deleting == dns.rdataclass.ANY and not there:
                return dns.rcode.NXRRSET
            if rrset.deleting is None and {str(rdata) for rdata in rrset} != there:
                return dns.rcode.NXRRSET
        return None

    def _apply(self, message: dns.update.UpdateMessage) -> None:
        changed = False
        for rrset in message.update:
            key = (self._text(rrset.name), dns.rdatatype.to_text(rrset.rdtype))
            values = {str(rdata) for rdata in rrset}
            if rrset.deleting == dns.rdataclass.ANY:
                changed |= self.records.pop(key, None) is not None
            elif rrset.deleting == dns.rdataclass.NONE:
                ttl, there = self.records.get(key, (0, set()))
                changed |= bool(there & values)
                if there - values:
                    self.records[key] = (ttl, there - values)
                else:
                    self.records.pop(key, None)
            else:
                self.records[key] = (rrset.ttl, self.get(key[1], key[0]) | values)
                changed = True
        self.updates += changed


def _taken(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


@contextlib.contextmanager
def serving(campus: Campus) -> Iterator[Campus]:
    """On UDP and TCP of one free port of loopback."""
    for _ in range(20):
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
            break
        except OSError:
            udp.close()
            tcp.close()
    tcp.listen()
    campus.port = udp.getsockname()[1]
    ended = threading.Event()
    for one in (udp, tcp):
        one.settimeout(0.1)

    def over_udp() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                wire, sender = udp.recvfrom(65535)
                if (answer := campus.answer(wire)) is not None:
                    udp.sendto(answer, sender)

    def one_visitor(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            connection.settimeout(5)
            (length,) = struct.unpack("!H", _taken(connection, 2))
            answer = campus.answer(_taken(connection, length))
            if answer is not None:
                connection.sendall(struct.pack("!H", len(answer)) + answer)
            else:
                ended.wait(1)

    def over_tcp() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, _ = tcp.accept()
                threading.Thread(target=one_visitor, args=(connection,), daemon=True).start()

    threads = [threading.Thread(target=serve, daemon=True) for serve in (over_udp, over_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield campus
    finally:
        ended.set()
        for thread in threads:
            thread.join(3)
        udp.close()
        tcp.close()


def key_file(folder: Path, *, name: str = KEY_NAME, secret: str = SECRET, algorithm: str = "hmac-sha256") -> Path:
    """As tsig-keygen writes it."""
    path = folder / "dns.key"
    path.write_text(f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n', "utf-8")
    path.chmod(0o600)
    return path


def late(seconds: float, times: int) -> Callable[[dns.message.Message], bool]:
    """A mood: the first so many messages are answered late."""
    left = [times]

    def mood(_message: dns.message.Message) -> bool:
        if left[0]:
            left[0] -= 1
            time.sleep(seconds)
        return True

    return mood
