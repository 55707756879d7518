"""Two simulated sites, their machines, links, admins and students, over the keeper's own rules of roles and lease.

One call of :func:`run` plays one seeded schedule: machines crash, stand still, restart and are made anew, links break, hellos
are lost or come late, clocks are wrong, admins' commands are killed anywhere and repeated, two at once and in both directions,
while students' writes are numbered and acknowledged. What must hold is checked after every single action.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubconfig.keeper import roles
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.lease import Lease
from tests.hubconfig.keeper.model_admins import Admins, Journal
from tests.hubconfig.keeper.model_sites import BEAT_S, TICK_S, TTL_S, Machine, Rules, Steps, Unreachable, Violation

__all__ = ["Journal", "Outcome", "Rules", "Violation", "World", "run"]
FAULTS_S = 240.0


class World(Admins):
    """Two sites, their admins, and all that can go wrong."""

    def __init__(self, seed: int, rules: Rules) -> None:
        super().__init__(seed, rules)
        self.commands: list[tuple[float, Journal, Steps]] = []
        self.journals: list[Journal] = []
        self._copy_due_s = 0.0

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def make_anew(self, site: str) -> None:
        """The machine's disk is lost; what it was comes back empty, with the same configuration."""
        machine = self.sites[site]
        self.power_off(site)
        machine.saved = machine.lease = machine.mark = None
        machine.data, machine.servers, machine.shut = 0, False, False
        self.made_anew = True
        self.note(f"{site} made anew")

    def confirm(self, site: str) -> None:
        """An admin switches the other site off, and says so here."""
        machine, other = self.sites[site], "fallback" if site == "cloud" else "cloud"
        if machine.state.role != "active" or not machine.state.lapsed or not machine.state.tried:
            return
        try:
            self.ask(site)
        except Unreachable:
            return
        self.power_off(other)
        machine.saved = roles.confirm(machine.state, "an admin", 0)
        machine.lease = Lease(machine.boot, self.clock(machine) + TTL_S, machine.state.epoch)
        self.note(f"{site} confirmed")

    def misfortune(self) -> None:
        """Perhaps one fault, or one repair."""
        site = self.random.choice(("cloud", "fallback"))
        machine = self.sites[site]
        draw = self.random.random()
        if draw < 0.08:
            self.power_off(site)
        elif draw < 0.28:
            self.power_on(site)
        elif draw < 0.33:
            machine.paused = machine.on
        elif draw < 0.45:
            machine.paused = False
        elif draw < 0.48:
            machine.keeper = False
        elif draw < 0.58:
            machine.keeper = True
        elif draw < 0.64:
            self.linked = False
        elif draw < 0.74:
            self.linked = True
        elif draw < 0.79:
            self.admin_reaches[site] = False
        elif draw < 0.89:
            self.admin_reaches[site] = True
        elif draw < 0.92:
            self.cloud_api = not self.cloud_api
        elif draw < 0.93 and not self.made_anew and self.published:
            self.make_anew(site)
        elif draw < 0.96:
            self.confirm(site)
        elif draw < 0.98:
            machine.hangs = machine.hub

    def admins(self) -> None:
        """Commands begin, are killed, and are run again; at most two at once."""
        draw = self.random.random()
        if draw < 0.03 and self.commands:
            self.commands.pop(self.random.randrange(len(self.commands)))
        elif draw < 0.06 and len(self.commands) < 2:
            open_ones = [j for j in self.journals if "end" not in j.done and all(j is not c[1] for c in self.commands)]
            if open_ones and self.random.random() < 0.6:
                self.begin(self.random.choice(open_ones))
            else:
                flags = [self.random.random() < 0.5 for _ in range(4)]
                target = self.random.choice(("cloud", "fallback"))
                self.begin(Journal(f"t{len(self.journals)}", target, *flags))

    def begin(self, journal: Journal) -> None:
        if journal not in self.journals:
            self.journals.append(journal)
        self.commands.append((self.now_s, journal, self.command(journal)))

    # -- time ---------------------------------------------------------------------------------------------------------

    def advance(self, process: Steps) -> float | None:
        """When the process goes on, or None when it ended, done or refused."""
        try:
            return self.now_s + next(process)
        except (StopIteration, KeeperError, Unreachable):
            return None

    def tick(self) -> None:
        for at_s, site in self.started_again:
            if at_s <= self.now_s:
                self.power_on(site)
        self.started_again = [again for again in self.started_again if again[0] > self.now_s]
        actors = [*self.sites.values(), "commands", "copies", "students", "messages"]
        self.random.shuffle(actors)
        for actor in actors:
            if isinstance(actor, Machine):
                self.machine_acts(actor)
            elif actor == "commands":
                self.commands_act()
            elif actor == "copies":
                self.copies_act()
            elif actor == "students":
                self.students_act()
            else:
                self.deliver()
            self.check(actor.site if isinstance(actor, Machine) else actor)
        self.now_s += TICK_S

    def machine_acts(self, machine: Machine) -> None:
        if not machine.runs:
            return
        self.hub_looks(machine)
        if machine.keeper and self.random.random() < TICK_S / BEAT_S:
            self.look(machine)
            if machine.site == "cloud":
                self.send(machine)

    def commands_act(self) -> None:
        later: list[tuple[float, Journal, Steps]] = []
        for due_s, journal, process in self.commands:
            at_s: float | None = due_s
            if due_s <= self.now_s:
                at_s = self.advance(process)
                self.check(f"command {journal.token}")
            if at_s is not None:
                later.append((at_s, journal, process))
        self.commands = later

    def copies_act(self) -> None:
        if self.copying is None:
            self.copying = self.replicate()
        if self._copy_due_s <= self.now_s:
            self._copy_due_s = self.advance(self.copying) or self.now_s

    def students_act(self) -> None:
        for machine in self.sites.values():
            if machine.serves and not machine.shut and self.random.random() < 0.5:
                machine.data |= 1 << self.writes
                self.writes += 1


