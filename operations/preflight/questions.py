"""What a preflight asks the network: names, ports, certificates. Small, so that checks can be given others in tests."""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

TIMEOUT_S = 5.0
_NS, _IN = 2, 1
_NAME_ERROR = 3


class NotKnownError(Exception):
    """The question could not be answered; `str()` says why."""


@dataclass(frozen=True)
class Certificate:
    """What a server shows: until when, and why it is not trusted ("" when it is)."""

    until: datetime | None
    problem: str


def answers_as_ssh(host: str, port: int, timeout_s: float = TIMEOUT_S) -> str:
    """The greeting of the SSH server there. NotKnownError says what happened instead."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            greeting = connection.recv(255).decode("ascii", "replace").strip()
    except OSError as error:
        raise NotKnownError(error.strerror or str(error) or type(error).__name__) from None
    if not greeting.startswith("SSH-"):
        raise NotKnownError(f"something else than SSH answers: {greeting[:60]!r}")
    return greeting


def certificate(host: str, port: int = 443, timeout_s: float = TIMEOUT_S, trust: str = "") -> Certificate:
    """The certificate that a server shows for its name. NotKnownError when nobody answers. `trust`: a CA file instead of
    the system's."""
    context = ssl.create_default_context(cafile=trust or None)
    try:
        with (
            socket.create_connection((host, port), timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=host) as wrapped,
        ):
            shown = wrapped.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Certificate(None, error.verify_message)
    except (OSError, ssl.SSLError) as error:
        raise NotKnownError(getattr(error, "strerror", None) or str(error)) from None
    return Certificate(datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC), "")


def name_servers(zone: str, server: str = "", port: int = 53, timeout_s: float = TIMEOUT_S) -> frozenset[str]:
    """Names of the servers that the world asks for a zone; empty when there is no such zone. NotKnownError without an
    answer. `server`: whom to ask, default the machine's own resolver."""
    number = secrets.randbelow(2**16)
    question = b"".join(bytes([len(part)]) + part.encode("ascii") for part in zone.rstrip(".").split(".")) + b"\0"
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + question + struct.pack(">HH", _NS, _IN)
    target = server or _resolver()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(timeout_s)
            asking.connect((target, port))
            asking.send(query)
            answer = asking.recv(4096)
    except OSError as error:
        raise NotKnownError(f"the resolver {target} does not answer ({error.strerror or error})") from None
    try:
        return _names(answer, number)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise NotKnownError(f"the resolver {target} answers something unreadable") from None


def _resolver() -> str:
    try:
        lines = Path("/etc/resolv.conf").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    found = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    if not found:
        raise NotKnownError("this machine has no resolver (/etc/resolv.conf)")
    return found[0]


def _names(answer: bytes, number: int) -> frozenset[str]:
    their_number, flags, questions, answers = struct.unpack_from(">HHHH", answer)
    code = flags & 0xF
    if their_number != number or code not in (0, _NAME_ERROR):
        raise NotKnownError(f"the resolver answers with error {code}")
    at = 12
    for _ in range(questions):
        at = _name(answer, at)[1] + 4
    found = set()
    for _ in range(answers):
        at = _name(answer, at)[1]
        kind, _class, _ttl, length = struct.unpack_from(">HHIH", answer, at)
        if kind == _NS:
            found.add(_name(answer, at + 10)[0].lower())
        at += 10 + length
    return frozenset(found)


def _name(answer: bytes, at: int) -> tuple[str, int]:
    """A name and where the next thing begins. Names may go on elsewhere (RFC 1035, 4.1.4), always further back."""
    parts, after, jumps = [], 0, 0
    while length := answer[at]:
        if length >= 0xC0:
            after = after or at + 2
            at = struct.unpack_from(">H", answer, at)[0] & 0x3FFF
            jumps += 1
            if jumps > 20:
                raise IndexError("a name that points to itself")
            continue
        parts.append(answer[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(parts), after or at + 1
