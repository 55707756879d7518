"""What is outside the cloud, on this machine: the "bare metal" that a local semester falls back to, and the campus's name server.

The bare metal is one more machine container, in a network of its own, reached only by SSH; the name server is a real BIND that
takes signed updates (RFC 2136, TSIG). Both carry the stack's labels, so that `./hub destroy` finds them. Neither is known to
Pulumi: what a class falls back to must not depend on the state of what failed.
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from operations import images, ssh
from operations.errors import UserError
from operations.paths import WORK_DIR
from operations.progress import step
from providers.localcloud import docker_api, owned
from providers.localcloud.machine_container import docker_volume, launch

if TYPE_CHECKING:
    from components.semester import Semester

METAL, DNS, OUTSIDE = "metal", "dns", "outside"
"""Names within the stack, of the machine, the name server and their network."""
KIND = "outside"
KEEP_PATHS = {"metal-homes": "/srv/semesterhub", "metal-state": "/var/lib/semesterhub"}
"""Volume -> where the machine mounts it: a killed machine that is started again has its files."""
READY_TIMEOUT_S = 90.0
MEMORY_MIB = 6144
CPUS = 2.0
UNIT_OF_SSH = "mkdir -p /run/sshd && { [ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -A; } && /usr/sbin/sshd"
FALLBACK_ADDRESS = "127.0.0.2"
"""Where the bare metal's edge is published. All of 127.0.0.0/8 is this machine, so the hub's URL and port stay the same."""


def folder(stack: str) -> Path:
    """What this machine keeps of a stack's fallback: keys, state, known hosts."""
    return WORK_DIR / "fallback" / stack


def ssh_key(stack: str) -> Path:
    """The private key that opens the local bare metal; made at its first use, mode 0600."""
    path = folder(stack) / "id_ed25519"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        ssh.program()  # installs the client, and ssh-keygen with it, where that needs no question
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"semesterhub-{stack}", "-f", str(path)], check=True
        )
    return path


def tsig_key(stack: str) -> Path:
    """The TSIG key file (BIND's format) of the local name server; made at its first use, mode 0600."""
    path = folder(stack) / "dns.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        path.touch(0o600)
        path.write_text(f'key "{key_name(stack)}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
    return path


def key_name(_stack: str) -> str:
    return "semesterhub"


def user_data(authorized_key: str) -> str:
    """cloud-config of a machine that has nothing but SSH, as a rented server comes. `bootcmd` runs at every boot."""
    document = {
        "disable_root": False,
        "ssh_pwauth": False,
        "write_files": [
            {"path": "/root/.ssh/authorized_keys", "content": authorized_key + "\n", "permissions": "0600"},
        ],
        "bootcmd": [["sh", "-c", "mkdir -p /root/.ssh && chmod 700 /root/.ssh"], ["sh", "-c", UNIT_OF_SSH]],
    }
    return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False)


def gateway(semester: Semester) -> str:
    """The first address of the semester's network: this machine, as its hub VM sees it."""
    return str(next(ipaddress.IPv4Network(str(semester.network.cidr)).hosts()))


def up(stack: str, semester: Semester) -> None:
    """Machine and name server run; what is there already is left alone. Raises UserError."""
    with step("the bare metal (a machine container with SSH)") as tell:
        machine_up(stack, semester, tell)
    if semester.fallback and semester.fallback.dns and semester.fallback.dns.provider == "rfc2136":
        with step("the name server (BIND)") as tell:
            dns_up(stack, semester, tell)


