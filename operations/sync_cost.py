"""`./hub load.sync`: what copying homes to the other site costs, by what changed and by what is stored.

The keeper's own cycles (hubconfig.keeper) run between two folders of this machine: looks, rsync, removal, syncfs, watermark.
SSH is left out; it adds the same to every cycle. The store is then made several times larger by homes of students who are
not at work, the same changes are made again, and the costs compared. CPU-seconds are of all processes together.
"""

from __future__ import annotations

import dataclasses
import json
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubconfig.keeper import config as configuration
from hubconfig.keeper import homes, parcels
from hubconfig.keeper.cycles import Cycles
from hubconfig.keeper.homes import Copier, Ends
from hubconfig.keeper.peer import sync_disk
from hubconfig.keeper.scan import SETTLE_NS
from hubconfig.keeper.source import HomesSource
from operations.errors import UserError
from operations.paths import WORK_DIR

SHARE_MAX = 0.05
"""Of the first copy's cost, for a copy after 1% of the files changed."""
GROWTH_MAX = 1.5
"""Cost of the same change in the larger store against that in the smaller one."""
FOLDERS = 10
"""In each home."""
BYTES = 1024
"""A file's size, about."""
SEED = 8


@dataclass(frozen=True)
class Cost:
    """One copy, from its first look to the watermark."""

    what: str
    homes: int
    """In the store."""
    files: int
    """In the store."""
    changed: int
    """Files."""
    wall_s: float
    cpu_s: float
    moved_bytes: int
    """rsync's, both ways."""


