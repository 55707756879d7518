"""The same against the real BIND of Debian: what it says to wrong keys and rights, and that a check leaves no trace."""

from __future__ import annotations

import base64
import dataclasses
import io
import secrets
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dns.message
import docker
import pytest
from docker.models.containers import Container

from operations import images
from operations.dns import DnsError, Seen
from operations.dns.rfc2136 import Rfc2136
from operations.dns.tsig import TsigKey
from operations.dns.wire import Server
from operations.patience import LaterError, Patience

pytestmark = pytest.mark.sandbox

ZONE, NAME = "example.edu", "hub.example.edu"
CLOUD, FALLBACK = "192.0.2.1", "192.0.2.2"
SECRET = secrets.token_bytes(32)
CONFIG = f"""
options {{ directory "/zones"; recursion no; listen-on {{ any; }}; allow-transfer {{ none; }}; pid-file none; }};
controls {{ }};
key "semesterhub" {{ algorithm hmac-sha256; secret "{base64.b64encode(SECRET).decode()}"; }};
zone "{ZONE}" {{ type primary; file "zone"; update-policy {{ grant semesterhub name {NAME}. A AAAA CNAME; }}; }};
"""
ZONE_FILE = f"""$TTL 60
@ SOA ns.{ZONE}. root.{ZONE}. 1 600 600 600 60
@ NS ns.{ZONE}.
ns A 127.0.0.1
hub A {CLOUD}
other A 192.0.2.9
hub TXT "the campus' own"
"""
HASTY = Patience(15, first_s=0.05, most_s=0.2)


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """BIND with one zone, reached at its own address."""
    image = images.build("dns", lambda _line: None)
    client = docker.from_env()
    made = client.containers.create(image.tag, name=f"semesterhub-test-bind-{secrets.token_hex(4)}")
    try:
        made.put_archive("/", packed({"etc/bind/semesterhub.conf": CONFIG, "zones/zone": ZONE_FILE}))
        made.start()
        made.reload()
        HASTY.until(lambda: serves(made))
        yield made
    finally:
        made.remove(force=True, v=True)
        client.close()


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def server(container: Container) -> Server:
    return Server(container.attrs["NetworkSettings"]["IPAddress"], timeout_s=1)


def serves(container: Container) -> None:
    if not server(container).holds(ZONE):
        raise LaterError(container.logs().decode()[-2000:])


def name_at(
    container: Container, secret: bytes = SECRET, key: str = "semesterhub", name: str = NAME, zone: str = ZONE
) -> Rfc2136:
    signing = TsigKey(key, "hmac-sha256", secret)
    # Nobody is asked for the name servers of example.edu: they are the world's.
    return Rfc2136(name, zone, server(container), lambda: signing, patience=HASTY, brief=HASTY, others=list)


def serial(container: Container) -> str:
    query = dns.message.make_query(ZONE, "SOA")
    return str(server(container).exchange(query, tcp=False).answer[0][0]).split()[2]


def texts(container: Container) -> list[str]:
    query = dns.message.make_query(NAME, "TXT")
    return [str(rdata) for rrset in server(container).exchange(query, tcp=False).answer for rdata in rrset]


def test_a_real_bind_takes_a_switch_and_shows_it(container: Container) -> None:
    it = name_at(container)
    assert it.switch([CLOUD], 60).seen == Seen((CLOUD,), 60)
    assert it.switch([FALLBACK], 5).seen == Seen((FALLBACK,), 5) == it.look()
    assert texts(container) == ['"the campus\' own"']
    assert it.switch([FALLBACK, "2001:db8::2"], 5).seen.addresses == (FALLBACK, "2001:db8::2")
    assert it.switch([CLOUD], 60).seen == Seen((CLOUD,), 60)


def test_repeated_and_checked_it_changes_nothing(container: Container) -> None:
    it = name_at(container)
    it.switch([CLOUD], 60)
    before = serial(container)
    assert it.check() == "" and not it.switch([CLOUD], 60).changed and serial(container) == before


def test_each_refusal_of_a_real_bind_is_one_sentence(container: Container) -> None:
    cases = {
        "another secret for the TSIG key semesterhub": name_at(container, secret=b"somebody else's"),
        "knows no TSIG key named nobody": name_at(container, key="nobody"),
        "refuses a change of other.example.edu in the zone example.edu": name_at(container, name="other.example.edu"),
        "does not hold": name_at(container, name="hub.example.org", zone="example.org"),
    }
    for says, it in cases.items():
        said = it.check()
        assert says in said and "\n" not in said, said
        with pytest.raises(DnsError, match=says):
            it.switch([FALLBACK], 60)


def test_a_host_name_beside_other_records_is_refused_before_the_addresses_go(container: Container) -> None:
    """BIND would take the addresses away, leave out the CNAME because of the TXT, and say that all is well."""
    it = name_at(container)
    it.switch([CLOUD], 60)
    with pytest.raises(DnsError, match=r"has other records .* \(TXT\), and a host name stands alone"):
        it.switch(["hub0.example.org"], 60)
    assert it.look() == Seen((CLOUD,), 60)


def test_two_admins_at_once_leave_one_answer(container: Container) -> None:
    def switch(address: str) -> object:
        try:
            return name_at(container).switch([address], 60)
        except DnsError as error:
            return error

    with ThreadPoolExecutor(2) as both:
        list(both.map(switch, ["192.0.2.3", "192.0.2.4"]))
    assert name_at(container).look().addresses in (("192.0.2.3",), ("192.0.2.4",))


def test_a_bind_that_stands_still_is_one_sentence(container: Container) -> None:
    container.pause()
    try:
        silent = dataclasses.replace(name_at(container), brief=Patience(1))
        assert "does not answer (no answer within 1 s)" in silent.check()
    finally:
        container.unpause()
    assert name_at(container).check() == ""
