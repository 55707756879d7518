"""`fallback.up`, `fallback.destroy`, `fallback.status`: the bare-metal site, brought there by OpenTofu (`fallback/`).

The cloud is asked for three things: the digests of its images, the hub's secrets and its keeper's public key. Where it does not answer,
what an earlier run brought stays as it is; a first `up` says what it lacks. OpenTofu's state is on this machine, see
:mod:`operations.fallback_folder`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components import metal as site
from components.hub_bundle import GENERATED_SECRETS, deployed_secrets
from components.plan import plan as plan_of
from operations import bare_machine, dns_server, fallback_alone, metal, ssh, stacks
from operations.bare_machine import Facts
from operations.errors import UserError
from operations.fallback_folder import Folder, write_json
from operations.fallback_tofu import Change, Tofu
from operations.locks import file_lock
from operations.paths import LOCKS_DIR, ROOT, admin_path, stack_file
from operations.progress import note, seconds, step
from operations.ssh import Target

if TYPE_CHECKING:
    from components.plan import Plan
    from components.semester import Semester

SSH_START_TIMEOUT_S = 90


def semester_of(stack: str) -> Semester:
    """The checked semester. Raises UserError when it names no machine to fall back to."""
    semester = stacks.load(stack)
    if semester.fallback is None:
        raise UserError(
            f"stack '{stack}' names no machine to fall back to: write `semesterhub:fallback` with host and ssh_key in "
            f"stacks/Pulumi.{stack}.yaml (docs/failover.md)."
        )
    return semester


def ssh_target(stack: str, semester: Semester | None = None) -> Target:
    """How the bare metal is reached: from the stack file and this checkout alone."""
    given = (semester or semester_of(stack)).fallback
    assert given is not None
    known_hosts = Folder(stack).known_hosts
    return Target(given.host, given.port, given.user, admin_path(given.ssh_key), known_hosts, given.host_key or "")


# -- up ---------------------------------------------------------------------------------------------------------------


def up(stack: str) -> list[Change]:
    """Bring the bare metal to what the stack file says and the cloud runs; what was changed. Raises UserError."""
    began = time.monotonic()
    semester = semester_of(stack)
    plan = plan_of(semester)
    folder = Folder(stack)
    with file_lock(LOCKS_DIR / f"fallback-{stack}", f"bringing the fallback of '{stack}' up", say=note):
        folder.make()
        _surroundings(stack, semester, plan)
        facts, healthy = _meet(stack, semester, plan)
        bare_machine.require(facts, ssh_target(stack, semester).host, semester, plan)
        if said := bare_machine.room(facts, semester, plan):
            note(said)
        tofu = Tofu(folder)
        brief = _brief(stack, semester, plan, facts)
        if semester.alone and fallback_alone.missing(brief):
            brief = _publish(stack, semester, plan, facts, brief, tofu)
        _write(stack, semester, brief)
        changes = tofu.plan(replace=[] if healthy else ["terraform_data.site"])
        if changes:
            with step("the bare metal") as tell:
                tofu.apply(tell, replace=[] if healthy else ["terraform_data.site"])
    _tell_up(stack, semester, changes, time.monotonic() - began)
    if semester.alone:
        fallback_alone.finish(stack, semester, ssh_target(stack, semester))
    return changes


def _write(stack: str, semester: Semester, brief: dict[str, Any]) -> None:
    folder = Folder(stack)
    write_json(folder.brief, brief)
    write_json(folder.variables, _variables(stack, semester, brief))


def _publish(
    stack: str, semester: Semester, plan: Plan, facts: Facts, brief: dict[str, Any], tofu: Tofu
) -> dict[str, Any]:
    """Without a cloud nobody knows an image's digest before it was pushed: first the machine with its registry, then they."""
    _write(stack, semester, brief)
    with step("the bare metal's registry") as tell:
        tofu.apply(tell, only=["terraform_data.machine"])
    fallback_alone.publish(stack, ssh_target(stack, semester), brief)
    return _brief(stack, semester, plan, replace(facts, id=brief["machine_id"]))


