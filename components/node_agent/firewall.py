"""Packet filter of a node: students reach the hub's API and the internet, and nothing else of the cluster.

Rules are rendered by pure functions and loaded in one transaction (``iptables-restore --noflush``), so a node is
never half filtered. They live in chains of their own: Docker rewrites its own chains at every start, DOCKER-USER
and INPUT only get one jump each.
"""

from __future__ import annotations

from .config import NodeConfig
from .shell import run

LINK_LOCAL = "169.254.0.0/16"
"""Cloud metadata services (AWS and Azure: 169.254.169.254) live here; no student may ask them anything."""
STUDENT_BRIDGES = ("docker0", "docker_gwbridge")
FORWARD_CHAIN = "SEMESTERHUB-FWD"
INPUT_CHAIN = "SEMESTERHUB-IN"
SWARM_PORTS = {"tcp": (2377, 7946), "udp": (7946, 4789)}


def forward_rules(node: NodeConfig) -> list[str]:
    """What a student server may open, and who may open a connection to it."""
    rules: list[str] = []
    for bridge in STUDENT_BRIDGES:
        rules += [
            f"-i {bridge} -d {LINK_LOCAL} -j DROP",
            f"-i {bridge} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
            f"-i {bridge} -d {node.hub_ip}/32 -p tcp --dport {node.hub_api_port} -j RETURN",
            f"-i {bridge} -d {node.cluster_cidr} -j DROP",
            f"! -i {bridge} -o {bridge} ! -s {node.hub_ip}/32 -m conntrack --ctstate NEW -j DROP",
        ]
    return rules


def input_rules(node: NodeConfig) -> list[str]:
    """What may be opened on the machine itself."""
    rules = ["-i lo -j RETURN", "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"]
    for bridge in STUDENT_BRIDGES:
        if node.is_hub and node.student_memory_mib:
            # The only machine: the hub that its students call is behind this chain, not behind the other.
            rules.append(f"-i {bridge} -d {node.hub_ip}/32 -p tcp --dport {node.hub_api_port} -j RETURN")
        rules.append(f"-i {bridge} -j DROP")
    for protocol, ports in SWARM_PORTS.items():
        rules += [f"-s {node.cluster_cidr} -p {protocol} --dport {port} -j RETURN" for port in ports]
    if node.is_hub:
        for port in (node.hub_api_port, *([node.registry_port] if node.own_registry else [])):
            rules.append(f"-s {node.cluster_cidr} -p tcp --dport {port} -j RETURN")
        rules += [f"-p tcp --dport {port} -j RETURN" for port in node.open_ports]
    else:
        rules.append(f"-s {node.cluster_cidr} -p tcp --dport 22 -j RETURN")
    return [*rules, "-p icmp -j RETURN", "-j DROP"]


def render(node: NodeConfig) -> str:
    """The transaction for ``iptables-restore --noflush``: declaring a chain empties it first."""
    lines = ["*filter", f":{FORWARD_CHAIN} - [0:0]", f":{INPUT_CHAIN} - [0:0]"]
    lines += [f"-A {FORWARD_CHAIN} {rule}" for rule in forward_rules(node)]
    lines += [f"-A {INPUT_CHAIN} {rule}" for rule in input_rules(node)]
    return "\n".join([*lines, "COMMIT", ""])


def install(node: NodeConfig) -> None:
    """Load the rules and hook them in once; safe to repeat."""
    run("iptables-restore", "--noflush", "--wait", stdin=render(node))
    run("iptables", "-w", "-N", "DOCKER-USER", check=False)
    for parent, chain in (("DOCKER-USER", FORWARD_CHAIN), ("INPUT", INPUT_CHAIN)):
        run("iptables", "-w", "-D", parent, "-j", chain, check=False)
        run("iptables", "-w", "-I", parent, "1", "-j", chain)
