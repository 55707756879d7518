"""The tasks of `./hub`: names, options and help. What they do is in operations/."""

from __future__ import annotations

import sys

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from operations.errors import UserError
from operations.failover import tasks as moving

STACK = "which semester: a file stacks/Pulumi.<name>.yaml"
WAIVE = "policies not to look at this time, by name, with commas"
SANDBOX = "offline: against an emulator of the cloud on this machine, without an account"


@task(help={"stack": STACK, "sandbox": SANDBOX, "waive": WAIVE})
def up(_context: Context, stack: str = "demo", sandbox: bool = False, waive: str = "") -> None:
    """Deploy a semester, or bring it to what its stack file says now. May be run again at any time."""
    from operations import deploy, planning

    deploy.up(stack, sandbox=sandbox, waive=planning.waived(waive))


@task(
    help={
        "stack": STACK + "; with --against also `all`: every stack of a cloud",
        "sandbox": SANDBOX,
        "waive": WAIVE,
        "against": "a git ref: compare with what its program makes offline, and print the difference as Markdown",
        "output": "a folder for the plan as Markdown (preview.md) and as data (report-<stack>.json)",
    }
)
def preview(
    _context: Context, stack: str = "demo", sandbox: bool = False, waive: str = "", against: str = "", output: str = ""
) -> None:
    """Show what `up` would change, without changing anything. Fails when the plan breaks a policy."""
    from operations import deploy, planning

    waived = planning.waived(waive)
    if against:
        from operations import preview_against

        if sandbox:
            raise UserError("--against is offline by itself; leave --sandbox out.")
        sys.exit(preview_against.run(stack, against, output=output, waive=waived))
    deploy.preview(stack, sandbox=sandbox, waive=waived, output=output)


@task(help={"stack": STACK, "sandbox": SANDBOX})
def refresh(_context: Context, stack: str = "demo", sandbox: bool = False) -> None:
    """Look at what is really there, and show what differs from what `up` left. The next `up` puts it right."""
    from operations import deploy

    deploy.refresh(stack, sandbox=sandbox)


@task(
    help={
        "stack": STACK,
        "delete-homes": "also delete the students' files",
        "yes": "do not ask before deleting them",
        "sandbox": SANDBOX,
    }
)
def destroy(
    _context: Context, stack: str = "demo", delete_homes: bool = False, yes: bool = False, sandbox: bool = False
) -> None:
    """Remove a semester's machines, networks and services. Students' homes stay unless --delete-homes."""
    from operations import deploy

    if delete_homes and not sandbox:
        deploy.confirm_delete_homes(stack, yes=yes)
    deploy.destroy(stack, delete_homes=delete_homes, sandbox=sandbox)


@task(help={"stack": STACK})
def status(_context: Context, stack: str = "demo") -> None:
    """Show nodes, servers, memory and versions of a running semester."""
    from operations import fallback, stacks
    from operations.status import show

    stacks.path_of(stack)
    fallback.status(stack) if stacks.alone(stack) else show(stack)


@task(help={"fast": "only tests without Docker", "only": "one kind: unit, sandbox, swarm, browser or load"})
def test(_context: Context, fast: bool = False, only: str = "") -> None:
    """Run the checks and the tests. Further options go to pytest: ./hub test -k homes -x"""
    from operations import testing

    sys.exit(testing.run([*(["--fast"] if fast else []), *(["--only", only] if only else [])]))


@task
def lint(_context: Context) -> None:
    """Check style, types and workflows (ruff, pyright, zizmor)."""
    from operations import testing

    sys.exit(testing.lint())


@task
def lock(_context: Context) -> None:
    """Write requirements.lock anew from requirements.in, with hashes."""
    from operations import locking

    locking.run()


@task
def schema(_context: Context) -> None:
    """Write the stack file's JSON schema and docs/reference.md from the model."""
    from components import reference

    sys.exit(reference.main([]))


@task(
    name="class",
    help={
        "stack": STACK,
        "students": "how many synthetic students (default: as the stack file says)",
        "within": "seconds within which they all arrive",
        "stay": "seconds each one stays",
    },
)
def load_class(_context: Context, stack: str = "demo", students: int = 0, within: int = 60, stay: int = 60) -> None:
    """Send a class of synthetic students: log in, start a server, compute, stay, leave. Prints percentiles."""
    from operations import load, stacks

    stacks.load(stack)
    load.run(stack=stack, students=students, within_s=within, stay_s=stay)


@task(
    name="compare",
    help={"stack": STACK, "students": "size of the class", "within": "seconds within which they arrive"},
)
def load_compare(_context: Context, stack: str = "demo", students: int = 20, within: int = 5) -> None:
    """Send the same class to this hub and to a naive one, and print the ratio of the medians."""
    from operations import load, stacks

    stacks.load(stack)
    load.compare(stack=stack, students=students, within_s=within)


