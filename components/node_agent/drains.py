"""The hub VM reads which workers wish to go (:mod:`node_agent.leave`) and drains each of them in a thread of its own.

It cordons the node, waits for the students, stops what is left through the Hub and removes the node.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from . import swarm
from .config import DRAIN_LABEL, AgentError, NodeConfig
from .shell import docker, say

FORGET_AFTER_S = 300.0
"""A node that is down for this long does not come back: in a cloud its successor has another name."""


class Drains:
    """One look at a time."""

    def __init__(self, node: NodeConfig) -> None:
        self.node = node
        self.draining: dict[str, threading.Thread] = {}
        self.down_since: dict[str, float] = {}

    def look(self) -> None:
        entries = {entry["ID"]: entry for entry in swarm.nodes() if entry["Spec"]["Role"] == "worker"}
        self.draining = {id: thread for id, thread in self.draining.items() if thread.is_alive()}
        for id, entry in entries.items():
            wish = (entry["Description"]["Engine"].get("Labels") or {}).get(DRAIN_LABEL)
            if wish is not None and id not in self.draining and entry["Status"]["State"] == "ready":
                thread = threading.Thread(target=self.drain, args=(entry, float(wish)), daemon=True)
                self.draining[id] = thread
                thread.start()
        self.forget(entries)

    def drain(self, entry: dict[str, Any], wait_s: float) -> None:
        try:
            say(swarm.drain_entry(self.node, entry, wait_s))
        except AgentError as error:
            say(f"draining {entry['Description']['Hostname']}: {error}")

    def forget(self, entries: dict[str, dict[str, Any]]) -> None:
        now = time.monotonic()
        down = {id for id, entry in entries.items() if entry["Status"]["State"] == "down"}
        self.down_since = {id: self.down_since.get(id, now) for id in down}
        for id, since in self.down_since.items():
            if now - since >= FORGET_AFTER_S and id not in self.draining:
                docker("node", "rm", "--force", id, check=False)
