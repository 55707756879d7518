"""Fixtures of the provider's tests. Everything made here is removed again, also when a test fails."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.harness import Stack, make_stack


def docker(*arguments: str, check: bool = True) -> str:
    """The docker command's output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def remove_all(stack: str) -> None:
    """Remove every Docker object with the stack's name, whoever made it."""
    for container in docker("ps", "-aq", "--filter", f"name=semesterhub-{stack}-").split():
        docker("rm", "-fv", container, check=False)
    for network in docker("network", "ls", "-q", "--filter", f"name=semesterhub-{stack}-").split():
        docker("network", "rm", network, check=False)
    for volume in docker("volume", "ls", "-q", "--filter", f"name=semesterhub-{stack}-").split():
        docker("volume", "rm", "-f", volume, check=False)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """An empty stack."""
    made = make_stack(tmp_path)
    try:
        yield made
    finally:
        remove_all(made.name)


@pytest.fixture(scope="session")
def machine_image() -> Iterator[str]:
    """The stand-in machine image: boots in a second, has an agent that is a script."""
    from operations import images

    images.ensure_base(print)
    tag = f"semesterhub/test-machine:{secrets.token_hex(4)}"
    folder = Path(__file__).parent / "fixtures" / "machine"
    docker("build", "-q", "-t", tag, "--build-arg", f"BASE={images.BASE_TAG}", str(folder))
    yield tag
    docker("rmi", "-f", tag, check=False)


@pytest.fixture
def cluster(stack: Stack, machine_image: str) -> Stack:
    """A program with a network, a hub VM and one worker; not up yet."""
    stack.add("net", "Network", stack=stack.name, name="net", cidr=f"{stack.subnet}.0/24")
    stack.add("shared", "Volume", stack=stack.name, name="shared", purpose="shared by the nodes")
    stack.add("hub", "Machine", **machine(stack, machine_image, "hub", 2, role="hub"))
    stack.add("w1", "Machine", **machine(stack, machine_image, "w1", 11, role="worker", manager="$hub.id"))
    return stack


def machine(stack: Stack, image: str, name: str, host: int, **inputs: Any) -> dict[str, Any]:
    """Inputs of a machine."""
    return {
        "stack": stack.name,
        "name": name,
        "image": image,
        "network": "$net.id",
        "ip": stack.ip(host),
        "role": "worker",
        "user_data": "#cloud-config\n",
        "memory_mib": 128,
        "cpus": 0.5,
        "drain_timeout_s": 5,
        "mounts": [{"volume": "$shared.id", "path": "/srv/shared", "read_only": False}],
        **inputs,
    }
