"""The fence: machines off, doors shut, both read back. The same steps for every cloud.

A cloud that says "done" proves nothing. What counts is what it shows when it is looked at afterwards: `stop` returns only
after one last look at all machines and doors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from operations.patience import LaterError, Patience
from operations.power.model import NoMachineError, PowerError, Proof, Site, State

T = TypeVar("T")
HARD_OFF = frozenset[State]({"off", "gone"})


@dataclass(frozen=True)
class Fence:
    """A site's switch. `ask`: how long one call may be refused as too early; `gently`: how long a machine may take to end
    in order; `hard`: how long it may take after it was told to end at once."""

    site: Site
    ask: Patience = field(default_factory=lambda: Patience(60))
    gently: Patience = field(default_factory=lambda: Patience(25, first_s=1, most_s=3))
    hard: Patience = field(default_factory=lambda: Patience(180, first_s=1, most_s=5))

    def stop(self) -> Proof:
        site = self.site
        self._asked(site.refuse_others)
        if not (running := self._running()):
            self._asked(site.shut)
        else:
            self._asked(lambda: site.ask_off(running, force=False))
            self._asked(site.shut)  # meanwhile: nobody comes in while it ends
            if left := self._left_after(self.gently):
                self._asked(lambda: site.ask_off(left, force=True))
                if left := self._left_after(self.hard):
                    raise PowerError(
                        f"{', '.join(left)} in {site.where} still run {self.hard.total_s:.0f} s after they were told to stop at once: "
                        "switch them off in the cloud's console"
                    )
        self._shut_for_sure()
        states = self._asked(site.machines)
        if still := [machine for machine, state in states.items() if state not in HARD_OFF]:
            raise PowerError(
                f"{', '.join(still)} in {site.where} came up again: look who starts them, then run this again"
            )
        seen = ", ".join(f"{machine} is {state}" for machine, state in states.items())
        return Proof("cloud", f"{site.where}: {seen}; nothing leads to the hub VM or to the homes")

    def start(self) -> str:
        site = self.site
        self._asked(site.refuse_others)
        machines = self._found()
        self._asked(site.open)
        off = [machine for machine, state in machines.items() if state != "running"]

        def up() -> str:
            states = site.machines()
            if late := [machine for machine, state in states.items() if state not in ("running", "gone")]:
                raise LaterError(f"{', '.join(late)} in {site.where} do not run")
            return f"{site.where}: {', '.join(states)} run"

        try:
            if off:  # one that is still on its way down takes no start yet
                self.hard.until(lambda: site.ask_on(off))
            return self.hard.until(up)
        except LaterError as never:
            raise PowerError(
                f"{never} {self.hard.total_s:.0f} s after they were told to start: see the cloud's console"
            ) from None

    def state(self) -> State:
        self._asked(self.site.refuse_others)
        states: list[State] = [*self._asked(self.site.machines).values(), "gone"]
        return states[0]

    def check(self) -> str:
        try:
            self.rehearse()
        except PowerError as problem:
            return str(problem)
        return ""

    def rehearse(self) -> str:
        """What `stop` would switch off. Changes nothing; raises PowerError (NoMachineError before the first `up`)."""
        self._asked(self.site.refuse_others)
        machines = self._found()
        self._asked(lambda: self.site.rehearse(list(machines)))
        return f"{', '.join(machines)} in {self.site.where}"

    def _found(self) -> dict[str, State]:
        machines: dict[str, State] = {
            machine: state for machine, state in self._asked(self.site.machines).items() if state != "gone"
        }
        if not machines:
            raise NoMachineError(f"{self.site.where} has no machine of this stack")
        return machines

    def _running(self) -> list[str]:
        """Machines that are not off. PowerError where there is none at all: that proves nothing about a machine which
        lost its tags."""
        machines = self._asked(self.site.machines)
        if not machines:
            raise NoMachineError(
                f"{self.site.where} has no machine of this stack, so nothing proves that its hub does not run somewhere"
            )
        return [machine for machine, state in machines.items() if state not in HARD_OFF]

    def _left_after(self, patience: Patience) -> Collection[str]:
        def off() -> Collection[str]:
            left = self._running()
            if left:
                raise LaterError(", ".join(left))
            return left

        try:
            return patience.until(off)
        except LaterError:
            return self._running()

    def _shut_for_sure(self) -> None:
        def closed() -> None:
            if doors := self.site.doors():
                raise LaterError("; ".join(doors))

        try:
            self.ask.until(closed)
        except LaterError as still:
            raise PowerError(
                f"{self.site.where} said that it closed the way in, but shows after {self.ask.total_s:.0f} s: {still}"
            ) from None

    def _asked(self, call: Callable[[], T]) -> T:
        try:
            return self.ask.until(call)
        except LaterError as never:
            raise PowerError(
                f"{self.site.where} could not be asked for {self.ask.total_s:.0f} s: {never}; run this again"
            ) from None