def _surroundings(stack: str, semester: Semester, plan: Plan) -> None:
    """On this machine: the container that stands for the bare metal, and the campus DNS server."""
    if metal.is_local(semester, plan) or dns_server.is_local(semester):
        from operations import setup

        setup.docker()
    if metal.is_local(semester, plan):
        metal.ensure(stack, semester, plan)
    if dns_server.is_local(semester):
        dns_server.ensure(stack, semester)


def _meet(stack: str, semester: Semester, plan: Plan) -> tuple[Facts, bool]:
    """What the machine is, and whether what runs there is what was brought. Waits for one that boots on this host."""
    target = ssh_target(stack, semester)
    deadline = time.monotonic() + (SSH_START_TIMEOUT_S if metal.is_local(semester, plan) else 0)
    while True:
        try:
            with ssh.connect(target) as machine:
                facts = bare_machine.look(machine)
                return facts, _runs_as_brought(stack, machine) if facts.is_ours else True
        except ssh.Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _runs_as_brought(stack: str, machine: ssh.Machine) -> bool:
    """No news is no reason to do anything: the site's own step says what is wrong with it."""
    done = machine.run(["semesterhub-node", "bundle-status"], check=False)
    try:
        seen = json.loads(done.stdout)
    except ValueError:
        return False
    wanted = _last(Folder(stack)).get("revision")
    closed = machine.run(["test", "-e", "/run/semesterhub/closed"], check=False).code == 0
    # While the site may not write its keeper holds hub and proxy back; that is as it should be.
    held = {"hub", "proxy"} if closed else set[str]()
    running = all(up for name, up in (seen.get("containers") or {}).items() if name not in held)
    return wanted is None or (seen.get("revision") == wanted and running)


def _brief(stack: str, semester: Semester, plan: Plan, facts: Facts) -> dict[str, Any]:
    """All that the steps need, and nothing secret."""
    last = _last(Folder(stack))
    if semester.alone:
        digests, source = fallback_alone.images(stack, semester, facts.id)
    else:
        digests, source = _images(stack, semester, last)
    settings, bundle = site.site_texts(stack, semester, plan, digests)
    return {
        "alone": semester.alone,
        "machine_id": facts.id or str(uuid.uuid4()),
        "files": site.machine_files(site.node(semester, plan, facts.memory_mib)),
        "images": digests,
        "source": source,
        "references": site.references(plan, digests),
        "registry_port": plan.registry_port,
        "secrets": sorted({*GENERATED_SECRETS, *deployed_secrets(semester)}),
        "settings": settings,
        "bundle": bundle,
        "revision": json.loads(bundle)["revision"],
        "peer_key": "" if semester.alone else _peer_key(stack, semester, last),
        "memory_mib": facts.memory_mib,
    }


