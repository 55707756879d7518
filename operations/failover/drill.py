"""`./hub drill`: a failover and a failback of a running semester, with students who must not notice more than a pause.

A planned drill loses nothing: the source answers, is fenced by its own word and hands over what was written last. An
unplanned one (`--kill`, only where the cloud is this machine) kills the source's machine first, without warning.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations.errors import UserError
from operations.failover import commands, report
from operations.failover.journal import Journal, Kind, unfinished
from operations.failover.moves import Options, Surroundings
from operations.failover.sites import Site, UnreachableError, active_name
from operations.failover.visitors import CheckVisitor, NameResolver, Visitor, Writer, loss
from operations.load.target import Target
from operations.paths import WORK_DIR
from operations.progress import note, step

FOLDER = WORK_DIR / "drills"
FRESH_S = 45.0
"""A watermark this young means that the sites replicate."""
REPLICATE_TIMEOUT_S = 600.0
LINGER_S = 20.0
"""How long students and the writer work before and after a move, so that there is something to lose."""


@dataclass
class Drill:
    """What a drill needs of the world. `kill`: makes the source's machine die without warning; `revive`: brings a dead
    cloud site back (both only on the local cloud)."""

    stack: str
    title: str
    around: Surroundings
    target: Target
    rto_s: int
    rpo_s: int
    kill: Callable[[], None] | None = None
    revive: Callable[[], None] | None = None
    students: int = 3
    linger_s: float = LINGER_S
    folder: Path = FOLDER

    def addresses(self) -> tuple[str, ...]:
        """Where the hub's name leads now, by the server that has the say."""
        if self.around.dns is None:
            raise UserError("a drill follows the hub's name, and the stack file has no `fallback.dns`")
        return tuple(self.around.dns.look().addresses)


def run(drill: Drill, *, unplanned: bool = False, console: Console | None = None) -> report.DrillReport:
    """Both moves, and the report. Raises UserError when a promise was not kept, after the report is written."""
    if unplanned and drill.kill is None:
        raise UserError("--kill ends the cloud site without warning; it is for the cloud on this machine only.")
    done = asyncio.run(_run(drill, unplanned=unplanned))
    where = report.save(done, drill.folder / drill.stack)
    show(done, console or Console())
    note(f"report: {where}/report.md, report.html")
    if not done.passed:
        raise UserError(f"the drill failed: see {where}/report.md")
    return done


async def _run(drill: Drill, *, unplanned: bool) -> report.DrillReport:
    sites = drill.around.sites
    began_at = time.time()
    done = report.DrillReport(drill.stack, drill.title, began_at, not unplanned, drill.rto_s, drill.rpo_s)
    await _replicated(sites.fallback, "cloud")
    resolver = NameResolver(drill.addresses)
    everybody = visitors(drill, resolver)
    writer = Writer(everybody[-1], drill.target.hub_url)
    try:
        for visitor in everybody:
            await visitor.open()
        with step(f"{len(everybody)} students sign in and work"):
            await asyncio.gather(*(visitor.arrive() for visitor in everybody))
        done.legs.append(await leg(drill, "failover", everybody, writer, unplanned=unplanned))
        if unplanned and drill.revive is not None:
            with step("bringing the cloud site back"):
                await asyncio.to_thread(drill.revive)
        await _replicated(sites.cloud, "fallback")
        done.legs.append(await leg(drill, "failback", everybody, writer, unplanned=False))
        await asyncio.gather(*(visitor.leave() for visitor in everybody))
    finally:
        for visitor in everybody:
            await visitor.close()
    return done


Anybody = Visitor | CheckVisitor


def visitors(drill: Drill, resolver: NameResolver) -> list[Anybody]:
    """Students with the demo password, the last of whom writes; where there is none, the hub's own check account."""
    if not drill.target.student_password:
        active = drill.around.sites.named(active_name(drill.around.sites))
        return [CheckVisitor(drill.target, active.secret("operator_token"), resolver)]
    names = [*(f"drill-{n}" for n in range(1, drill.students + 1)), "drill-writer"]
    return [Visitor(drill.target, name, resolver) for name in names]


