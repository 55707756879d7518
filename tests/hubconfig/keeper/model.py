"""Two simulated sites, their machines, links, admins and students, over the keeper's own rules of roles and lease.

One call of :func:`run` plays one seeded schedule: machines crash, stand still, restart and are made anew, links break, hellos
are lost or come late, clocks are wrong, admins' commands are killed anywhere and repeated, two at once and in both directions,
while students' writes are numbered and acknowledged. What must hold is checked after every single action.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from hubconfig.keeper import lease as leases
from hubconfig.keeper import roles
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.lease import Lease, Talk
from hubconfig.keeper.roles import Claim, SiteState

TICK_S = 0.5
BEAT_S, TTL_S = 2.0, 15.0
FAULTS_S = 240.0
Steps = Generator[float, None, None]
"""A process: it yields how long it waits, s."""


class Violation(AssertionError):
    """A rule was broken: which, and when."""


class Unreachable(Exception):
    """No answer. Whether the site has done what it was asked is not known."""


@dataclass
class Rules:
    """The rules under test; a test may break one."""

    hear: Callable[..., SiteState] = roles.hear
    claim: Callable[..., SiteState] = roles.claim
    prove: Callable[..., SiteState] = roles.prove
    fence: Callable[..., SiteState] = roles.fence
    promote: Callable[..., SiteState] = roles.promote
    beat: Callable[..., Any] = leases.beat
    heard: Callable[..., Talk] = Talk.heard
    refuses_push: Callable[..., str] = roles.refuses_push
    has_newer: Callable[..., bool] = roles.has_newer
    copies_end: bool = True
    """A copy under way is broken off before the last sync and before a promotion."""
    fence_waits: bool = True


@dataclass
class Machine:
    """One site. What is written to disk outlives a restart; what is in /run does not."""

    site: str
    rate: float
    """Of its CLOCK_BOOTTIME; crystals differ."""
    wall_s: float
    """How wrong its wall clock is."""
    boots: int = 1
    on: bool = True
    paused: bool = False
    keeper: bool = True
    saved: SiteState | None = None
    lease: Lease | None = None
    talk: Talk = field(default_factory=Talk)
    data: int = 0
    """Which numbered writes its homes hold, a bit each."""
    mark: tuple[int, int] | None = None
    """Its watermark file: epoch, and the writes that are surely on both sites."""
    hub: bool = False
    hangs: bool = False
    """The hub process does not get to look at its lease."""
    servers: bool = False
    routed: bool = False
    """The proxy knows the way to students' servers; a restart forgets it."""
    shut: bool = False
    ends_s: float = -1
    """When the servers that were told to end have ended."""

    @property
    def state(self) -> SiteState:
        return self.saved or roles.first(self.site, "active" if self.site == "cloud" else "standby")

    @property
    def marked(self) -> int:
        return self.mark[0] if self.mark else 0

    @property
    def boot(self) -> str:
        return f"{self.site}-{self.boots}"

    @property
    def runs(self) -> bool:
        return self.on and not self.paused

    @property
    def serves(self) -> bool:
        """Whether something here can write for a student now."""
        return self.runs and (self.hub or (self.servers and self.routed and not self.shut))


@dataclass
class Journal:
    """An admin's command, as it is written down."""

    token: str
    target: str
    take_over: bool
    powered_off: bool
    accept_loss: bool
    undo: bool
    older_files: bool = False
    done: dict[str, Any] = field(default_factory=dict)


