"""Docker's Engine API over its socket, as far as the keeper needs it."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from .errors import KeeperError

SOCKET = Path("/var/run/docker.sock")
TIMEOUT_S = 20.0
LABEL_USER = "semesterhub.user"
"""Label of a student's server (hubconfig.cluster)."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """This machine's Docker. Every method raises KeeperError when Docker does not answer, or answers with an error."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def _ask(
        self, method: str, path: str, query: dict[str, Any] | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[int, Any]:
        connection = _Connection(self._path, timeout_s)
        target = path + (f"?{urlencode(query)}" if query else "")
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise KeeperError(f"Docker does not answer {method} {path}: {error}") from None
        finally:
            connection.close()
        try:
            found = json.loads(body) if body else None
        except ValueError:
            found = body.decode(errors="replace")
        return answer.status, found

    def _done(self, method: str, path: str, query: dict[str, Any] | None = None, *, fine: tuple[int, ...] = ()) -> Any:
        status, found = self._ask(method, path, query)
        if status >= 400 and status not in fine:
            said = found.get("message", found) if isinstance(found, dict) else found
            raise KeeperError(f"Docker refuses {method} {path}: {said}")
        return found

    def container(self, name: str) -> dict[str, Any] | None:
        """State of a container (`Running`, `Paused`, `Pid`, …), or None when there is none."""
        status, found = self._ask("GET", f"/containers/{quote(name, safe='')}/json")
        return found["State"] if status == 200 else None

    def pause(self, name: str) -> bool:
        """Freezes a container; False when it is frozen already, does not run or is not there."""
        state = self.container(name)
        if not state or not state["Running"] or state["Paused"]:
            return False
        self._done("POST", f"/containers/{quote(name, safe='')}/pause", fine=(404, 409))
        return True

    def unpause(self, name: str) -> bool:
        """Lets a frozen container go on; False when it is not frozen."""
        state = self.container(name)
        if not state or not state["Paused"]:
            return False
        self._done("POST", f"/containers/{quote(name, safe='')}/unpause", fine=(404, 409))
        return True

    def restart(self, name: str) -> bool:
        """Kills a container and starts it anew; False when it is not there."""
        self.unpause(name)
        if self.container(name) is None:
            return False
        self._done("POST", f"/containers/{quote(name, safe='')}/restart", {"t": 0}, fine=(404,))
        return True

    def has_image(self, reference: str) -> bool:
        """Whether an image is here."""
        return self._ask("GET", f"/images/{quote(reference, safe='/:@')}/json")[0] == 200

    def services(self) -> list[dict[str, Any]]:
        """Students' servers of this machine's Swarm. Where it manages none: []."""
        found = self._done("GET", "/services", {"filters": json.dumps({"label": [LABEL_USER]})}, fine=(406, 503))
        return found if isinstance(found, list) else []

    def remove_service(self, service: str) -> None:
        """Its container gets SIGTERM and its grace."""
        self._done("DELETE", f"/services/{service}", fine=(404,))

    def tasks(self) -> list[dict[str, Any]]:
        """Tasks of students' servers, also of removed ones whose containers still run."""
        found = self._done("GET", "/tasks", fine=(406, 503))
        tasks = found if isinstance(found, list) else []
        return [t for t in tasks if LABEL_USER in ((t["Spec"].get("ContainerSpec") or {}).get("Labels") or {})]

    def nodes(self) -> dict[str, dict[str, Any]]:
        """The Swarm's machines by id."""
        found = self._done("GET", "/nodes", fine=(406, 503))
        return {node["ID"]: node for node in found} if isinstance(found, list) else {}
