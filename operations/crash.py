"""`./hub load.crash`: kill `up` at every resource boundary in turn, and show that one more `up` puts it all right.

A boundary is the moment before or after one resource of the stack. At each one, every process of the run (command
line, engine, language host, providers) gets SIGKILL, as in a power cut. Then one `./hub up` must exit 0, a preview
must show no changes, and the Docker objects and Swarm nodes must be exactly those of a run that nobody disturbed.
The stack is a scratch copy: a semester that is up is not touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import docker
from docker.errors import DockerException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations import leftovers
from operations.errors import UserError
from operations.paths import LOGS_DIR, ROOT, WORK_DIR
from operations.progress import note
from operations.scratch_stack import LIGHT, hub, objects, processes, scratch_stack, tail

UP_TIMEOUT_S = 1200.0
COMPONENT = "semesterhub:"
"""Component resources do nothing themselves; only what they contain is a boundary."""

When = Literal["before", "after"]


@dataclass(frozen=True)
class Boundary:
    """The moment before or after one resource, in the order of an undisturbed run."""

    when: When
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.when} {self.type.rsplit(':', 1)[-1]} {self.name}"


@dataclass
class Trial:
    """One kill and what came after it."""

    boundary: Boundary
    killed: bool = False
    killed_after_s: float = 0.0
    converged_s: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Expected:
    """What an undisturbed run leaves on this machine."""

    objects: frozenset[str]
    nodes: tuple[str, ...]


def run(stack: str | None = None, *, cascade: bool = False) -> list[Trial]:
    """Try the boundaries and print a table. Raises UserError when any of them did not converge.

    `stack`: the stack file to copy (its images must be built, or the first run builds them); None: a light stack with
    one worker. `cascade`: do not repair and destroy between the kills; each run finds what the one before left, and only
    the last one is followed by an `up` to its end.
    """
    changes = LIGHT if stack is None else {}
    with scratch_stack("crash", changes, like=stack or "demo") as name:
        drill = Drill(name)
        note(f"stack '{name}': one run that nobody disturbs, to learn its boundaries")
        boundaries = drill.learn()
        note(f"{len(boundaries)} boundaries" + (", in one cascade" if cascade else ""))
        trials = drill.cascade(boundaries) if cascade else drill.each(boundaries)
    show(trials)
    failed = [trial for trial in trials if not trial.ok]
    if failed:
        raise UserError(f"{len(failed)} of {len(trials)} kills did not end in a converged stack; the table says why")
    return trials


def boundaries_of(record: dict[str, Any]) -> list[Boundary]:
    """The boundaries of a finished run, from the engine's record of it (`.semesterhub/logs/…-up.json`)."""
    moments: list[tuple[float, Boundary]] = []
    for resource in record["resources"]:
        if resource["type"].startswith(COMPONENT) or resource["op"] not in {"create", "same", "update"}:
            continue
        began = float(resource["began_s"])
        for when, moment in (("before", began), ("after", began + float(resource["seconds"]))):
            moments.append((moment, Boundary(when, resource["type"], resource["name"])))  # type: ignore[arg-type]
    unique = dict.fromkeys(boundary for _, boundary in sorted(moments, key=lambda pair: pair[0]))
    return list(unique)


class Drill:
    """The kills of one scratch stack."""

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self._expected: Expected

    def learn(self) -> list[Boundary]:
        """Bring the stack up undisturbed, remember what it looks like, destroy it again."""
        done = hub("up", "--stack", self.stack)
        if done.returncode != 0:
            raise UserError(f"the stack does not even come up undisturbed: {tail(done)}")
        record = json.loads(newest(self.stack, "up", ".json").read_text("utf-8"))
        self._expected = Expected(frozenset(objects(self.stack)), tuple(sorted(swarm_nodes(self.stack))))
        self._destroy()
        return boundaries_of(record)

    def each(self, boundaries: Iterable[Boundary]) -> list[Trial]:
        """From nothing: kill at the boundary, repair with one `up`, check, destroy. For each boundary."""
        trials = []
        for boundary in boundaries:
            trial = Trial(boundary)
            trials.append(trial)
            kill_at(self.stack, trial)
            if not trial.killed:
                trial.problems.append("the run ended before this boundary came")
            self._converge(trial)
            try:
                self._destroy()
            except UserError as problem:
                trial.problems.append(str(problem))
            note(f"killed {boundary}: {'converged' if trial.ok else '; '.join(trial.problems)}")
            if trial.problems and objects(self.stack):
                break  # the next trial would not start from nothing
        return trials

    def cascade(self, boundaries: Iterable[Boundary]) -> list[Trial]:
        """Kill at one boundary after the other without repairing, then repair once."""
        trials = []
        for boundary in boundaries:
            trial = Trial(boundary)
            trials.append(trial)
            kill_at(self.stack, trial)
            if not trial.killed:
                trial.problems.append("the run ended before this boundary came")
            note(f"killed {boundary} after {trial.killed_after_s:.1f} s")
        if trials:
            self._converge(trials[-1])
        return trials

    def _converge(self, trial: Trial) -> None:
        began = time.monotonic()
        done = hub("up", "--stack", self.stack)
        trial.converged_s = time.monotonic() - began
        if done.returncode != 0:
            trial.problems.append(f"`./hub up` ended with {done.returncode}: {tail(done)}")
            return
        trial.problems += self._differences()

    def _differences(self) -> list[str]:
        problems = []
        done = hub("preview", "--stack", self.stack)
        changes = json.loads(newest(self.stack, "preview", ".json").read_text("utf-8"))["changes"]
        pending = {op: n for op, n in changes.items() if op not in {"same", "refresh", "read"}}
        if done.returncode != 0 or pending:
            problems.append(f"the preview afterwards wants changes: {pending or tail(done)}")
        found = objects(self.stack)
        if extra := found - self._expected.objects:
            problems.append(f"left over: {', '.join(sorted(extra))}")
        if missing := self._expected.objects - found:
            problems.append(f"missing: {', '.join(sorted(missing))}")
        nodes = tuple(sorted(swarm_nodes(self.stack)))
        if nodes != self._expected.nodes:
            problems.append(f"Swarm nodes {', '.join(nodes)} instead of {', '.join(self._expected.nodes)}")
        if alive := processes(self.stack):
            problems.append(f"processes still run: {alive}")
        return problems

    def _destroy(self) -> None:
        done = hub("destroy", "--stack", self.stack, "--delete-homes", "--yes")
        if done.returncode != 0:
            raise UserError(f"`./hub destroy` ended with {done.returncode}: {tail(done)}")
        if left := objects(self.stack):
            raise UserError(f"destroy left {', '.join(sorted(left))}")


