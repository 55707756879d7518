"""`./hub status`: what a running semester looks like now, in one table a person can read at a glance."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import docker
from docker.errors import DockerException, NotFound
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations import backup, setup
from operations.engine import Pulumi
from operations.errors import UserError
from operations.failover.sites import KEEPER

MIB = 1024 * 1024
LISTED_SERVERS = 25
"""More servers than these are summed up: a class of 1,500 must not scroll everything else away."""


@dataclass(frozen=True)
class Status:
    """A stack's state. `away` says why the hub VM could not be asked; then `report` is empty."""

    stack: str
    outputs: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    """By name inside the cluster (`hub`, `worker-1`)."""
    away: str = ""


@dataclass(frozen=True)
class Machine:
    running: bool
    memory_mib: float | None
    limit_mib: float | None


def show(stack: str, console: Console | None = None) -> Status:
    """Print the stack's state. Raises UserError when the stack was never brought up."""
    status = collect(stack)
    render(status, console or Console())
    return status


def collect(stack: str) -> Status:
    """Ask the state, the host's Docker and the hub VM's agent."""
    outputs = Pulumi(stack, setup.pulumi().folder).outputs() if Pulumi.known(stack) else {}
    if not outputs.get("hub_url"):
        raise UserError(f"stack '{stack}' is not up. Start it: ./hub up --stack {stack}")
    machines: dict[str, Machine] = {}
    try:
        client = docker.from_env()
        machines = _machines(client, stack)
        report = _report(client, stack)
    except _AwayError as why:
        return Status(stack, outputs, machines=machines, away=str(why))
    except DockerException as problem:
        return Status(stack, outputs, away=f"Docker on this machine does not answer: {problem}")
    return Status(stack, outputs, report, machines)


class _AwayError(Exception):
    pass


def _report(client: docker.DockerClient, stack: str) -> dict[str, Any]:
    name = f"semesterhub-{stack}-hub"
    try:
        machine = client.containers.get(name)
    except NotFound:
        raise _AwayError(f"its machine {name} does not exist") from None
    if machine.status != "running":
        raise _AwayError(f"its machine {name} is {machine.status}")
    done = machine.exec_run(["semesterhub-node", "report", "--json"], demux=True)
    out, problems = cast("tuple[bytes | None, bytes | None]", done.output)
    if done.exit_code != 0:
        said = (problems or b"").decode(errors="replace").strip().splitlines()
        raise _AwayError(f"its machine {name} does not report: {said[-1] if said else 'no reason given'}")
    return {**json.loads(out or b"{}"), "backup": _backup_of(machine)}


def _backup_of(machine: Any) -> dict[str, Any] | None:
    """What the keeper on the hub VM says of its backups; None when it does not answer."""
    done = machine.exec_run([*KEEPER, "backup-status"], demux=True)
    out, _ = cast("tuple[bytes | None, bytes | None]", done.output)
    try:
        return json.loads(out or b"") if done.exit_code == 0 else None
    except ValueError:
        return None


def _machines(client: docker.DockerClient, stack: str) -> dict[str, Machine]:
    prefix = f"semesterhub-{stack}-"
    found = client.containers.list(all=True, filters={"label": f"semesterhub.stack={stack}"})

    def measure(container: Any) -> Machine:
        if container.status != "running":
            return Machine(False, None, None)
        try:
            memory = container.stats(stream=False, one_shot=True).get("memory_stats") or {}
        except DockerException:
            return Machine(True, None, None)
        if "usage" not in memory:
            return Machine(True, None, None)
        stats = memory.get("stats") or {}
        # Page cache that can be dropped at once is not used memory; the two names are of cgroup v1 and v2.
        cache = stats.get("total_inactive_file", stats.get("inactive_file", 0))
        return Machine(True, (memory["usage"] - cache) / MIB, memory.get("limit", 0) / MIB)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip((str(c.name).removeprefix(prefix) for c in found), pool.map(measure, found), strict=True))


