"""`up`, `preview`, `destroy`: from a stack's name to a running semester and back, told as it goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import Any

import docker
from docker.errors import APIError
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from operations import planning, setup, stacks
from operations.engine import Pulumi, Result
from operations.engine_events import QUIET_OPS, Resource
from operations.errors import UserError
from operations.paths import ROOT, certificate_file, owner_label
from operations.preview_diff import build
from operations.progress import note, seconds

ROWS_OF_TIME = 12
TELLING_S = 1.0
"""Resources that took less are summed up in one row."""


def up(stack: str, *, sandbox: bool = False, waive: Collection[str] = ()) -> Result | None:
    """Bring the stack to what its file says, and say how to reach it. In a cloud its plan must keep the policies first.

    None for a semester on bare metal alone: OpenTofu brings it there.
    """
    began = time.monotonic()
    semester = stacks.load(stack)
    if semester.alone:
        from operations import fallback

        fallback.up(stack)
        return None
    if not sandbox and str(semester.cloud) != "local":
        from operations.publish import require_published

        require_published(stack, semester)
    with _engine(stack, str(semester.cloud), sandbox=sandbox) as engine:
        prepared_s = time.monotonic() - began
        events: list[dict[str, Any]] = []
        if str(semester.cloud) != "local":
            _, _, verdicts = planning.plan(engine, semester, waive)
            planning.refuse_broken(stack, verdicts, waive)
        else:
            planning.refuse_moves(engine, semester)
        result = engine.run("up", observe=events.append)
        planning.judge_done(semester, stack, events, waive)
    out = Console()
    if result.changed:
        out.print(time_table(result, prepared_s))
    out.print(_summary(result))
    if sandbox:
        return result  # nobody can sign in to a hub that is not there
    _save_certificate(stack, result.outputs)
    out.print(logins(stack, result.outputs))
    return result


def _save_certificate(stack: str, outputs: dict[str, Any]) -> None:
    """Keep the local certificate authority where people and browsers can take it from."""
    certificate = str(outputs.get("ca_certificate") or "")
    if certificate:
        path = certificate_file(stack)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(certificate, "utf-8")


def preview(stack: str, *, sandbox: bool = False, waive: Collection[str] = (), output: str = "") -> Result | None:
    """Say what `up` would change, and change nothing; into the folder `output` as Markdown, too. Raises UserError when
    the plan breaks a policy. None for a semester on bare metal alone."""
    semester = stacks.load(stack)
    if semester.alone:
        from operations import fallback

        fallback.preview(stack, semester)
        return None
    with _engine(stack, str(semester.cloud), sandbox=sandbox) as engine:
        result, planned, verdicts = planning.plan(engine, semester, waive)
    _show_changes(result)
    if output:
        what = "what is deployed in the sandbox" if sandbox else "what is deployed"
        report = build(planned, stack=stack, cloud=str(semester.cloud), baseline=what, verdicts=verdicts)
        planning.write_reports([report], output)
    if not sandbox:
        from operations import fallback

        fallback.preview(stack, semester)
    planning.refuse_broken(stack, verdicts, waive)
    if verdicts:
        Console().print(f"[green]{len(verdicts)} policies kept[/]")
    return result


def refresh(stack: str, *, sandbox: bool = False) -> Result | None:
    """Look at what is really there, say what differs from the state, and take that into the state."""
    semester = stacks.load(stack)
    if semester.alone:
        preview(stack)  # every plan of the bare metal looks at the machine first
        return None
    with _engine(stack, str(semester.cloud), sandbox=sandbox) as engine:
        result = engine.run("refresh")
    _show_changes(result)
    return result


def _show_changes(result: Result) -> None:
    out = Console()
    changes = [r for r in result.resources if r.op not in QUIET_OPS and r.custom]
    if changes:
        table = Table("", "resource", "because of", box=None, pad_edge=False)
        for resource in changes:
            table.add_row(
                _SIGN.get(resource.op, "~") + " " + resource.op,
                escape(resource.label),
                escape(", ".join(resource.diffs[:6])),
            )
        out.print(table)
    out.print(_summary(result))


def destroy(stack: str, *, delete_homes: bool = False, sandbox: bool = False) -> Result | None:
    """Remove everything of the stack. Students' homes stay, unless `delete_homes` (the caller has it confirmed).

    In a cloud they are protected, and Pulumi leaves alone what is protected and what that needs (the subnets from which
    they are mounted). In the sandbox there are no students, and all of it goes.
    """
    cloud = stacks.cloud_of(stack)
    if sandbox or not Pulumi.known(stack):
        stacks.path_of(stack)
    if stacks.alone(stack):
        from operations import fallback

        fallback.destroy(stack, delete_homes=delete_homes)
        return None
    # Who destroys a semester has decided: nobody gets the drain timeout, files are on the homes.
    extra = {"SEMESTERHUB_DRAIN_TIMEOUT_S": "0"}
    if delete_homes:
        extra["SEMESTERHUB_DELETE_HOMES"] = stack
    with _engine(stack, cloud, extra, sandbox=sandbox) as engine:
        everything = delete_homes or sandbox
        keep = ["--exclude-protected"] if cloud != "local" and not everything else []
        result = engine.run("destroy", keep, release=cloud != "local" and everything)
    out = Console()
    out.print(_summary(result))
    if keep:
        out.print(
            "What holds students' files is protected and still there, with what it needs; it is paid for until\n"
            f"./hub destroy --stack {stack} --delete-homes"
        )
    if not sandbox:
        from operations import fallback

        fallback.destroyed_with(stack, delete_homes=delete_homes)
    if cloud == "local":
        from providers.localcloud.sweep import sweep

        # A run killed before it could record what it had just made left something that no state knows.
        for found in sweep(stack):
            out.print(f"Removed {escape(found)}, which a killed run had left")
        kept = _kept_volumes(stack, delete=delete_homes)
        if kept and delete_homes:
            out.print(f"Deleted the homes: {escape(', '.join(kept))}")
        elif kept:
            out.print(
                f"The students' homes are kept ({escape(', '.join(kept))}); the next ./hub up --stack {stack} finds them.\n"
                f"To delete them too: ./hub destroy --stack {stack} --delete-homes"
            )
    return result


@contextlib.contextmanager
def _engine(stack: str, cloud: str, extra: dict[str, str] | None = None, *, sandbox: bool = False) -> Iterator[Pulumi]:
    folder = setup.pulumi().folder
    if sandbox:
        from sandbox import session  # nothing else leads there: a stand-in cannot get into a real run

        with session(stack, cloud) as offline:
            yield Pulumi(stack, folder, extra_environment=extra, place=offline.place)
        return
    if cloud == "local":
        setup.docker()
    yield Pulumi(stack, folder, extra_environment=extra, fetch_plugins=cloud != "local")


_SIGN = {"create": "+", "delete": "-", "update": "~", "create-replacement": "+", "delete-replaced": "-"}


def _summary(result: Result) -> str:
    said = {"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced", "same": "unchanged"}
    if result.action == "preview":
        said = {
            "create": "to create",
            "update": "to update",
            "delete": "to delete",
            "replace": "to replace",
            "same": "unchanged",
        }
    parts = [f"{result.changes[op]} {word}" for op, word in said.items() if result.changes.get(op)]
    head = "no changes" if not result.changed else ", ".join(parts)
    return f"{result.action} of stack '{result.stack}': {head} [dim]({seconds(result.seconds)})[/]"


def time_table(result: Result, prepared_s: float = 0.0) -> Table:
    """Where the time of a run went. Resources overlap, so their sum may exceed the total."""
    table = Table("what", "took", "from", title="Where the time went", box=None, title_justify="left", pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    if prepared_s >= TELLING_S:
        table.add_row("engine and Docker made ready", seconds(prepared_s), "")
    done = [
        r for r in result.resources if r.op not in {"same", "refresh", "replace"} and r.custom and r.ended_s is not None
    ]
    first_s = min((r.began_s for r in result.resources), default=0.0)
    table.add_row("engine and program start", seconds(first_s), "0.0 s")
    slow = sorted((r for r in done if _took_s(r) >= TELLING_S), key=_took_s, reverse=True)[:ROWS_OF_TIME]
    for resource in sorted(slow, key=lambda r: r.began_s):
        table.add_row(
            f"{resource.said(done=True)} {escape(resource.label)}",
            seconds(_took_s(resource)),
            seconds(resource.began_s),
        )
    rest = [r for r in done if r not in slow]
    if rest:
        table.add_row(f"{len(rest)} more resources", seconds(sum(map(_took_s, rest))), "")
    table.add_row("[bold]total[/]", f"[bold]{seconds(result.seconds + prepared_s)}[/]", "")
    return table


def _took_s(resource: Resource) -> float:
    return (resource.ended_s or resource.began_s) - resource.began_s


def logins(stack: str, outputs: dict[str, Any]) -> Panel | str:
    """How to get in, for whoever brought it up."""
    url = outputs.get("hub_url")
    if not url:
        return ""
    lines = [f"[bold]{escape(str(url))}[/]", ""]
    if outputs.get("admin_user"):
        lines.append(
            f"admin     {escape(str(outputs['admin_user']))}   password  {escape(str(outputs.get('admin_password', '')))}"
        )
    if outputs.get("student_password"):
        lines.append(
            f"students  any name, student-1 for instance   password  {escape(str(outputs['student_password']))}"
        )
    if outputs.get("ca_certificate"):
        shown = certificate_file(stack).relative_to(ROOT)
        lines += ["", f"The hub's own authority signed its certificate; browsers trust it once they know {shown}"]
    option = "" if stack == "demo" else f" --stack {stack}"
    lines += ["", f"[dim]./hub status{option}   ./hub load.class{option}   ./hub destroy{option}[/]"]
    return Panel("\n".join(lines), title=f"{stack} is up", title_align="left", expand=False)


def _kept_volumes(stack: str, *, delete: bool) -> list[str]:
    """The stack's volumes that are still there, deleted if so asked: a destroy without --delete-homes leaves them
    outside the state, so a later one with it must find them by their labels."""
    client = docker.from_env()
    try:
        labels = [f"semesterhub.stack={stack}", f"semesterhub.owner={owner_label()}"]
        volumes = client.volumes.list(filters={"label": labels})
        if delete:
            for volume in volumes:
                volume.remove()
        return sorted(str(v.name) for v in volumes)
    except APIError as error:
        raise UserError(f"the homes of stack '{stack}' could not be deleted: {error.explanation or error}") from None
    finally:
        client.close()


def confirm_delete_homes(stack: str, *, yes: bool) -> None:
    """Ask for the stack's name before its homes are deleted. Raises UserError when it is not given."""
    if yes:
        return
    note(f"--delete-homes deletes every student's files of stack '{stack}' on this machine. This cannot be undone.")
    try:
        answer = input(f"Type the stack's name ({stack}) to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != stack:
        raise UserError("not confirmed; nothing was touched. Without a terminal, confirm with --yes.")