def kill_at(stack: str, trial: Trial) -> None:
    """Start `./hub up` and SIGKILL every process of it when the engine reaches the trial's boundary."""
    before = set(LOGS_DIR.glob(f"{stack}-*-up.events"))
    WORK_DIR.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=WORK_DIR) as said:
        process = subprocess.Popen(
            [str(ROOT / "hub"), "up", "--stack", stack], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        began = time.monotonic()
        try:
            trial.killed = _wait_for(stack, trial.boundary, before, lambda: process.poll() is None)
        finally:
            kill_everything(stack, process)
            trial.killed_after_s = time.monotonic() - began


def _wait_for(stack: str, boundary: Boundary, before: set[Path], alive: Callable[[], bool]) -> bool:
    """Follow the engine's event log until the boundary (True) or the end of the run (False)."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    events: Path | None = None
    position, rest = 0, ""
    while alive() and time.monotonic() < deadline:
        if events is None:
            new = set(LOGS_DIR.glob(f"{stack}-*-up.events")) - before
            events = next(iter(new), None)
        if events is not None and events.exists():
            with events.open("r", encoding="utf-8", errors="replace") as log:
                log.seek(position)
                rest += log.read()
                position = log.tell()
            *lines, rest = rest.split("\n")
            if any(reaches(json.loads(line), boundary) for line in lines if line.strip()):
                return True
        time.sleep(0.01)
    return False


def reaches(event: dict[str, Any], boundary: Boundary) -> bool:
    """Whether an engine event is the boundary. The check of the real world that precedes an update does not count."""
    part = event.get("resourcePreEvent" if boundary.when == "before" else "resOutputsEvent")
    metadata = (part or {}).get("metadata") or {}
    if metadata.get("op") in {None, "refresh"}:
        return False
    return metadata["type"] == boundary.type and str(metadata["urn"]).rsplit("::", 1)[-1] == boundary.name


def kill_everything(stack: str, process: subprocess.Popen[Any]) -> None:
    """SIGKILL to the engine, its children and the command line, until none is left."""
    while True:
        alive = leftovers.find(stack)
        for pid in alive:
            _kill(pid)
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not alive:
            return
        time.sleep(0.02)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def newest(stack: str, action: str, suffix: str) -> Path:
    """The newest file the engine kept of this action."""
    found = sorted(LOGS_DIR.glob(f"{stack}-*-{action}{suffix}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"no {action} of stack '{stack}' is recorded in {LOGS_DIR}")
    return found[-1]


def swarm_nodes(stack: str) -> list[str]:
    """`hostname state` of every entry of the Swarm, dead ones too, as the hub VM's agent reports them."""
    client = docker.from_env()
    try:
        machine = client.containers.get(f"semesterhub-{stack}-hub")
        done = machine.exec_run(["semesterhub-node", "report", "--json"], stderr=False)
        if done.exit_code != 0:
            return ["(the hub VM does not report)"]
        return [f"{node['name']} {node['state']}" for node in json.loads(cast("bytes", done.output))["nodes"]]
    except DockerException as problem:
        return [f"(no hub VM: {problem})"]
    finally:
        client.close()


def show(trials: list[Trial], console: Console | None = None) -> None:
    """Print the table of the trials."""
    table = Table(title="`up` killed at every resource boundary", title_justify="left")
    table.add_column("killed")
    table.add_column("after", justify="right")
    table.add_column("next `up`", justify="right")
    table.add_column("result")
    for trial in trials:
        table.add_row(
            escape(str(trial.boundary)),
            f"{trial.killed_after_s:.1f} s",
            "" if trial.converged_s is None else f"{trial.converged_s:.1f} s",
            "[green]converged[/]" if trial.ok and trial.converged_s is not None
            else "killed" if trial.ok else f"[red]{escape('; '.join(trial.problems))}[/]",
        )  # fmt: skip
    (console or Console()).print(table)
