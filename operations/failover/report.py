"""A drill's report: Markdown for the team's records, HTML with a timeline for those who want to see it."""

from __future__ import annotations

import base64
import html
import io
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from operations.failover.journal import Journal
from operations.failover.moves import TITLES
from operations.failover.visitors import Loss


@dataclass
class Leg:
    """One move of a drill and what was seen after it. Times in seconds, from the command on."""

    kind: str
    source: str
    target: str
    spans: list[tuple[str, float, float]]
    command_s: float
    students: dict[str, float | None]
    """Student -> seconds from the command to a computed cell on the target; None: never."""
    problems: list[str]
    home: Loss
    hub: Loss

    @property
    def rto_s(self) -> float | None:
        """From the command to the first student's computed cell."""
        back = [s for s in self.students.values() if s is not None]
        return min(back) if back else None


@dataclass
class Verdict:
    """One promise of the stack file, and what was measured."""

    what: str
    target: str
    measured: str
    kept: bool


@dataclass
class DrillReport:
    stack: str
    title: str
    began_at: float
    planned: bool
    rto_target_s: int
    rpo_target_s: int
    legs: list[Leg] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """Every promise, for each leg."""
        rows: list[Verdict] = []
        for leg in self.legs:
            rto = leg.rto_s
            rows += [
                Verdict(
                    f"{leg.kind}: first student works",
                    f"within {self.rto_target_s} s",
                    "never" if rto is None else f"{rto:.1f} s",
                    rto is not None and rto <= self.rto_target_s,
                ),
                Verdict(
                    f"{leg.kind}: writes lost in homes",
                    "none" if self.planned else f"window within {self.rpo_target_s} s",
                    _loss(leg.home),
                    leg.home.lost == 0 if self.planned else leg.home.window_s <= self.rpo_target_s,
                ),
                Verdict(
                    f"{leg.kind}: writes lost in the hub's database",
                    "none" if self.planned else "window within 2 s",
                    _loss(leg.hub),
                    leg.hub.lost == 0 if self.planned else leg.hub.window_s <= 2,
                ),
                Verdict(
                    f"{leg.kind}: lost although older than the watermark",
                    "none",
                    str(leg.home.older_than_watermark + leg.hub.older_than_watermark),
                    leg.home.older_than_watermark + leg.hub.older_than_watermark == 0,
                ),
                Verdict(
                    f"{leg.kind}: students still signed in, with their files",
                    f"all {len(leg.students)}",
                    str(sum(s is not None for s in leg.students.values())),
                    not leg.problems and all(s is not None for s in leg.students.values()),
                ),
            ]
        return rows

    @property
    def passed(self) -> bool:
        return bool(self.legs) and all(v.kept for v in self.verdicts())


def _loss(found: Loss) -> str:
    return f"{found.lost} of {found.acknowledged}" + (f", window {found.window_s:.1f} s" if found.lost else "")


def leg_of(
    journal: Journal, command_s: float, students: dict[str, float | None], problems: list[str], home: Loss, hub: Loss
) -> Leg:
    move = journal.move
    return Leg(move.kind, move.source, move.target, journal.spans(), command_s, students, problems, home, hub)


