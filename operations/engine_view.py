"""Shows a run while it goes: a table that stays in place on a terminal, one line an event in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from operations.engine_events import QUIET_OPS, Message, Resource, Run
from operations.progress import console as default_console
from operations.progress import seconds

LOG_DETAIL_EVERY_S = 15.0
"""In a log, a resource that keeps telling details is quoted this often."""
ROWS_RUNNING = 12


class View:
    """Context manager; `show` takes what `Run.take` returned."""

    def __init__(self, run: Run, title: str, console: Console | None = None, *, planning: bool = False) -> None:
        self.run = run
        self.title = title
        self.planning = planning  # nothing is done, so nothing is told as done
        self.console = console or default_console()
        self._live: Live | None = None
        self._quoted: dict[str, float] = {}

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live = Live(self, console=self.console, refresh_per_second=5, transient=True)
            self._live.__enter__()
        else:
            self.console.print(f"· {escape(self.title)} …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, value, trace)

    def show(self, news: tuple[str, Resource | Message] | None) -> None:
        """Tell the news: finished changes always, details only where there is room for them."""
        if news is None:
            return
        what, subject = news
        if isinstance(subject, Message):
            if subject.severity == "warning":
                self.console.print(f"[yellow]! {escape(subject.text)}[/]")
            return
        if (
            what == "ended"
            and not self.planning
            and (subject.failed or (subject.op not in QUIET_OPS and subject.custom))
        ):
            mark = "[red]✗[/]" if subject.failed else "[green]✓[/]"
            took = seconds((subject.ended_s or 0) - subject.began_s)
            self.console.print(f"{mark} {subject.said(done=True):<16} {escape(subject.label):<36} [dim]{took}[/]")
        elif what == "detail" and self._live is None:
            now = time.monotonic()
            if now - self._quoted.get(subject.urn, 0.0) >= LOG_DETAIL_EVERY_S:
                self._quoted[subject.urn] = now
                self.console.print(f"  {escape(subject.label)}: {escape(subject.latest[:160])}")

    def __rich__(self) -> Group:
        elapsed = self.run.clock() - self.run.began
        head = Text.assemble((f"{self.title} ", "bold"), (seconds(elapsed), "dim"))
        table = Table.grid(padding=(0, 2))
        running = [r for r in self.run.running() if r.custom]
        for resource in running[:ROWS_RUNNING]:
            table.add_row(
                Text("…", "cyan"),
                resource.said(done=False),
                Text(resource.label, "bold"),
                Text(seconds(elapsed - resource.began_s), "dim"),
                Text(resource.latest[:70], "dim", no_wrap=True),
            )
        if len(running) > ROWS_RUNNING:
            table.add_row("", "", Text(f"and {len(running) - ROWS_RUNNING} more", "dim"))
        return Group(head, table)