def _last(folder: Folder) -> dict[str, Any]:
    """The brief of the run before; {} when there was none."""
    try:
        return json.loads(folder.brief.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _images(stack: str, semester: Semester, last: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Name -> digest of what the cloud runs, and the registry that has it. Raises UserError when nobody knows."""
    if semester.cloud == "local":
        from operations import state

        kept = state.local_folder(state.backend_url())
        found = state.output(kept, stack, "images") if kept else None
        digests = dict(found or last.get("images") or {})
        if not digests:
            raise UserError(
                f"the fallback runs the cloud's images, and stack '{stack}' is not deployed yet.\n"
                f"  ./hub up --stack {stack}   and then run this again."
            )
        return digests, {"kind": "local", "host": f"127.0.0.1:{semester.local.registry_port}", "prefix": ""}
    from components import images_lock
    from operations.publish import image_names, registry_prefix, require_published

    require_published(stack, semester)
    host, _, path = registry_prefix(stack, semester).partition("/")
    prefix = "/".join(part for part in (path, images_lock.REPOSITORY) if part) + "/"
    locked = images_lock.read()
    digests = {name: locked[name].digest for name in image_names(semester)}
    return digests, {"kind": str(semester.cloud), "host": host, "prefix": prefix, "stack": stack}


def _peer_key(stack: str, semester: Semester, last: Mapping[str, Any]) -> str:
    """The public key of the cloud's keeper; the one that is known already where the cloud does not answer."""
    from operations.failover.context import sites_of
    from operations.failover.sites import RefusedError, UnreachableError

    known = str(last.get("peer_key") or "")
    try:
        with sites_of(stack, semester) as sites:
            found = str(sites.cloud.status().get("public_key") or known)
        if not found:
            note(
                f"the cloud's keeper has no key yet, so nothing is copied: run ./hub fallback.up --stack {stack} again in a minute"
            )
        return found
    except (UnreachableError, RefusedError) as away:
        if known:
            note("the cloud's keeper does not answer; its key stays the one that is known")
            return known
        raise UserError(
            f"the cloud's keeper does not answer, and the first `fallback.up` needs its public key: {away}\n"
            f"  ./hub up --stack {stack}   and then run this again. From then on the fallback needs no cloud."
        ) from None


def _variables(stack: str, semester: Semester, brief: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenTofu compares: the same for the same deployment, whoever runs it."""
    given = semester.fallback
    assert given is not None
    target = ssh_target(stack, semester)
    return {
        "stack": stack,
        "machine": {
            "host": given.host, "port": given.port, "user": given.user,
            "host_key": ssh.known_key(target), "id": brief["machine_id"],
        },
        "address": given.address or given.host,
        "hub_url": semester.hub_url,
        "files": {path: _digest(text) for path, text in brief["files"].items()},
        "images": brief["images"],
        "secrets": brief["secrets"],
        "site": {"revision": brief["revision"], "settings": _digest(brief["settings"])},
        "peer_key": brief["peer_key"],
        "python": sys.executable,
        "root": str(ROOT),
    }  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tell_up(stack: str, semester: Semester, changes: list[Change], took_s: float) -> None:
    given = semester.fallback
    assert given is not None
    done = ", ".join(change.name for change in changes) if changes else "no changes"
    Console().print(f"fallback of stack '{stack}' on {escape(given.host)}: {done} [dim]({seconds(took_s)})[/]")


# -- preview ----------------------------------------------------------------------------------------------------------


def preview(stack: str, semester: Semester) -> list[Change] | None:
    """What `fallback.up` would change, printed beside Pulumi's plan; None when it cannot be known. Changes nothing."""
    out = Console()
    folder = Folder(stack)
    if semester.fallback is None:
        return None
    if not folder.state.exists():
        out.print(
            f"fallback on {escape(semester.fallback.host)}: not deployed; ./hub fallback.up --stack {stack} makes it"
        )
        return None
    plan = plan_of(semester)
    try:
        with ssh.connect(ssh_target(stack, semester)) as machine:
            facts = bare_machine.look(machine)
        brief = _brief(stack, semester, plan, facts)
    except UserError as away:
        out.print(f"fallback: its plan cannot be made now. {escape(str(away))}")
        return None
    with file_lock(LOCKS_DIR / f"fallback-{stack}", f"planning the fallback of '{stack}'", say=note):
        changes = Tofu(folder).plan(_variables(stack, semester, brief))
    head = f"{len(changes)} of its steps to run" if changes else "no changes"
    out.print(f"fallback on {escape(semester.fallback.host)} (OpenTofu): {head}")
    if changes:
        table = Table("", "step", "because of", box=None, pad_edge=False)
        for change in changes:
            table.add_row(change.sign, change.name, escape(", ".join(change.because)))
        out.print(table)
    return changes


# -- destroy ----------------------------------------------------------------------------------------------------------


def destroy(stack: str, *, delete_homes: bool = False, forget: bool = False) -> None:
    """Take away all that `fallback.up` brought. Students' files stay on a machine that is not a container of this host.

    Raises UserError while the fallback is the active site: a class works there. `forget`: the machine is gone for good.
    """
    semester = semester_of(stack)
    plan = plan_of(semester)
    folder = Folder(stack)
    with file_lock(LOCKS_DIR / f"fallback-{stack}", f"removing the fallback of '{stack}'", say=note):
        if folder.state.exists() and not forget:
            _refuse_active(stack, semester)
            with step("taking down the site on the bare metal") as tell:
                Tofu(folder).destroy(tell)
        _remove_here(stack, semester, plan, delete_homes=delete_homes)
    note(f"the fallback of stack '{stack}' is removed")


def _refuse_active(stack: str, semester: Semester) -> None:
    from operations.failover.context import sites_of
    from operations.failover.sites import RefusedError, UnreachableError

    if semester.alone:
        return  # there is nowhere to move the class to; who destroys the semester has decided
    with sites_of(stack, semester) as sites:
        try:
            seen = sites.fallback.status()
        except RefusedError:
            return
        except UnreachableError as away:
            # No keeper there is one thing, no machine another.
            with ssh.connect(ssh_target(stack, semester)):
                note(f"no keeper on the bare metal: {away}")
            return
    if seen.get("role") == "active":
        raise UserError(
            f"the fallback of stack '{stack}' is the active site: the class works there.\n"
            f"  Move it back first: ./hub failback --stack {stack}"
        )


def _remove_here(stack: str, semester: Semester, plan: Plan, *, delete_homes: bool) -> None:
    if metal.is_local(semester, plan):
        metal.destroy(stack, delete_homes=delete_homes)
    if dns_server.is_local(semester):
        dns_server.destroy(stack)
    Folder(stack).remove()


def destroyed_with(stack: str, *, delete_homes: bool) -> None:
    """For `./hub destroy`, which ends the whole semester: also a fallback that is active.

    On this machine its container goes, whatever state it is in.
    """
    folder = Folder(stack)
    if not folder.path.exists() or not stack_file(stack).exists():
        return
    semester = stacks.load(stack)
    plan = plan_of(semester)
    if semester.fallback is None:
        return
    if folder.state.exists() and not metal.is_local(semester, plan):
        try:
            with step("taking down the site on the bare metal") as tell:
                Tofu(folder).destroy(tell)
        except UserError as error:
            raise UserError(
                f"the fallback could not be taken down: {error}\n"
                f"  If the machine is gone for good: ./hub fallback.destroy --stack {stack} --forget"
            ) from None
    _remove_here(stack, semester, plan, delete_homes=delete_homes)


# -- status -----------------------------------------------------------------------------------------------------------


def status(stack: str) -> dict[str, Any]:
    """What the fallback says of itself, printed. Needs neither the cloud nor Pulumi's backend. Raises UserError."""
    semester = semester_of(stack)
    target = ssh_target(stack, semester)
    last = _last(Folder(stack))
    if not last:
        raise UserError(
            f"stack '{stack}' has no fallback yet that this checkout knows of.\n  ./hub fallback.up --stack {stack} makes it."
        )
    with ssh.connect(target) as machine:
        facts = bare_machine.look(machine)
        done = machine.run(["semesterhub-node", "bundle-status"], check=False)
        keeper = machine.run("docker exec -i keeper python3 -m hubconfig.keeper status", check=False)
    bundle = _json(done.text)
    seen = {
        "machine": facts.name,
        "bundle": bundle,
        "keeper": _json(keeper.text),
        "wanted_revision": last.get("revision"),
    }
    _tell_status(stack, target, facts, seen, keeper.tail)
    return seen


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tell_status(stack: str, target: Target, facts: Facts, seen: Mapping[str, Any], said: str) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    size = f"{facts.cpus} CPUs, {facts.memory_mib / 1024:.1f} GiB of memory, {facts.free_gib:.0f} GiB of disk free"
    table.add_row("machine", escape(f"{target.said}: {facts.name}, {size}"))
    table.add_row("host key", ssh.fingerprint(ssh.known_key(target)))
    revision = seen["bundle"].get("revision") or "none"
    same = revision == seen["wanted_revision"]
    table.add_row(
        "revision",
        revision + ("" if same else f" (brought: {seen['wanted_revision']}; ./hub fallback.up --stack {stack})"),
    )
    running = [name for name, up in (seen["bundle"].get("containers") or {}).items() if up]
    table.add_row("containers", ", ".join(running) or "none")
    keeper = seen["keeper"]
    if not keeper:
        table.add_row("keeper", escape(f"does not answer: {said or 'no reason given'}"))
    else:
        table.add_row(
            "role",
            f"{keeper.get('role')} in epoch {keeper.get('epoch')}" + (", writable" if keeper.get("writable") else ""),
        )
        mark = keeper.get("watermark") or {}
        for name, what in (("homes_until", "students' files"), ("hub_state_until", "hub's database")):
            if mark.get(name):
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(mark[name]))
                table.add_row(what, f"all that was written until {at} is here")
    Console().print(table)
