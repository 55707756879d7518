"""Where a node finds the Swarm join token: the cloud's secret store, asked with the machine's own identity."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from .config import AgentError
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


def open_store(address: str) -> SecretStore:
    """Store for ``file:<directory>``."""
    kind, _, rest = address.partition(":")
    if kind == "file" and rest.startswith("/"):
        return FileStore(Path(rest))
    raise AgentError(f"secret_store {address!r} is not understood; allowed: file:/absolute/directory")


def wait_for(store: SecretStore, name: str, timeout_s: float) -> str:
    """The secret, as soon as somebody has stored it."""
    deadline = time.monotonic() + timeout_s
    while (value := store.get(name)) is None:
        if time.monotonic() > deadline:
            raise AgentError(f"no {name} in the secret store after {timeout_s:g} s: is the hub VM up?")
        time.sleep(0.5)
    return value
