"""Where a node finds the Swarm join token: the cloud's secret store, asked with the machine's own identity."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from .config import AgentError, NodeConfig
from .shell import write_file


class SecretStore(Protocol):
    def get(self, name: str) -> str | None: ...
    def put(self, name: str, value: str) -> None: ...


class FileStore:
    """The local cloud's store: a directory readable by root alone, mounted read-only on workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, name: str) -> str | None:
        try:
            return (self.directory / name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def put(self, name: str, value: str) -> None:
        self.directory.chmod(0o700)
        write_file(self.directory / name, value + "\n", mode=0o600)


PENDING = "pending"
"""A parameter that the deployment has made and nobody has written yet (SSM has no empty ones)."""


class CloudStore:
    """SSM Parameter Store or Key Vault."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud

    def get(self, name: str) -> str | None:
        value = self.cloud.get_secret(name)
        return None if value == PENDING else value

    def put(self, name: str, value: str) -> None:
        self.cloud.put_secret(name, value)


def cloud_of(node: NodeConfig) -> Any:
    """The cloud's module for this machine; a machine carries only its own (components/cloud_init.py)."""
    if node.cloud == "aws":
        from . import aws

        return aws.Cloud(node)
    if node.cloud == "azure":
        from . import azure

        return azure.Cloud(node)
    raise AgentError(f"cloud {node.cloud!r} has no metadata service; allowed: aws, azure")


def open_store(node: NodeConfig) -> SecretStore:
    """The store that ``secret_store`` names."""
    kind, _, rest = node.secret_store.partition(":")
    if kind == "file" and rest.startswith("/"):
        return FileStore(Path(rest))
    if (node.cloud, kind) in {("aws", "ssm"), ("azure", "keyvault")} and ("://" in rest or ":/" in rest):
        return CloudStore(cloud_of(node))
    raise AgentError(
        f"secret_store {node.secret_store!r} is not understood on {node.cloud}; allowed: file:/absolute/directory, "
        "on aws ssm:<region>:/path, on azure keyvault:https://<vault>.vault.azure.net"
    )


def wait_for(store: SecretStore, name: str, timeout_s: float) -> str:
    """The secret, as soon as somebody has stored it."""
    deadline = time.monotonic() + timeout_s
    while (value := store.get(name)) is None:
        if time.monotonic() > deadline:
            raise AgentError(f"no {name} in the secret store after {timeout_s:g} s: is the hub VM up?")
        time.sleep(0.5)
    return value
