"""The tasks that move a class between its sites, and the measurements of that; tasks.py adds them to `./hub`."""

from __future__ import annotations

from typing import Literal

from invoke.context import Context
from invoke.tasks import task

STACK = "which semester: a file stacks/Pulumi.<name>.yaml"


MOVE_HELP = {
    "stack": STACK,
    "dry-run": "show the steps and what preflight says now; change nothing",
    "accept-loss": "go on although what was written last may stay behind",
    "take-over": "another admin's move is given up: take its place",
    "i-have-powered-it-off": "the site that is left does not answer, and you have seen that its machine is off",
    "undo": "give the class back to the site that it was on (before the other one was promoted)",
}


def _move(kind: Literal["failover", "failback"], stack: str, dry_run: bool, undo: bool, **options: bool) -> None:
    from operations.failover import commands
    from operations.failover.context import surroundings
    from operations.failover.moves import Options

    with surroundings(stack) as around:
        if dry_run:
            commands.plan(stack, kind, around)
        else:
            commands.tell(commands.move(stack, kind, around, Options(**options), undo=undo))


@task(help=MOVE_HELP)
def failover(
    _context: Context,
    stack: str = "demo",
    dry_run: bool = False,
    accept_loss: bool = False,
    take_over: bool = False,
    i_have_powered_it_off: bool = False,
    undo: bool = False,
) -> None:
    """Move the class to the bare-metal fallback: fence, copy what is left, promote, check, switch the name. Killed, it continues."""
    options = {"accept_loss": accept_loss, "take_over": take_over, "powered_off": i_have_powered_it_off}
    _move("failover", stack, dry_run, undo, **options)


@task(help=MOVE_HELP)
def failback(
    _context: Context,
    stack: str = "demo",
    dry_run: bool = False,
    accept_loss: bool = False,
    take_over: bool = False,
    i_have_powered_it_off: bool = False,
    undo: bool = False,
) -> None:
    """Move the class back to the cloud, the same way round as a failover. No file of either side is lost."""
    options = {"accept_loss": accept_loss, "take_over": take_over, "powered_off": i_have_powered_it_off}
    _move("failback", stack, dry_run, undo, **options)


@task(
    help={
        "stack": STACK,
        "dry-run": "show the plan of both moves and what preflight says; change nothing",
        "kill": "kill the cloud's machines first, without warning (only where the cloud is this machine)",
        "students": "how many synthetic students work through it",
    }
)
def drill(_context: Context, stack: str = "demo", dry_run: bool = False, kill: bool = False, students: int = 3) -> None:
    """Fail over and back under the hands of synthetic students; measure pause and loss; write a report with a verdict."""
    from operations.failover import commands
    from operations.failover import drill as drills
    from operations.failover.context import drill_of, surroundings

    if dry_run:
        with surroundings(stack) as around:
            commands.plan(stack, "failover", around)
        return
    with drill_of(stack, students) as prepared:
        drills.run(prepared, unplanned=kill)


@task(help={"stack": STACK})
def replicate(_context: Context, stack: str = "demo") -> None:
    """Copy what changed to the other site now, and say up to when everything is there. The sites do it by themselves, too."""
    from operations.failover import upkeep

    upkeep.replicate(stack)


@task(help={"stack": STACK, "site": "cloud or fallback"})
def confirm(_context: Context, site: str, stack: str = "demo") -> None:
    """After a restart while the other site was away: say that no other site is active, so that this one may write again."""
    from operations.failover import upkeep

    upkeep.confirm(stack, site)


@task(name="moves", help={"stack": STACK + "; its fallback must be up", "sample": "only so many lines of the journal"})
def load_moves(_context: Context, stack: str, sample: int = 0) -> None:
    """Kill failover and failback after each line of their journal, run the same command again, and look that it ends well."""
    from operations.failover import trials

    trials.run_moves(stack, sample)


@task(
    name="fencing",
    help={
        "stack": STACK + "; its fallback must be up",
        "trials": "how many moves",
        "seed": "the first one's schedule of harms",
    },
)
def load_fencing(_context: Context, stack: str, trials: int = 20, seed: int = 1) -> None:
    """Move a class while machines die, sleep, lose each other and commands are killed or doubled: never two writable sites."""
    from operations.failover import trials as real_trials

    real_trials.run_fencing(stack, trials, seed)


@task(
    name="failover",
    help={"stack": STACK + "; its fallback must be up", "homes": "how many homes", "files": "files in each"},
)
def load_failover(_context: Context, stack: str, homes: int = 200, files: int = 500) -> None:
    """Fill homes, kill the cloud's machines, fail over, and look at every file. Leaves the class on the fallback."""
    from operations.failover import large
    from operations.failover.context import drill_of

    with drill_of(stack, students=1) as prepared:
        large.run(prepared, homes, files)


TASKS = (failover, failback, drill, replicate, confirm)
LOADS = (load_moves, load_fencing, load_failover)
