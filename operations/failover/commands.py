"""`./hub failover` and `./hub failback`: begin a move, continue one that was killed, show its plan, or go back."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operations.errors import UserError
from operations.failover import checks, moves
from operations.failover.journal import FOLDER, Journal, Kind, Move, only_one, unfinished
from operations.failover.moves import STEPS, TITLES, Options, Run, Surroundings
from operations.failover.sites import UnreachableError
from operations.progress import note, seconds

DIRECTION: dict[str, tuple[str, str]] = {"failover": ("cloud", "fallback"), "failback": ("fallback", "cloud")}


def move(
    stack: str, kind: Kind, around: Surroundings, options: Options, *, undo: bool = False, folder: Path = FOLDER
) -> Journal:
    """Bring the move to its end: a new one, or the unfinished one of the same kind. Raises UserError with what to do."""
    with only_one(stack, folder):
        open_one = unfinished(stack, folder)
        if undo:
            return _undo(kind, open_one, stack, around, options, folder)
        if open_one and open_one.move.kind != kind:
            raise UserError(
                f"a {open_one.move.kind} of stack '{stack}' is unfinished ({open_one.path.name}). Bring it to its end first "
                f"(./hub {open_one.move.kind} --stack {stack}), or go back: ./hub {open_one.move.kind} --stack {stack} --undo"
            )
        if open_one:
            note(f"going on with the {kind} of {_when(open_one)} ({len(open_one.lines)} lines in its journal)")
            journal = open_one
        else:
            source, target = DIRECTION[kind]
            journal = Journal.start(Move(kind, stack, source, target, moves.who()), folder)
        run = Run(journal, around, options)
        try:
            return run.to_the_end()
        except UserError:
            # Refused before anything was touched: nothing is left to continue.
            if journal.result("preflight") is None:
                journal.close("refused")
            raise


def _when(journal: Journal) -> str:
    return time.strftime("%H:%M:%S", time.localtime(journal.path.stat().st_ctime))


def _undo(
    kind: Kind, journal: Journal | None, stack: str, around: Surroundings, options: Options, folder: Path
) -> Journal:
    """The source takes over again, under a newer epoch: as long as the target was not promoted, nobody has written there."""
    if journal is None or journal.move.kind != kind:
        raise UserError(f"there is no unfinished {kind} of stack '{stack}' to go back from.")
    if any(line.step == "promote" and line.event in ("began", "done") for line in journal.lines):
        other = "failback" if kind == "failover" else "failover"
        raise UserError(
            f"the {journal.move.target} site may be promoted already, and students may have written there. Bring the {kind} to its "
            f"end (./hub {kind} --stack {stack}), then move back with ./hub {other} --stack {stack}"
        )
    back = Move(
        "failback" if kind == "failover" else "failover", stack, journal.move.target, journal.move.source, moves.who()
    )
    reverse = Journal.start(back, folder)
    run = Run(reverse, around, Options(accept_loss=True, take_over=True, powered_off=options.powered_off))
    seen = checks.see(back, around.sites)
    if seen.target is None:
        reverse.close("refused")
        raise UnreachableError(
            f"the {back.target} site does not answer, so it cannot take over again; go on with ./hub {kind}"
        )
    reverse.write("preflight", "began")
    epochs = {
        "source": max(int(seen.source["epoch"]), int(seen.source["seen_epoch"])) if seen.source else 0,
        "target": max(int(seen.target["epoch"]), int(seen.target["seen_epoch"])),
    }
    reverse.write("preflight", "done", {"undo": journal.path.name, "epochs": epochs})
    journal.close("abandoned")
    return run.to_the_end()


def plan(stack: str, kind: Kind, around: Surroundings, console: Console | None = None) -> list[checks.Line]:
    """`--dry-run`: the steps in order and what preflight says now; nothing is changed."""
    out = console or Console()
    source, target = DIRECTION[kind]
    intended = Move(kind, stack, source, target, moves.who())
    lines = checks.preflight(
        intended,
        around.sites,
        checks.see(intended, around.sites),
        rpo_s=around.rpo_s,
        accept_loss=False,
        dns=around.dns.check if around.dns else None,
    )
    table = Table(
        "check",
        "found",
        title=f"{kind} of stack '{stack}': {source} -> {target} (nothing is changed)",
        title_justify="left",
    )
    for line in lines:
        colour = "green" if line.ok else "red"
        table.add_row(
            line.name,
            f"[{colour}]{escape(line.problem or line.found)}[/]" + (f"\n{escape(line.remedy)}" if line.remedy else ""),
        )
    out.print(table)
    for number, name in enumerate(STEPS, start=1):
        out.print(f"  {number}. {TITLES[name].format(source=source, target=target)}")
    return lines


def tell(journal: Journal, console: Console | None = None) -> None:
    """What a finished move did, and how long each step took."""
    out = console or Console()
    spans = journal.spans()
    table = Table("step", "took", box=None, pad_edge=False)
    for name, _, took_s in spans:
        title = TITLES[name].format(source=journal.move.source, target=journal.move.target)
        table.add_row(title, seconds(took_s))
    if spans:
        table.add_row("[bold]total[/]", f"[bold]{seconds(max(at + took for _, at, took in spans))}[/]")
    out.print(table)
    move_ = journal.move
    out.print(
        f"The {move_.target} site is active (epoch {(journal.result('claim') or {}).get('epoch', '?')}). Journal: {journal.path.name}"
    )
    last = journal.result("last-sync") or {}
    if "skipped" in last:
        out.print(f"[yellow]{escape(str(last['skipped']))}[/]")
