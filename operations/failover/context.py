"""From a stack's name to what a move acts on: both sites, the cloud's power, the name, the promises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from operations import stacks
from operations.errors import UserError
from operations.failover import local_cloud
from operations.failover.drill import Drill
from operations.failover.moves import Surroundings
from operations.failover.sites import DockerTransport, Site, Sites, SshTransport, active_name, look
from operations.load.target import Target
from operations.paths import certificate_file

if TYPE_CHECKING:
    from components.semester import Semester

HTTPS = 443


def semester_with_fallback(stack: str) -> Semester:
    """The checked semester. Raises UserError when it has nowhere to fall back to."""
    semester = stacks.load(stack)
    if semester.fallback is None:
        raise UserError(
            f"stack '{stack}' has no fallback: add `semesterhub:fallback` with host and ssh_key to stacks/Pulumi.{stack}.yaml "
            "(docs/failover.md), then ./hub fallback.up"
        )
    return semester


@contextlib.contextmanager
def sites_of(stack: str, semester: Semester) -> Iterator[Sites]:
    """Both sites, reachable while the context is open. Works without Pulumi's backend."""
    from operations import fallback

    assert semester.fallback is not None
    transport = SshTransport(fallback.ssh_target(stack, semester))
    try:
        port = semester.local.https_port if str(semester.cloud) == "local" else HTTPS
        bare_metal = Site("fallback", str(semester.fallback.address or semester.fallback.host), port, transport)
        yield Sites(_cloud(stack, semester, port), bare_metal)
    finally:
        transport.close()


def _cloud(stack: str, semester: Semester, port: int) -> Site:
    if str(semester.cloud) == "local":
        transport = DockerTransport(f"semesterhub-{stack}-hub")
        return Site("cloud", str(semester.local.bind_address), port, transport)
    from operations.failover.cloud_shell import cloud_site

    return cloud_site(stack, semester, port)


@contextlib.contextmanager
def active_site(stack: str) -> Iterator[Site]:
    """The site where the class works now, with or without another one. Raises UserError when it cannot be told."""
    semester = stacks.load(stack)
    if semester.fallback is None:
        yield _cloud(stack, semester, semester.local.https_port if str(semester.cloud) == "local" else HTTPS)
        return
    with sites_of(stack, semester) as sites:
        seen = look(sites.cloud)
        # Who may write now is the active one for sure; the fallback need not even be there.
        yield sites.cloud if seen and seen.get("writable") else sites.named(active_name(sites))


@contextlib.contextmanager
def surroundings(stack: str) -> Iterator[Surroundings]:
    """What `./hub failover` and its kin act on."""
    semester = semester_with_fallback(stack)
    assert semester.fallback is not None
    dns: Any = None
    ttl_s = 60
    if semester.fallback.dns is not None:
        from operations.dns import open_dns

        dns, ttl_s = open_dns(semester, stack), semester.fallback.dns.ttl_s

    def power() -> Any:
        from operations.power import power_of

        return power_of(stack, semester)

    certificate = certificate_file(stack)
    with sites_of(stack, semester) as sites:
        yield Surroundings(
            sites=sites,
            hub_url=semester.hub_url,
            ca_certificate=certificate.read_text("utf-8") if certificate.exists() else "",
            ttl_s=ttl_s,
            rpo_s=semester.fallback.targets.rpo_s,
            power=power,
            dns=dns,
        )


@contextlib.contextmanager
def drill_of(stack: str, students: int = 3) -> Iterator[Drill]:
    """What `./hub drill` acts on. Students sign in where there is a demo password; elsewhere the hub's check account works."""

    semester = semester_with_fallback(stack)
    assert semester.fallback is not None
    targets = semester.fallback.targets
    on_this_machine = str(semester.cloud) == "local"
    with surroundings(stack) as around:
        yield Drill(
            stack=stack,
            title=semester.title,
            around=around,
            target=Target(stack, semester.hub_url, _student_password(around.sites, semester), around.ca_certificate),
            rto_s=targets.rto_s,
            rpo_s=targets.rpo_s,
            students=students,
            kill=(lambda: _told(local_cloud.kill(stack))) if on_this_machine else None,
            revive=(lambda: local_cloud.revive(stack)) if on_this_machine else None,
        )


def _student_password(sites: Sites, semester: Semester) -> str:
    """Of the demo authenticator, asked of the active site: a drill does not need Pulumi's backend."""
    if semester.authenticator.kind != "demo":
        return ""
    return sites.named(active_name(sites)).secret("student_password")


def _told(_killed: list[str]) -> None:
    return None
