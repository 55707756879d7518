"""A class run on paper: a table for people, JSON for programs, a plot of who came and who could work."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from operations.load.records import MEASURES, ClassResult


def table(result: ClassResult) -> Table:
    """p50, p95 and maximum of every measure; times count from a student's arrival."""
    done = len(result.students) - len(result.failures)
    title = (
        f"{result.target}: {done} of {len(result.students)} students computed, "
        f"arriving within {result.arrive_within_s:g} s (seed {result.seed})"
    )
    out = Table(title=title, title_justify="left")
    out.add_column("from arrival until")
    for heading in ("p50", "p95", "max"):
        out.add_column(heading, justify="right")
    out.add_column("unit")
    for name, heading, unit in MEASURES:
        spread = result.spread(name)
        if spread is not None:
            out.add_row(heading, f"{spread.p50:.1f}", f"{spread.p95:.1f}", f"{spread.max:.1f}", unit)
    return out


def print_result(result: ClassResult, console: Console | None = None) -> None:
    console = console or Console()
    console.print(table(result))
    nodes = result.servers_per_node()
    if nodes:
        console.print("servers per node: " + ", ".join(f"{node} {count}" for node, count in nodes.items()))
    if result.longest_queue():
        waited = sum(1 for s in result.students if s.queue_positions)
        console.print(f"{waited} students saw their place in the queue, at most {result.longest_queue()} ahead")
    for service, used in result.memory.items():
        console.print(
            f"{service}: {used['before_mib']:.0f} MiB before, {used['peak_mib']:.0f} MiB at peak, "
            f"{used['cpu_s']:.1f} CPU-s"
        )
    for student in result.failures:
        console.print(f"[red]{student.name}[/red] failed at {student.failed_step}: {student.failure}", markup=True)
    for note in result.notes:
        console.print(f"note: {note}")


def save(result: ClassResult, folder: Path) -> Path:
    """Write `result.json`, `table.txt` and `curves.png` into a new folder below `folder`; returns it."""
    moment = datetime.fromisoformat(result.began_at).strftime("%Y%m%d-%H%M%S")
    where = folder / f"{result.target}-{moment}"
    where.mkdir(parents=True, exist_ok=True)
    (where / "result.json").write_text(json.dumps(result.as_json(), indent=1) + "\n")
    with (where / "table.txt").open("w") as file:
        print_result(result, Console(file=file, width=110, no_color=True))
    plot([result], where / "curves.png")
    return where


def plot(results: list[ClassResult], path: Path) -> None:
    """Students arrived, with a ready server and with a computed cell, over the seconds since the class began."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(8 * len(results), 5), squeeze=False, sharey=True)
    for axis, result in zip(axes[0], results, strict=True):
        for label, field, style in (
            ("arrived", None, {"color": "0.55", "linestyle": "--"}),
            ("server ready", "ready_s", {"color": "tab:blue"}),
            ("first cell computed", "computed_s", {"color": "tab:green"}),
        ):
            moments = sorted(
                s.arrival_s + (getattr(s, field) if field else 0.0)
                for s in result.students
                if field is None or getattr(s, field) is not None
            )
            axis.step([0.0, *moments], range(len(moments) + 1), where="post", label=label, **style)
        axis.set_title(f"{result.target}: {len(result.students)} students")
        axis.set_xlabel("seconds since the class began")
        axis.set_ylabel("students")
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
