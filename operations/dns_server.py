"""The campus DNS server of a local stack: a real BIND for the hub's name, which takes updates signed with the zone's key.

It answers on the address and port that `fallback.dns` names (a loopback one), UDP and TCP, and is the zone's only server.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.semester_access import Rfc2136Dns
from operations import images, local_containers
from operations.errors import UserError
from operations.paths import admin_path
from operations.progress import note, step
from providers.base import ProviderError
from providers.localcloud import docker_api, host, owned

if TYPE_CHECKING:
    from components.semester import Semester

SERVER, ZONES = "dns", "dns-zones"
KEY_BYTES = {"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}
START_TIMEOUT_S = 20
ZONE_FILE = "/zones/zone.db"

CONFIGURATION = """\
include "/etc/bind/semesterhub.key";
options {{
    directory "/zones";
    pid-file none;
    listen-on port 53 {{ any; }};
    listen-on-v6 {{ none; }};
    recursion no;
    allow-transfer {{ none; }};
    dnssec-validation no;
}};
controls {{ }};
zone "{zone}" {{
    type primary;
    file "{file}";
    update-policy {{ grant "{key}" zonesub A AAAA CNAME; }};
}};
"""

ZONE = """\
$TTL {ttl}
@ IN SOA ns.{zone}. hostmaster.{zone}. ( 1 3600 600 86400 {ttl} )
@ IN NS ns.{zone}.
ns.{zone}. IN A 127.0.0.1
{name}. IN A {address}
"""


def is_local(semester: Semester) -> bool:
    """Whether the DNS server is a container that this checkout makes: a local stack that names a server on loopback."""
    dns = semester.fallback.dns if semester.fallback else None
    return semester.cloud == "local" and isinstance(dns, Rfc2136Dns) and dns.server.startswith("127.")


def ensure(stack: str, semester: Semester) -> None:
    """The server answers for the zone; its key is made when there is none. Raises UserError."""
    dns = semester.fallback.dns if semester.fallback else None
    assert isinstance(dns, Rfc2136Dns)
    if dns.key_file is None:
        raise UserError(
            f"stack '{stack}' has a DNS server of its own on this machine, so its key is a file.\n"
            f"  Write `key_file: .semesterhub/fallback/{stack}/dns.key` instead of key_secret under fallback.dns."
        )
    key = ensure_key(admin_path(dns.key_file), dns.key_name, dns.key_algorithm)
    with step("DNS server image") as tell:
        image = images.build("dns", tell).tag
    zone = ZONE.format(ttl=dns.ttl_s, zone=dns.zone, name=semester.domain, address=str(semester.local.bind_address))
    files = {
        "/etc/bind/semesterhub.conf": CONFIGURATION.format(zone=dns.zone, file=ZONE_FILE, key=dns.key_name),
        "/etc/bind/semesterhub.key": key,
    }
    spec = {
        "image": image, "server": dns.server, "port": dns.port, "zone": dns.zone,
        "name": semester.domain, "configuration": files["/etc/bind/semesterhub.conf"],
        "key_made": admin_path(dns.key_file).stat().st_mtime_ns,
    }  # fmt: skip
    if local_containers.ensure(
        stack, SERVER, "dns", spec, lambda name, labels: _make(stack, name, labels, spec, files, zone)
    ):
        note(
            f"the DNS server {owned.object_name(stack, SERVER)} answers for {dns.zone} on {dns.server} port {dns.port}"
        )
    _wait(dns.server, dns.port, dns.zone, stack)


def _make(
    stack: str, name: str, labels: dict[str, str], spec: dict[str, Any], files: dict[str, str], zone: str
) -> None:
    holder = host.who_holds_port(spec["server"], spec["port"])
    if holder:
        raise UserError(
            f"port {spec['port']} on {spec['server']} is taken by {holder}. Set `semesterhub:fallback.dns.port` in the stack file "
            "to a free port, or stop what holds it."
        )
    zones = local_containers.volume(stack, ZONES)
    api: Any = docker_api.client()
    with docker_api.explained(f"making the DNS server {name}"):
        bindings = {f"53/{kind}": (spec["server"], spec["port"]) for kind in ("tcp", "udp")}
        config = api.create_host_config(
            binds=[f"{zones}:/zones:rw"], port_bindings=bindings, restart_policy={"Name": "unless-stopped"},
            pids_limit=256, mem_limit=256 * 2**20,
        )  # fmt: skip
        api.create_container(
            spec["image"],
            name=name,
            hostname=SERVER,
            labels=labels,
            ports=[(53, "tcp"), (53, "udp")],
            host_config=config,
        )
    # BIND's user may read the key, and what is copied in belongs to root: only the container's own processes see it.
    docker_api.put_files(name, {path: (text.encode(), 0o644) for path, text in files.items()}, directories={})
    with docker_api.explained(f"starting the DNS server {name}"):
        # The zone itself only once: afterwards it is BIND's, and holds where the hub is.
        if not _has_zone(name):
            docker_api.put_files(name, {ZONE_FILE: (zone.encode(), 0o666)}, directories={})
        api.start(name)


def _has_zone(container: str) -> bool:
    from docker.errors import NotFound

    with contextlib.suppress(NotFound):
        docker_api.client().get_archive(container, ZONE_FILE)
        return True
    return False


def ensure_key(path: Path, name: str, algorithm: str) -> str:
    """The TSIG key file as `tsig-keygen` writes it, readable by its owner alone; made when there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = base64.b64encode(secrets.token_bytes(KEY_BYTES[algorithm])).decode()
        text = f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{value}";\n}};\n'
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text)
        fresh.replace(path)
    return path.read_text("utf-8")


def _wait(server: str, port: int, zone: str, stack: str) -> None:
    """Until BIND itself answers for the zone; a port that Docker holds is not enough."""
    from dns.exception import DNSException
    from dns.message import make_query
    from dns.query import udp
    from dns.rcode import NOERROR

    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError, DNSException):
            if udp(make_query(zone, "SOA"), server, port=port, timeout=1).rcode() == NOERROR:
                return
        if time.monotonic() > deadline:
            log = docker_api.client().logs(owned.object_name(stack, SERVER), tail=5).decode("utf-8", "replace")
            raise UserError(f"the DNS server does not answer on {server} port {port} after {START_TIMEOUT_S} s:\n{log}")
        time.sleep(0.2)


def destroy(stack: str) -> list[str]:
    """Remove server and zone; what was removed."""
    try:
        return local_containers.remove(stack, {SERVER: "container", ZONES: "volume"})
    except ProviderError as error:
        raise UserError(str(error)) from None
