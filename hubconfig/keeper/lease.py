"""The lease: for how long the active site may write without a further look at its peer. Never a wall clock.

A lease is a moment of CLOCK_BOOTTIME, which also runs while the machine sleeps, in one boot of the machine. It ends by
itself when the keeper is stopped or the machine is frozen for longer than the lease, and no lease survives a restart.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import roles
from .roles import SiteState

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
MARK_FILE = "boot"
KEPT_NUMBERS = 8
"""An answer to a hello before these is too old for any lease."""


def boottime() -> float:
    """Seconds since this machine's kernel started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_mark(run_path: Path, *, make: bool = True) -> str:
    """This boot of this machine; another text after every restart. "" when it has none and ``make`` is not set.

    The kernel's boot id alone does not do: a machine that is a container keeps its host's. A file in /run, which every
    boot empties, makes the difference.
    """
    file = run_path / MARK_FILE
    if make and not file.exists():
        run_path.mkdir(parents=True, exist_ok=True)
        fresh = run_path / f".{MARK_FILE}.{secrets.token_hex(8)}"
        fresh.write_text(secrets.token_hex(16))
        try:
            os.link(fresh, file)  # the first of two that start at once wins, and nobody reads half a file
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    try:
        return f"{BOOT_ID_FILE.read_text().strip()}:{file.read_text().strip()}"
    except FileNotFoundError:
        return ""


@dataclass(frozen=True)
class Lease:
    """Permission to write, in one boot, until a moment, for one epoch."""

    boot_id: str
    """:func:`boot_mark`."""
    until_boottime_s: float
    epoch: int

    def fresh(self, boot: str, now_s: float) -> bool:
        """Whether it holds now."""
        return bool(boot) and self.boot_id == boot and now_s < self.until_boottime_s


@dataclass(frozen=True)
class Answer:
    """A hello of the peer that surely was said after this site asked."""

    asked_s: float
    """When this site asked, CLOCK_BOOTTIME."""
    hello: Mapping[str, Any]


@dataclass(frozen=True)
class Talk:
    """What was said between the sites in this boot, both sides alike.

    A hello carries a number that was never used before, and the newest number heard. Only a hello that brings back a number
    of this boot is an answer: it was said after this site asked, however late it arrives.
    """

    asked: tuple[tuple[str, float], ...] = ()
    """The newest numbers and when they were said, CLOCK_BOOTTIME."""
    echo: str = ""
    """The peer's newest number."""
    answer: Answer | None = None

    def ask(self, number: str, now_s: float) -> Talk:
        """A hello with this number is about to be sent."""
        return replace(self, asked=(*self.asked[1 - KEPT_NUMBERS :], (number, now_s)))

    def heard(self, hello: Mapping[str, Any]) -> Talk:
        """A hello of the peer has come."""
        asked_s = dict(self.asked).get(str(hello["echo"]))
        newer = asked_s is not None and (self.answer is None or asked_s >= self.answer.asked_s)
        answer = Answer(asked_s, dict(hello)) if asked_s is not None and newer else self.answer
        return replace(self, echo=str(hello["nonce"]), answer=answer)


@dataclass(frozen=True)
class Verdict:
    """Whether the active site's lease is renewed, and why not."""

    renew: bool
    until_s: float = 0
    why_not: str = ""
    """One sentence."""


def judge(state: SiteState, *, fresh: bool, answer: Answer | None, alone: bool, now_s: float, ttl_s: float) -> Verdict:
    """The rule of renewal, after the peer's answer (if any) was heard (:func:`.roles.hear`).

    ``fresh``: the present lease holds; ``alone``: no peer is known to this site, so nobody else can have been promoted.
    While a lease holds, silence of the peer changes nothing: a promotion there needs this site's own fence, or its power
    off, which ends the lease. A lease that lapsed needs an answer from which it follows that the peer is not about to write.
    """
    if state.role != "active" or state.epoch < state.active_epoch:
        return Verdict(
            False, why_not=f"this site is {state.role} in epoch {state.epoch}; epoch {state.active_epoch} is active"
        )
    if fresh and not state.lapsed:
        return Verdict(True, now_s + ttl_s)
    if alone:
        return Verdict(True, now_s + ttl_s)
    if answer is None or now_s >= answer.asked_s + ttl_s:
        return Verdict(
            False,
            why_not="this site was restarted or stood still, and its peer does not answer; it writes again when the peer answers, "
            "or after `confirm` by an admin who knows that the other site is not active",
        )
    peer = answer.hello
    if peer["role"] == "active":
        # In an older epoch: made anew from nothing, it did not know better. It fences itself when it hears of this site.
        return Verdict(False, why_not=f"the peer is active too, in epoch {peer['epoch']}")
    if peer["claim"]:
        return Verdict(
            False,
            why_not=f"this site was restarted, and a {peer['claim']['kind']} by {peer['claim']['by']} has begun on its peer; "
            "finish that one, or release it",
        )
    if not state.tried and (int(peer["seen_epoch"]) > state.epoch or peer.get("watermark")):
        return Verdict(
            False,
            why_not="this site has no history, but its peer holds the class's files; move the class there with `./hub failover` and "
            "back again, or `confirm` to begin anew with the files that are here",
        )
    return Verdict(True, answer.asked_s + ttl_s)


def beat(
    state: SiteState,
    lease: Lease | None,
    *,
    boot: str,
    now_s: float,
    ttl_s: float,
    answer: Answer | None,
    alone: bool,
    lineage: str,
) -> tuple[SiteState, Lease | None, Verdict]:
    """One look at the lease: state and lease that stand then. ``lineage``: see :func:`.roles.resume`."""
    fresh = lease is not None and lease.fresh(boot, now_s) and lease.epoch == state.epoch
    verdict = judge(state, fresh=fresh, answer=answer, alone=alone, now_s=now_s, ttl_s=ttl_s)
    if verdict.renew:
        return roles.resume(state, lineage), Lease(boot, verdict.until_s, state.epoch), verdict
    return (state, lease, verdict) if fresh else (roles.lapse(state), None, verdict)
