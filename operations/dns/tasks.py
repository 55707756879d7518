"""`./hub dns.show` and `./hub dns.lower-ttl`."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from operations import stacks
from operations.dns import Dns, DnsError, open_dns
from operations.progress import step


def show(stack: str, console: Console | None = None, dns: Dns | None = None) -> int:
    """Print where the hub's name leads and whether it could be switched. 1 when it could not. Raises DnsError."""
    terminal = console or Console()
    dns = dns or open_dns(stacks.load(stack), stack)
    with step(f"asking {dns.where} for {dns.name}"):
        seen, problem = dns.look(), dns.check()
    terminal.print(f"{escape(dns.name)} leads to {escape(str(seen))} ({escape(dns.where)})")
    terminal.print(f"[red]it cannot be switched: {escape(problem)}[/]" if problem else "it can be switched from here")
    return 1 if problem else 0


def lower_ttl(stack: str, ttl_s: int = 0, console: Console | None = None, dns: Dns | None = None) -> None:
    """Let resolvers remember the name for `ttl_s` only (0: `fallback.dns.ttl_s`), before a move. Raises DnsError."""
    terminal = console or Console()
    semester = stacks.load(stack)
    settings = semester.fallback.dns if semester.fallback else None
    dns = dns or open_dns(semester, stack)
    wanted = ttl_s or (settings.ttl_s if settings else 0)
    before = dns.look()
    if not before.addresses:
        raise DnsError(
            f"{dns.name} leads nowhere at {dns.where}: `./hub up --stack {stack}` or the campus makes the name first"
        )
    with step(f"{dns.name}: {wanted} s instead of {before.ttl_s} s"):
        done = dns.switch(before.addresses, wanted)
    terminal.print(f"{escape(dns.name)} leads to {escape(str(done.seen))}")
    if done.changed and before.ttl_s and before.ttl_s > wanted:
        terminal.print(f"resolvers may go on for {before.ttl_s} s as they heard it before; move the class after that")
    for server in done.behind:
        terminal.print(f"[yellow]{escape(server)} does not say so yet: look at its zone transfers[/]")
