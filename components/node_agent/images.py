"""Pulling images, from the hub VM's registry or from the cloud's with the machine's own identity."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .config import AgentError, NodeConfig
from .secretstore import cloud_of
from .shell import docker

PULL_TIMEOUT_S = 1800
PUBLISH_TIMEOUT_S = 3600
"""How long a node waits for images that nobody has published yet: they are pushed after the registry is made."""
RETRY_S = 15
RUN_DIR = "/run"


@contextmanager
def signed_in(node: NodeConfig) -> Iterator[None]:
    """Docker's client may pull from the cloud's registry; the token is in memory's file system and only for now."""
    if not node.registry:
        yield
        return
    user, password = cloud_of(node).registry_login()
    before = os.environ.get("DOCKER_CONFIG")
    with tempfile.TemporaryDirectory(dir=RUN_DIR, prefix="semesterhub-docker-") as directory:
        os.environ["DOCKER_CONFIG"] = directory
        try:
            docker("login", "--username", user, "--password-stdin", node.registry, stdin=password)
            yield
        finally:
            if before is None:
                del os.environ["DOCKER_CONFIG"]
            else:
                os.environ["DOCKER_CONFIG"] = before


def present(reference: str) -> bool:
    return bool(docker("image", "inspect", "--format", "x", reference, check=False).strip())


def pull(node: NodeConfig, references: Iterable[str], patience_s: float = 0) -> list[str]:
    """Pull what is not there; the names that were pulled. Tried for ``patience_s``, then AgentError."""
    deadline = time.monotonic() + patience_s
    missing = [reference for reference in dict.fromkeys(references) if not present(reference)]
    while True:
        left = [reference for reference in missing if not present(reference)]
        if not left:
            return missing
        try:
            with signed_in(node):
                for reference in left:
                    docker("pull", "--quiet", reference, timeout_s=PULL_TIMEOUT_S)
        except AgentError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
