"""The node's own description, written by cloud-init to ``/etc/semesterhub/node.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

NODE_FILE = Path("/etc/semesterhub/node.json")
HUB_DIR = Path("/etc/semesterhub/hub")
STATE_MOUNT = Path("/var/lib/semesterhub")
SECRETS_DIR = STATE_MOUNT / "secrets"
STATE_DIR = STATE_MOUNT / "state"
HOMES_DIR = Path("/srv/semesterhub/homes")
STATUS_FILE = Path("/run/semesterhub/status.json")
DRAIN_LABEL = "semesterhub.drain"
"""Label of a worker's Docker engine: it wishes to be drained, students get this many seconds."""


class AgentError(Exception):
    """A failure an admin can act on; its text is the whole message."""


@dataclass(frozen=True)
class NodeConfig:
    """One machine's part in the cluster. Nothing in it is secret."""

    role: str
    """``hub`` (Swarm manager; runs no student server, unless it is the only machine) or ``worker``."""
    hub_ip: str
    cluster_cidr: str
    bridge_cidr: str
    """Address range of the student bridge (docker0), the same on every node; never routed between nodes."""
    hub_api_port: int
    registry_port: int
    student_memory_mib: int
    """Memory this node offers to student servers; 0 on a hub VM that has workers."""
    secret_store: str
    """Where the join token is kept: ``file:/<directory>`` on the local cloud, ``ssm:<region>:/semesterhub/<stack>``, or
    ``keyvault:https://<vault>.vault.azure.net`` (Key Vault has no ``_`` in names: ``oauth-client-secret`` there)."""
    open_ports: tuple[int, ...] = (22, 80, 443)
    """TCP ports of the hub VM that anyone may reach."""
    cloud: str = "local"
    """``local``, ``aws`` or ``azure``: whose metadata service and identity the machine has."""
    orchestrator: str = "swarm"
    """``swarm`` or ``kubernetes``; with the latter the hub VM forms no Swarm, and workers are not this agent's."""
    region: str = ""
    """AWS region of the machine."""
    identity_client_id: str = ""
    """Azure: client id of the user-assigned identity that the machine asks with."""
    node_group: str = ""
    """AWS: the Auto Scaling group of a worker, for its lifecycle action."""
    lifecycle_hook: str = ""
    """AWS: the group's hook on termination, completed when the worker is drained."""
    homes: str = ""
    """``nfs4:<host>:/<export>``, mounted at /srv/semesterhub/homes before Docker starts; "" mounts nothing."""
    state_device: str = ""
    """Hub VM: disk for database and secrets, mounted at /var/lib/semesterhub; a glob such as
    ``/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*`` means the one that is not in use."""
    bundle: str = ""
    """``s3://<bucket>/bundle/current.json`` or ``https://<account>.blob.core.windows.net/bundle/current.json``.
    The hub VM converges to it; a worker pulls the images it names under ``worker_images``, first before it joins."""
    registry: str = ""
    """``<account>.dkr.ecr.<region>.amazonaws.com`` or ``<name>.azurecr.io``; "" is the hub VM's own registry."""
    images: tuple[str, ...] = ()
    """References that a worker holds before it joins."""
    drain_timeout_s: int = 300
    """What students get to finish when the cloud takes the worker away, where the cloud gives that long."""

    @property
    def is_hub(self) -> bool:
        return self.role == "hub"

    @property
    def own_registry(self) -> str:
        """Address of the registry on the hub VM; "" where images come from the cloud's."""
        return "" if self.registry else f"{self.hub_ip}:{self.registry_port}"


def load(path: Path = NODE_FILE) -> NodeConfig:
    """Read the node file; AgentError names what is missing."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AgentError(f"{path} cannot be read ({error}); cloud-init writes it from the user-data") from error
    known = {field.name for field in fields(NodeConfig)}
    if unknown := set(raw) - known:
        raise AgentError(f"{path}: unknown keys {sorted(unknown)}; allowed are {sorted(known)}")
    raw.update({key: tuple(value) for key, value in raw.items() if isinstance(value, list)})
    try:
        return NodeConfig(**raw)
    except TypeError as error:
        raise AgentError(f"{path}: {error}") from error