@dataclass(frozen=True)
class Outcome:
    """What a schedule came to."""

    writes: int
    promotions: int
    runs_needed: int
    """Commands until exactly one site served, after the faults had ended; 0: it did without."""
    made_anew: bool
    older_files: bool
    """An admin had to go on without the newest files: the machine that had them lost its disk before they were copied."""


def run(seed: int, rules: Rules | None = None) -> Outcome:
    """One schedule. Raises Violation."""
    world = World(seed, rules or Rules())
    while world.now_s < FAULTS_S:  # of which the first seconds are calm
        world.calm = not world.published
        if not world.calm:  # the class has begun, and the first files are copied
            if world.random.random() < 0.12:
                world.misfortune()
                world.check("a misfortune")
            world.admins()
        world.tick()
    return _calm(world)


def _calm(world: World) -> Outcome:
    """All faults end, commands that were under way are killed, and the command is run again."""
    world.calm = world.linked = world.cloud_api = True
    world.commands = []
    for site, machine in world.sites.items():
        world.admin_reaches[site] = True
        machine.keeper, machine.paused = True, False
        world.power_on(site)
    killed = [journal for journal in world.journals if "end" not in journal.done and "claim" in journal.done]
    again = killed[-2:]
    new = [
        (target, loss, older)
        for loss, older in ((False, False), (True, False), (True, True))
        for target in ("fallback", "cloud")
    ]
    for runs in range(len(again) + len(new) + 1):
        until_s = world.now_s + 90
        while world.now_s < until_s:
            world.tick()
        if sum(machine.serves for machine in world.sites.values()) == 1 and not world.commands:
            return Outcome(world.writes, world.promotions, runs, world.made_anew, world.older_files)
        if again:
            world.begin(again.pop())
        elif new:
            target, loss, older = new.pop(0)
            if not older or world.made_anew:
                world.begin(Journal(f"last{runs}", target, True, False, loss, undo=True, older_files=older))
    raise Violation(f"no site serves after the faults ended and the command was run again: {world.sites}")