def machine_up(stack: str, semester: Semester, tell: Callable[[str], None]) -> None:
    """The machine runs and takes SSH connections."""
    fallback = semester.fallback
    assert fallback is not None
    name = owned.object_name(stack, METAL)
    key = ssh_key(stack).with_suffix(".pub").read_text().strip()
    image = images.build("machine", tell)
    inputs: dict[str, Any] = {
        "name": METAL,
        "image": image.tag,
        "network": owned.object_name(stack, OUTSIDE),
        "ip": "",
        "role": METAL,
        "user_data": user_data(key),
        "memory_mib": MEMORY_MIB,
        "cpus": CPUS,
        "mounts": [
            {"volume": owned.object_name(stack, volume), "path": path, "read_only": False}
            for volume, path in KEEP_PATHS.items()
        ],
        "ports": [
            {"host_ip": str(fallback.host), "host_port": fallback.port, "container_port": 22},
            {
                "host_ip": str(fallback.address or fallback.host),
                "host_port": semester.local.https_port,
                "container_port": 443,
            },
        ],
    }
    identity = {key_: value for key_, value in inputs.items() if key_ not in ("memory_mib", "cpus")}
    found = docker_api.inspect("container", name)
    if found is not None:
        owned.require_ours("container", name, found["Config"].get("Labels"))
        if found["Config"]["Labels"].get(owned.SPEC) != owned.spec_hash(identity):
            # Another image, key or port: its files are on volumes, so a new machine is the same standby.
            tell("its description changed: it is made anew")
            docker_api.remove("container", name)
            found = None
    if found is None:
        _network(stack)
        for volume in KEEP_PATHS:
            _volume(stack, owned.object_name(stack, volume), volume)
        if _address_is_missing(str(fallback.host)):
            raise UserError(
                f"{fallback.host} is no address of this machine, so nobody could reach the bare metal there. "
                "For a local semester it is the "
                f"first address of its network; bring the semester up first: ./hub up --stack {stack}"
            )
        launch(name, inputs, owned.labels(stack, METAL, KIND, identity))
    elif not docker_api.alive(found):
        tell("starting it again")
        with docker_api.explained(f"starting the machine {name}"):
            docker_api.client().start(name)
    _wait_for_ssh(str(fallback.host), fallback.port, name)


