"""`preflight`: everything that would stop `up` or the class, before anything is made. Each line passes or says what to do.

Nothing is changed anywhere. With `sandbox` the same questions go to the offline cloud, and what only the world can answer
(names, certificates, the fallback) is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components import clock, images_lock
from components.cost import monthly_cost, within_budget
from components.hub_bundle import HUB_IMAGES, course_images
from components.plan import Plan, plan
from components.schedule import schedule
from components.semester import Semester, SemesterError
from operations import images, stacks
from operations.preflight import common, questions
from operations.preflight.aws import Clients
from operations.preflight.finding import Finding, failed, passed, unknown
from operations.progress import step

_SIGNS = {"pass": "[green]✓[/]", "fail": "[red]✗[/]", "unknown": "[yellow]?[/]"}
CREDENTIALS = "credentials"
OF_ACCOUNT = frozenset(
    {"resource providers", "quotas", "machine types", "machine image", "images", "domain", "fencing"}
)
OWN_DNS = {"aws": "route53", "azure": "azure"}
"""Cloud -> the DNS provider that its emulator has, too."""
Checks = Callable[[], list[Finding]]


@dataclass(frozen=True)
class Subject:
    """What is checked."""

    stack: str
    semester: Semester
    plan: Plan
    sandbox: bool

    @property
    def image_names(self) -> tuple[str, ...]:
        """Images of hubconfig/images that the semester runs."""
        return (*HUB_IMAGES, *course_images(self.semester))


def run(stack: str, *, sandbox: bool = False) -> int:
    """Print what was found. 1 when something fails, else 0. Raises UserError and SemesterError."""
    semester = stacks.load(stack)
    subject = Subject(stack, semester, plan(semester), sandbox)
    found: list[Finding] = []
    with _cloud(subject) as checks:
        for name, check in checks.items():
            if (
                any(finding.check == CREDENTIALS and finding.state == "fail" for finding in found)
                and name in OF_ACCOUNT
            ):
                continue  # one line says it; the cloud would refuse each of these questions
            with step(f"preflight of {stack}: {name}"):
                found += check()
    show(found, stack)
    return 1 if any(finding.state == "fail" for finding in found) else 0


def show(found: list[Finding], stack: str) -> None:
    """One line a finding, and below it what to do."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in found:
        remedy = "" if finding.state == "pass" or not finding.remedy else f"\n[dim]→[/] {escape(finding.remedy)}"
        table.add_row(_SIGNS[finding.state], escape(finding.check), escape(finding.said) + remedy)
    terminal = Console()
    terminal.print(table)
    count = {state: sum(1 for finding in found if finding.state == state) for state in _SIGNS}
    verdict = f"ready for `./hub up --stack {stack}`" if not count["fail"] else "not ready"
    terminal.print(f"{verdict}: {count['pass']} pass, {count['fail']} fail, {count['unknown']} to look at")


@contextlib.contextmanager
def _cloud(subject: Subject) -> Iterator[Mapping[str, Checks]]:
    """The checks by name, in their order; the offline cloud stands as long as the block."""
    checks: dict[str, Checks] = {"stack file": lambda: _file(subject)}
    if subject.semester.cloud == "local":
        yield checks | {"fallback": lambda: _fallback(subject)} | _moving(subject, "")
        return
    with contextlib.ExitStack() as stay:
        endpoint = ""
        if subject.sandbox:
            from sandbox import session  # nothing else leads there

            endpoint = stay.enter_context(session(subject.stack, subject.semester.cloud)).endpoints[
                subject.semester.cloud
            ]
        checks |= _aws(subject, endpoint) if subject.semester.cloud == "aws" else _azure(subject, endpoint)
        if not subject.sandbox:
            checks["certificate"] = lambda: [common.certificate(subject.semester, clock.now(), questions.certificate)]
            checks["fallback"] = lambda: _fallback(subject)
        yield checks | _moving(subject, endpoint)


def _moving(subject: Subject, endpoint: str) -> dict[str, Checks]:
    """Of a semester that can move: whether its name could be switched, and its cloud site switched off."""
    from operations.preflight import moving

    semester, stack = subject.semester, subject.stack
    found: dict[str, Checks] = {}
    if semester.fallback is None:
        return found
    dns = semester.fallback.dns
    if dns is not None and (not subject.sandbox or dns.provider == OWN_DNS.get(semester.cloud)):
        found["hub's name"] = lambda: [moving.name(semester, stack, endpoint)]
    if semester.cloud != "local":
        found["fencing"] = lambda: [moving.fencing(semester, stack, endpoint)]
    return found


def _fallback(subject: Subject) -> list[Finding]:
    return [common.fallback(subject.semester, questions.answers_as_ssh)]


def _file(subject: Subject) -> list[Finding]:
    """The term, the calendar and the budget."""
    semester = subject.semester
    # Offline there is no today: semesters of the past can be tried, too.
    found = [] if subject.sandbox else [common.term(semester, clock.now())]
    try:
        actions = schedule(semester, subject.plan)
        cost = monthly_cost(semester, subject.plan)
        within_budget(semester, cost)
    except SemesterError as error:
        for problem in error.problems:
            found.append(failed(problem.key, f"{problem.value}; allowed: {problem.allowed}", problem.remedy))
        return found
    found.append(passed("calendar", f"{len(actions.weekly)} weekly and {len(actions.once)} single scaling actions"))
    if not cost.lines:
        return found
    said = f"{cost.total_usd:,.2f} USD in {cost.month}, the dearest month, by list prices of {cost.as_of}"
    if semester.budget is None:
        return [*found, unknown("budget", f"{said}; none is set", "write `semesterhub:budget.monthly_usd`")]
    return [*found, passed("budget", f"{said}, of {semester.budget.monthly_usd:,.2f}")]


