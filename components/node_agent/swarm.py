"""Swarm side of a node's life, asked of the manager: drain, forget, report."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .bundle import status as bundle_status
from .config import SECRETS_DIR, AgentError, NodeConfig
from .shell import docker, docker_lines

FINISHED = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}


def nodes() -> list[dict[str, Any]]:
    ids = docker("node", "ls", "-q").split()
    return json.loads(docker("node", "inspect", *ids)) if ids else []


def find(hostname: str) -> list[dict[str, Any]]:
    """Every Swarm entry of a host; a machine made again under its old name leaves the old entry behind."""
    return [node for node in nodes() if node["Description"]["Hostname"] == hostname]


def student_services() -> list[dict[str, Any]]:
    """Student servers: their Swarm services, with the task that runs (or waits) for each."""
    ids = docker("service", "ls", "-q", "--filter", "label=semesterhub.user").split()
    return json.loads(docker("service", "inspect", *ids)) if ids else []


def running_tasks() -> list[dict[str, Any]]:
    services = [service["ID"] for service in student_services()]
    if not services:
        return []
    rows = docker("service", "ps", "-q", "--no-trunc", *services, check=False).split()
    tasks = json.loads(docker("inspect", "--type", "task", *rows)) if rows else []
    return [task for task in tasks if task["Status"]["State"] not in FINISHED]


def servers_on(node_id: str) -> list[dict[str, Any]]:
    by_id = {service["ID"]: service for service in student_services()}
    return [
        by_id[task["ServiceID"]]
        for task in running_tasks()
        if task.get("NodeID") == node_id and task["ServiceID"] in by_id
    ]


def stop_server(node: NodeConfig, service: dict[str, Any]) -> None:
    """Stop one student's server through the Hub, so that the Hub knows; straight from Swarm when the Hub is away."""
    labels = service["Spec"]["Labels"]
    user = urllib.parse.quote(labels["semesterhub.user"], safe="")
    server = urllib.parse.quote(labels.get("semesterhub.server", ""), safe="")
    path = f"users/{user}/servers/{server}" if server else f"users/{user}/server"
    token = SECRETS_DIR / "operator_token"
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{node.hub_api_port}/hub/api/{path}",
            method="DELETE",
            headers={"Authorization": f"token {token.read_text().strip()}"},
        )
        urllib.request.urlopen(request, timeout=30).close()
    except (OSError, urllib.error.HTTPError):
        docker("service", "rm", service["ID"], check=False)


def drain(node: NodeConfig, hostname: str, timeout_s: float) -> str:
    """Take a worker out of the Swarm without cutting anybody off before ``timeout_s``.

    Cordon (no new servers), wait for the running ones to end, stop what is left cleanly, drain, remove the entry.
    """
    done = [drain_entry(node, entry, timeout_s) for entry in find(hostname)]
    return "; ".join(done) or f"{hostname}: is not in the Swarm"


def drain_entry(node: NodeConfig, entry: dict[str, Any], timeout_s: float) -> str:
    """The same for one entry of the Swarm's list."""
    node_id = entry["ID"]
    docker("node", "update", "--availability", "pause", node_id)
    deadline = time.monotonic() + timeout_s
    while entry["Status"]["State"] == "ready" and servers_on(node_id) and time.monotonic() < deadline:
        time.sleep(2)
    left = servers_on(node_id)
    for service in left:
        stop_server(node, service)
    patience = time.monotonic() + 45
    while servers_on(node_id) and time.monotonic() < patience:
        time.sleep(0.5)
    docker("node", "update", "--availability", "drain", node_id)
    docker("node", "rm", "--force", node_id)
    return f"{entry['Description']['Hostname']}: drained, {len(left)} servers stopped after {timeout_s:g} s"


def forget(hostname: str) -> int:
    """Remove Swarm entries of a machine that is gone; a live one is left alone."""
    gone = [entry for entry in find(hostname) if entry["Status"]["State"] != "ready"]
    for entry in gone:
        docker("node", "rm", "--force", entry["ID"])
    return len(gone)


def generic_memory_mib(entry: dict[str, Any]) -> int:
    for resource in entry["Description"]["Resources"].get("GenericResources") or []:
        spec = resource.get("DiscreteResourceSpec", {})
        if spec.get("Kind") == "student-memory-mib":
            return int(spec["Value"])
    return 0


def report(node: NodeConfig) -> dict[str, Any]:
    """State of the cluster for ``status``: nodes, servers (user, node, address), memory of the hub's containers."""
    services = {service["ID"]: service["Spec"] for service in student_services()}
    names = {entry["ID"]: entry["Description"]["Hostname"] for entry in nodes()}
    servers = [
        {
            "user": services[task["ServiceID"]]["Labels"]["semesterhub.user"],
            "course": services[task["ServiceID"]]["Labels"].get("semesterhub.course", ""),
            "state": task["Status"]["State"],
            "node": names.get(task.get("NodeID", ""), ""),
            "container": task["Status"].get("ContainerStatus", {}).get("ContainerID", ""),
        }
        for task in running_tasks()
        if task["ServiceID"] in services
    ]
    stats = docker_lines("stats", "--no-stream")
    return {
        "nodes": [
            {
                "name": entry["Description"]["Hostname"],
                "role": entry["Spec"]["Role"],
                "state": entry["Status"]["State"],
                "availability": entry["Spec"]["Availability"],
                "address": entry["Status"].get("Addr", ""),
                "docker": entry["Description"]["Engine"]["EngineVersion"],
                "student_memory_mib": generic_memory_mib(entry),
            }
            for entry in nodes()
        ],
        "servers": servers,
        "containers": [
            {"name": row["Name"], "cpu": row["CPUPerc"], "memory": row["MemUsage"].split(" / ")[0]} for row in stats
        ],
        "images": {row["Names"]: row["Image"] for row in docker_lines("ps", "--no-trunc")},
        "bundle": {key: value for key, value in bundle_status().items() if key != "ca_certificate"},
    }


def require_manager(node: NodeConfig) -> None:
    if not node.is_hub:
        raise AgentError("this is a worker; ask the hub VM (the Swarm manager)")
