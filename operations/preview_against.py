"""`./hub preview --against <ref>`: what a change does to a semester, without a cloud account.

The ref's own program, with its own stack file, is brought up in an offline cloud (sandbox/) that belongs to this
comparison alone; the working tree's program is then previewed against that state by the real engine, and the plan
rendered as Markdown. The offline cloud, the engine and the Python packages are the working tree's for both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations import git_tree, planning, setup, stacks
from operations.engine import Place, Pulumi
from operations.errors import UserError
from operations.git_tree import Version
from operations.locks import file_lock
from operations.paths import LOCKS_DIR, ROOT, WORK_DIR
from operations.planned import collect
from operations.preview_diff import Report, Verdict, build, render
from operations.progress import note

if TYPE_CHECKING:
    from components.semester import Semester
    from sandbox import Session

CostLine = tuple[str, float | None, float | None]
CENT = 0.01
UNLIMITED = 1 << 30
"""Bytes: a terminal takes everything, a comment does not."""
KEPT_BASELINES = 8
"""Baselines that stay for the next comparison with the same commit, all stacks together: a few MB each."""


def run(stack: str, ref: str, *, output: str = "", waive: Collection[str] = ()) -> int:
    """Compare one stack, or with `all` every stack of a cloud, and print the Markdown; into the folder `output` go
    `preview.md` and a `report-<stack>.json` of each. Returns 1 when a policy is broken or a stack cannot be planned."""
    version = git_tree.resolve(ref)
    reports = [compare(name, version, waive=waive) for name in _named(stack, version)]
    sys.stdout.write(render(reports, limit=UNLIMITED) if reports else "No stack of a cloud, so nothing to compare.\n")
    if output:
        planning.write_reports(reports, output)
    return 1 if any(report.broken or report.error for report in reports) else 0


def _named(stack: str, version: Version) -> list[str]:
    if stack == "all":
        return [name for name in stacks.names() if stacks.cloud_of(name) != "local"]
    stacks.path_of(stack)
    if stacks.cloud_of(stack) == "local":
        raise UserError(
            f"--against compares stacks of a cloud offline; '{stack}' is `cloud: local`, whose plan needs this machine's Docker.\n"
            f"  Plainly: ./hub preview --stack {stack}. All stacks of clouds: ./hub preview --stack all --against {version.ref}"
        )
    return [stack]


def compare(stack: str, version: Version, *, waive: Collection[str] = ()) -> Report:
    """The report of one stack. A stack that cannot be planned is a report, too: its `error` says why."""
    from components.semester import SemesterError

    cloud = stacks.cloud_of(stack)
    try:
        semester = stacks.load(stack)
    except (UserError, SemesterError) as error:
        return Report(stack=stack, cloud=cloud, baseline=version.told, error=str(error))
    with baseline(stack, cloud, version) as base:
        return base.compare(semester, waive=waive)


@dataclass
class Baseline:
    """An offline cloud with what the ref's program made in it."""

    stack: str
    version: Version
    session: Session
    notes: tuple[str, ...]

    def compare(self, semester: Semester, *, program_dir: Path = ROOT, waive: Collection[str] = ()) -> Report:
        """Preview the program in `program_dir` against it. Nothing of the baseline changes."""
        cloud = str(semester.cloud)
        place = _place(self.session.place, program_dir, self.version)
        engine = Pulumi(self.stack, setup.pulumi().folder, place=place)
        events: list[dict[str, Any]] = []
        notes = list(self.notes)
        try:
            engine.run("preview", observe=events.append, refresh=False)  # nobody else was there
        except UserError as error:
            lost = planning.lost_homes(semester, self.stack, events)
            if not lost or error.exit_code == 130:
                if error.exit_code == 130:
                    raise
                return Report(stack=self.stack, cloud=cloud, baseline=self.version.told, error=_reason(error))
            notes.append(
                "The preview ends where homes would be lost: they are protected. What is shown may not be all."
            )
        preview = collect(events)
        report = build(
            preview,
            stack=self.stack,
            cloud=cloud,
            baseline=self.version.told,
            verdicts=(*self._moves(semester), *planning.judge(semester, self.stack, preview, waive)),
            notes=notes,
        )
        if report.cost is None:
            return report
        return dataclasses.replace(report, cost=dataclasses.replace(report.cost, lines=self._cost_lines(semester)))

    def _moves(self, semester: Semester) -> tuple[Verdict, ...]:
        """Whether the stack file changes a key that a running semester cannot change: `up` would refuse it."""
        from components.semester import immutable_changes

        old = self._old_semester()
        found = tuple(str(change) for change in immutable_changes(old, semester)) if old else ()
        return (Verdict("fixed-keys", "what may not change on a running semester stays", found),) if old else ()

    def _cost_lines(self, semester: Semester) -> tuple[CostLine, ...]:
        """What makes the difference: both stack files by this tree's prices. The totals are each program's own."""
        from components.semester import SemesterError

        old = self._old_semester()
        if old is None:
            return ()
        try:
            before, after = _by_resource(old), _by_resource(semester)
        except SemesterError:
            return ()
        names = sorted({*before, *after})
        return tuple(
            (name, before.get(name), after.get(name))
            for name in names
            if abs(after.get(name, 0.0) - before.get(name, 0.0)) >= CENT
        )

    def _old_semester(self) -> Semester | None:
        """The ref's stack file; None where there is none, or it was written for another version of the model."""
        from components.semester import SemesterError, load_stack_file

        path = _tree(self.version) / "stacks" / f"Pulumi.{self.stack}.yaml"
        if self.notes or not path.exists():
            return None
        try:
            return load_stack_file(path)
        except SemesterError:
            return None


