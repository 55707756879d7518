"""`./hub load.faults`: an error at every changing call of `up` in turn, and that one more `up` puts it all right.

A first, undisturbed run tells which calls there are. Then, for each: from nothing, `up` with an error injected at that call must
fail with a message that names the resource; a second `up` must converge, a preview must show no change, and a destroy must
leave nothing in the cloud. The cloud is an offline one of the drill's own: neither a real stack nor the sandbox's is touched.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations import setup, stacks
from operations.engine import Action, Pulumi, Result
from operations.errors import UserError
from operations.paths import WORK_DIR
from operations.progress import note
from sandbox.faults import calls
from sandbox.session import Session, session

NAMED = re.compile(r"^\s*([A-Z]\w+ [^\s:]+): \S", re.MULTILINE)
"""The resource's kind and name before the reason, in the message of a failed run. (The reason of an S3 upload is only a status.)"""
CASCADE_KINDS = ("error", "quota")


@dataclass(frozen=True)
class Point:
    """One changing call of an undisturbed `up`: its name, and which one of these it is (1 is the first)."""

    call: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.call} {self.occurrence}"

    @property
    def rules(self) -> str:
        """The fault rules that strike exactly here."""
        return json.dumps([{"kind": "error", "call": self.call, "nth": self.occurrence}])


@dataclass
class Trial:
    """One injected error and what came after it."""

    point: Point
    named: str = ""
    converged_s: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


class Drill:
    """The trials of one stack, in an offline cloud under `root`."""

    def __init__(self, stack: str, root: Path) -> None:
        self.stack, self.cloud, self.root = stack, stacks.cloud_of(stack), root
        stacks.load(stack)
        self._folder = setup.pulumi().folder

    @contextlib.contextmanager
    def session(self, faults: str = "") -> Iterator[Session]:
        """The offline cloud, for one command."""
        with session(self.stack, self.cloud, root=self.root, faults=faults, banner=False) as offline:
            yield offline

    def run(self, action: Action, faults: str = "", **more: Any) -> tuple[Result, Session]:
        """One command; UserError when it fails."""
        with self.session(faults) as offline, _quietly():
            return Pulumi(self.stack, self._folder, place=offline.place).run(action, **more), offline

    def learn(self) -> list[Point]:
        """Bring the stack up undisturbed and take it down again; its changing calls, in order."""
        _, offline = self.run("up")
        points = [Point(c["call"], c["occurrence"]) for c in calls(offline.state_dir)]
        problems = self.destroy()
        if problems:
            raise UserError(f"stack '{self.stack}' does not even come and go undisturbed: {'; '.join(problems)}")
        return points

    def each(self, points: list[Point]) -> list[Trial]:
        """From nothing: the error, a second `up`, a preview, a destroy. For each point."""
        trials = []
        for number, point in enumerate(points, start=1):
            trial = Trial(point)
            trials.append(trial)
            self._strike(trial, point.rules)
            self._converge(trial)
            trial.problems += self.destroy()
            note(f"{number}/{len(points)} {point}: {'converged' if trial.ok else '; '.join(trial.problems)}")
        return trials

    def cascade(self, count: int, stride: int, seed: int) -> list[Trial]:
        """`count` errors without a repair in between: each run goes on where the one before failed, and fails a seeded
        number of calls (up to `stride`) later. Only the last one is followed by an `up` to its end."""
        rng = random.Random(f"cascade {self.stack} {seed}")
        trials = []
        for number in range(count):
            nth = rng.randint(1, stride)
            kind = CASCADE_KINDS[number % len(CASCADE_KINDS)]
            trial = Trial(Point(f"call {nth} of run {number + 1} ({kind})", 1))
            trials.append(trial)
            self._strike(trial, json.dumps([{"kind": kind, "nth": nth}]))
        if trials:
            self._converge(trials[-1])
            trials[-1].problems += self.destroy()
        return trials

    def destroy(self) -> list[str]:
        """Take everything down; what went wrong with that."""
        try:
            with self.session() as offline, _quietly():
                Pulumi(self.stack, self._folder, place=offline.place).run("destroy", release=True)
                left = offline.inventory()
        except UserError as error:
            return [f"destroy failed: {error}"]
        return [f"destroy left {', '.join(left)}"] if left else []

    def _strike(self, trial: Trial, rules: str) -> None:
        try:
            self.run("up", rules)
        except UserError as error:
            found = NAMED.search(str(error))
            if found:
                trial.named = found[1]
            else:
                trial.problems.append(f"the message names no resource: {error}")
        else:
            trial.problems.append("the run ended well, in spite of the error")

    def _converge(self, trial: Trial) -> None:
        began = time.monotonic()
        try:
            self.run("up")
            trial.converged_s = time.monotonic() - began
            quiet, _ = self.run("preview")
        except UserError as error:
            trial.problems.append(f"the next run failed: {error}")
            return
        if quiet.changed:
            wanted = [
                f"{r.op} {r.label}" for r in quiet.resources if r.op not in {"same", "refresh", "read"} and r.custom
            ]
            trial.problems.append(f"the preview afterwards wants {', '.join(wanted)}")


