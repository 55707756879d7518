"""A Docker engine that only remembers, for the keeper's tests."""

from __future__ import annotations

from typing import Any

from hubconfig.keeper.engine import Engine


class FakeEngine(Engine):
    """Containers by name (running or paused), and students' servers with the looks that each takes to end."""

    def __init__(self) -> None:
        self.paused: set[str] = set()
        self.restarted: list[str] = []
        self.servers: dict[str, int] = {}
        self.ending: dict[str, int] = {}
        self.down: set[str] = set()

    def pause(self, name: str) -> bool:
        fresh = name not in self.paused
        self.paused.add(name)
        return fresh

    def unpause(self, name: str) -> bool:
        there = name in self.paused
        self.paused.discard(name)
        return there

    def restart(self, name: str) -> bool:
        self.restarted.append(name)
        return True

    def services(self) -> list[dict[str, Any]]:
        return [{"ID": name} for name in self.servers]

    def remove_service(self, service: str) -> None:
        self.ending[service] = self.servers.pop(service)

    def tasks(self) -> list[dict[str, Any]]:
        for name in list(self.ending):
            self.ending[name] -= 1
            if self.ending[name] < 0 and f"node-{name}" not in self.down:
                del self.ending[name]
        return [
            {"NodeID": f"node-{name}", "Status": {"State": "running"}} for name in (*self.servers, *self.ending)
        ] + [{"NodeID": "node-old", "Status": {"State": "shutdown"}}]

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {name: {"Status": {"State": "down"}, "Description": {"Hostname": f"{name}-host"}} for name in self.down}
