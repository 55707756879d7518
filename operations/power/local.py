"""A site on this machine: the machine containers are killed, the hub VM's first; a killed container has no doors.

Workers go along, since the homes are volumes of this machine that no firewall stands before. The fallback's machine
container carries the stack's labels too and is never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import docker
import requests.exceptions
from docker.errors import APIError, DockerException

from operations.patience import LaterError
from operations.power.model import PowerError, State
from providers.localcloud import owned

STATES: Mapping[str, State] = {
    "created": "off",
    "running": "running",
    "paused": "running",  # one word resumes it
    "restarting": "changing",
    "removing": "changing",
    "exited": "off",
    "dead": "off",
}
"""https://docs.docker.com/reference/api/engine/: ContainerState"""
HUB, WORKER = "hub", "worker-"
TIMEOUT_S = 30


@dataclass(frozen=True)
class LocalSite:
    """One stack of this checkout on this machine's Docker."""

    stack: str

    @property
    def where(self) -> str:
        return "this machine's Docker"

    def refuse_others(self) -> None:
        for container in self._containers():
            if not owned.is_ours(container.labels):
                raise PowerError(
                    f"{container.name} belongs to another checkout ({container.labels.get(owned.CHECKOUT, 'unknown')}): switch it off there"
                )

    def machines(self) -> Mapping[str, State]:
        return {container.name: STATES.get(container.status, "changing") for container in self._containers()}

    def doors(self) -> tuple[str, ...]:
        return ()

    def ask_off(self, machines: Collection[str], *, force: bool) -> None:
        self._each(machines, "kill")

    def ask_on(self, machines: Collection[str]) -> None:
        self._each(machines, "start")

    def shut(self) -> None:
        """Nothing leads to a container that does not run."""

    def open(self) -> None:
        """Its ports are published again when it starts."""

    def rehearse(self, machines: Collection[str]) -> None:
        """Who may ask Docker may do everything."""

    def _containers(self) -> list[Any]:
        """The stack's machines, the hub VM first."""
        try:
            client = docker.from_env(timeout=TIMEOUT_S)
            try:
                found = client.containers.list(
                    all=True, filters={"label": f"{owned.STACK}={self.stack}"}, ignore_removed=True
                )
            finally:
                client.close()
        except requests.exceptions.Timeout:
            raise LaterError("Docker does not answer") from None
        except (DockerException, requests.exceptions.RequestException) as error:
            raise PowerError(f"Docker does not answer: {error}; start it, then run this again") from None
        names = {container.labels.get(owned.NAME, ""): container for container in found}
        return [names[name] for name in sorted(names) if name == HUB or name.startswith(WORKER)]

    def _each(self, machines: Collection[str], action: str) -> None:
        for container in self._containers():
            if container.name not in machines:
                continue
            client = docker.from_env(timeout=TIMEOUT_S)
            try:
                getattr(client.api, action)(container.id)
            except APIError as error:
                if error.response is None or error.response.status_code not in (
                    304,
                    404,
                    409,
                ):  # it is so already, or gone
                    raise LaterError(f"Docker: {error.explanation}") from None
            except requests.exceptions.RequestException as error:
                raise LaterError(f"Docker does not answer ({type(error).__name__})") from None
            finally:
                client.close()
