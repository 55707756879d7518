"""What a cloud's machine does for as long as it lives: follow the bundle, and go in peace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from . import follow
from .config import AgentError, NodeConfig
from .shell import say

LOOK_EVERY_S = 5.0
FOLLOW_EVERY_S = 30.0


def forever(what: Callable[[], object], every_s: float) -> None:
    """Again and again; a failure is said once and tried again."""
    last = ""
    while True:
        try:
            what()
            last = ""
        except (AgentError, OSError, ValueError, KeyError) as error:
            if str(error) != last:
                last = str(error)
                say(last)
        time.sleep(every_s)


def watch(node: NodeConfig) -> None:
    """Does not return."""
    jobs: list[tuple[Callable[[], object], float]] = []
    if node.bundle:
        jobs.append((lambda: follow.once(node), FOLLOW_EVERY_S))
    if node.orchestrator == "swarm" and node.is_hub:
        from .drains import Drains

        jobs.append((Drains(node).look, LOOK_EVERY_S))
    elif node.orchestrator == "swarm":
        from .leave import Leave

        jobs.append((Leave(node).look, LOOK_EVERY_S))
    if not jobs:
        raise AgentError("there is nothing to watch on this machine: no bundle, no Swarm")
    for what, every_s in jobs[1:]:
        threading.Thread(target=forever, args=(what, every_s), daemon=True).start()
    forever(*jobs[0])
