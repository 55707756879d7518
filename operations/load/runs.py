"""What `./hub load.class` and `./hub load.compare` do: find the hub, send the class, print and keep what came out."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.table import Table

from operations import setup, stacks
from operations.engine import Pulumi
from operations.errors import UserError
from operations.load import report
from operations.load.class_run import run_class
from operations.load.records import ClassResult, StudentRecord
from operations.load.target import Target, refuse_foreign
from operations.paths import WORK_DIR
from operations.progress import note

FOLDER = WORK_DIR / "load"
TOLD_EVERY_S = 10.0
RATIO_AT_MOST = 0.5
"""Median time from sign-in to a computed cell, tuned over naive: what the tuning promises."""
CPU_S_AT_MOST = 2.5
"""CPU-seconds for a start, server and kernel (naive: 4.0; a bare Jupyter server alone: 1.6)."""


def target_of(stack: str) -> Target:
    """The deployed hub of `stack`. Raises UserError when there is none or when it has no password login."""
    outputs = Pulumi(stack, setup.pulumi().folder).outputs()
    if not outputs.get("hub_url"):
        raise UserError(f"stack '{stack}' is not up. Start it: ./hub up --stack {stack}")
    if not outputs.get("student_password"):
        raise UserError(
            f"stack '{stack}' has no student password: synthetic students can only log in with the demo authenticator "
            "(semesterhub:authenticator: {kind: demo})"
        )
    hub = f"semesterhub-{stack}-hub"
    prefix = f"semesterhub-{stack}-"
    machines = (hub, *(str(node) for node in outputs.get("nodes", ())))
    return Target(
        name=stack,
        hub_url=str(outputs["hub_url"]),
        student_password=str(outputs["student_password"]),
        ca_certificate=str(outputs.get("ca_certificate") or ""),
        machines=machines,
        short_names=tuple((machine, machine.removeprefix(prefix)) for machine in machines),
    )


def run(
    stack: str = "demo",
    students: int = 0,
    within_s: float = 60,
    stay_s: float = 60,
    *,
    seed: int = 1,
    keep: bool = False,
    i_own_this_hub: bool = False,
) -> ClassResult:
    """Send a class to `stack`, print its table, save it below `.semesterhub/load/`. `students` 0: as in the stack file.

    Raises UserError when a student failed, after everything is printed and saved.
    """
    students = students or sum(course.students for course in stacks.load(stack).courses)
    target = target_of(stack)
    refuse_foreign(target.hub_url, i_own_this_hub)
    with Telling(students) as telling:
        result = run_class(
            target, students, within_s, stay_s, seed=seed, keep=keep, i_own_this_hub=i_own_this_hub,
            on_step=telling.take,
        )  # fmt: skip
    report.print_result(result)
    where = report.save(result, FOLDER)
    note(f"saved in {where}: result.json, table.txt, curves.png")
    if result.failures:
        raise UserError(f"{len(result.failures)} of {students} students could not work; the reasons are above")
    return result


@dataclass(frozen=True)
class Comparison:
    """The same class on the tuned and on the naive hub."""

    tuned: ClassResult
    naive: ClassResult
    folder: Path

    def ratio(self, measure: str = "computed_s") -> float:
        """Tuned median over naive median: below 1 is better. Infinite when one side has no median."""
        tuned, naive = self.tuned.spread(measure), self.naive.spread(measure)
        return tuned.p50 / naive.p50 if tuned and naive and naive.p50 else float("inf")

    def missed(self) -> list[str]:
        """What of its promises the tuned hub did not keep, in sentences."""
        tuned, missed = self.tuned, []
        if tuned.failures:
            missed.append(f"{len(tuned.failures)} of {len(tuned.students)} students could not work")
        if (ratio := self.ratio()) > RATIO_AT_MOST:
            missed.append(f"a computed cell took {ratio:.2f} of the naive hub's time, promised is {RATIO_AT_MOST}")
        cpu = tuned.spread("cpu_s")
        if cpu is None or cpu.count < len(tuned.students):
            missed.append(
                f"the CPU of a start is known for {cpu.count if cpu else 0} of {len(tuned.students)} students"
            )
        elif cpu.p50 > CPU_S_AT_MOST:
            missed.append(f"a start took {cpu.p50:.2f} CPU-seconds, promised is {CPU_S_AT_MOST}")
        if not tuned.longest_queue():
            missed.append("nobody saw a place in the queue: a larger class shows it (--students)")
        return missed


def compare(
    stack: str = "demo", students: int = 20, within_s: float = 5, stay_s: float = 5, *, seed: int = 1
) -> Comparison:
    """Send the same class to `stack` and to the naive hub, one after the other, and print the ratio of the medians.

    On both sides one student comes before the class and is not counted, so that both have their image in memory. Raises
    UserError when the tuned hub breaks a promise, after everything is printed and saved.
    """
    from operations.naive import NaiveHub  # which itself is a target of load runs

    tuned_target = target_of(stack)
    refuse_foreign(tuned_target.hub_url)

    def send(target: Target) -> ClassResult:
        run_class(target, 1, 0, 0, seed=seed, prefix="warm-up")
        with Telling(students) as telling:
            return run_class(target, students, within_s, stay_s, seed=seed, prefix="class", on_step=telling.take)

    note(f"{students} students to the tuned hub ({tuned_target.hub_url})")
    tuned = send(tuned_target)
    with NaiveHub(on_line=note) as hub:
        note(f"{students} students to the naive hub ({hub.target.hub_url})")
        naive = send(hub.target)
    folder = FOLDER / f"compare-{time.strftime('%Y%m%d-%H%M%S')}"
    comparison = Comparison(tuned, naive, folder)
    _tell(comparison)
    if missed := comparison.missed():
        raise UserError("; ".join(missed))
    return comparison


def _tell(comparison: Comparison) -> None:
    console = Console()
    report.print_result(comparison.tuned, console)
    report.print_result(comparison.naive, console)
    table = Table(title="median, tuned against naive", title_justify="left")
    for heading in ("", "tuned", "naive", "ratio"):
        table.add_column(heading, justify="left" if not heading else "right")
    for measure, heading in (("computed_s", "sign-in to computed cell, s"), ("cpu_s", "CPU-seconds for a start")):
        sides = (comparison.tuned.spread(measure), comparison.naive.spread(measure))
        shown = [f"{side.p50:.2f}" if side else "unknown" for side in sides]
        table.add_row(heading, *shown, f"{comparison.ratio(measure):.2f}")
    failed = (len(comparison.tuned.failures), len(comparison.naive.failures))
    table.add_row("students who failed", str(failed[0]), str(failed[1]), "")
    console.print(table)
    comparison.folder.mkdir(parents=True, exist_ok=True)
    document = {
        "tuned": comparison.tuned.as_json(),
        "naive": comparison.naive.as_json(),
        "ratio": {"computed_s": comparison.ratio("computed_s"), "cpu_s": comparison.ratio("cpu_s")},
    }
    (comparison.folder / "result.json").write_text(json.dumps(document, indent=1) + "\n")
    report.plot([comparison.tuned, comparison.naive], comparison.folder / "curves.png")
    note(f"saved in {comparison.folder}: result.json, curves.png")


class Telling:
    """Counts a class's steps and says every few seconds how far it is."""

    def __init__(self, students: int) -> None:
        self._students = students
        self._counts = dict.fromkeys(("login", "server", "compute", "leave", "failed"), 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True, name="class progress")

    def __enter__(self) -> Telling:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def take(self, record: StudentRecord, step: str) -> None:
        """One student took `step` (the signature of `run_class`'s on_step)."""
        if step in self._counts:
            self._counts[step] += 1
        if step == "failed":
            note(f"{record.name} failed at {record.failed_step}: {record.failure}")

    def _tell(self) -> None:
        while not self._over.wait(TOLD_EVERY_S):
            c = self._counts
            note(
                f"{c['login']} of {self._students} signed in, {c['server']} have a server, {c['compute']} computed, "
                f"{c['leave']} left, {c['failed']} failed"
            )
