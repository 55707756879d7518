"""The semester on one machine of bare metal: the site `fallback`, or all of a semester that has no cloud.

Pure functions on plain values. The machine is at once hub VM and only worker: the Swarm has one node, students run on the manager, and the
hub's address is the first one of the student bridge (docker0), so that nothing depends on the network the machine is in.
`fallback/` (OpenTofu) brings these texts there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from components import hub_bundle, keeper_config
from components.cloud_init import AGENT_PATH, UNIT, agent_files
from components.node_agent.config import NodeConfig
from components.plan import Plan
from components.semester import Semester

CLUSTER_PATH = "/var/lib/semesterhub/cluster"
PEER_PATH = "/usr/local/sbin/semesterhub-peer"
REGISTRY_CONFIG = Path(__file__).parents[1] / "hubconfig/images/machine/registry.yml"
MIB_PER_GIB = 1024
HUB_API_PORT = 8081
LOCAL_PORTS = (5000, 8000, 8001, 8002, HUB_API_PORT)
"""Ports that the hub's parts take besides the public ones."""

PEER = """\
#!/bin/sh
# What the key of the other site's keeper may do here: copy homes and hub state, and hear what this site says of itself.
asked=${1-$SSH_ORIGINAL_COMMAND}
case "$asked" in
peer) exec docker exec -i keeper python3 -m hubconfig.keeper peer ;;
"rsync --server "*) exec docker exec -i keeper python3 -m hubconfig.keeper peer-rsync "$asked" ;;
esac
echo "semesterhub-peer: this key is for the copying of homes and hub state alone" >&2
exit 3
"""

# The program is where Debian's package has it, or another vendor's.
DOCKER_DROP_IN = """\
[Service]
ExecStart=
ExecStart=/usr/bin/env dockerd
Restart=always
"""


def one_machine(plan: Plan) -> Plan:
    """The plan as a single machine sees it."""
    first = plan.bridge_cidr.network_address + 1
    return dataclasses.replace(plan, hub_ip=str(first), cluster_cidr=plan.bridge_cidr)


def student_memory_mib(semester: Semester, memory_mib: int) -> int:
    """What a machine of this memory offers to students' servers; 0 or less when it is too small."""
    reserved = semester.nodes.hub_memory_gib + semester.nodes.system_reserved_gib
    return memory_mib - round(reserved * MIB_PER_GIB)


def node(semester: Semester, plan: Plan, memory_mib: int) -> NodeConfig:
    """The machine's own description. ``memory_mib``: all that it has."""
    single = one_machine(plan)
    ssh_port = semester.fallback.port if semester.fallback else 22
    return NodeConfig(
        role="hub",
        hub_ip=single.hub_ip,
        cluster_cidr=str(single.cluster_cidr),
        bridge_cidr=str(single.bridge_cidr),
        hub_api_port=HUB_API_PORT,
        registry_port=plan.registry_port,
        student_memory_mib=student_memory_mib(semester, memory_mib),
        secret_store=f"file:{CLUSTER_PATH}",
        open_ports=tuple(sorted({22, 80, 443, ssh_port})),
    )


def machine_files(described: NodeConfig) -> dict[str, str]:
    """Files that make a Debian or Ubuntu a machine of the semester: path -> text."""
    return {
        **agent_files("local", "hub"),
        "/etc/semesterhub/node.json": json.dumps(vars(described), indent=1, sort_keys=True) + "\n",
        "/etc/systemd/system/semesterhub-node.service": UNIT,
        "/etc/systemd/system/docker.service.d/semesterhub.conf": DOCKER_DROP_IN,
        "/etc/docker/registry/config.yml": REGISTRY_CONFIG.read_text("utf-8"),
        PEER_PATH: PEER,
    }


def mode(path: str) -> int:
    """Permissions of a machine file."""
    return 0o755 if path in (AGENT_PATH, PEER_PATH) else 0o644


def peer_line(public_key: str, user: str) -> str:
    """The line of `authorized_keys` that lets the other site's keeper in, for that alone."""
    command = PEER_PATH if user == "root" else f'exec sudo -n {PEER_PATH} \\"$SSH_ORIGINAL_COMMAND\\"'
    return f'restrict,command="{command}" {" ".join(public_key.split()[:2])} semesterhub-peer'


def references(plan: Plan, digests: Mapping[str, str]) -> dict[str, str]:
    """Catalogue name -> reference in the machine's own registry. ``digests``: name -> `sha256:…`."""
    registry = f"{one_machine(plan).hub_ip}:{plan.registry_port}"
    return {name: f"{registry}/{name}@{digest}" for name, digest in sorted(digests.items())}


def site_texts(stack: str, semester: Semester, plan: Plan, digests: Mapping[str, str]) -> tuple[str, str]:
    """``(settings.json, bundle.json)`` of the site. Where there is no other one, it is active from the start."""
    images = references(plan, digests)
    # Whatever the cloud's cluster is, one machine is a Swarm of one node.
    semester = semester.model_copy(update={"orchestrator": "swarm"})
    keeper = keeper_config.keeper_config(semester, "fallback", images, alone=semester.alone)
    return hub_bundle.bundle(stack, semester, one_machine(plan), images, keeper=keeper, server_role="manager")