def _by_resource(semester: Semester) -> dict[str, float]:
    """US dollars a month by kind of resource."""
    from components.cost import monthly_cost
    from components.plan import plan

    costs: dict[str, float] = {}
    for line in monthly_cost(semester, plan(semester)).lines:
        costs[line.resource] = costs.get(line.resource, 0.0) + float(line.usd)
    return {name: round(usd, 2) for name, usd in costs.items()}


@contextmanager
def baseline(stack: str, cloud: str, version: Version) -> Iterator[Baseline]:
    """The ref's program brought up offline, or taken from an earlier comparison with the same commit. Where it cannot be,
    `notes` say why and the baseline is empty, so that everything shows as created."""
    with file_lock(LOCKS_DIR / f"against-{stack}", f"comparing stack '{stack}'", wait=False):
        because = _missing(stack, cloud, version)
        if not because:
            try:
                with _brought_up(stack, cloud, version) as session:
                    yield Baseline(stack, version, session, ())
                    return
            except _NotUp as error:
                because = f"The program of {version.told} could not be brought up offline, so everything shows as created: {error}"
        note(because)
        root = _root(stack, version, "empty")
        shutil.rmtree(root, ignore_errors=True)
        with _offline(stack, cloud, root) as session:
            yield Baseline(stack, version, session, (because,))


def _missing(stack: str, cloud: str, version: Version) -> str:
    """Why the ref cannot be brought up at all; empty when it can be tried."""
    file = f"stacks/Pulumi.{stack}.yaml"
    if not git_tree.has(version, file):
        return f"{version.told} has no stack {stack}, so everything shows as created."
    if not git_tree.has(version, f"components/{cloud}/__init__.py") or not git_tree.has(version, "sandbox"):
        return f"The program of {version.told} cannot be run offline for {cloud}, so everything shows as created."
    before = stacks.cloud_in(git_tree.text_of(version, file))
    if before != cloud:
        return f"In {version.told} the stack is on {before}; everything shows as created, and what is on {before} is not shown."
    return ""


class _NotUp(Exception):
    """The ref's program failed; the text is its error."""


@contextmanager
def _brought_up(stack: str, cloud: str, version: Version) -> Iterator[Session]:
    root = _root(stack, version, _fingerprint())
    marker = root / "baseline.json"
    if root.exists() and not marker.exists():
        shutil.rmtree(root)  # an earlier run was killed while it brought it up
    tree = _tree(version)
    with _offline(stack, cloud, root) as session:
        if not marker.exists():
            note(f"bringing up {stack} of {version.told} offline")
            try:
                Pulumi(stack, setup.pulumi().folder, place=_place(session.place, tree, version)).run("up")
            except UserError as error:
                if error.exit_code == 130:
                    raise
                raise _NotUp(_in_a_sentence(error)) from None
            marker.write_text(json.dumps({"commit": version.commit, "stack": stack}) + "\n", "utf-8")
        os.utime(root)
        yield session
    _sweep()


@contextmanager
def _offline(stack: str, cloud: str, root: Path) -> Iterator[Session]:
    from sandbox import session  # nothing else leads there

    with session(stack, cloud, root=root, banner=False) as offline:
        yield offline


def _place(place: Place, program_dir: Path, version: Version) -> Place:
    """The sandbox's place with another version's program, whose modules come from there alone. Both programs run at the
    same moment, that of the ref's commit: otherwise scaling actions that are over by now would show as changes."""
    own = {"PYTHONPATH": str(program_dir), "SOURCE_DATE_EPOCH": str(version.epoch_s)}
    return dataclasses.replace(place, program_dir=program_dir, environment={**place.environment, **own})


def _reason(error: UserError) -> str:
    """An engine's error without where its log is: that is of no use to somebody else."""
    lines = [line.removeprefix("  ") for line in str(error).splitlines() if "Everything the engine said: " not in line]
    return "\n".join(lines)


def _in_a_sentence(error: UserError) -> str:
    """The same as part of a sentence, without the line that only says that it failed."""
    lines = _reason(error).splitlines()
    return " ".join(line.strip() for line in (lines[1:] or lines)[:6])


def _tree(version: Version) -> Path:
    return git_tree.unpack(version, WORK_DIR / "against" / "trees" / version.commit[:16])


def _root(stack: str, version: Version, what: str) -> Path:
    return WORK_DIR / "against" / "clouds" / f"{stack}-{version.commit[:16]}-{what[:8]}"


def _fingerprint() -> str:
    """Of everything in the working tree that a baseline depends on: the offline cloud, the providers' base, the packages."""
    digest = hashlib.sha256()
    for folder in ("sandbox", "providers/base"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    digest.update((ROOT / "requirements.lock").read_bytes())
    return digest.hexdigest()


def _sweep() -> None:
    """Remove the oldest baselines and trees. One that is in use was used last."""
    for folder in ("clouds", "trees"):
        found = _by_age(WORK_DIR / "against" / folder)
        for old in found[:-KEPT_BASELINES]:
            shutil.rmtree(old, ignore_errors=True)


def _by_age(folder: Path) -> Sequence[Path]:
    hour_ago = time.time() - 3600
    there = [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    return [p for p in sorted(there, key=lambda p: p.stat().st_mtime) if p.stat().st_mtime < hour_ago]
