"""Every boot of a machine: Docker configured and running, packet filter in place, Swarm formed or joined."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path

from . import firewall
from .config import SECRETS_DIR, STATE_DIR, STATE_MOUNT, AgentError, NodeConfig
from .secretstore import SecretStore, open_store, wait_for
from .shell import docker, run, write_file

DAEMON_FILE = Path("/etc/docker/daemon.json")
SYSCTLS = {
    # A busy proxy used up 28,000 ephemeral ports and gave 45 minutes of 503s (Berkeley DataHub #6441).
    "net.ipv4.ip_local_port_range": "10240 65535",
    "net.ipv4.tcp_tw_reuse": "1",
}
JOIN_TIMEOUT_S = 150


def daemon_config(node: NodeConfig) -> dict[str, object]:
    """Docker's daemon.json of a node.

    ``icc: false`` keeps students on one node from each other; the generic resource is what the Swarm scheduler
    counts, since Swarm would hand out the whole of a machine's memory, the system's share included.
    """
    first, prefix = node.bridge_cidr.split("/")
    octets = first.split(".")
    config: dict[str, object] = {
        "bip": ".".join([*octets[:3], str(int(octets[3]) + 1)]) + f"/{prefix}",
        "icc": False,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "max-concurrent-downloads": 6,
        "no-new-privileges": True,
    }
    if node.own_registry:
        config["insecure-registries"] = [node.own_registry]
    if node.is_hub and node.state_device:
        # The Swarm lives there too: a new hub VM with the old disk is the same manager to its workers.
        config["data-root"] = str(STATE_MOUNT / "docker")
    if node.student_memory_mib:
        config["node-generic-resources"] = [f"student-memory-mib={node.student_memory_mib}"]
    return config


def ensure_docker(node: NodeConfig) -> None:
    """Docker is configured and answering."""
    changed = write_file(DAEMON_FILE, json.dumps(daemon_config(node), indent=2) + "\n")
    if changed or not docker_answers():
        run("systemctl", "restart", "docker.service", timeout_s=90)
    deadline = time.monotonic() + 60
    while not docker_answers():
        if time.monotonic() > deadline:
            raise AgentError("dockerd does not answer 60 s after its start; see journalctl -u docker")
        time.sleep(0.2)


def install_packages(node: NodeConfig) -> None:
    """Debian's packages that this machine needs; a machine image may have them already."""
    packages = ["iptables", "procps", *([] if shutil.which("dockerd") else ["docker.io"])]
    if node.is_hub and node.own_registry:
        packages.append("docker-registry")
    if node.homes:
        packages += ["nfs-common", "stunnel4"]
    if run("dpkg-query", "-W", "-f", "${Status}\n", *packages, check=False).count("install ok") < len(packages):
        run("apt-get", "update", timeout_s=300)
        run("apt-get", "install", "-y", "--no-install-recommends", *packages, timeout_s=900)


def docker_answers() -> bool:
    return bool(docker("info", "--format", "{{.ServerVersion}}", check=False).strip())


def ensure_registry(node: NodeConfig) -> None:
    """The cluster's image registry, on the hub VM. Its clients pin digests, so what they get cannot be swapped."""
    if not (node.is_hub and node.own_registry):
        return
    if not port_answers(node.registry_port):
        run("systemctl", "restart", "docker-registry.service")
    deadline = time.monotonic() + 30
    while not port_answers(node.registry_port):
        if time.monotonic() > deadline:
            raise AgentError(f"the image registry does not answer on port {node.registry_port} after 30 s")
        time.sleep(0.2)


def swarm_state() -> dict[str, object]:
    return json.loads(docker("info", "--format", "{{json .Swarm}}"))


def form_swarm(node: NodeConfig, store: SecretStore) -> None:
    """Manager side: one Swarm, its own availability drained (unless students' servers are here), the join token stored."""
    if swarm_state()["LocalNodeState"] != "active":
        docker("swarm", "init", "--advertise-addr", node.hub_ip, "--task-history-limit", "1")
        docker("swarm", "update", "--dispatcher-heartbeat", "3s")
    availability = "active" if node.student_memory_mib else "drain"
    docker("node", "update", "--availability", availability, str(swarm_state()["NodeID"]))
    token = docker("swarm", "join-token", "-q", "worker").strip()
    if store.get("join-token") != token:
        store.put("join-token", token)


def join_swarm(node: NodeConfig, store: SecretStore) -> None:
    """Worker side: join with the token from the secret store; the manager may still be booting."""
    if swarm_state()["LocalNodeState"] == "active":
        return
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while True:
        token = wait_for(store, "join-token", max(1, deadline - time.monotonic()))
        try:
            docker("swarm", "join", "--token", token, f"{node.hub_ip}:2377", timeout_s=40)
            return
        except AgentError:
            docker("swarm", "leave", "--force", check=False)
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def boot(node: NodeConfig) -> None:
    """The whole boot; safe to repeat. AgentError says what is wrong."""
    for key, value in SYSCTLS.items():
        path = Path("/proc/sys") / key.replace(".", "/")
        if path.exists() and path.read_text().split() != value.split():
            run("sysctl", "-q", "-w", f"{key}={value}", check=False)
    install_packages(node)
    if node.cloud != "local":
        from . import disks

        disks.mount_state(node)
        disks.mount_homes(node)
    if node.is_hub:
        for directory in (SECRETS_DIR, STATE_DIR):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
    firewall.install(node)
    ensure_docker(node)
    firewall.install(node)  # dockerd has put its own chains in front
    ensure_registry(node)
    if node.images:
        from . import images

        images.pull(node, node.images, images.PUBLISH_TIMEOUT_S)
    if node.bundle and not node.is_hub:
        from . import follow

        follow.first_images(node)
    if node.orchestrator == "swarm":
        store = open_store(node)
        form_swarm(node, store) if node.is_hub else join_swarm(node, store)


def port_answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
