"""The node's own description, written by cloud-init to ``/etc/semesterhub/node.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

NODE_FILE = Path("/etc/semesterhub/node.json")
HUB_DIR = Path("/etc/semesterhub/hub")
SECRETS_DIR = Path("/var/lib/semesterhub/secrets")
STATE_DIR = Path("/var/lib/semesterhub/state")
STATUS_FILE = Path("/run/semesterhub/status.json")


class AgentError(Exception):
    """A failure an admin can act on; its text is the whole message."""


@dataclass(frozen=True)
class NodeConfig:
    """One machine's part in the cluster. Nothing in it is secret."""

    role: str
    """``hub`` (Swarm manager, runs no student server) or ``worker``."""
    hub_ip: str
    cluster_cidr: str
    bridge_cidr: str
    """Address range of the student bridge (docker0), the same on every node; never routed between nodes."""
    hub_api_port: int
    registry_port: int
    student_memory_mib: int
    """Memory this node offers to student servers; 0 on the hub VM."""
    secret_store: str
    """Where the join token is kept: ``file:<directory>`` on the local cloud."""
    open_ports: tuple[int, ...] = (22, 80, 443)
    """TCP ports of the hub VM that anyone may reach."""

    @property
    def is_hub(self) -> bool:
        return self.role == "hub"

    @property
    def registry(self) -> str:
        return f"{self.hub_ip}:{self.registry_port}"


def load(path: Path = NODE_FILE) -> NodeConfig:
    """Read the node file; AgentError names what is missing."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AgentError(f"{path} cannot be read ({error}); cloud-init writes it from the user-data") from error
    known = {field.name for field in fields(NodeConfig)}
    if unknown := set(raw) - known:
        raise AgentError(f"{path}: unknown keys {sorted(unknown)}; allowed are {sorted(known)}")
    if "open_ports" in raw:
        raw["open_ports"] = tuple(raw["open_ports"])
    try:
        return NodeConfig(**raw)
    except TypeError as error:
        raise AgentError(f"{path}: {error}") from error
