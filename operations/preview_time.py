"""`./hub load.preview`: what a no-change preview of a cloud stack costs, as a fixed part and a part for each resource.

The stack is brought up offline once as it is and once many times over (benchmarks/preview), then previewed without a
change several times; beside it OpenTofu plans as many `terraform_data`. CPU-seconds are of all processes together, taken
from the operating system, since seconds depend on what else the machine does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations import setup, stacks
from operations.engine import Pulumi, Result
from operations.errors import UserError
from operations.paths import ROOT, VENV_PYTHON, WORK_DIR

if TYPE_CHECKING:
    from sandbox import Session

PROGRAM = ROOT / "benchmarks" / "preview"
OWN_SHARE_MAX_S = 1.5
"""CPU-seconds that the program itself may take besides its resources: imports (some wait until they are needed),
reading, planning."""


@dataclass(frozen=True)
class Sample:
    """One run. `cpu_s` of the engine and everything it started, `program` as benchmarks/preview/timed.py wrote it."""

    wall_s: float
    cpu_s: float
    resources: int
    program: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """Medians of several runs."""

    title: str
    copies: int
    resources: int
    wall_s: float
    cpu_s: float
    program: Mapping[str, float]


def run(stack: str, copies: int = 10, repeats: int = 5) -> dict[str, Any]:
    """Measure, print the tables, keep the record in `.semesterhub/benchmarks/preview.json` and return it."""
    semester = stacks.load(stack)
    if str(semester.cloud) == "local":
        raise UserError(f"load.preview measures stacks of a cloud offline; '{stack}' is `cloud: local`.")
    from sandbox import session

    # Both programs find the modules of this checkout, the larger one its stack file beside it.
    (PROGRAM / "stacks").mkdir(exist_ok=True)
    shutil.copy2(stacks.path_of(stack), PROGRAM / "stacks")
    found: list[Figures] = []
    try:
        for count in (1, copies):
            root = WORK_DIR / "benchmarks" / f"preview-{count}"
            shutil.rmtree(root, ignore_errors=True)
            with session(stack, str(semester.cloud), root=root, banner=False) as offline:
                found.append(_measure(stack, count, offline, repeats))
            shutil.rmtree(root, ignore_errors=True)
    finally:
        shutil.rmtree(PROGRAM / "stacks", ignore_errors=True)
    planned = [_tofu(figures.resources, repeats) for figures in found]
    record = {
        "stack": stack,
        "repeats": repeats,
        "pulumi": [dataclasses.asdict(f) for f in found],
        "tofu": [dataclasses.asdict(s) for s in planned],
    }
    path = WORK_DIR / "benchmarks" / "preview.json"
    path.write_text(json.dumps(record, indent=1), "utf-8")
    print(tables(found, planned))
    own_s = own_share_s(*found)
    if own_s > OWN_SHARE_MAX_S:
        raise UserError(
            f"the program takes {own_s:.2f} CPU-seconds besides its resources; at most {OWN_SHARE_MAX_S} are wanted."
        )
    return record


def _measure(stack: str, copies: int, offline: Session, repeats: int) -> Figures:
    marks = WORK_DIR / "benchmarks" / "marks.json"
    own: dict[str, str | None] = {"SOURCE_DATE_EPOCH": str(int(time.time())), "SEMESTERHUB_COPIES": str(copies)}
    if copies > 1:
        own["PYTHONPATH"] = os.pathsep.join([str(PROGRAM), str(ROOT)])
    place = dataclasses.replace(
        offline.place,
        program_dir=ROOT if copies == 1 else PROGRAM,
        environment={**offline.place.environment, **own},
    )
    folder = setup.pulumi().folder
    Pulumi(stack, folder, place=place).run("up")
    timed = {
        **place.environment,
        "PULUMI_PYTHON_CMD": str(_wrapper()),
        "SEMESTERHUB_MARKS": str(marks),
    }
    engine = Pulumi(stack, folder, place=dataclasses.replace(place, environment=timed))
    engine.run("preview", refresh=False)  # compiles what the wrapper sees for the first time
    samples = []
    for _ in range(repeats):
        marks.unlink(missing_ok=True)
        sample = _timed(engine)
        samples.append(dataclasses.replace(sample, program=json.loads(marks.read_text("utf-8"))))
    return _medians(f"{copies} x {stack}", copies, samples)


def _timed(engine: Pulumi) -> Sample:
    before, began = _children_cpu_s(), time.monotonic()
    result = engine.run("preview", refresh=False)
    wall_s = time.monotonic() - began
    if result.changed:
        raise UserError(
            f"the preview of an unchanged stack shows {result.changed} changes, so there is nothing to measure."
        )
    return Sample(wall_s, _children_cpu_s() - before, _resources(result))


def _resources(result: Result) -> int:
    return sum(1 for r in result.resources if r.custom)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wrapper() -> Path:
    """A Python that notes times. A script, since the language host takes one command without arguments."""
    path = WORK_DIR / "benchmarks" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{VENV_PYTHON}" "{PROGRAM / "timed.py"}" "$@"\n', "utf-8")
    path.chmod(0o755)
    return path


def _medians(title: str, copies: int, samples: list[Sample]) -> Figures:
    names = samples[0].program
    return Figures(
        title,
        copies,
        samples[0].resources,
        statistics.median(s.wall_s for s in samples),
        statistics.median(s.cpu_s for s in samples),
        {name: statistics.median(s.program[name] for s in samples) for name in names},
    )


def _tofu(resources: int, repeats: int) -> Sample:
    """OpenTofu's plan of an unchanged configuration with as many `terraform_data`."""
    program = str(setup.tofu().program)
    folder = WORK_DIR / "benchmarks" / f"tofu-{resources}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blocks = (
        f'resource "terraform_data" "r{n}" {{\n  input = {{ name = "r{n}", size = {n} }}\n}}\n'
        for n in range(resources)
    )
    (folder / "main.tf").write_text("".join(blocks), "utf-8")
    for arguments in (["init", "-input=false"], ["apply", "-auto-approve", "-input=false"]):
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    samples = []
    for _ in range(repeats):
        before, began = _children_cpu_s(), time.monotonic()
        done = subprocess.run(
            [program, "plan", "-input=false", "-detailed-exitcode"],
            cwd=folder,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise UserError(
                f"`tofu plan` of an unchanged configuration ended with {done.returncode}: {done.stderr.decode()[-500:]}"
            )
        samples.append(Sample(time.monotonic() - began, _children_cpu_s() - before, resources))
    shutil.rmtree(folder, ignore_errors=True)
    return Sample(statistics.median(s.wall_s for s in samples), statistics.median(s.cpu_s for s in samples), resources)


def tables(found: list[Figures], planned: list[Sample]) -> str:
    """Three tables in Markdown: the runs, fixed and per resource, and where the time goes."""
    rows = ["| no-change preview | resources | seconds | CPU-seconds |", "|---|---:|---:|---:|"]
    rows += [f"| Pulumi, {f.title} | {f.resources} | {f.wall_s:.2f} | {f.cpu_s:.2f} |" for f in found]
    rows += [f"| OpenTofu, `terraform_data` | {s.resources} | {s.wall_s:.2f} | {s.cpu_s:.2f} |" for s in planned]
    rows += [
        "",
        "| | fixed, s | each resource, ms | fixed, CPU-s | each resource, CPU-ms |",
        "|---|---:|---:|---:|---:|",
    ]
    few, many = found
    rows.append(_line("Pulumi", [(few.resources, few.wall_s, few.cpu_s), (many.resources, many.wall_s, many.cpu_s)]))
    rows.append(_line("OpenTofu", [(s.resources, s.wall_s, s.cpu_s) for s in planned]))
    own_s = own_share_s(few, many)
    each_s = (few.program["end"] - own_s) / few.resources
    rows.append(
        f"| of Pulumi's the Python program: imports, planning; declaring | | | {own_s:.2f} | {each_s * 1000:.2f} |"
    )
    rows += ["", f"| where the CPU goes | {few.resources} resources | {many.resources} resources |", "|---|---:|---:|"]
    for name, part in (
        ("Python starts", _interpreter),
        ("import of Pulumi's SDK core", _core),
        ("the program until its first resource: imports, reading, planning", _own),
        ("the program afterwards: declaring, imports that waited", _declares),
        ("engine, language host and stand-in: checks and diffs", _rest),
        ("all", _all),
    ):
        rows.append(f"| {name} | {part(few):.2f} | {part(many):.2f} |")
    return "\n".join(rows)


def own_share_s(few: Figures, many: Figures) -> float:
    """CPU-seconds of the program for no resource at all, by the line through both measurements."""
    each = (many.program["end"] - few.program["end"]) / (many.resources - few.resources)
    return few.program["end"] - few.resources * each


def _line(name: str, ends: list[tuple[int, float, float]]) -> str:
    (n1, wall1, cpu1), (n2, wall2, cpu2) = ends
    wall, cpu = (wall2 - wall1) / (n2 - n1), (cpu2 - cpu1) / (n2 - n1)
    return f"| {name} | {wall1 - n1 * wall:.2f} | {wall * 1000:.2f} | {cpu1 - n1 * cpu:.2f} | {cpu * 1000:.2f} |"


def _interpreter(f: Figures) -> float:
    return f.program["interpreter"]


def _core(f: Figures) -> float:
    return f.program["sdk core imported"] - f.program["interpreter"]


def _own(f: Figures) -> float:
    return f.program["first resource"] - f.program["sdk core imported"]


def _declares(f: Figures) -> float:
    return f.program["end"] - f.program["first resource"]


def _rest(f: Figures) -> float:
    return f.cpu_s - f.program["end"]


def _all(f: Figures) -> float:
    return f.cpu_s
