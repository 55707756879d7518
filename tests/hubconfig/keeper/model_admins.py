"""Admins' commands of the model, step by step as operations/failover does them. See model.py."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from hubconfig.keeper import roles
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.lease import Lease
from hubconfig.keeper.roles import Claim
from tests.hubconfig.keeper.model_sites import TICK_S, TTL_S, Machine, Sites, Steps, Unreachable


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


class Admins(Sites):
    """The sites, and what an admin's command does to them."""

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