@task(name="crash", help={"stack": STACK})
def load_crash(_context: Context, stack: str = "demo") -> None:
    """Kill `up` at every resource boundary in turn, and show that one more `up` converges."""
    from operations import crash, stacks

    stacks.load(stack)
    crash.run(stack=stack)


@task(
    name="preview",
    help={"stack": STACK, "copies": "how many times over its resources", "repeats": "runs of which the median counts"},
)
def load_preview(_context: Context, stack: str = "fa26", copies: int = 10, repeats: int = 5) -> None:
    """Measure a no-change preview: fixed cost, cost of a resource, where the time goes; beside an OpenTofu plan."""
    from operations import preview_time

    preview_time.run(stack, copies, repeats)


@task(
    name="sync",
    help={
        "homes": "homes of students at work",
        "files": "files in each",
        "times": "how many times larger the store becomes",
    },
)
def load_sync(_context: Context, homes: int = 200, files: int = 500, times: int = 10) -> None:
    """Measure what copying homes to the other site costs: all, 1% changed, nothing; and the same in a larger store."""
    from operations import sync_cost

    sync_cost.run(homes, files, times)


@task(
    name="faults",
    help={
        "stack": STACK,
        "sample": "only so many errors, spread over the run (0: one at every changing call)",
        "only": "only at calls with this in their name, for instance RevokeSecurityGroupEgress",
        "start": "the number of the first call, to go on with a run that was stopped",
    },
)
def load_faults(_context: Context, stack: str = "fa16", sample: int = 0, only: str = "", start: int = 1) -> None:
    """Offline: an error at every changing call of `up` in turn, and that one more `up` converges and a destroy leaves nothing."""
    from sandbox import drill

    drill.run(stack, sample, only=only, start=start)


@task(
    name="new",
    help={
        "stack": "the new semester's name, for instance fa26",
        "like": "the stack to start from",
        "title": "its title",
    },
)
def semester_new(_context: Context, stack: str, like: str = "demo", title: str = "") -> None:
    """Make a stack file for a new semester, with a network and ports of its own."""
    from operations.paths import ROOT
    from operations.semesters import new_semester

    path = new_semester(stack, like, title=title).path
    print(f"{path.relative_to(ROOT)} is there. Edit it, then: ./hub preview --stack {stack}")


@task(name="build", help={"name": "a folder of hubconfig/images/, or all"})
def image_build(_context: Context, name: str = "all") -> None:
    """Build one image, or all of them. `up` builds what it needs by itself."""
    from operations import image_tasks

    image_tasks.build(name)


@task(name="publish", help={"stack": STACK})
def image_publish(_context: Context, stack: str) -> None:
    """Build a cloud semester's images, push them to its registry, and note their digests in stacks/images.lock.yaml."""
    from operations import publish

    publish.publish(stack)


@task(name="list")
def image_list(_context: Context) -> None:
    """List the images: content hash, whether built, size."""
    from operations import image_tasks

    image_tasks.show()


@task(help={"stack": STACK, "sandbox": SANDBOX})
def preflight(_context: Context, stack: str = "demo", sandbox: bool = False) -> None:
    """Check account, quotas, images, names and fallback before `up`. Changes nothing; each line passes or says what to do."""
    from operations import preflight as checks

    sys.exit(checks.run(stack, sandbox=sandbox))


@task(
    help={
        "stack": STACK,
        "out": "path of the picture (default: .semesterhub/<stack>/capacity.png; - for none)",
        "week": "a day, as YYYY-MM-DD: the picture shows its week alone",
    }
)
def capacity(_context: Context, stack: str = "demo", out: str = "", week: str = "") -> None:
    """Show the term's workers against the students that its calendar lets expect, as tables and as a picture."""
    from operations import capacity as capacities

    capacities.show(stack, out, week=week)


@task(name="show", default=True, help={"stack": STACK})
def cost_show(_context: Context, stack: str = "demo") -> None:
    """Show what the dearest month of a semester costs, by list prices, resource by resource."""
    from operations import cost

    cost.show(stack)


@task(
    name="refresh",
    help={"cloud": "aws, azure or all", "region": "add or refresh one region (default: those that the price file has)"},
)
def cost_refresh(_context: Context, cloud: str = "all", region: str = "") -> None:
    """Fetch the clouds' public list prices into components/prices/. Needs the internet, no account."""
    from operations import cost_refresh as refreshing

    refreshing.run(cloud, region)


@task(name="now", default=True, help={"stack": STACK})
def backup_now(_context: Context, stack: str = "demo") -> None:
    """Copy homes and hub database now, besides the hourly copy."""
    from operations import backup

    backup.back_up(stack)


@task(name="list", help={"stack": STACK})
def backup_list(_context: Context, stack: str = "demo") -> None:
    """List the copies that are kept, the age of the last one, and when they were verified."""
    from operations import backup

    backup.show(stack)


