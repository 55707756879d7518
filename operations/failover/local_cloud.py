"""The local cloud's part in a drill that was not announced: its machines die, and come back later."""

from __future__ import annotations

import time
from typing import Any

import docker
from docker.errors import APIError

from operations.errors import UserError
from operations.paths import owner_label
from providers.localcloud import docker_api

NOT_CLOUD = ("metal", "dns")
"""Machines of the stack that stand for what is outside the cloud."""
REVIVE_TIMEOUT_S = 180.0


def _machines(client: Any, stack: str) -> list[Any]:
    labels = [f"semesterhub.stack={stack}", f"semesterhub.owner={owner_label()}"]
    found = client.containers.list(all=True, filters={"label": labels})
    # The hub VM first: workers that come back look for it.
    own = [c for c in found if c.labels.get("semesterhub.name") not in NOT_CLOUD]
    return sorted(own, key=lambda c: (c.labels.get("semesterhub.name") != "hub", str(c.name)))


def kill(stack: str) -> list[str]:
    """SIGKILL for every machine of the stack's cloud, as in a power cut; their names."""
    client = docker.from_env()
    try:
        killed = []
        for machine in _machines(client, stack):
            if machine.status == "running":
                docker_api.thaw(str(machine.name))  # a frozen process is not killed, and the machine would not end
                machine.kill()
                killed.append(str(machine.name))
        return killed
    except APIError as error:
        raise UserError(f"the machines of stack '{stack}' could not be killed: {error.explanation or error}") from None
    finally:
        client.close()


def revive(stack: str) -> None:
    """Switch them on again and wait until the hub VM's keeper runs. Raises UserError."""
    client = docker.from_env()
    try:
        for machine in _machines(client, stack):
            machine.start()
        hub = client.containers.get(f"semesterhub-{stack}-hub")
        deadline = time.monotonic() + REVIVE_TIMEOUT_S
        while hub.exec_run(["docker", "exec", "keeper", "true"]).exit_code != 0:
            if time.monotonic() > deadline:
                raise UserError(
                    f"the hub VM of stack '{stack}' did not come back within {REVIVE_TIMEOUT_S:.0f} s: docker logs {hub.name}"
                )
            time.sleep(0.5)
    except APIError as error:
        raise UserError(f"the machines of stack '{stack}' did not start: {error.explanation or error}") from None
    finally:
        client.close()