async def leg(
    drill: Drill,
    kind: Kind,
    everybody: list[Anybody],
    writer: Writer,
    *,
    unplanned: bool,
    then: Callable[[float], Awaitable[None]] | None = None,
) -> report.Leg:
    """One move under the students' hands. `then`: begun as soon as the command has ended, with the moment it began."""
    writer.start()
    await asyncio.sleep(drill.linger_s)
    if unplanned:
        note("the cloud site's machine is killed now")
        await asyncio.to_thread(drill.kill or (lambda: None))
    began = time.monotonic()
    moving = asyncio.create_task(asyncio.to_thread(_move, drill, kind))
    # Students press reload as soon as the hub stops answering; they work when the name leads to a hub that works.
    left = asyncio.create_task(_left(drill.stack, moving))
    coming = [asyncio.create_task(_back(visitor, left, began)) for visitor in everybody]
    try:
        await left
        # From here on nothing is numbered: what is found afterwards was written before, on the site that was left.
        await writer.stop()
        journal = await moving
    except BaseException:
        for task in (left, *coming):
            task.cancel()
        await writer.stop()
        raise
    command_s = time.monotonic() - began
    await asyncio.gather(*coming, *([then(began)] if then else []))
    problems = [f"{v.name}: {v.problem}" for v in everybody if v.problem]
    students = {v.name: (None if v.problem else v.back_s) for v in everybody}
    home_found, hub_found = (0, 0) if writer.visitor.problem else await writer.found()
    mark = _watermark(journal)
    for visitor in everybody:
        visitor.back_s, visitor.problem = None, ""
    return report.leg_of(
        journal,
        command_s,
        students,
        problems,
        loss(writer.acknowledged.home, home_found, mark.get("homes_until")),
        loss(writer.acknowledged.hub, hub_found, mark.get("hub_state_until")),
    )


async def _left(stack: str, moving: asyncio.Task[Journal]) -> None:
    """Until the site that is left takes no more work: whoever came back before would find it as it was."""
    while not moving.done():
        under_way = unfinished(stack)
        if under_way is not None and under_way.result("fence") is not None:
            return
        await asyncio.sleep(0.1)


async def _back(visitor: Anybody, left: asyncio.Task[None], began: float) -> None:
    await left
    await visitor.come_back(began)


def _watermark(journal: Journal) -> dict[str, Any]:
    """The newest watermark that the target had before it was promoted."""
    last = (journal.result("last-sync") or {}).get("watermark")
    return dict(last or (journal.result("preflight") or {}).get("watermark") or {})


def _move(drill: Drill, kind: Kind) -> Journal:
    return commands.move(drill.stack, kind, drill.around, Options())


async def _replicated(standby: Site, active: str) -> None:
    """Wait until the standby has everything of the active site, up to a moment ago."""
    with step(f"waiting until the {standby.name} site has everything of the {active} site"):
        deadline = time.monotonic() + REPLICATE_TIMEOUT_S
        why = "it does not answer"
        while time.monotonic() < deadline:
            try:
                seen = await asyncio.to_thread(standby.status)
            except UnreachableError as away:
                why = str(away)
            else:
                mark = seen.get("watermark") or {}
                age_s = time.time() - float(mark.get("homes_until") or 0)
                if seen["role"] == "standby" and mark.get("epoch") == seen["seen_epoch"] and age_s < FRESH_S:
                    return
                why = (
                    f"it is {seen['role']}, its last complete copy is {age_s:.0f} s old"
                    if mark
                    else f"it is {seen['role']}, nothing was copied"
                )
            await asyncio.sleep(1)
    raise UserError(
        f"the {standby.name} site did not become an up-to-date standby within {REPLICATE_TIMEOUT_S:.0f} s: {why}. "
        f"See the keeper's log there: docker logs keeper"
    )


def show(done: report.DrillReport, console: Console) -> None:
    """The verdicts as a table."""
    table = Table("promise", "target", "measured", "", title="Drill", title_justify="left")
    for verdict in done.verdicts():
        table.add_row(
            escape(verdict.what),
            verdict.target,
            verdict.measured,
            "[green]kept[/]" if verdict.kept else "[red]not kept[/]",
        )
    console.print(table)
    for leg in done.legs:
        for problem in leg.problems:
            console.print(f"[red]{escape(leg.kind)}: {escape(problem)}[/]")