def pick(points: list[Point], sample: int, seed: int) -> list[Point]:
    """All points (`sample` 0), or so many of them, one from each stretch of the run."""
    if sample == 0 or sample >= len(points):
        return points
    if sample < 1:
        raise UserError(f"--sample: {sample} is not possible; allowed: 1 to {len(points)} (or leave it out for all)")
    rng = random.Random(f"faults {seed}")
    edges = [round(i * len(points) / sample) for i in range(sample + 1)]
    return [points[rng.randrange(low, high)] for low, high in itertools.pairwise(edges)]


def named(points: list[Point], only: str) -> list[Point]:
    """The points whose call has `only` in its name; UserError when there is none."""
    found = [point for point in points if only.lower() in point.call.lower()]
    if not found:
        names = ", ".join(sorted({point.call for point in points}))
        raise UserError(f"--only: no changing call has '{only}' in its name; there are {names}")
    return found


def run(stack: str, sample: int = 0, *, only: str = "", start: int = 1, seed: int = 1) -> list[Trial]:
    """Try the points (from the one numbered `start` on) and print a table. Raises UserError when any of them did not end
    well; then the offline cloud stays, to look at."""
    WORK_DIR.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix=f"faults-{stack}-", dir=WORK_DIR))
    drill = Drill(stack, root)
    note(f"stack '{stack}': one run that nobody disturbs, to learn its calls")
    every = drill.learn()
    if not 1 <= start <= len(every):
        raise UserError(f"--start: {start} is not possible; allowed: 1 to {len(every)}")
    points = pick(named(every[start - 1 :], only), sample, seed)
    note(f"{len(points)} of {len(every)} changing calls")
    began = time.monotonic()
    trials = drill.each(points)
    show(trials, len(every), time.monotonic() - began)
    failed = [trial for trial in trials if not trial.ok]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(trials)} errors did not end well; the table says why. The cloud is in {root}"
        )
    shutil.rmtree(root)
    return trials


def show(trials: list[Trial], all_points: int, seconds: float, console: Console | None = None) -> None:
    """Print the table of the trials."""
    good = sum(trial.ok for trial in trials)
    title = f"An error at {len(trials)} of {all_points} changing calls: {good} converged and left nothing ({seconds / 60:.0f} min)"
    table = Table("call", "named in the message", "next `up`", "result", title=title, title_justify="left")
    for trial in trials:
        table.add_row(
            escape(str(trial.point)),
            escape(trial.named),
            "" if trial.converged_s is None else f"{trial.converged_s:.1f} s",
            "[green]converged[/]" if trial.ok else f"[red]{escape('; '.join(trial.problems))}[/]",
        )
    (console or Console()).print(table)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Each of hundreds of runs has its own progress; the drill tells its own."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