class World:
    """Both sites and everything between them."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = random.Random(seed)
        self.rules = rules
        self.now_s = 0.0
        pick = self.random.uniform
        self.sites = {name: Machine(name, pick(0.97, 1.03), pick(-1e6, 1e6)) for name in ("cloud", "fallback")}
        self.linked = True
        self.admin_reaches = {"cloud": True, "fallback": True}
        self.cloud_api = True
        self.messages: list[tuple[float, Machine, dict[str, Any]]] = []
        self.copying: Steps | None = None
        self.writes = 0
        self.published = 0
        """Writes that some watermark ever promised."""
        self.commands: list[tuple[float, Journal, Steps]] = []
        self.journals: list[Journal] = []
        self.started_again: list[tuple[float, str]] = []
        self.made_anew = False
        self.older_files = False
        self.calm = False
        self.events: list[str] = []
        self.promotions = 0

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check(self, what: str) -> None:
        serving = [machine for machine in self.sites.values() if machine.serves]
        if len(serving) > 1:
            raise Violation(f"{self.now_s:.1f} s, {what}: both sites write")
        for machine in serving:
            lost = self.published & ~machine.data
            if lost:
                raise Violation(
                    f"{self.now_s:.1f} s, {what}: the {machine.site} site serves without {lost.bit_count()} promised writes"
                )

    def note(self, text: str) -> None:
        self.events.append(f"{self.now_s:.1f} {text}")

    # -- a site's own processes ---------------------------------------------------------------------------------------

    def clock(self, machine: Machine) -> float:
        return self.now_s * machine.rate

    def hello(self, machine: Machine) -> dict[str, Any]:
        number = f"{machine.boot}:{self.random.random()}"
        machine.talk = machine.talk.ask(number, self.clock(machine))
        said = self.tells(machine)
        mark = {"epoch": machine.mark[0]} if machine.mark else None
        return {**said, "watermark": mark, "nonce": number, "echo": machine.talk.echo}

    def tells(self, machine: Machine) -> dict[str, Any]:
        return roles.hello(machine.state, writable=machine.hub, watermark_epoch=machine.marked)

    def look(self, machine: Machine) -> None:
        """The keeper's daemon: lease, doors, and the end of a fenced site's servers."""
        machine.saved, machine.lease, _ = self.rules.beat(
            machine.state,
            machine.lease,
            boot=machine.boot,
            now_s=self.clock(machine),
            ttl_s=TTL_S,
            answer=machine.talk.answer,
            alone=False,
            lineage="the class",
        )
        fresh = bool(machine.lease and machine.lease.fresh(machine.boot, self.clock(machine)))
        machine.shut = not roles.writable(machine.state, lease_fresh=fresh)
        if machine.shut and machine.hangs and self.random.random() < 0.05:
            machine.hub = machine.hangs = False  # it was waited for, then killed
        if machine.state.role == "fenced" and machine.servers and not machine.hub:
            self.end_servers(machine)

    def end_servers(self, machine: Machine) -> None:
        if machine.servers and machine.ends_s < 0:
            machine.ends_s = self.now_s + self.random.uniform(0, 10)

    def hub_looks(self, machine: Machine) -> None:
        """The hub at its gate, or its watcher."""
        if machine.hangs:
            return
        machine.hub = bool(machine.lease and machine.lease.fresh(machine.boot, self.clock(machine)))
        if machine.hub:
            machine.servers = machine.routed = True
            machine.ends_s = -1
        elif 0 <= machine.ends_s <= self.now_s:
            machine.servers, machine.ends_s = False, -1

    def deliver(self) -> None:
        due = [message for message in self.messages if message[0] <= self.now_s]
        self.messages = [message for message in self.messages if message[0] > self.now_s]
        for _, machine, said in due:
            if not (machine.runs and machine.keeper):
                continue
            before = machine.state.role
            machine.saved = self.rules.hear(machine.state, said)
            if machine.state.role != "active" or machine.state.lapsed:
                machine.lease = None
            machine.talk = self.rules.heard(machine.talk, said)
            if before == "active" and machine.state.role == "fenced":
                machine.shut = True
                self.note(f"{machine.site} fences itself")
            self.check(f"{machine.site} hears")
            if machine.site == "fallback":
                self.send(machine)

    def send(self, machine: Machine) -> None:
        """A hello on its way: lost, late, or soon there."""
        other = self.other(machine)
        said = self.hello(machine)
        if not self.linked or (not self.calm and self.random.random() < 0.05):
            return
        late = not self.calm and self.random.random() < 0.1
        delay = self.random.uniform(1, 60) if late else self.random.uniform(0, 0.6)
        self.messages.append((self.now_s + delay, other, said))

    def other(self, machine: Machine) -> Machine:
        return self.sites["fallback" if machine.site == "cloud" else "cloud"]

    # -- replication --------------------------------------------------------------------------------------------------

    def connected(self, boots: tuple[str, str]) -> bool:
        cloud, fallback = self.sites["cloud"], self.sites["fallback"]
        up = all(m.runs and m.keeper for m in (cloud, fallback))
        return self.linked and up and boots == (cloud.boot, fallback.boot)

    def replicate(self) -> Steps:
        """One cycle after the other, from whichever site is active; the cloud's keeper does it."""
        while True:
            yield self.random.uniform(2, 8)
            boots = (self.sites["cloud"].boot, self.sites["fallback"].boot)
            active = [m for m in self.sites.values() if m.runs and m.hub and m.state.role == "active"]
            if len(active) != 1 or not self.connected(boots):
                continue
            sender = active[0]
            with contextlib.suppress(KeeperError):
                yield from self.copy(sender, boots, token="")

    def break_off(self) -> None:
        if self.rules.copies_end:
            self.copying = self.replicate()

    def copy(self, sender: Machine, boots: tuple[str, str], token: str) -> Steps:
        """One cycle. The receiver is asked once, at the start; what it got by then is what it has when the copy breaks off."""
        receiver, said = self.other(sender), self.tells(sender)
        if why := self.rules.refuses_push(receiver.state, said, token=token, watermark_epoch=receiver.marked):
            raise KeeperError(why)
        if receiver.state.role == "fenced" and sender.state.role == "active":
            sender.data |= receiver.data  # kept side by side, before anything here is replaced
        copied, epoch = sender.data, said["holds"][0]
        yield self.random.uniform(0, self.random.choice((2, 6, 40)))
        if not self.connected(boots):
            return
        receiver.data = copied
        receiver.mark = (epoch, copied)
        self.published |= copied
        receiver.saved = replace(receiver.state, lineage=receiver.state.lineage or said["lineage"])
        if sender.state.role == "active":
            receiver.saved = roles.rejoined(receiver.state)
        yield self.random.uniform(0, 1)
        if self.connected(boots):
            sender.mark = (epoch, copied)

    # -- an admin's command -------------------------------------------------------------------------------------------

    def ask(self, site: str, change: Callable[[Machine], Any] | None = None) -> Machine:
        """One command of a site's keeper. KeeperError: it refuses. Unreachable: perhaps it was done, perhaps not."""
        machine = self.sites[site]
        if not (self.admin_reaches[site] and machine.runs and machine.keeper):
            raise Unreachable(site)
        if change is not None:
            change(machine)
            self.check(f"a command on {site}")
            if not self.calm and self.random.random() < 0.05:
                raise Unreachable(f"{site}: the answer was lost")
        return machine

    def command(self, journal: Journal) -> Steps:
        """Failover, failback or the way back of one that stopped halfway, step by step, from wherever its journal stands."""
        done, target = journal.done, journal.target
        source = "cloud" if target == "fallback" else "fallback"
        if "preflight" not in done:
            self.preflight(journal, source)
        for _ in range(4):
            yield self.pace()
            if "claim" not in done:
                done["claim"] = self.claim_step(journal)
                yield self.pace()
            if "fence" not in done:
                how = yield from self.fence_step(journal, source)
                yield self.pace()
                done["fence"] = how
            try:
                if "proof" not in done:
                    self.ask(target, lambda m: self.prove_on(m, journal))
                    yield self.pace()
                    done["proof"] = True
                if "sync" not in done:
                    yield from self.last_sync(journal, source)
                    done["sync"] = True
                yield self.pace()
                self.ask(target, lambda m: self.promote_on(m, journal))
                self.promotions += 1
                self.note(f"{target} promoted for {journal.token} in epoch {done['claim']}")
            except KeeperError:
                machine = self.ask(target)
                claimed = machine.state.claim
                if claimed and claimed.token == journal.token and claimed.boot != machine.boot:
                    done.pop("claim"), done.pop("fence", None), done.pop("proof", None), done.pop("sync", None)
                    continue
                raise
            yield self.pace()
            self.ask(target, lambda m: setattr(m, "saved", roles.release(m.state, journal.token)))
            done["end"] = True
            return

    def pace(self) -> float:
        return self.random.choice((0, 0, 0, 0.5, 1, 3, 12))

    def preflight(self, journal: Journal, source: str) -> None:
        target = self.ask(journal.target)
        state = target.state
        own = state.claim is not None and state.claim.token == journal.token
        if state.role == "active" and not own:
            raise KeeperError("is active already")
        if state.role == "fenced" and not (own or journal.undo):
            raise KeeperError("has not come back as a standby")
        try:
            seen = self.ask(source).state
            journal.done["preflight"] = max(seen.epoch, seen.seen_epoch)
        except Unreachable:
            journal.done["preflight"] = 0

    def claim_step(self, journal: Journal) -> int:
        now = self.ask(journal.target)
        held = now.state.claim
        epoch = max(journal.done["preflight"], now.state.epoch, now.state.seen_epoch) + 1
        if held and held.token == journal.token and held.epoch == now.state.seen_epoch:
            epoch = held.epoch

        def change(machine: Machine) -> None:
            at = self.now_s + machine.wall_s
            wanted = Claim(journal.token, "an admin", at, epoch, "failover", machine.boot)
            machine.saved = self.rules.claim(machine.state, wanted, take_over=journal.take_over)

        self.ask(journal.target, change)
        return epoch

    def fence_step(self, journal: Journal, source: str) -> Generator[float, None, str]:
        epoch = journal.done["claim"]

        def change(machine: Machine) -> None:
            machine.saved = self.rules.fence(machine.state, epoch, journal.token)
            if machine.state.role != "active":
                machine.lease, machine.shut = None, True

        try:
            self.ask(source, change)
            while self.rules.fence_waits:
                yield TICK_S
                machine = self.ask(source)
                if self.random.random() < 0.1:
                    machine.hub = machine.hangs = False
                if not machine.hub:
                    self.end_servers(machine)
                    if not machine.servers:
                        break
            return "ssh"
        except Unreachable:
            pass
        yield self.pace()
        if source == "cloud" and self.cloud_api:
            yield self.random.uniform(0, 5)
            self.power_off(source)
            yield self.random.uniform(0, 3)
            if self.sites[source].on:
                raise KeeperError("the cloud says that it runs")
            return "cloud"
        if not journal.powered_off:
            raise KeeperError("switch it off and say so")
        self.power_off(source)
        return "admin"

    def prove_on(self, machine: Machine, journal: Journal) -> None:
        done = journal.done
        machine.saved = self.rules.prove(
            machine.state, done["claim"], journal.token, done["fence"], "", at=self.now_s, boot=machine.boot
        )

    def last_sync(self, journal: Journal, source: str) -> Steps:
        if journal.done["fence"] != "ssh":
            return
        boots = (self.sites["cloud"].boot, self.sites["fallback"].boot)
        if not self.connected(boots):
            if journal.accept_loss:
                return
            raise KeeperError("the last sync failed")
        sender, receiver = self.sites[source], self.sites[journal.target]
        if self.rules.has_newer(receiver.state, self.tells(sender), receiver.marked):
            return  # the way back of a command that stopped halfway: nobody has worked at its source
        self.break_off()
        try:
            yield from self.copy(self.sites[source], boots, journal.token)
        except KeeperError:
            if not journal.accept_loss:
                raise

    def promote_on(self, machine: Machine, journal: Journal) -> None:
        machine.saved = self.rules.promote(
            machine.state,
            journal.done["claim"],
            journal.token,
            boot=machine.boot,
            watermark_epoch=machine.marked,
            older_files=journal.older_files,
        )
        if journal.older_files and self.published & ~machine.data:
            self.older_files = True
            self.published &= machine.data  # the machine that had the rest was lost with its disk; an admin has said so
        self.break_off()
        machine.lease = Lease(machine.boot, self.clock(machine) + TTL_S, machine.state.epoch)
        machine.shut = False

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def power_off(self, site: str) -> None:
        machine = self.sites[site]
        machine.on = machine.paused = False
        if not self.calm and self.random.random() < 0.3:
            self.started_again.append((self.now_s + self.random.uniform(0, 6), site))  # by somebody, or by its cloud
        self.note(f"{site} off")

    def power_on(self, site: str) -> None:
        machine = self.sites[site]
        if machine.on:
            return
        machine.boots += 1
        machine.on = machine.keeper = True
        machine.hub = machine.routed = machine.hangs = False
        machine.ends_s = -1
        machine.talk = Talk()
        if machine.saved is not None:
            machine.saved = roles.from_json(json.loads(json.dumps(roles.to_json(machine.saved))))
        self.note(f"{site} on")

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

    _copy_due_s = 0.0

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
