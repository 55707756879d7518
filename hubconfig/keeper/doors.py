"""Letting the class in, and out: what a site's keeper does to the containers around it.

Closed, the edge shows a page, the proxy stands still and the hub waits for the lease. Students' servers go on, so that a
site that only waited for its peer has lost nothing; only a fenced site removes them.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .away import page
from .config import KeeperConfig
from .engine import Engine
from .errors import KeeperError
from .roles import SiteState

HUB_PORT = 8081
CLOSED_FILE = "closed"
"""In the run folder: the node's agent does not wait for a hub that may not answer (components.keeper_config)."""
HUB_ENDS_WITHIN_S = 5.0
"""It looks at the lease five times a second."""
SERVERS_END_WITHIN_S = 60.0
"""Swarm gives each 10 s of grace; a busy manager is slow to notice."""
LOOK_EVERY_S = 0.25
ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


def hub_listens(port: int = HUB_PORT) -> bool:
    """Whether a hub process runs here."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Doors:
    """The containers of one site. All methods may be repeated."""

    def __init__(
        self, config: KeeperConfig, engine: Engine | None = None, *, hub: Callable[[], bool] = hub_listens
    ) -> None:
        self._config = config
        self._engine = engine or Engine()
        self._hub = hub
        self._closed = config.run_path / CLOSED_FILE

    @property
    def closed(self) -> bool:
        """Whether nobody is let in."""
        return self._closed.exists()

    def shut(self, state: SiteState) -> None:
        """Nobody comes in any more; those who are in do not get on. At once, without waiting for anything to end."""
        self._closed.parent.mkdir(parents=True, exist_ok=True)
        self._closed.touch()
        _write(self._config.away_file, page(state, self._config.hub_url))
        self._engine.pause("proxy")

    def open(self) -> None:
        """Everybody comes in again."""
        self._engine.unpause("proxy")
        self._config.away_file.unlink(missing_ok=True)
        self._closed.unlink(missing_ok=True)

    def end_hub(self, within_s: float = HUB_ENDS_WITHIN_S) -> None:
        """Returns when no hub process runs past its gate. It ends by itself; one that hangs is killed."""
        for attempt in range(2):
            until = time.monotonic() + within_s
            while self._hub():
                if time.monotonic() > until:
                    break
                time.sleep(LOOK_EVERY_S)
            else:
                return
            if attempt == 0:
                self._engine.restart("hub")
        raise KeeperError(
            "the hub does not end: something listens on port 8081 of this machine although the site may not write; switch the "
            "machine off and say so (--i-have-powered-it-off)"
        )

    def remove_servers(self, within_s: float = SERVERS_END_WITHIN_S) -> dict[str, Any]:
        """Returns when no student's server runs: how many were stopped, and which machines of the Swarm could not be asked.

        The hub must have ended before: it would make new ones.
        """
        if self._config.pods:
            from . import pods  # only where there is a cluster: its client is slow to import

            return pods.remove(within_s)
        services = self._engine.services()
        for service in services:
            self._engine.remove_service(service["ID"])
        until = time.monotonic() + within_s
        while True:
            for late in self._engine.services():  # one that was being made while the hub ended
                self._engine.remove_service(late["ID"])
            nodes = self._engine.nodes()
            alive = [t for t in self._engine.tasks() if str(t["Status"].get("State", "new")).lower() not in ENDED]
            down = {n for n, node in nodes.items() if node.get("Status", {}).get("State") == "down"}
            waiting = [task for task in alive if task.get("NodeID", "") not in down]
            if not waiting:
                names = {n: node.get("Description", {}).get("Hostname", n[:12]) for n, node in nodes.items()}
                lost = sorted({names[task["NodeID"]] for task in alive})
                return {"servers_stopped": len(services), "machines_down": lost}
            if time.monotonic() > until:
                raise KeeperError(
                    f"{len(waiting)} students' servers still run {within_s:.0f} s after they were told to end; run the same "
                    "command again, and look at the workers (`docker node ls` on the hub's machine) if it says so again"
                )
            time.sleep(LOOK_EVERY_S)


def _write(path: Path, text: str) -> None:
    """Atomically, so that the edge never serves half a page."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, 0o644)
        stream.write(text)
    Path(temporary).replace(path)
