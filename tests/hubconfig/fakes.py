"""A hub's settings, a fake Engine API and a fake user for the tests of hubconfig."""

from __future__ import annotations

import copy
import itertools
from types import SimpleNamespace
from typing import Any

from docker.errors import APIError

from hubconfig.settings import HubSettings, parse_settings

DIGEST = "sha256:" + "a" * 64


def course(**changes: Any) -> dict[str, Any]:
    return {
        "id": "data8",
        "title": "Foundations of Data Science",
        "image": f"10.88.0.10:5000/student@{DIGEST}",
        "cpu_limit": 1,
        "cpu_guarantee": 0.1,
        "memory_limit_mib": 1024,
        "memory_guarantee_mib": 512,
        "instructors": ["prof"],
    } | changes


def raw_settings(**changes: Any) -> dict[str, Any]:
    return {
        "semester": "demo",
        "title": "Demo semester",
        "hub_url": "https://demo.localhost:8443",
        "hub_ip": "10.88.0.10",
        "courses": [course()],
        "admins": ["admin"],
        "homes_path": "/srv/semesterhub/homes",
    } | changes


def make_settings(**changes: Any) -> HubSettings:
    return parse_settings(raw_settings(**changes))


class FakeDocker:
    """The part of docker.APIClient the hub uses, with one worker and a task a service in the state a test asks for."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.removed: list[str] = []
        self.calls: list[str] = []
        self.down: str | None = None
        self.new_task: dict[str, Any] = {"State": "running"}
        self.next_tasks: list[dict[str, Any]] = []
        self.node_list = [
            self.node("manager", "10.88.0.10", role="manager", memory_mib=0),
            self.node("w1", "10.88.0.11"),
        ]
        self._ids = itertools.count(1)

    @staticmethod
    def node(name: str, address: str, *, role: str = "worker", state: str = "ready", memory_mib: int = 4096) -> Any:
        resource = {"DiscreteResourceSpec": {"Kind": "student-memory-mib", "Value": memory_mib}}
        return {
            "ID": f"id-{name}",
            "Spec": {"Role": role, "Availability": "active"},
            "Status": {"State": state, "Addr": address},
            "Description": {"Hostname": name, "Resources": {"GenericResources": [resource]}},
        }

    def _fail(self, status: int) -> APIError:
        return APIError("fake", response=SimpleNamespace(status_code=status, reason="fake", text=""))  # type: ignore[arg-type]

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise ConnectionError(self.down)

    def nodes(self) -> list[Any]:
        self._called("nodes")
        return copy.deepcopy(self.node_list)

    def create_service(self, **arguments: Any) -> dict[str, str]:
        self._called("create_service")
        name = arguments["name"]
        if name in self.services:
            raise self._fail(409)
        number = next(self._ids)
        status = {"State": "running", "Err": "", **(self.next_tasks.pop(0) if self.next_tasks else self.new_task)}
        if status["State"] == "running":
            status.setdefault("PortStatus", {"Ports": [{"TargetPort": 8888, "PublishedPort": 32000 + number}]})
        self.services[name] = {
            "ID": f"service-{number}",
            "Spec": {
                "Name": name,
                "Labels": arguments["labels"],
                "TaskTemplate": arguments["task_template"],
                "EndpointSpec": arguments["endpoint_spec"],
            },
            "task": {
                "ID": f"task-{number}",
                "ServiceID": f"service-{number}",
                "NodeID": "" if status["State"] in {"new", "pending"} else "id-w1",
                "CreatedAt": f"2026-01-01T00:00:{number:02}Z",
                "Spec": arguments["task_template"],
                "Status": status,
            },
        }
        return {"ID": f"service-{number}"}

    def _find(self, key: str) -> dict[str, Any]:
        for name, service in self.services.items():
            if key in {name, service["ID"]}:
                return service
        raise self._fail(404)

    def inspect_service(self, key: str) -> dict[str, Any]:
        self._called("inspect_service")
        return self._find(key)

    def remove_service(self, key: str) -> None:
        self._called("remove_service")
        service = self._find(key)
        del self.services[service["Spec"]["Name"]]
        self.removed.append(service["Spec"]["Name"])

    def tasks(self, filters: dict[str, str] | None = None) -> list[Any]:
        self._called("tasks")
        filters = filters or {}
        if "service" in filters:
            return [copy.deepcopy(self._find(filters["service"])["task"])]
        tasks = [service["task"] for service in self.services.values()]
        return copy.deepcopy([task for task in tasks if filters.get("id", task["ID"]) == task["ID"]])

    def set_state(self, name: str, state: str, **status: Any) -> None:
        self.services[name]["task"]["Status"] |= {"State": state, **status}

    def place(self, name: str, port: int = 32999) -> None:
        """Swarm finds a node for a service that was pending."""
        task = self.services[name]["task"]
        task["NodeID"] = "id-w1"
        ports = {"Ports": [{"TargetPort": 8888, "PublishedPort": port}]}
        task["Status"] = {"State": "running", "Err": "", "PortStatus": ports}


class FakeUser(SimpleNamespace):
    """A JupyterHub user as far as a spawner looks at it."""

    def __init__(self, name: str, *, admin: bool = False, groups: tuple[str, ...] = ()) -> None:
        super().__init__(
            name=name,
            escaped_name=name,
            admin=admin,
            groups=[SimpleNamespace(name=group) for group in groups],
            url=f"/user/{name}/",
            db=SimpleNamespace(commit=lambda: None),
        )
