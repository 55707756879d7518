"""A cloud of the tests' own, with a clock that only moves when somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from operations.patience import LaterError, Patience
from operations.power.fence import Fence
from operations.power.model import PowerError, State


@dataclass
class Clock:
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, total_s: float) -> Patience:
        return Patience(total_s, clock=lambda: self.now, sleep=self.sleep, scatter=lambda: 1.0)


@dataclass
class Cloud:
    """`takes_s`: until a machine that was told to stop is off; `hard_s`: the same by force. `busy`: so many first calls are
    refused as too many. `log`: what was asked for, in order."""

    clock: Clock
    states: dict[str, State] = field(default_factory=lambda: {"hub": "running"})
    takes_s: float = 5
    hard_s: float = 5
    busy: int = 0
    open_doors: tuple[str, ...] = ("the hub is reachable",)
    shuts: bool = True
    mine: bool = True
    log: list[str] = field(default_factory=list)
    due: dict[str, tuple[float, State]] = field(default_factory=dict)
    where: str = "the cloud"
    watch: Callable[[Cloud], None] = lambda _cloud: None

    def _call(self, what: str) -> None:
        if self.busy:
            self.busy -= 1
            raise LaterError("too many requests")
        self.log.append(what)

    def refuse_others(self) -> None:
        self._call("account")
        if not self.mine:
            raise PowerError("another account")

    def machines(self) -> Mapping[str, State]:
        self._call("look")
        for machine, (at, state) in list(self.due.items()):
            if self.clock.now >= at:
                self.states[machine] = state
                del self.due[machine]
        self.watch(self)
        return dict(self.states)

    def doors(self) -> tuple[str, ...]:
        self._call("doors")
        return self.open_doors

    def ask_off(self, machines: Collection[str], *, force: bool) -> None:
        self._call("force" if force else "stop")
        for machine in machines:
            self.states[machine] = "changing"
            self.due[machine] = (self.clock.now + (self.hard_s if force else self.takes_s), "off")

    def ask_on(self, machines: Collection[str]) -> None:
        self._call("start")
        for machine in machines:
            if self.states[machine] == "changing":
                raise LaterError("it is still on its way down")
            self.due[machine] = (self.clock.now + self.takes_s, "running")

    def shut(self) -> None:
        self._call("shut")
        if self.shuts:
            self.open_doors = ()

    def open(self) -> None:
        self._call("open")
        self.open_doors = ("the hub is reachable",)

    def rehearse(self, machines: Collection[str]) -> None:
        self._call("rehearse")

    def fence(self) -> Fence:
        return Fence(self, self.clock.patience(60), self.clock.patience(25), self.clock.patience(180))

    @property
    def changes(self) -> list[str]:
        return [what for what in self.log if what not in ("account", "look", "doors", "rehearse")]
