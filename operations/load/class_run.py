"""A class of synthetic students: seeded arrivals, one visit each, measurements, and a clean end whatever happens."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

from operations.errors import UserError
from operations.load.measure import Meter
from operations.load.records import ClassResult, StudentRecord
from operations.load.student import Student
from operations.load.target import Target, refuse_foreign

CLEANUP_S = 120.0
"""How long the end of a run may take to stop servers that visits left behind."""
MAX_STUDENTS = 2000

Progress = Callable[[StudentRecord, str], None]


def arrivals(students: int, within_s: float, seed: int) -> list[float]:
    """Seconds after the class begins at which each student comes: uniform over the window, the first one at 0."""
    rng = random.Random(f"arrivals {seed}")
    drawn = sorted(rng.uniform(0, within_s) for _ in range(students))
    return [round(moment - drawn[0], 3) for moment in drawn] if drawn else []


def run_class(
    target: Target,
    students: int = 40,
    arrive_within_s: float = 60,
    stay_s: float = 30,
    *,
    seed: int = 1,
    keep: bool = False,
    give_up_s: float = 900,
    prefix: str = "load",
    i_own_this_hub: bool = False,
    on_step: Progress | None = None,
) -> ClassResult:
    """Send `students` to the hub and return what happened to them.

    Always ends by itself: a student gives up after `give_up_s`. Servers are stopped at the end, also after Ctrl-C and
    SIGTERM, unless `keep` is set. Raises UserError for a hub that is not on this machine and for impossible numbers.
    """
    refuse_foreign(target.hub_url, i_own_this_hub)
    _check(students, arrive_within_s, stay_s, give_up_s)
    run = _ClassRun(target, students, arrive_within_s, stay_s, seed, keep, give_up_s, prefix, on_step)
    return asyncio.run(run.main())


def _check(students: int, arrive_within_s: float, stay_s: float, give_up_s: float) -> None:
    if not 1 <= students <= MAX_STUDENTS:
        raise UserError(f"--students: {students} is not possible; allowed: 1 to {MAX_STUDENTS}")
    for option, value, most in (("--within", arrive_within_s, 7200), ("--stay", stay_s, 7200)):
        if not 0 <= value <= most:
            raise UserError(f"{option}: {value:g} s is not possible; allowed: 0 to {most} seconds")
    if not 1 <= give_up_s <= 7200:
        raise UserError(f"--give-up: {give_up_s:g} s is not possible; allowed: 1 to 7200 seconds")


class _ClassRun:
    def __init__(
        self,
        target: Target,
        students: int,
        arrive_within_s: float,
        stay_s: float,
        seed: int,
        keep: bool,
        give_up_s: float,
        prefix: str,
        on_step: Progress | None,
    ) -> None:
        self.target = target
        self.stay_s, self.seed, self.keep, self.arrive_within_s = stay_s, seed, keep, arrive_within_s
        self.students = [
            Student(target, f"{prefix}-{i:03}", arrival_s=moment, give_up_s=give_up_s, on_step=on_step)
            for i, moment in enumerate(arrivals(students, arrive_within_s, seed), start=1)
        ]
        self.longest_s = arrive_within_s + give_up_s + stay_s + CLEANUP_S

    async def main(self) -> ClassResult:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        began_at = datetime.now().astimezone().isoformat(timespec="seconds")
        with Meter(self.target.machines, self.longest_s) as meter:
            began = time.monotonic()
            async with AsyncExitStack() as browsers:
                for student in self.students:
                    await browsers.enter_async_context(student)
                try:
                    await asyncio.gather(*(self._visit(student, began) for student in self.students))
                finally:
                    if not self.keep:
                        await asyncio.shield(self._stop_left_behind())
            duration_s = time.monotonic() - began
        self._attribute(meter)
        return ClassResult(
            target=self.target.name,
            hub_url=self.target.hub_url,
            seed=self.seed,
            arrive_within_s=self.arrive_within_s,
            stay_s=self.stay_s,
            began_at=began_at,
            duration_s=round(duration_s, 3),
            students=[student.record for student in self.students],
            memory=meter.services(),
            notes=list(dict.fromkeys(meter.problems)),
        )

    async def _visit(self, student: Student, began: float) -> None:
        await asyncio.sleep(max(0.0, began + student.record.arrival_s - time.monotonic()))
        student.arrived_at = time.monotonic()
        rng = random.Random(f"{student.name} {self.seed}")
        await student.visit(self.stay_s, rng, leave=not self.keep)

    async def _stop_left_behind(self) -> None:
        """Stop every server that a failed or interrupted visit started."""

        async def stop(student: Student) -> None:
            try:
                await student.stop_server(wait_s=CLEANUP_S / 2)
            except Exception as problem:  # noqa: BLE001  (the others still have to be stopped)
                note = f"its server could not be stopped: {problem}"
                student.record.failure = f"{student.record.failure}; {note}" if student.record.failure else note

        left = [student for student in self.students if student.record.server_started]
        if left:
            await asyncio.wait([asyncio.create_task(stop(student)) for student in left], timeout=CLEANUP_S)

    def _attribute(self, meter: Meter) -> None:
        """Give every record the node, CPU and memory of the container that served it."""
        for student in self.students:
            track = meter.student(student.name, student.computed_at)
            if track is None:
                continue
            student.record.node = self.target.shown(track.machine)
            student.record.memory_mib = round(max(track.memory_mib), 1)
            if student.computed_at is not None:
                cpu_s = track.cpu_at(student.computed_at)
                student.record.cpu_s = None if cpu_s is None else round(cpu_s, 3)
