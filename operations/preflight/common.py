"""Checks that do not depend on the cloud: the term, the images, the hub's name and certificate, the fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from components.images_lock import LOCK_FILE, LockedImage
from components.semester import Semester
from operations.preflight.finding import Finding, failed, passed, unknown
from operations.preflight.questions import Certificate, NotKnownError

CERTIFICATE_DAYS_LEFT = 14
"""ACME clients renew a month before the end; with two weeks left something has kept them from it."""


def term(semester: Semester, now: datetime) -> Finding:
    """Whether the semester is not over yet: clouds refuse scaling actions in the past."""
    today = now.astimezone(semester.term.timezone).date()
    starts, ends = semester.term.starts, semester.term.ends
    if today > ends:
        return failed(
            "term",
            f"it ended on {ends}",
            "correct semesterhub:term, or make the next semester with `./hub semester.new`",
        )
    left = (starts - today).days
    return passed("term", f"{starts} to {ends}" + (f", in {left} days" if left > 0 else ", now"))


def images(
    names: Iterable[str],
    locked: Mapping[str, LockedImage],
    references: Mapping[str, str],
    content_now: Callable[[str], str],
    exists: Callable[[str], bool],
    stack: str,
) -> list[Finding]:
    """Whether each image is in the registry, by digest, and made of what hubconfig/images holds now.

    `exists` may raise NotKnownError.
    """
    publish = f"`./hub image.publish --stack {stack}` builds and pushes it, then commit {LOCK_FILE}"
    found = []
    for name in names:
        check = f"image {name}"
        if "@" not in name and name not in locked:
            found.append(failed(check, f"not in {LOCK_FILE}", publish))
            continue
        if "@" not in name and not locked[name].published:
            found.append(failed(check, "not published yet", publish))
            continue
        if "@" not in name and locked[name].content != content_now(name):
            found.append(failed(check, "its folder has changed since it was published", publish))
            continue
        digest = references[name].rpartition("@")[2][:19] + "…"
        try:
            there = exists(references[name])
        except NotKnownError as error:
            look = f"look at {references[name]} in its registry"
            found.append(unknown(check, f"{digest}: {error}", look))
            continue
        remedy = publish if "@" not in name else "correct the reference in the stack file"
        found.append(passed(check, digest) if there else failed(check, f"{digest} is not in the registry", remedy))
    return found


def delegation(
    semester: Semester, zone: str, wanted: frozenset[str] | None, ask: Callable[[str], frozenset[str]]
) -> Finding:
    """Whether the world asks the zone's own servers (`wanted`; None: another provider's, so any will do)."""
    check = "domain"
    try:
        found = ask(zone)
    except NotKnownError as error:
        return unknown(check, f"{zone}: {error}", f"see what `dig NS {zone}` says")
    servers = ", ".join(sorted(wanted or found))
    if not found:
        return failed(
            check,
            f"{zone} is not delegated: the world knows no name server for it",
            f"enter NS records for {zone} at its parent zone" + (f": {servers}" if wanted else ""),
        )
    if wanted is not None and not found & wanted:
        return failed(
            check,
            f"the world asks {', '.join(sorted(found))} for {zone}, not the zone that this stack writes to",
            f"enter these NS records at the parent zone: {servers}",
        )
    return passed(check, f"{semester.domain} in {zone}, asked at {servers}")


def certificate(semester: Semester, now: datetime, look: Callable[[str], Certificate]) -> Finding:
    """What the hub shows now, if there is one; else who will give it a certificate."""
    check = "certificate"
    try:
        shown = look(semester.domain)
    except NotKnownError:
        if semester.hub.acme_email is None:
            return unknown(
                check,
                "the hub will ask Let's Encrypt at its first start, without an address for warnings",
                "write `semesterhub:hub.acme_email`",
            )
        return passed(check, f"the hub asks Let's Encrypt at its first start ({semester.hub.acme_email})")
    if shown.problem or shown.until is None:
        return failed(
            check,
            f"what answers at https://{semester.domain} is not trusted: {shown.problem}",
            "let the name point to the hub and port 80 be open, and look at the edge's log on the hub VM",
        )
    left = shown.until - now
    said = f"until {shown.until:%Y-%m-%d} ({left.days} days)"
    if left < timedelta(days=CERTIFICATE_DAYS_LEFT):
        return failed(check, said, "it should have been renewed: look at the edge's log on the hub VM")
    return passed(check, said)


def fallback(semester: Semester, greet: Callable[[str, int], str]) -> Finding:
    """Whether the bare-metal machine answers."""
    given = semester.fallback
    if given is None:
        return unknown("fallback", "none is named", "write `semesterhub:fallback` to be able to move the class")
    try:
        greeting = greet(given.host, given.port)
    except NotKnownError as error:
        return failed(
            "fallback",
            f"{given.host} port {given.port}: {error}",
            "start the machine, correct semesterhub:fallback, or open the port for this network",
        )
    return passed("fallback", f"{given.host} port {given.port} answers: {greeting}")
