"""Waiting for a machine's boot, and telling why it failed."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any, Literal, cast

from providers.base import Context, PartialFailure, ProviderError
from providers.localcloud import docker_api

BOOT_TIMEOUT_S = float(os.environ.get("SEMESTERHUB_BOOT_TIMEOUT_S", "300"))
"""cloud-init takes 4 s, dockerd 3 s, joining up to 150 s while the hub VM boots as well; five minutes is a hang."""

STATUS_TIMEOUT_S = 15
POLL_EVERY_S = 0.5
CLOUD_INIT_LOG = "/var/log/cloud-init-output.log"


@dataclass(frozen=True)
class Phase:
    """What the machine's agent says of itself; `silent` when there is no agent (yet)."""

    phase: Literal["booting", "ready", "failed", "silent"]
    message: str = ""


@dataclass(frozen=True)
class Boot:
    """A machine that is ready. `boot_s`: from its start until its agent said so."""

    container_id: str
    boot_s: float

    @property
    def outputs(self) -> dict[str, Any]:
        """As the resource's outputs."""
        return {"container_id": self.container_id, "boot_s": self.boot_s}


def phase_of(machine: str) -> Phase:
    """Ask the agent once."""
    try:
        done = docker_api.execute(machine, ["semesterhub-node", "status", "--json"], STATUS_TIMEOUT_S)
        said = json.loads(done.stdout)
        phase = said["phase"]
    except (ProviderError, ValueError, KeyError, TypeError):
        return Phase("silent")
    if phase not in ("booting", "ready", "failed"):
        return Phase("silent", f"unknown phase {phase!r}")
    return Phase(cast(Literal["booting", "ready", "failed"], phase), str(said.get("message") or ""))


def wait_ready(ctx: Context, machine: str, container_id: str) -> Boot:
    """Until the agent says ready. PartialFailure (the container is there) with the end of the boot log otherwise."""
    deadline = ctx.deadline(BOOT_TIMEOUT_S)
    began = time.monotonic()
    outputs = {"container_id": container_id, "boot_s": 0.0}
    said = ""
    crashes: int | None = None
    while True:
        ctx.check_cancelled()
        seen = phase_of(machine)
        if seen.phase == "ready":
            return Boot(container_id, round(time.monotonic() - began, 1))
        found = docker_api.inspect("container", machine)
        crashes = crashes if crashes is not None or found is None else found["RestartCount"]
        # Docker starts a machine that ended again; a machine that ends while it boots will only do so for ever.
        if found is None or not docker_api.alive(found) or found["RestartCount"] != crashes:
            # Running again already, it no longer tells how it ended.
            code = f" (exit {found['State']['ExitCode']})" if found and not docker_api.alive(found) else ""
            raise PartialFailure(
                f"the machine {machine} ended while it booted{code}:\n{_own_log(machine)}", id=machine, outputs=outputs
            )
        if seen.phase == "failed":
            raise PartialFailure(
                f"the machine {machine} failed to boot: {seen.message}\n{_log(machine)}", id=machine, outputs=outputs
            )
        if time.monotonic() > deadline:
            doing = seen.message or "its agent does not answer"
            raise PartialFailure(
                f"the machine {machine} is not ready after {time.monotonic() - began:.0f} s ({seen.phase}: {doing})\n{_log(machine)}",
                id=machine,
                outputs=outputs,
            )
        now = f"booting: {seen.message or 'cloud-init'}"
        if now != said:
            ctx.status(now)
            said = now
        ctx.sleep(POLL_EVERY_S)


def _log(machine: str) -> str:
    """The last lines of cloud-init's output, else of the container's own."""
    try:
        done = docker_api.execute(machine, ["tail", "-n", "20", CLOUD_INIT_LOG], 10)
        if done.exit_code == 0 and done.stdout.strip():
            return done.tail
    except ProviderError:
        pass  # it does not run
    return _own_log(machine)


def _own_log(machine: str) -> str:
    """The last lines of what the container wrote."""
    try:
        with docker_api.explained("reading its log"):
            text = cast(bytes, docker_api.client().logs(machine, tail=20)).decode(errors="replace")
    except ProviderError as error:
        return str(error)
    return text.strip() or "(no output)"
