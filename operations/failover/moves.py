"""A failover or failback, step by step. Each step is safe to repeat, and written down before and after.

The order is what keeps two hubs from ever writing at once: the target is claimed under a newer epoch, the source is
fenced (and says so, or its power is seen to be off), only then the target is promoted; the name is switched last, to a hub
on which a notebook has already run.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from operations.errors import UserError
from operations.failover import checks, health
from operations.failover.journal import Journal, Move
from operations.failover.sites import RefusedError, Site, Sites, UnreachableError
from operations.progress import note, step

SYNC_TIMEOUT_S = 3600.0
SYNC_TRIES, SYNC_PAUSE_S = 3, 1.0
"""A refused copy is begun anew as a whole by the next one; a connection that broke is opened again."""
PROMOTE_TIMEOUT_S = 120.0
FENCE_TIMEOUT_S = 180.0
"""Students' servers get their stop grace; what hangs is killed."""
VOIDED = ("claim", "fence", "proof", "last-sync")
OF_ANOTHER = ("has no claim on", "is in progress on")
"""How a keeper says that its site is another command's: taken over from this one, or claimed first (hubconfig/keeper/roles.py)."""
SWITCHED = "cloud"
"""The site whose power the surroundings' switch is: never the one that a failback goes to."""
DIALS = "cloud"
"""The site that opens all connections between the two, so also the one that a last sync is asked of."""


class Power(Protocol):
    """The cloud's way to make sure that a site which does not answer can write no more (operations/power)."""

    def stop(self) -> Any: ...


class Dns(Protocol):
    """Where the hub's name is kept (operations/dns)."""

    def check(self) -> str: ...
    def look(self) -> Any: ...
    def switch(self, addresses: tuple[str, ...], ttl_s: int) -> Any: ...


@dataclass
class Surroundings:
    """What a move acts on. `power`: only for a source that has a cloud; `dns`: where the stack names a provider."""

    sites: Sites
    hub_url: str
    ca_certificate: str
    ttl_s: int
    rpo_s: float
    power: Callable[[], Power] | None = None
    dns: Dns | None = None
    health: Callable[[health.Hub, str], dict[str, Any]] = health.check


@dataclass
class Options:
    """What the admin said on the command line."""

    accept_loss: bool = False
    take_over: bool = False
    powered_off: bool = False
    """`--i-have-powered-it-off`: a person has seen to it that the source does not run."""


@dataclass
class Run:
    """A move under way."""

    journal: Journal
    around: Surroundings
    options: Options = field(default_factory=Options)

    @property
    def move(self) -> Move:
        return self.journal.move

    @property
    def source(self) -> Site:
        return self.around.sites.named(self.move.source)

    @property
    def target(self) -> Site:
        return self.around.sites.named(self.move.target)

    @property
    def epoch(self) -> int:
        claimed = self.journal.result("claim")
        if claimed is None:
            raise UserError("the target was not claimed yet")
        return int(claimed["epoch"])

    def to_the_end(self) -> Journal:
        """All steps that are not done yet. Raises what a step raises; the same command continues there."""
        self._void_what_a_restart_undid()
        for name, act in STEPS.items():
            if self.journal.result(name) is not None:
                continue
            with step(TITLES[name].format(source=self.move.source, target=self.move.target)):
                self.journal.write(name, "began")
                try:
                    result = act(self)
                except UserError as problem:
                    self.journal.write(name, "failed", {"why": str(problem)})
                    if isinstance(problem, RefusedError) and any(words in str(problem) for words in OF_ANOTHER):
                        self.journal.close("superseded")  # another command has the target; ours begins anew, if at all
                    raise
                self.journal.write(name, "done", result)
        self.journal.close("done")
        return self.journal

    def _void_what_a_restart_undid(self) -> None:
        """A target that restarted may have missed that the source was promoted again: what was seen before does not count."""
        if self.journal.result("claim") is None or self.journal.result("promote") is not None:
            return
        seen = self.target.status()
        ours = (seen.get("claim") or {}).get("token") == self.move.token
        if not ours or (seen["claim_holds"] and (seen["proof_holds"] or self.journal.result("proof") is None)):
            return
        note(f"the {self.move.target} site has restarted since: claim, fence and proof are made again")
        for name in VOIDED:
            if self.journal.result(name) is not None:
                self.journal.write(name, "void")


