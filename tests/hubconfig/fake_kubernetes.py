"""A small API server on loopback: pods, nodes and server-side apply, with tokens checked. No scheduler, no kubelet.

It stands for a real one, which is not available offline: what it accepts, a real one may refuse.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.boot.standin import Reply, Request, StandIn, reply, serve

GIB = 2**30


def node(name: str, *, ready: bool = True, cordoned: bool = False, memory: str = "16Gi") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"hub.jupyter.org/node-purpose": "user"}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.26.8.4"}],
            "allocatable": {"memory": memory},
        },
    }


class FakeKubernetes(StandIn):
    """Answers like an API server to whoever has `token`."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.nodes = [node("n1"), node("n2")]
        self.pods: dict[str, dict[str, Any]] = {}
        self.applied: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.refuse: list[Reply] = []
        self.new_status: dict[str, Any] = {}
        """Of the pods made from now on; empty: they run at once on n1."""
        self.lingering: dict[str, int] = {}
        """Pod -> how many more looks it is ending for after its removal."""
        self._numbers = itertools.count(1)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._status(401, "Unauthorized")
        self.asked.append(f"{request.method} {request.path}")
        if self.refuse:
            return self.refuse.pop(0)
        if request.path == "/api/v1/nodes":
            return reply(200, {"items": self.nodes}, Content_Type="application/json")
        if request.method == "PATCH":
            if (
                request.headers["content-type"] != "application/apply-patch+yaml"
                or request.parameters.get("fieldManager") != "semesterhub"
            ):
                return self._status(415, "UnsupportedMediaType")
            self.applied[request.path] = json.loads(request.body)
            return reply(200, self.applied[request.path], Content_Type="application/json")
        if "/pods" in request.path:
            return self._pods(request)
        return self._status(404, "NotFound")

    def _status(self, code: int, reason: str) -> Reply:
        return reply(code, {"kind": "Status", "code": code, "reason": reason}, Content_Type="application/json")

    def _pods(self, request: Request) -> Reply:
        name = request.path.partition("/pods")[2].strip("/")
        if request.method == "POST":
            pod = json.loads(request.body)
            name = pod["metadata"]["name"]
            if name in self.pods:
                if self.lingering.get(name, 1) <= 0:
                    del self.pods[name]
                else:
                    self.lingering[name] = self.lingering.get(name, 1) - 1
                    return self._status(409, "AlreadyExists")
            self.pods[name] = self._made(pod)
            return reply(201, self.pods[name], Content_Type="application/json")
        if not name:
            wanted = dict(part.split("=") for part in request.parameters.get("labelSelector", "").split(",") if part)
            items = [pod for pod in self.pods.values() if wanted.items() <= pod["metadata"].get("labels", {}).items()]
            return reply(200, {"items": items}, Content_Type="application/json")
        if name not in self.pods:
            return self._status(404, "NotFound")
        pod = self.pods[name]
        if request.method == "DELETE":
            if name in self.lingering:
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            else:
                del self.pods[name]
        return reply(200, pod, Content_Type="application/json")

    def _made(self, pod: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        for container in pod["spec"]["containers"]:
            for amounts in (container.get("resources") or {}).values():
                # an API server gives quantities back as text, whatever it was sent
                amounts.update(
                    {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in amounts.items()}
                )
        running = {
            "phase": "Running", "podIP": f"10.26.32.{number}",
            "containerStatuses": [{"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        }  # fmt: skip
        status = self.new_status or running
        spec = {**pod["spec"], **({} if self.new_status.get("phase") == "Pending" else {"nodeName": "n1"})}
        meta = {**pod["metadata"], "uid": f"uid-{number}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**pod, "metadata": meta, "spec": spec, "status": status}


@contextmanager
def serving(fake: StandIn) -> Iterator[str]:
    """Its address."""
    server = serve(fake)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
