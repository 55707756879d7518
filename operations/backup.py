"""`./hub backup`, `restore` and their relatives: the active site's keeper is asked, and its answer told.

What is kept, and how it is checked: docs/backups.md. Nothing here touches a file of a student; the keeper does, on the
machine that holds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.sealed import seal
from hubconfig.keeper.when import parse_when
from operations import stacks
from operations.errors import UserError
from operations.progress import seconds, step

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

LONG_S = 6 * 3600.0
"""A first backup of a large class, or a restore of all homes."""
LOOK_S = 300.0
STALE_S = 3 * 3600.0
"""Backups are hourly: an age beyond this is shown in red."""
UNVERIFIED_S = 8 * 86400.0


class Keeper(Protocol):
    """The site that is asked (:class:`operations.failover.sites.Site`)."""

    def keeper(self, *arguments: str, stdin: str = "", timeout_s: float = ...) -> dict[str, Any]: ...

    def secret(self, name: str) -> str: ...


@contextlib.contextmanager
def _asked(stack: str, site: Keeper | None) -> Iterator[Keeper]:
    """The active site, unless a caller names one."""
    if site is not None:
        yield site
        return
    from operations.failover.context import active_site

    with active_site(stack) as found:
        yield found


def back_up(stack: str, site: Keeper | None = None, console: Console | None = None) -> dict[str, Any]:
    """Take a copy now."""
    out = console or Console(highlight=False)
    with _asked(stack, site) as asked, step(f"copying homes and hub database of '{stack}'"):
        done = asked.keeper("backup", timeout_s=LONG_S)
    out.print(
        f"{done['files']:,} files ({size(done['bytes'])}), {done['changed_files']:,} of them new or changed; "
        f"{size(done['added_bytes'])} added in {seconds(done['took_s'])} to {escape(done['repository'])}"
    )
    for line in done["incomplete"]:
        out.print(f"[yellow]not in this copy[/]: {escape(line)}")
    return done


def verify(
    stack: str, sample: int = 0, everything: bool = False, site: Keeper | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Verify now. Raises UserError with every difference when the backups are not good."""
    out = console or Console(highlight=False)
    more = [*(["--sample", str(sample)] if sample else []), *(["--all"] if everything else [])]
    with _asked(stack, site) as asked, step(f"verifying the backups of '{stack}'"):
        done = asked.keeper("backup-verify", *more, timeout_s=LONG_S)
    out.print(
        f"[green]good[/]: {done['files']} files restored and compared with the hashes of their snapshot, {done['same_as_present']} "
        f"also with the homes ({done['changed_since']} changed since)"
    )
    read = "all stored data" if done["parts"] == 1 else f"part {done['part']} of {done['parts']} of the stored data"
    out.print(f"{read} was read and is undamaged ({seconds(done['took_s'])})")
    return done


def show(stack: str, site: Keeper | None = None, console: Console | None = None) -> dict[str, Any]:
    """List the copies, newest first."""
    out = console or Console(highlight=False)
    zone = stacks.load(stack).term.timezone
    with _asked(stack, site) as asked:
        found = asked.keeper("backups", timeout_s=LOOK_S)
    table = Table(title=f"copies in {escape(found['repository'])}", title_justify="left", box=None, pad_edge=False)
    for heading in ("taken", "site", "epoch", "id"):
        table.add_column(heading)
    for name, taken_s, epoch, where in reversed(found["snapshots"]):
        taken = datetime.fromtimestamp(taken_s, zone)
        table.add_row(f"{taken:%Y-%m-%d %H:%M %Z}", where, str(epoch), name)
    out.print(table)
    out.print(summary(found))
    return found