def _images(subject: Subject, registry: str, exists: Callable[[str], bool]) -> list[Finding]:
    names = [*subject.image_names, *(c.image for c in subject.semester.courses if "@" in c.image)]
    locked = images_lock.read()
    known = [name for name in names if "@" in name or name in locked]
    if subject.sandbox and len(known) == len(names):
        return [
            unknown("images", f"{len(names)} in the lock file", "the sandbox has no registry: ask without --sandbox")
        ]
    references = images_lock.references(subject.semester, registry, known)
    return common.images(dict.fromkeys(names), locked, references, images.content_hash, exists, subject.stack)


def _aws(subject: Subject, endpoint: str) -> dict[str, Checks]:
    from operations.preflight import aws

    semester, clients = subject.semester, aws_clients(subject.semester, endpoint)

    def account() -> str:
        return semester.account or str(clients("sts").get_caller_identity()["Account"])

    def registry() -> str:
        return images_lock.ecr_registry(account(), str(semester.region), subject.stack)

    def machine_image() -> list[Finding]:
        from components.aws.machine_image import NAME, OWNERS
        from components.aws.scope import Scope

        partition = Scope(subject.stack, str(semester.region), "", {}).partition
        return [aws.machine_image(OWNERS[partition], NAME, clients)]

    checks: dict[str, Checks] = {
        "credentials": lambda: [aws.who(semester, clients)],
        "quotas": lambda: aws.quotas(subject.stack, semester, subject.plan, clients),
        "machine types": lambda: [aws.machine_types(semester, subject.plan, clients)],
        "images": lambda: _images(subject, registry(), lambda reference: aws.image_exists(reference, clients)),
    }
    if not subject.sandbox:
        checks["machine image"] = machine_image
        checks["domain"] = lambda: [_domain(subject, "route53", lambda zone: aws.zone_servers(zone, clients))]
    return checks


def aws_clients(semester: Semester, endpoint: str = "") -> Clients:
    """Makes boto3 clients in the semester's region: of who is signed in, or (with `endpoint`) of an emulator. A semester of
    another cloud that asks AWS (for a DNS zone) gets the region where AWS's worldwide services are."""
    import boto3
    from botocore.config import Config

    keys = ("sandbox", "sandbox") if endpoint else ()
    region = semester.region if semester.cloud == "aws" else "us-east-1"
    session = boto3.Session(*keys, region_name=region)
    patient = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=10, read_timeout=30)
    return lambda service: session.client(service, endpoint_url=endpoint or None, config=patient)


def _azure(subject: Subject, endpoint: str) -> dict[str, Checks]:
    from operations.preflight import arm, azure

    semester = subject.semester
    token: arm.Token = (lambda _scope: "sandbox") if endpoint else arm.signed_in()
    reader = arm.Arm(token, endpoint or arm.MANAGEMENT)

    def exists(reference: str) -> bool:
        server, _, path = reference.partition("/")
        repository, _, digest = path.partition("@")
        if not server.endswith(".azurecr.io"):
            raise questions.NotKnownError("in another registry than the stack's")
        try:
            return arm.registry_has(server, repository, digest, token)
        except arm.ArmError as error:
            raise questions.NotKnownError(str(error)) from None

    def registry() -> str:
        from components.azure.site import site

        return site(subject.stack, semester).registry_server

    def deployed() -> bool:
        try:
            reader.get(f"/subscriptions/{semester.account}/resourceGroups/semesterhub-{subject.stack}", "2021-04-01")
        except arm.ArmError:
            return False
        return True

    checks: dict[str, Checks] = {
        "credentials": lambda: [azure.who(semester, reader)],
        "resource providers": lambda: [azure.providers(semester, reader), azure.host_encryption(semester, reader)],
        "quotas": lambda: azure.quotas(semester, subject.plan, deployed(), reader),
        "machine types": lambda: [azure.machine_types(semester, subject.plan, reader)],
        "images": lambda: _images(subject, registry(), exists),
    }
    if not subject.sandbox:
        checks["machine image"] = lambda: [azure.machine_image(semester, _azure_image(), reader)]
        checks["domain"] = lambda: [_domain(subject, "azure", lambda zone: _azure_zone(subject, zone, reader))]
    return checks


def _azure_image() -> tuple[str, str, str, str]:
    from components.azure.machines import IMAGE

    return IMAGE


def _azure_zone(subject: Subject, zone: str, reader: object) -> frozenset[str]:
    from components.semester_access import AzureDns
    from operations.preflight import arm, azure

    dns = subject.semester.fallback.dns if subject.semester.fallback else None
    assert isinstance(dns, AzureDns) and isinstance(reader, arm.Arm)
    return azure.zone_servers(subject.semester, dns.resource_group, zone, reader)


def _domain(subject: Subject, own_provider: str, servers: Callable[[str], frozenset[str]]) -> Finding:
    """The zone that `fallback.dns` names; without one, the hub's name has a zone of the stack's own, or a hand-made record."""
    semester = subject.semester
    dns = semester.fallback.dns if semester.fallback else None
    if dns is None:
        return unknown(
            "domain",
            f"no `fallback.dns` names the zone of {semester.domain}",
            f"after `up`, let {semester.domain} point to the hub as `./hub status --stack {subject.stack}` shows it",
        )
    wanted = None
    if dns.provider == own_provider:
        try:
            wanted = servers(dns.zone)
        except questions.NotKnownError as error:
            return failed("domain", str(error), "make the zone, or correct semesterhub:fallback.dns.zone")
    return common.delegation(semester, dns.zone, wanted, questions.name_servers)