def render(status: Status, console: Console) -> None:
    """Print a collected state."""
    url = escape(str(status.outputs["hub_url"]))
    if status.away:
        console.print(f"[red]The hub of stack '{status.stack}' is away[/] ({url}): {escape(status.away)}.")
        console.print(f"Bring it back: ./hub up --stack {status.stack}")
        if status.machines:
            console.print(_nodes(status))
        return
    bundle = status.report.get("bundle", {})
    if bundle.get("healthy"):
        console.print(f"[bold]{url}[/]  up")
    else:
        down = [name for name, runs in bundle.get("containers", {}).items() if not runs]
        what = f"not running as described: {', '.join(down)}" if down else "its containers were never applied"
        console.print(f"[red]{url} is not working[/]: {what}. Put it right: ./hub up --stack {status.stack}")
    console.print(_nodes(status))
    servers = status.report.get("servers", [])
    if servers:
        console.print(_servers(servers))
    else:
        console.print("no student servers")
    console.print(_services(status))
    console.print(_backups(status))


def _nodes(status: Status) -> Table:
    table = Table(title="nodes", title_justify="left", box=None, pad_edge=False)
    for heading in ("node", "state", "servers", "used MiB", "of MiB", "for students", "Docker"):
        table.add_column(heading, justify="left" if heading in {"node", "state", "Docker"} else "right", no_wrap=True)
    entries: dict[str, dict[str, Any]] = {}
    for entry in status.report.get("nodes", []):
        # A machine made again leaves its old entry behind for a moment; the living one counts.
        if entry["name"] not in entries or entry["state"] == "ready":
            entries[entry["name"]] = entry
    counts: dict[str, int] = {}
    for server in status.report.get("servers", []):
        counts[server["node"]] = counts.get(server["node"], 0) + 1
    for name in sorted({*entries, *status.machines}, key=_natural):
        entry, machine = entries.get(name), status.machines.get(name)
        table.add_row(
            name,
            _state(entry, machine),
            str(counts.get(name, 0)),
            f"{machine.memory_mib:.0f}" if machine and machine.memory_mib is not None else "",
            f"{machine.limit_mib:.0f}" if machine and machine.limit_mib else "",
            str(entry["student_memory_mib"]) if entry and entry["role"] == "worker" else "",
            str(entry["docker"]).partition("+")[0] if entry else "",
        )
    return table


def _natural(name: str) -> tuple[bool, int, str]:
    digits = "".join(c for c in name if c.isdigit())
    return name != "hub", int(digits or 0), name


def _state(entry: dict[str, Any] | None, machine: Machine | None) -> str:
    if machine is None:
        return "[red]machine gone[/]"
    if not machine.running:
        return "[red]machine stopped[/]"
    if entry is None:
        return "[yellow]not in the Swarm[/]"
    if entry["state"] != "ready":
        return f"[red]{entry['state']}[/]"
    known = {"active": "ready", "pause": "ready, takes no new servers", "drain": "drained"}
    said = known.get(str(entry["availability"]), str(entry["availability"]))
    return said if entry["role"] == "worker" else "manager"


def _servers(servers: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{len(servers)} student servers", title_justify="left", box=None, pad_edge=False)
    for heading in ("student", "course", "node", "state"):
        table.add_column(heading)
    ordered = sorted(servers, key=lambda s: (s["node"], s["user"]))
    for server in ordered[:LISTED_SERVERS]:
        table.add_row(escape(server["user"]), escape(server["course"]), server["node"] or "waiting", server["state"])
    if len(ordered) > LISTED_SERVERS:
        table.add_row(f"and {len(ordered) - LISTED_SERVERS} more", "", "", "")
    return table


def _services(status: Status) -> Table:
    table = Table(title="on the hub VM", title_justify="left", box=None, pad_edge=False)
    table.add_column("service")
    table.add_column("memory", justify="right")
    table.add_column("image")
    images = status.report.get("images", {})
    for container in sorted(status.report.get("containers", []), key=lambda c: c["name"]):
        table.add_row(container["name"], container["memory"], escape(_digest(images.get(container["name"], ""))))
    for name, digest in sorted((status.outputs.get("images") or {}).items()):
        if name not in {c["name"] for c in status.report.get("containers", [])}:
            table.add_row(f"[dim]{name} (student image)[/]", "", escape(_digest(str(digest))))
    return table


def _backups(status: Status) -> str:
    """Age of the last backup, as the keeper on the hub VM says."""
    found = status.report.get("backup")
    return backup.summary(found) if found else "last backup: not known, the keeper does not answer"


def _digest(reference: str) -> str:
    """The first digits of an image's digest, which is what two people compare."""
    _, _, digest = reference.rpartition("@")
    return digest.removeprefix("sha256:")[:16] or reference