def _wait_for_ssh(host: str, port: int, name: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            with socket.create_connection((host, port), timeout=2) as connection:
                connection.settimeout(2)
                if connection.recv(8).startswith(b"SSH-"):
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise UserError(
                f"the bare metal does not answer SSH on {host} port {port} after {READY_TIMEOUT_S:.0f} s: docker logs {name}"
            )
        time.sleep(0.3)


def _address_is_missing(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return True
    return False


def named_conf(zone: str, key_text: str, name: str) -> str:
    """BIND's configuration: one primary zone whose hub record may be changed with the key, and nothing else."""
    return f"""\
options {{
    directory "/var/lib/bind";
    recursion no;
    allow-query {{ any; }};
    allow-transfer {{ none; }};
    listen-on {{ any; }};
    dnssec-validation no;
    minimal-responses yes;
    pid-file "/run/named/named.pid";
}};
controls {{ }};
{key_text}
zone "{zone}" {{
    type primary;
    file "/var/lib/bind/zone.db";
    update-policy {{ grant {name} zonesub A AAAA CNAME TXT; }};
}};
"""


def zone_text(zone: str, domain: str, address: str, ttl_s: int) -> str:
    """The zone as it begins; BIND keeps it from then on."""
    host = "@" if domain == zone else domain.removesuffix(f".{zone}")
    return (
        f"$ORIGIN {zone}.\n$TTL {ttl_s}\n"
        f"@ IN SOA ns.{zone}. hostmaster.{zone}. ( 1 300 60 3600 {ttl_s} )\n"
        f"@ IN NS ns.{zone}.\nns IN A 127.0.0.1\n{host} {ttl_s} IN A {address}\n"
    )


def dns_up(stack: str, semester: Semester, tell: Callable[[str], None]) -> None:
    """The name server runs and answers for the hub's name."""
    assert semester.fallback is not None
    dns = semester.fallback.dns
    assert dns is not None and dns.provider == "rfc2136"
    name = owned.object_name(stack, DNS)
    image = images.build("dns", tell)
    conf = named_conf(dns.zone, tsig_key(stack).read_text(), dns.key_name)
    zone = zone_text(dns.zone, semester.domain, str(semester.local.bind_address), dns.ttl_s)
    # The label is public: of the key it knows only that it is this folder's.
    identity = {"image": image.tag, "port": dns.port, "zone": zone, "key": str(tsig_key(stack).stat().st_mtime_ns)}
    found = docker_api.inspect("container", name)
    if found is not None:
        owned.require_ours("container", name, found["Config"].get("Labels"))
        if docker_api.alive(found) and found["Config"]["Labels"].get(owned.SPEC) == owned.spec_hash(identity):
            return
        docker_api.remove("container", name)
    _network(stack)
    api: Any = docker_api.client()
    with docker_api.explained(f"starting the name server {name}"):
        api.create_container(
            image.tag,
            name=name,
            hostname=DNS,
            labels=owned.labels(stack, DNS, KIND, identity),
            ports=[(53, "udp"), (53, "tcp")],
            host_config=api.create_host_config(
                port_bindings={f"53/{protocol}": [(str(dns.server), dns.port)] for protocol in ("udp", "tcp")},
                restart_policy={"Name": "unless-stopped"},
                cap_drop=["ALL"],
                cap_add=["NET_BIND_SERVICE", "SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "SYS_CHROOT"],
            ),
            networking_config=api.create_networking_config(
                {owned.object_name(stack, OUTSIDE): api.create_endpoint_config()}
            ),
        )
    # BIND gives up root before it reads them: 0644 inside a container that nobody else enters.
    docker_api.put_files(
        name,
        {"/etc/semesterhub-dns/named.conf": (conf.encode(), 0o644), "/var/lib/bind/zone.db": (zone.encode(), 0o666)},
        directories={},
    )
    with docker_api.explained(f"starting the name server {name}"):
        api.start(name)
    _wait_for_dns(semester, stack, name)


def _wait_for_dns(semester: Semester, stack: str, name: str) -> None:
    from operations.dns import open_dns

    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            if open_dns(semester, stack).look().addresses:
                return
            said = "it knows no address of the hub"
        except UserError as problem:
            said = str(problem)
        if time.monotonic() > deadline:
            raise UserError(f"the name server does not answer: {said}. Its log: docker logs {name}")
        time.sleep(0.3)


def _network(stack: str) -> None:
    name = owned.object_name(stack, OUTSIDE)
    found = docker_api.inspect("network", name)
    if found is not None:
        owned.require_ours("network", name, found.get("Labels"))
        return
    with docker_api.explained(f"making the network {name}"):
        docker_api.client().create_network(name, driver="bridge", labels=dict(owned.labels(stack, OUTSIDE, KIND, {})))


def _volume(stack: str, name: str, short: str) -> None:
    if docker_api.inspect("volume", name) is None:
        with docker_api.explained(f"making the volume {name}"):
            docker_api.client().create_volume(name, labels=dict(owned.labels(stack, short, KIND, {})))


def destroy(stack: str) -> list[str]:
    """Remove machine, name server, network and their volumes; what was removed."""
    removed = []
    for short in (METAL, DNS):
        if docker_api.remove("container", owned.object_name(stack, short)):
            removed.append(f"container {owned.object_name(stack, short)}")
    for volume in (docker_volume(owned.object_name(stack, METAL)), *(owned.object_name(stack, v) for v in KEEP_PATHS)):
        if docker_api.remove("volume", volume):
            removed.append(f"volume {volume}")
    if docker_api.remove("network", owned.object_name(stack, OUTSIDE)):
        removed.append(f"network {owned.object_name(stack, OUTSIDE)}")
    return removed


def state(stack: str) -> Mapping[str, str]:
    """`running`, `exited`, … of machine and name server, or `none`."""
    found = {short: docker_api.inspect("container", owned.object_name(stack, short)) for short in (METAL, DNS)}
    return {short: str(seen["State"]["Status"]) if seen else "none" for short, seen in found.items()}
