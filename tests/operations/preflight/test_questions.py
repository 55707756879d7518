"""Questions to the network, asked of servers of the test's own on loopback."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operations.preflight.questions import NotKnownError, answers_as_ssh, certificate, name_servers

pytestmark = pytest.mark.unit


@contextmanager
def greeting(text: bytes) -> Iterator[int]:
    """A TCP server that says one thing to one visitor."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            visitor, _ = server.accept()
            with visitor:
                visitor.sendall(text)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_an_ssh_server_is_known_by_its_greeting() -> None:
    with greeting(b"SSH-2.0-OpenSSH_9.2p1\r\n") as port:
        assert answers_as_ssh("127.0.0.1", port) == "SSH-2.0-OpenSSH_9.2p1"


def test_another_server_on_the_port_is_not_ssh() -> None:
    with greeting(b"220 mail.example.edu ESMTP\r\n") as port, pytest.raises(NotKnownError, match="something else"):
        answers_as_ssh("127.0.0.1", port)


def test_a_closed_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotKnownError, match="refused"):
        answers_as_ssh("127.0.0.1", port)


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


@contextmanager
def resolver(*servers: str, code: int = 0, wrong_number: bool = False, rest: bytes = b"") -> Iterator[int]:
    """A DNS server that answers one question, with names that point back into the question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            query, visitor = server.recvfrom(512)
            number = struct.unpack_from(">H", query)[0] ^ (1 if wrong_number else 0)
            records = b""
            for name in servers:
                # The zone's own name is a pointer to offset 12; the last labels of the server's too.
                data = dns_name(name)[:-1] + b"\0" if not name.endswith(".example.edu") else (
                    bytes([len(name.split(".")[0])]) + name.split(".")[0].encode() + b"\xc0\x0c")  # fmt: skip
                records += b"\xc0\x0c" + struct.pack(">HHIH", 2, 1, 300, len(data)) + data
            header = struct.pack(">HHHHHH", number, 0x8180 | code, 1, len(servers), 0, 0)
            server.sendto(rest or header + query[12:] + records, visitor)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_name_servers_are_read_also_where_names_are_shortened() -> None:
    with resolver("ns1.example.edu", "NS-1.awsdns-00.org") as port:
        assert name_servers("example.edu", "127.0.0.1", port) == {"ns1.example.edu", "ns-1.awsdns-00.org"}


def test_a_zone_that_nobody_knows_has_none() -> None:
    with resolver(code=3) as port:
        assert name_servers("example.edu", "127.0.0.1", port) == frozenset()


@pytest.mark.parametrize(
    "answer",
    [{"code": 2}, {"wrong_number": True}, {"rest": b"\0\1"}],
    ids=["server failure", "another's answer", "rubbish"],
)
def test_an_answer_that_is_none_is_not_taken_for_one(answer: dict[str, object]) -> None:
    with resolver(**answer) as port, pytest.raises(NotKnownError):  # type: ignore[arg-type]
        name_servers("example.edu", "127.0.0.1", port)


def test_a_name_that_points_to_itself_ends() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            query, visitor = server.recvfrom(512)
            server.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, 0, 0, 0) + b"\xc0\x0c" + query[-4:], visitor)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NotKnownError, match="unreadable"):
            name_servers("example.edu", "127.0.0.1", server.getsockname()[1])
        thread.join(5)


@contextmanager
def https(folder: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server named localhost with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    until = datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    trust = folder / "ca.pem"
    trust.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(private + trust.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            visitor, _ = server.accept()
            try:
                context.wrap_socket(visitor, server_side=True).close()
            except OSError:
                visitor.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], trust
        thread.join(5)


def test_a_trusted_certificate_tells_its_end(tmp_path: Path) -> None:
    with https(tmp_path) as (port, trust):
        shown = certificate("localhost", port, trust=str(trust))
    assert (shown.until, shown.problem) == (datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC), "")


def test_a_certificate_that_nobody_trusts_says_so(tmp_path: Path) -> None:
    with https(tmp_path) as (port, _):
        shown = certificate("localhost", port)
    assert shown.until is None and "self" in shown.problem


def test_a_server_that_is_not_there_has_no_certificate() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotKnownError):
        certificate("localhost", port)