def who() -> str:
    """The admin and the machine, for the other admins."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _preflight(run: Run) -> dict[str, Any]:
    seen = checks.see(run.move, run.around.sites)
    lines = checks.preflight(
        run.move,
        run.around.sites,
        seen,
        rpo_s=run.around.rpo_s,
        accept_loss=run.options.accept_loss,
        dns=run.around.dns.check if run.around.dns else None,
    )
    if run.options.take_over:
        lines = [line for line in lines if line.name != "other moves"]
    checks.refuse(lines)
    mark = (seen.target or {}).get("watermark") or {}
    return {
        "source_answers": seen.source is not None,
        "lines": {line.name: line.found for line in lines},
        "watermark": mark,
        "epochs": {
            "source": max(int(seen.source["epoch"]), int(seen.source["seen_epoch"])) if seen.source else 0,
            "target": max(int(seen.target["epoch"]), int(seen.target["seen_epoch"])) if seen.target else 0,
        },
    }


def _claim(run: Run) -> dict[str, Any]:
    epochs = (run.journal.result("preflight") or {})["epochs"]
    now = run.target.status()
    held = now.get("claim") or {}
    if held.get("token") == run.move.token and now["claim_holds"]:
        return {"epoch": int(held["epoch"])}  # killed after the claim, before the journal's line
    epoch = max(epochs["source"], epochs["target"], int(now["epoch"]), int(now["seen_epoch"])) + 1
    ours = held.get("token") == run.move.token
    take_over = ["--take-over"] if run.options.take_over or ours else []
    run.target.keeper(
        "claim",
        "--epoch",
        str(epoch),
        "--token",
        run.move.token,
        "--by",
        run.move.by,
        "--kind",
        run.move.kind,
        *take_over,
    )
    return {"epoch": epoch}


def _fence(run: Run) -> dict[str, Any]:
    """The source writes no more. By its own word; else its power is off, by its cloud's word; else by a person's."""
    arguments = ("fence", "--epoch", str(run.epoch), "--token", run.move.token)
    try:
        answer = run.source.keeper(*arguments, timeout_s=FENCE_TIMEOUT_S)
        return {
            "how": "ssh",
            "detail": f"{answer.get('servers_stopped', 0)} students' servers stopped",
            "answers": True,
        }
    except UnreachableError as away:
        note(f"{away}; its power is asked for")
        why = str(away)
    if run.options.powered_off:
        return {"how": "admin", "detail": f"{run.move.by} has seen that it is off", "answers": False}
    if run.around.power is None or run.move.source != SWITCHED:
        raise UserError(_not_fenced(run, why, "there is no cloud that could switch it off"))
    try:
        proof = run.around.power().stop()
    except UserError as problem:
        raise UserError(_not_fenced(run, why, str(problem))) from None
    return {"how": "cloud", "detail": proof.detail, "answers": False}


def _not_fenced(run: Run, away: str, power: str) -> str:
    name = run.move.source
    return (
        f"the {name} site could not be fenced: {away}; {power}.\n"
        f"  As long as it may be running, students could write on both sites, so nothing was promoted.\n"
        f"  Switch the {name} site's machine off yourself (console, power button, or pull its network for good), look that it "
        f"is off, then run: ./hub {run.move.kind} --stack {run.move.stack} --i-have-powered-it-off"
    )


def _proof(run: Run) -> dict[str, Any]:
    fenced = run.journal.result("fence") or {}
    run.target.keeper(
        "proof",
        "--epoch",
        str(run.epoch),
        "--token",
        run.move.token,
        "--how",
        fenced["how"],
        "--detail",
        fenced["detail"],
    )
    return {}


def _last_sync(run: Run) -> dict[str, Any]:
    """What was written between the last cycle and the fence. Without a source that answers, the watermark is what there is."""
    fenced = run.journal.result("fence") or {}
    if not fenced.get("answers"):
        return {"skipped": f"the {run.move.source} site does not answer; complete is what the watermark says"}
    dialing = run.around.sites.named(DIALS)
    tries_left = SYNC_TRIES
    while True:
        try:
            return {"watermark": dialing.keeper("sync", "--final", "--token", run.move.token, timeout_s=SYNC_TIMEOUT_S)}
        except (UnreachableError, RefusedError) as problem:
            tries_left -= 1
            if tries_left:
                time.sleep(SYNC_PAUSE_S)
            elif run.options.accept_loss:
                return {"skipped": str(problem)}
            else:
                raise UserError(_not_synced(run, problem)) from None


def _not_synced(run: Run, problem: UserError) -> str:
    return (
        f"the last sync failed: {problem}\n  The {run.move.source} site is fenced and has everything; nothing is lost yet. Run the "
        f"same command again to try once more, go back with ./hub {run.move.kind} --undo, or go on without what was "
        f"written since the watermark: --accept-loss"
    )


def _promote(run: Run) -> dict[str, Any]:
    arguments = ("promote", "--epoch", str(run.epoch), "--token", run.move.token)
    try:
        answer = run.target.keeper(*arguments, timeout_s=PROMOTE_TIMEOUT_S)
    except RefusedError as problem:
        if "--older-files" not in str(problem):
            raise
        if not run.options.accept_loss:
            raise RefusedError(str(problem).replace("--older-files", "--accept-loss")) from None
        answer = run.target.keeper(*arguments, "--older-files", timeout_s=PROMOTE_TIMEOUT_S)
    return {"epoch": run.epoch, "role": answer.get("role", "active")}


def _health(run: Run) -> dict[str, Any]:
    hub = health.Hub(run.around.hub_url, run.target.address, run.around.ca_certificate)
    return run.around.health(hub, run.target.secret("operator_token"))


def _dns(run: Run) -> dict[str, Any]:
    if run.around.dns is None:
        note(f"no DNS provider in the stack file: point the hub's name to {run.target.address} yourself now")
        return {"skipped": f"by hand: {run.target.address}"}
    run.around.dns.switch((run.target.address,), run.around.ttl_s)
    return {"address": run.target.address, "ttl_s": run.around.ttl_s}


def _release(run: Run) -> dict[str, Any]:
    run.target.keeper("release", "--token", run.move.token)
    return {}


STEPS: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "preflight": _preflight,
    "claim": _claim,
    "fence": _fence,
    "proof": _proof,
    "last-sync": _last_sync,
    "promote": _promote,
    "health": _health,
    "dns": _dns,
    "release": _release,
}

TITLES: Mapping[str, str] = {
    "preflight": "looking whether the {target} site can take the class",
    "claim": "claiming the {target} site",
    "fence": "fencing the {source} site",
    "proof": "telling the {target} site that the {source} site is fenced",
    "last-sync": "copying what was written last",
    "promote": "promoting the {target} site",
    "health": "running a notebook on the {target} site",
    "dns": "switching the hub's name to the {target} site",
    "release": "releasing the {target} site's claim",
}
