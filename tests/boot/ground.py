"""A piece of network with a stand-in of both clouds, on which machine containers boot as a cloud's machines do.

The stand-in has a container of its own that also holds 169.254.169.254, as a cloud's network has beside every machine;
each machine has a route to it, and finds the names of the cloud's services in its hosts file.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.localcloud.machine_container import CAPABILITIES
from tests.boot import standin

STANDIN_HOST = 5
CAN = [word for name in CAPABILITIES for word in ("--cap-add", name)]
LOOSE = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
MACHINE_FLAGS = [*CAN, *LOOSE, "--security-opt", "systempaths=unconfined", "--cgroupns=private", "--memory", "2g"]
# OpenSSL (the agent's Python) reads the first, Go (Docker) each file of the second's folder.
TRUST_FILES = ("/usr/lib/ssl/cert.pem", "/etc/ssl/certs/stand-in.pem")


def docker(*arguments: str, check: bool = True, timeout_s: float = 300, stdin: str | None = None) -> str:
    """The docker command's output."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, input=stdin
    )
    assert not check or done.returncode == 0, f"docker {' '.join(arguments[:6])}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def until(what: Callable[[], Any], timeout_s: float, why: Callable[[], str] = lambda: "") -> Any:
    """The first answer that is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not so after {timeout_s:g} s. {why()}"
        time.sleep(1)
    return answer


def certificates(folder: Path, names: list[str]) -> None:
    """`ca.pem`, and `server.pem` with `server.key` for the names; good for a day."""
    now = datetime.datetime.now(datetime.UTC)

    def build(name: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
        subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
        start, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
        return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build("stand-in", ca_key, "stand-in").add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    server = build("services", key, "stand-in").add_extension(alternatives, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.pem").write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    private = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key.private_bytes(*private))
    # The stand-in's user inside its container is not the one who runs the tests.
    for file in folder.iterdir():
        file.chmod(0o644)


@dataclass
class Ground:
    """The network, the stand-in, and the machines put on it."""

    name: str
    subnet: str
    folder: Path
    image: str
    services: list[str]
    machines: list[str] = field(default_factory=list)

    def ip(self, host: int) -> str:
        return f"{self.subnet}.{host}"

    def _port(self, port: int) -> str:
        return docker("port", f"{self.name}-cloud", f"{port}/tcp").splitlines()[0].rpartition(":")[2]

    def control(self, **changes: Any) -> dict[str, Any]:
        """Changes the stand-in; what it was asked, its secrets and events."""
        data = json.dumps(changes).encode() if changes else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port(9000)}/", data, timeout=10) as answer:
            return json.loads(answer.read())

    def requests(self) -> list[standin.Request]:
        """Every request for a service, but the metadata service's own."""
        return [standin.Request(**{**item, "body": item["body"].encode()}) for item in self.control()["requests"]]

    def publish(self, tag: str, repository: str) -> str:
        """Pushes a local image into the stand-in's registry; its digest."""
        there = f"127.0.0.1:{self._port(5000)}/{repository}:pushed"
        docker("tag", tag, there)
        try:
            docker("push", "--quiet", there)
            listed = docker("image", "inspect", "--format", "{{json .RepoDigests}}", there)
            wanted = there.rpartition(":")[0] + "@"
            return next(name for name in json.loads(listed) if name.startswith(wanted)).partition("@")[2]
        finally:
            docker("rmi", there, check=False)

    def machine(self, name: str, host: int, user_data: str) -> str:
        """A machine that boots through cloud-init; its container's name."""
        container = f"{self.name}-{name}"
        self.machines.append(container)
        hosts = [word for service in self.services for word in ("--add-host", f"{service}:{self.ip(STANDIN_HOST)}")]
        address = ["--network", self.name, "--ip", self.ip(host), "--hostname", container]
        volume = ["--volume", f"{container}:/var/lib/docker"]
        docker("create", "--name", container, *MACHINE_FLAGS, *address, *hosts, *volume, self.image)
        seed = self.folder / container
        seed.mkdir()
        (seed / "user-data").write_text(user_data)
        (seed / "meta-data").write_text(json.dumps({"instance-id": container, "local-hostname": container}))
        docker("cp", f"{seed}/.", f"{container}:/var/lib/cloud/seed/nocloud/")
        for file in TRUST_FILES:
            docker("cp", str(self.folder / "ca.pem"), f"{container}:{file}")
        docker("start", container)
        docker("exec", container, "ip", "route", "add", standin.METADATA_HOST, "via", self.ip(STANDIN_HOST))
        return container

    def sh(self, container: str, command: str, *, check: bool = True) -> str:
        """A shell command's output in a machine."""
        return docker("exec", container, "sh", "-c", command, check=check)

    def wait_ready(self, container: str, timeout_s: float) -> None:
        """Until the agent says that the machine is ready."""

        def ready() -> bool:
            text = self.sh(container, "cat /run/semesterhub/status.json 2>/dev/null", check=False)
            return '"ready"' in text

        def why() -> str:
            return self.sh(container, "semesterhub-node status; tail -n 30 /var/log/cloud-init-output.log", check=False)

        until(ready, timeout_s, why)


@contextmanager
def ground(
    folder: Path, image: str, services: list[str], metadata: Mapping[str, str], client_id: str
) -> Iterator[Ground]:
    """A ground with a free network of its own; nothing of it is left afterwards."""
    name = f"boottest-{secrets.token_hex(3)}"
    certificates(folder, services)
    made = Ground(name, "", folder, image, services)
    try:
        made.subnet = _network(name)
        settings = {
            "certificate": "/srv/server.pem",
            "key": "/srv/server.key",
            "metadata": dict(metadata),
            "client_id": client_id,
        }
        (folder / "standin.json").write_text(json.dumps(settings))
        start = (
            f"ip address add {standin.METADATA_HOST}/32 dev eth0 && "
            "{ docker-registry serve /etc/docker/registry/config.yml >/dev/null 2>&1 & } && "
            "exec python3 /srv/standin.py /srv/standin.json"
        )
        cloud = f"{name}-cloud"
        ports = ["--publish", "127.0.0.1::5000", "--publish", "127.0.0.1::9000"]
        address = ["--network", name, "--ip", made.ip(STANDIN_HOST), "--cap-add", "NET_ADMIN"]
        docker("create", "--name", cloud, *address, *ports, "--entrypoint", "sh", image, "-c", start)
        for file in (folder / "server.pem", folder / "server.key", folder / "standin.json", Path(standin.__file__)):
            docker("cp", str(file), f"{cloud}:/srv/{file.name}")
        docker("start", cloud)
        until(lambda: _answers(made), 30, lambda: docker("logs", cloud, check=False))
        yield made
    finally:
        docker("kill", f"{name}-cloud", *made.machines, check=False)
        docker("rm", "--force", "--volumes", f"{name}-cloud", *made.machines, check=False)
        for machine in made.machines:
            docker("volume", "rm", "--force", machine, check=False)
        docker("network", "rm", name, check=False)


def _answers(made: Ground) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{made._port(5000)}/v2/", timeout=5).close()
        return bool(made.control())
    except (OSError, AssertionError):
        return False


def _network(name: str) -> str:
    """A Docker network of /24; the first three parts of its addresses."""
    for _ in range(20):
        third = secrets.randbelow(250)
        candidate = ipaddress.ip_network(f"10.213.{third}.0/24")
        made = subprocess.run(
            ["docker", "network", "create", "--subnet", str(candidate), name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if made.returncode == 0:
            return f"10.213.{third}"
    raise AssertionError(f"no free network: {made.stderr}")