@task(
    name="verify",
    help={
        "stack": STACK,
        "sample": "how many files to restore and compare (default 20)",
        "all": "read every stored byte, however long it takes",
    },
)
def backup_verify(_context: Context, stack: str = "demo", sample: int = 0, all: bool = False) -> None:
    """Read what is stored, restore a sample into a scratch place and compare it. Fails when anything is damaged."""
    from operations import backup

    backup.verify(stack, sample, everything=all)


@task(name="password", help={"stack": STACK})
def backup_password(_context: Context, stack: str = "demo") -> None:
    """Print the repository's password, to be kept outside the cloud: without it no copy can be read."""
    from operations import backup

    print(backup.password(stack))


@task(name="credentials", help={"stack": STACK})
def backup_credentials(_context: Context, stack: str = "demo") -> None:
    """Hand over credentials of a repository in another account: lines NAME=value on standard input."""
    from operations import backup

    backup.give_credentials(stack, "" if sys.stdin.isatty() else sys.stdin.read())


@task(
    help={
        "stack": STACK,
        "user": "the student's sign-in name",
        "at": "as of when: '1 hour ago', 'yesterday 14:00', '2016-03-02 10:00' (in the semester's timezone)",
        "all": "every student, instead of one",
        "into": "name of the folder in the home (default: restored <time of the copy>)",
    }
)
def restore(
    _context: Context, stack: str = "demo", user: str = "", at: str = "", all: bool = False, into: str = ""
) -> None:
    """Bring a student's directory of an earlier time back, as a folder beside the present files."""
    from operations import backup

    backup.restore(stack, user, at, everybody=all, into=into)


@task(name="up", help={"stack": STACK})
def fallback_up(_context: Context, stack: str = "demo") -> None:
    """Bring the bare-metal site to what the stack file says and the cloud runs. May be run again at any time."""
    from operations import fallback

    fallback.up(stack)


@task(
    name="destroy",
    help={
        "stack": STACK,
        "delete-homes": "on this machine: also delete the copies of the students' files",
        "forget": "the machine is gone for good: only this checkout forgets it",
    },
)
def fallback_destroy(_context: Context, stack: str = "demo", delete_homes: bool = False, forget: bool = False) -> None:
    """Take the site off the bare metal. Refused while the class works there. Students' files stay."""
    from operations import fallback

    fallback.destroy(stack, delete_homes=delete_homes, forget=forget)


@task(name="status", help={"stack": STACK})
def fallback_status(_context: Context, stack: str = "demo") -> None:
    """Show the bare metal: role, watermark, containers, room. Needs neither the cloud nor Pulumi's backend."""
    from operations import fallback

    fallback.status(stack)


@task(name="show", help={"stack": STACK})
def dns_show(_context: Context, stack: str = "demo") -> None:
    """Show where the hub's name leads, for how long resolvers remember it, and whether it could be switched from here."""
    from operations.dns import tasks as names

    sys.exit(names.show(stack))


@task(name="lower-ttl", help={"stack": STACK, "ttl": "seconds (default: `fallback.dns.ttl_s` of the stack file)"})
def dns_lower_ttl(_context: Context, stack: str = "demo", ttl: int = 0) -> None:
    """Let resolvers remember the hub's name for a short time only: a day before a planned move."""
    from operations.dns import tasks as names

    names.lower_ttl(stack, ttl)


@task(name="show", help={"stack": STACK})
def power_show(_context: Context, stack: str = "demo") -> None:
    """Show whether the cloud site's hub VM runs, and whether a failover could switch it off from here."""
    from operations.power import tasks as switch

    sys.exit(switch.show(stack))


@task(name="on", help={"stack": STACK})
def power_on(_context: Context, stack: str = "demo") -> None:
    """Switch a cloud site on again that a failover switched off. It comes back as a standby."""
    from operations.power import tasks as switch

    switch.on(stack)


namespace = Collection(
    *(up, preview, refresh, destroy, status, preflight, capacity, test, lint, lock, schema, restore), *moving.TASKS
)
namespace.add_collection(Collection("cost", cost_show, cost_refresh))
namespace.add_collection(
    Collection("load", load_class, load_compare, load_crash, load_faults, load_preview, load_sync, *moving.LOADS)
)
namespace.add_collection(Collection("fallback", fallback_up, fallback_destroy, fallback_status))
namespace.add_collection(Collection("semester", semester_new))
namespace.add_collection(Collection("image", image_build, image_publish, image_list))
namespace.add_collection(
    Collection("backup", backup_now, backup_list, backup_verify, backup_password, backup_credentials)
)
namespace.add_collection(Collection("dns", dns_show, dns_lower_ttl))
namespace.add_collection(Collection("power", power_show, power_on))
