"""Long steps, told as they go: a spinner with the latest detail on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape

QUIET_LINE_EVERY_S = 30.0
"""In a log, a step that goes on says where it is this often."""


def console() -> Console:
    """Where progress goes: standard error, so that a task's output can be piped."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def seconds(elapsed_s: float) -> str:
    """`7.1 s`, `48 s`, `4 min 06 s`."""
    if elapsed_s < 10:
        return f"{elapsed_s:.1f} s"
    if elapsed_s < 100:
        return f"{elapsed_s:.0f} s"
    return f"{int(elapsed_s) // 60} min {int(elapsed_s) % 60:02d} s"


def note(message: str) -> None:
    """One line of progress."""
    console().print(f"[dim]·[/] {escape(message)}")


@contextlib.contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """A step with its elapsed time. Yields a function that tells the latest detail."""
    out = console()
    began = time.monotonic()
    last_line = began

    if out.is_terminal:
        with out.status(escape(title)) as status:

            def tell(detail: str) -> None:
                elapsed = seconds(time.monotonic() - began)
                status.update(f"{escape(title)} [dim]{elapsed}  {escape(detail[:100])}[/]")

            yield tell
    else:
        out.print(f"· {escape(title)} …")

        def tell(detail: str) -> None:
            nonlocal last_line
            now = time.monotonic()
            if now - last_line >= QUIET_LINE_EVERY_S:
                last_line = now
                out.print(f"  {seconds(now - began)}: {escape(detail)}")

        yield tell
    out.print(f"[green]✓[/] {escape(title)} [dim]{seconds(time.monotonic() - began)}[/]")
