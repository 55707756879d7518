"""Two simulated sites of the model: machines, hellos, leases, hubs, and the copies between them. See model.py."""

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
from hubconfig.keeper.roles import SiteState

TICK_S = 0.5
BEAT_S, TTL_S = 2.0, 15.0
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


class Sites:
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

    # -- power ---------------------------------------------------------------------------------------------------------

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
