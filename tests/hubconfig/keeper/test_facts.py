"""What a site says of its disk, its certificate and its images."""

from __future__ import annotations

import datetime
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hubconfig.keeper import facts
from hubconfig.keeper.config import KeeperConfig, parse
from hubconfig.keeper.engine import Engine

pytestmark = pytest.mark.unit


@pytest.fixture
def config(tmp_path: Path) -> KeeperConfig:
    paths = {
        name: str(tmp_path / name.removesuffix("_path"))
        for name in ("homes_path", "state_path", "secrets_path", "run_path")
    }
    for path in paths.values():
        Path(path).mkdir()
    return parse(
        {
            "site": "fallback",
            "hub_url": "https://hub.test",
            "domain": "hub.test",
            "images": ["r/a@sha256:1", "r/b@sha256:2"],
            **paths,
        }
    )


def test_homes_are_counted_and_the_disk_is_measured(config: KeeperConfig) -> None:
    for name in ("ada", "grace"):
        (config.homes_path / name).mkdir()
    (config.homes_path / "a-file").write_text("x")
    found = facts.disk(config.homes_path)
    assert found["users"] == 2 and found["homes_free_bytes"] > 0 and found["homes_used_bytes"] > 0


class Docker(Engine):
    def has_image(self, reference: str) -> bool:
        return reference == "r/a@sha256:1"


def test_images_that_are_not_here_are_named(config: KeeperConfig) -> None:
    assert facts.missing_images(config, Docker()) == ["r/b@sha256:2"]


class Edge(BaseRequestHandler):
    def handle(self) -> None:
        try:
            self.server.context.wrap_socket(self.request, server_side=True).close()  # type: ignore[attr-defined]
        except (OSError, ssl.SSLError):
            return


def signed(folder: Path, name: str, lasts: datetime.timedelta) -> tuple[Path, Path]:
    """A certificate of its own authority for `name`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=2)).not_valid_after(now + lasts)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "c.pem", folder / "k.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    return paths


@pytest.fixture
def edge(config: KeeperConfig, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    name, lasts = request.param
    certificate, key = signed(tmp_path, name, lasts)
    root = config.state_path / "edge/pki/authorities/local/root.crt"
    root.parent.mkdir(parents=True)
    root.write_bytes(certificate.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingTCPServer(("127.0.0.1", 0), Edge)
    server.context = context  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address  # type: ignore[misc]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("edge", [("hub.test", datetime.timedelta(hours=5))], indirect=True)
def test_a_good_certificate_is_told_with_its_end(config: KeeperConfig, edge: tuple[str, int]) -> None:
    until, why = facts.certificate(config, edge)
    assert why == "" and until is not None and abs(until - time.time() - 5 * 3600) < 60


@pytest.mark.parametrize(
    ("edge", "said"),
    [(("other.test", datetime.timedelta(hours=5)), "match"), (("hub.test", datetime.timedelta(days=-1)), "expired")],
    indirect=["edge"],
)
def test_a_certificate_that_a_browser_would_not_take_is_none(
    config: KeeperConfig, edge: tuple[str, int], said: str
) -> None:
    until, why = facts.certificate(config, edge)
    assert until is None and said in why


def test_an_edge_that_does_not_run_shows_no_certificate(config: KeeperConfig) -> None:
    until, why = facts.certificate(config, ("127.0.0.1", 1))
    assert until is None and "refused" in why
