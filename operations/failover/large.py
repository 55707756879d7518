"""`./hub load.failover`: 200 homes with 100,000 files, the cloud's machines killed without warning, and what is there afterwards.

Every file's content follows from its name, so the whole store is checked on the fallback without a second copy of it. A student
who was signed in works through it, and a writer numbers what was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from operations.errors import UserError
from operations.failover import drill as drills
from operations.failover import report
from operations.failover.drill import Drill
from operations.failover.sites import Site
from operations.failover.visitors import NameResolver, Writer
from operations.progress import note, step

PREFIX = "large-"
HOMES_PATH = "/srv/semesterhub/homes"
COPY_TIMEOUT_S = 1800.0
FIRST_STUDENT_S, ALL_FILES_S = 60.0, 120.0
"""What issue and stack promise: from the command to a student's computed cell, and until every file was looked at."""

_MAKE = """
import os, sys
homes, users, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for u in range(users):
    home = f"{homes}/PREFIX{u:04d}"
    for f in range(files):
        folder = f"{home}/week-{f % 10}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/file-{f:04d}.txt", "w") as out:
            out.write(f"{u:04d} {f:04d}\\n" * (20 + (u * 7 + f) % 200))
    for root, folders, names in os.walk(home):
        for name in [root, *(f"{root}/{n}" for n in names)]:
            os.chown(name, 1000, 100)
"""
_CHECK = """
import json, sys
homes, users, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
right, missing, wrong = 0, 0, []
for u in range(users):
    for f in range(files):
        path = f"{homes}/PREFIX{u:04d}/week-{f % 10}/file-{f:04d}.txt"
        try:
            with open(path) as source:
                good = source.read() == f"{u:04d} {f:04d}\\n" * (20 + (u * 7 + f) % 200)
        except OSError:
            missing += 1
            continue
        right += good
        if not good:
            wrong.append(path)
print(json.dumps({"right": right, "missing": missing, "wrong": wrong[:5]}))
"""


@dataclass(frozen=True)
class Outcome:
    """What was measured. Times in seconds; `checked_s` from the command until every file was looked at."""

    homes: int
    files: int
    first_copy_s: float
    leg: report.Leg
    checked_s: float
    right: int
    missing: int
    wrong: int

    @property
    def problems(self) -> list[str]:
        """Each promise that was not kept."""
        leg, found = self.leg, []
        rto = leg.rto_s
        if rto is None or rto > FIRST_STUDENT_S:
            found.append(f"the first student worked after {rto} s, not within {FIRST_STUDENT_S:.0f} s")
        if self.checked_s > ALL_FILES_S:
            found.append(f"all files were checked after {self.checked_s:.0f} s, not within {ALL_FILES_S:.0f} s")
        if self.right != self.homes * self.files:
            found.append(f"{self.missing} files are missing, {self.wrong} are wrong")
        if leg.home.window_s > 60:
            found.append(f"the loss window of homes is {leg.home.window_s:.1f} s")
        if leg.hub.window_s > 2:
            found.append(f"the loss window of the hub's database is {leg.hub.window_s:.1f} s")
        if leg.home.older_than_watermark or leg.hub.older_than_watermark:
            found.append("writes older than the watermark are lost")
        return [*found, *leg.problems]


def run(drill: Drill, homes: int = 200, files: int = 500, console: Console | None = None) -> Outcome:
    """Fill, copy, kill, fail over, check. The cloud is left dead and the fallback active: `./hub failback` after `./hub up`."""
    if drill.kill is None:
        raise UserError("load.failover kills the cloud's machines; it is for a cloud on this machine only.")
    outcome = asyncio.run(_run(drill, homes, files))
    show(outcome, console or Console())
    if outcome.problems:
        raise UserError("; ".join(outcome.problems))
    return outcome


async def _run(drill: Drill, homes: int, files: int) -> Outcome:
    sites = drill.around.sites
    with step(f"{homes} homes with {homes * files} files in all"):
        _python(sites.cloud, _MAKE, homes, files)
        names = [f"{PREFIX}{u:04d}" for u in range(homes)]
        sites.cloud.keeper("mark", *names)
    began = time.monotonic()
    with step("waiting until the fallback has them all"):
        await _copied(sites.fallback, time.time())
    first_copy_s = time.monotonic() - began
    visitors = drills.visitors(drill, NameResolver(drill.addresses))
    writer = Writer(visitors[-1], drill.target.hub_url)
    try:
        for visitor in visitors:
            await visitor.open()
        await asyncio.gather(*(visitor.arrive() for visitor in visitors))
        checked: list[tuple[float, dict[str, Any]]] = []

        async def check(since: float) -> None:
            found = await asyncio.to_thread(_python, sites.fallback, _CHECK, homes, files)
            checked.append((time.monotonic() - since, found))

        leg = await drills.leg(drill, "failover", visitors, writer, unplanned=True, then=check)
    finally:
        for visitor in visitors:
            await visitor.close()
    checked_s, found = checked[0]
    return Outcome(homes, files, first_copy_s, leg, checked_s, found["right"], found["missing"], len(found["wrong"]))


def _python(site: Site, script: str, homes: int, files: int) -> dict[str, Any]:
    text = script.replace("PREFIX", PREFIX)
    done = site.transport.run(["python3", "-c", text, HOMES_PATH, str(homes), str(files)], timeout_s=COPY_TIMEOUT_S)
    if done.code != 0:
        raise UserError(f"on the {site.name} site: {done.err.strip().splitlines()[-1:]}")
    return json.loads(done.out or "{}")


async def _copied(standby: Site, since: float) -> None:
    """Until the watermark says that everything written before `since` is there."""
    deadline = time.monotonic() + COPY_TIMEOUT_S
    while time.monotonic() < deadline:
        mark = (await asyncio.to_thread(standby.status)).get("watermark") or {}
        if float(mark.get("homes_until") or 0) >= since:
            return
        await asyncio.sleep(1)
    raise UserError(
        f"the first copy did not end within {COPY_TIMEOUT_S:.0f} s: docker logs keeper on the hub VM says why"
    )


def show(outcome: Outcome, console: Console) -> None:
    """The figures as a table."""
    leg = outcome.leg
    table = Table(
        "what",
        "measured",
        title=f"{outcome.homes} homes, {outcome.homes * outcome.files} files, the cloud killed",
        title_justify="left",
    )
    rows = (
        ("first copy", f"{outcome.first_copy_s:.0f} s"),
        ("the command", f"{leg.command_s:.1f} s"),
        ("first student computes", "never" if leg.rto_s is None else f"{leg.rto_s:.1f} s after the command began"),
        (
            "every file checked",
            f"{outcome.checked_s:.1f} s after the command began: {outcome.right} right, {outcome.missing} missing, {outcome.wrong} wrong",
        ),
        (
            "homes: acknowledged writes lost",
            f"{leg.home.lost} of {leg.home.acknowledged}, window {leg.home.window_s:.1f} s",
        ),
        ("hub's database: the same", f"{leg.hub.lost} of {leg.hub.acknowledged // 2}, window {leg.hub.window_s:.1f} s"),
        ("lost although older than the watermark", str(leg.home.older_than_watermark + leg.hub.older_than_watermark)),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    note(f"steps: {', '.join(f'{name} {took:.1f} s' for name, _, took in leg.spans)}")