def markdown(report: DrillReport) -> str:
    """The whole report as Markdown."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.began_at))
    kind = (
        "planned (the source answers and is fenced by its own word)"
        if report.planned
        else "unplanned (the source was killed)"
    )
    lines = [
        f"# Failover drill of {report.title} (stack {report.stack})",
        "",
        f"{when}, {kind}. **{'Passed' if report.passed else 'FAILED'}.**",
        "",
        "| promise | target | measured | kept |",
        "|---|---|---|---|",
        *(f"| {v.what} | {v.target} | {v.measured} | {'yes' if v.kept else '**no**'} |" for v in report.verdicts()),
    ]
    for leg in report.legs:
        lines += [
            "",
            f"## {leg.kind.capitalize()}: {leg.source} to {leg.target}",
            "",
            "| step | began after | took |",
            "|---|---:|---:|",
            *(
                f"| {TITLES[name].format(source=leg.source, target=leg.target)} | {at:.1f} s | {took:.1f} s |"
                for name, at, took in leg.spans
            ),
            f"| **the command** | | **{leg.command_s:.1f} s** |",
            "",
            "| student | works again after |",
            "|---|---:|",
            *(f"| {name} | {'never' if s is None else f'{s:.1f} s'} |" for name, s in leg.students.items()),
        ]
        lines += ["", *(f"- {problem}" for problem in leg.problems)] if leg.problems else []
    return "\n".join(lines) + "\n"


def timeline(report: DrillReport) -> bytes:
    """A PNG: the steps of each move as bars, students as marks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(report.legs), 1, figsize=(9, 3.2 * max(1, len(report.legs))), squeeze=False)
    for axis, leg in zip(axes[:, 0], report.legs, strict=True):
        names = [name for name, _, _ in leg.spans]
        axis.barh(
            names, [took for _, _, took in leg.spans], left=[at for _, at, _ in leg.spans], color="#3b6ea5", height=0.6
        )
        axis.invert_yaxis()
        for number, seconds in enumerate(leg.students.values()):
            if seconds is not None:
                axis.axvline(
                    seconds, color="#d9822b", linewidth=1, label="a student works again" if number == 0 else None
                )
        axis.axvline(
            report.rto_target_s, color="#b03a2e", linestyle="--", linewidth=1, label=f"target {report.rto_target_s} s"
        )
        axis.set_title(f"{leg.kind}: {leg.source} to {leg.target}", loc="left", fontsize=10)
        axis.set_xlabel("seconds after the command")
        axis.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f23}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #d0d7de;padding:.3rem .7rem;text-align:left}
.no{color:#b03a2e;font-weight:600}.yes{color:#1a7f37}img{max-width:100%}"""


def as_html(report: DrillReport, picture: bytes) -> str:
    """One file that needs nothing else: the same content as the Markdown, and the timeline."""
    e = html.escape
    verdicts = "".join(
        f"<tr><td>{e(v.what)}</td><td>{e(v.target)}</td><td>{e(v.measured)}</td>"
        f"<td class={'yes' if v.kept else 'no'}>{'yes' if v.kept else 'no'}</td></tr>"
        for v in report.verdicts()
    )
    legs = ""
    for leg in report.legs:
        steps = "".join(
            f"<tr><td>{e(TITLES[name].format(source=leg.source, target=leg.target))}</td><td>{at:.1f} s</td><td>{took:.1f} s</td></tr>"
            for name, at, took in leg.spans
        )
        students = "".join(
            f"<tr><td>{e(name)}</td><td>{'never' if s is None else f'{s:.1f} s'}</td></tr>"
            for name, s in leg.students.items()
        )
        problems = "".join(f"<li>{e(problem)}</li>" for problem in leg.problems)
        legs += (
            f"<h2>{e(leg.kind.capitalize())}: {e(leg.source)} to {e(leg.target)}</h2>"
            f"<table><tr><th>step<th>began after<th>took</tr>{steps}</table>"
            f"<table><tr><th>student<th>works again after</tr>{students}</table><ul>{problems}</ul>"
        )
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.began_at))
    image = base64.b64encode(picture).decode()
    verdict = "<b class=yes>Passed</b>" if report.passed else "<b class=no>Failed</b>"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Drill of {e(report.stack)}</title><style>{_STYLE}</style>"
        f"<h1>Failover drill of {e(report.title)}</h1><p>{when}, stack {e(report.stack)}: {verdict}.</p>"
        f"<table><tr><th>promise<th>target<th>measured<th>kept</tr>{verdicts}</table>"
        f'<p><img alt="Timeline of the moves" src="data:image/png;base64,{image}"></p>{legs}</html>\n'
    )


def save(report: DrillReport, folder: Path) -> Path:
    """report.md, report.html, timeline.png and report.json in a folder of their own; the folder."""
    where = folder / time.strftime("%Y%m%d-%H%M%S", time.gmtime(report.began_at))
    where.mkdir(parents=True, exist_ok=True)
    picture = timeline(report)
    (where / "report.md").write_text(markdown(report), "utf-8")
    (where / "report.html").write_text(as_html(report, picture), "utf-8")
    (where / "timeline.png").write_bytes(picture)
    document: dict[str, Any] = {
        **asdict(report),
        "passed": report.passed,
        "verdicts": [asdict(v) for v in report.verdicts()],
    }
    (where / "report.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return where
