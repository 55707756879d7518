"""Switching a site on this machine off: containers of the test's own, labelled as the local cloud labels its machines."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from components.semester import load_stack_file
from operations import images
from operations.paths import ROOT
from operations.power import NoMachineError, PowerError, power_of
from operations.power.fence import Fence
from providers.localcloud import owned

pytestmark = pytest.mark.sandbox


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def stack() -> Iterator[str]:
    """A stack with a hub VM, a worker, and the machine outside that is its fallback."""
    images.ensure_base(print)
    name = f"t{secrets.token_hex(3)}"
    try:
        for machine in ("hub", "worker-1", "metal"):
            run(name, machine, owned.labels(name, machine, "machine", {}))
        yield name
    finally:
        for machine in ("hub", "worker-1", "metal"):
            docker("rm", "-f", owned.object_name(name, machine), check=False)


def run(stack: str, machine: str, labels: dict[str, str]) -> None:
    marks = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    name = owned.object_name(stack, machine)
    keep = ["--restart", "unless-stopped", "--stop-signal", "SIGTERM"]
    docker("run", "-d", "--name", name, *keep, *marks, images.BASE_TAG, "sleep", "infinity")


def status(stack: str, machine: str) -> str:
    return docker("inspect", "-f", "{{.State.Status}}", owned.object_name(stack, machine))


def switch(stack: str) -> Fence:
    return power_of(stack, load_stack_file(ROOT / "stacks" / "Pulumi.demo.yaml"))


def test_all_machines_of_the_cloud_are_killed_and_the_fallback_is_not(stack: str) -> None:
    proof = switch(stack).stop()
    assert proof.how == "cloud" and f"{owned.object_name(stack, 'hub')} is off" in proof.detail
    assert [status(stack, machine) for machine in ("hub", "worker-1", "metal")] == ["exited", "exited", "running"]
    assert switch(stack).state() == "off" and switch(stack).stop() == proof


def test_they_start_again(stack: str) -> None:
    switch(stack).stop()
    assert switch(stack).check() == ""
    switch(stack).start()
    assert [status(stack, machine) for machine in ("hub", "worker-1")] == ["running", "running"]
    assert switch(stack).state() == "running"


def test_a_paused_machine_is_no_proof_and_is_killed_too(stack: str) -> None:
    docker("pause", owned.object_name(stack, "hub"))
    switch(stack).stop()
    assert status(stack, "hub") == "exited"


def test_machines_of_another_checkout_are_not_touched(stack: str) -> None:
    docker("rm", "-f", owned.object_name(stack, "worker-1"))
    run(
        stack,
        "worker-1",
        {**owned.labels(stack, "worker-1", "machine", {}), owned.OWNER: "somebody", owned.CHECKOUT: "/elsewhere"},
    )
    with pytest.raises(PowerError, match="belongs to another checkout \\(/elsewhere\\)"):
        switch(stack).stop()
    assert status(stack, "hub") == "running"


def test_a_stack_without_machines_proves_nothing() -> None:
    with pytest.raises(NoMachineError):
        switch(f"t{secrets.token_hex(3)}").stop()
