"""`./hub power.show` and `./hub power.on`. Off is no task of its own: `./hub failover` does it when it must."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from operations import stacks
from operations.power import Power, power_of
from operations.progress import step


def show(stack: str, console: Console | None = None, power: Power | None = None) -> int:
    """Print whether the cloud site runs and could be switched off from here. 1 when it could not. Raises PowerError."""
    terminal = console or Console()
    power = power or power_of(stack, stacks.load(stack))
    with step(f"asking for the machines of {stack}"):
        problem = power.check()
        state = "" if problem else power.state()
    terminal.print(
        f"[red]it could not be switched off: {escape(problem)}[/]"
        if problem
        else f"the hub VM is {state}; it could be switched off from here"
    )
    return 1 if problem else 0


def on(stack: str, console: Console | None = None, power: Power | None = None) -> None:
    """Switch a cloud site on that a failover switched off: its doors, its machines. Raises PowerError."""
    power = power or power_of(stack, stacks.load(stack))
    with step(f"switching on the cloud site of {stack}"):
        said = power.start()
    (console or Console()).print(escape(said))