def restore(
    stack: str,
    user: str,
    at: str,
    everybody: bool = False,
    into: str = "",
    site: Keeper | None = None,
    console: Console | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Bring one student's directory (or all) of an earlier time back, beside the present one.

    Raises UserError for a time that is not understood, and with each refusal of the keeper.
    """
    out = console or Console(highlight=False)
    if bool(user) == everybody:
        raise UserError("say whose files: --user NAME for one student, or --all for everybody.")
    if not at:
        raise UserError('say as of when: --at "1 hour ago", --at "yesterday 14:00" or --at "2016-03-02 10:00".')
    when = moment(at, stacks.load(stack).term.timezone, now)
    whose = ["--all"] if everybody else ["--user", user]
    what = f"restoring {'all homes' if everybody else f'the home of {user}'} as of {when:%Y-%m-%d %H:%M %Z}"
    with _asked(stack, site) as asked, step(what):
        done = asked.keeper(
            "restore",
            *whose,
            "--at",
            when.isoformat(timespec="seconds"),
            *(["--into", into] if into else []),
            timeout_s=LONG_S,
        )
    taken = datetime.fromisoformat(done["taken"])
    out.print(f"the copy of {taken:%Y-%m-%d %H:%M} is in the folder [bold]{escape(done['folder'])}[/]:")
    for path in done["paths"]:
        out.print(f"  {escape(path)}")
    if done["users"] > len(done["paths"]):
        out.print(f"  and {done['users'] - len(done['paths'])} more")
    if done["already"]:
        out.print(f"{done['already']} of them had been restored before and were left as they are")
    if done["hub_state"]:
        out.print(f"the hub's database of then: {escape(done['hub_state'])}")
    out.print("nothing that was there before has been touched")
    return done


def moment(at: str, zone: ZoneInfo, now: datetime | None = None) -> datetime:
    """`at` in the semester's timezone, to the minute that an admin reads. Raises UserError."""
    try:
        return parse_when(at, now or datetime.now(UTC), zone)
    except KeeperError as error:
        raise UserError(f"--at: {error}") from None


def password(stack: str, site: Keeper | None = None) -> str:
    """The repository and its password as two lines for the university's safe."""
    with _asked(stack, site) as asked:
        where = asked.keeper("backup-status", timeout_s=LOOK_S)["repository"]
        return f"RESTIC_REPOSITORY={where}\nRESTIC_PASSWORD={asked.secret('restic_password')}"


def give_credentials(stack: str, text: str, site: Keeper | None = None, console: Console | None = None) -> None:
    """Hand credentials of a foreign repository over, sealed: some ways to a hub VM keep what passes."""
    if not text.strip():
        raise UserError(
            f"give the credentials on standard input, as lines NAME=value: ./hub backup.credentials --stack {stack} < file"
        )
    with _asked(stack, site) as asked:
        key = asked.keeper("backup-key", timeout_s=LOOK_S)["public_key"]
        done = asked.keeper("backup-credentials", stdin=seal(key, text), timeout_s=LOOK_S)
    (console or Console(highlight=False)).print(f"handed over: {', '.join(done['names'])}")


# -- what `./hub status` says -----------------------------------------------------------------------------------------


def summary(found: dict[str, Any]) -> str:
    """Age of the last backup and the last verification, for people; rich markup."""
    if not found.get("kept", True):
        return "backups: none are kept (homes.snapshots)"
    age_s = found.get("age_s")
    if age_s is None:
        text = "[yellow]last backup: never[/] (the first one is taken within minutes; at once: ./hub backup)"
    else:
        text = f"last backup: {_ago(age_s)}"
        if age_s > STALE_S:
            text = f"[red]{text}[/]"
    if trouble := found.get("trouble"):
        text += f"\n[red]the last attempt failed[/]: {escape(trouble['text'])}"
    return f"{text}\n{_verified(found.get('verify'))}"


def _verified(checked: dict[str, Any] | None) -> str:
    if checked is None:
        return "backups verified: never (weekly by itself; at once: ./hub backup.verify)"
    if not checked["ok"]:
        return f"[red]backups NOT good[/] ({_ago(checked['age_s'])}): {escape(checked['text'])}"
    text = f"backups verified: {_ago(checked['age_s'])}"
    return f"[yellow]{text}[/]" if checked["age_s"] > UNVERIFIED_S else text


def _ago(age_s: float) -> str:
    for unit, length_s in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(age_s // length_s)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "less than a minute ago"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("GiB is the last unit")