class Store:
    """Homes in one folder, and the other site's in another; the first ``at_work`` homes have a server."""

    def __init__(self, root: Path, files: int) -> None:
        self._root, self._files = root, files
        self._random = random.Random(SEED)
        self.here, self.there = root / "here" / "homes", root / "there" / "homes"
        for path in (self.here, self.there):
            path.mkdir(parents=True)
        paths = {name: str(root / "here" / name) for name in ("state_path", "secrets_path", "run_path")}
        self._config = configuration.parse(
            {
                "site": "cloud",
                "hub_url": "https://hub.test",
                "domain": "hub.test",
                "homes_path": str(self.here),
                **paths,
            }
        )
        self._names: list[str] = []
        self._at_work: set[str] = set()
        self._source = HomesSource(self._config, 1, workers=lambda _: self._at_work)
        there = dataclasses.replace(self._config, homes_path=self.there)
        self._cycles = Cycles(
            self._source,
            Copier(Ends(str(self.here), str(self.there))),
            lambda parcel: parcels.unpack(self.there, parcel),
            lambda paths: homes.remove(self.there, paths),
            lambda: sync_disk(there),
        )

    def add(self, count: int, *, at_work: bool) -> None:
        """So many homes more."""
        for number in range(len(self._names), len(self._names) + count):
            name = f"student-{number}"
            self._names.append(name)
            for folder in range(FOLDERS):
                (self.here / name / f"week{folder}").mkdir(parents=True)
            for file in range(self._files):
                self._path(name, file).write_bytes(self._random.randbytes(BYTES))
            if at_work:
                self._at_work.add(name)

    def change(self, files: int, in_homes: int) -> int:
        """Writes to so many files, spread over so many homes at work; how many."""
        chosen = sorted(self._at_work, key=lambda name: int(name.rpartition("-")[2]))[:in_homes]
        for number in range(files):
            self._path(chosen[number % len(chosen)], number // len(chosen)).write_bytes(self._random.randbytes(BYTES))
        return files

    def rest(self) -> None:
        """Until nothing is on its way that a measurement did not ask for."""
        time.sleep(SETTLE_NS / 1e9 + 0.2)
        self._cycles.run()
        sync_disk(dataclasses.replace(self._config, homes_path=self.there))

    def measure(self, what: str, changed: int) -> Cost:
        """Copies until all is there."""
        cpu, began, moved = _cpu_s(), time.monotonic(), 0
        while True:
            result, some = self._cycles.run()
            moved += some
            if not result.more:
                break
        count = len(self._names)
        return Cost(what, count, count * self._files, changed, time.monotonic() - began, _cpu_s() - cpu, moved)

    def check(self, names: Iterable[str]) -> None:
        """Raises UserError when a copy is not what it should be: a fast wrong copy is no result."""
        for name in names:
            for file in range(self._files):
                path = self._path(name, file)
                if path.read_bytes() != (self.there / path.relative_to(self.here)).read_bytes():
                    raise UserError(
                        f"load.sync: {path.relative_to(self.here)} was not copied; this is a mistake in the keeper."
                    )

    def names(self) -> list[str]:
        """All homes."""
        return list(self._names)

    def _path(self, name: str, file: int) -> Path:
        return self.here / name / f"week{file % FOLDERS}" / f"hw{file}.ipynb"


def run(
    count: int = 200,
    files: int = 500,
    times: int = 10,
    *,
    root: Path | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measures, prints the table, keeps the record in `.semesterhub/benchmarks/sync.json` and returns it.

    UserError when 1% changed costs more than SHARE_MAX of the first copy, or more than GROWTH_MAX times as much in the larger store.
    """
    folder = root or WORK_DIR / "benchmarks" / "sync"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        costs = _measured(Store(folder, files), count, files, times, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record = {"homes": count, "files": files, "times": times, "costs": [dataclasses.asdict(cost) for cost in costs]}
    if root is None:
        (WORK_DIR / "benchmarks" / "sync.json").write_text(json.dumps(record, indent=1), "utf-8")
    say(table(costs))
    if wrong := verdict(costs):
        raise UserError(wrong)
    return record


def _measured(store: Store, count: int, files: int, times: int, say: Callable[[str], object]) -> list[Cost]:
    costs: list[Cost] = []
    some, few = max(1, count * files // 100), max(1, count // 100)
    for size in dict.fromkeys((1, times)):
        more = count if size == 1 else count * (size - 1)
        say(f"load.sync: {more:,} homes with {more * files:,} files are made …")
        store.add(more, at_work=size == 1)
        costs.append(store.measure("first copy" if size == 1 else "first copy of what was added", more * files))
        store.rest()
        changed = store.change(some, count)
        costs.append(store.measure("1% of the files, in every home at work", changed))
        store.rest()
        changed = store.change(some, few)
        costs.append(store.measure("as many files, in 1% of the homes", changed))
        store.rest()
        costs.append(store.measure("nothing", 0))
    names = store.names()
    store.check(random.Random(SEED).sample(names, min(len(names), 50)))
    return costs


def verdict(costs: list[Cost]) -> str:
    """What is too dear, in one sentence; "" when nothing is. By CPU-seconds, which other work on the machine hardly changes."""
    first, *rest = costs
    for cost in rest[:2]:
        if (share := cost.cpu_s / first.cpu_s) > SHARE_MAX:
            return f"a copy after a change ({cost.what}) costs {share:.1%} of the first copy; at most {SHARE_MAX:.0%} are wanted."
    for cost in rest[2:]:
        small = next((c for c in costs if c.what == cost.what), cost)
        if cost.changed and cost.what == small.what and cost.cpu_s / small.cpu_s > GROWTH_MAX:
            return (
                f"the same change ({cost.what}) costs {cost.cpu_s / small.cpu_s:.1f} times as much when {cost.files:,} files are "
                f"stored instead of {small.files:,}; at most {GROWTH_MAX:g} times are wanted."
            )
    return ""


def table(costs: list[Cost]) -> str:
    """As in docs/benchmarks.md."""
    first = costs[0]
    lines = [
        "| changed | stored homes | stored files | changed files | seconds | CPU-seconds | of the first copy | MB moved |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {c.what} | {c.homes:,} | {c.files:,} | {c.changed:,} | {c.wall_s:.2f} | {c.cpu_s:.2f} | {c.cpu_s / first.cpu_s:.1%} "
        f"| {c.moved_bytes / 1e6:.2f} |"
        for c in costs
    ]
    return "\n".join(lines)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
