"""Checks of every cloud: each passes, fails with a remedy, or says that it cannot be told from here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.images_lock import LockedImage, placeholder
from components.semester import Semester, load_stack_file
from operations.preflight import common
from operations.preflight.finding import enough
from operations.preflight.questions import Certificate, NotKnownError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
CONTENT, DIGEST = "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def fa26(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.fa26.yaml")


@pytest.mark.parametrize(
    ("now", "state", "said"),
    [
        (datetime(2026, 7, 27, 12, tzinfo=UTC), "pass", "in 30 days"),
        (NOW, "pass", "now"),
        (datetime(2026, 12, 19, 7, 59, tzinfo=UTC), "pass", "now"),  # still the 18th in Los Angeles
        (datetime(2026, 12, 19, 8, tzinfo=UTC), "fail", "ended on 2026-12-18"),
    ],
)
def test_a_term_that_is_over_fails(now: datetime, state: str, said: str, fa26: Semester) -> None:
    found = common.term(fa26, now)
    assert (found.state, said in found.said) == (state, True)


@pytest.mark.parametrize(
    ("limit", "used", "state"), [(10, 5, "pass"), (10, 6, "fail"), (0, 0, "fail"), (None, 0, "unknown")]
)
def test_a_quota_is_enough_or_not(limit: float | None, used: int, state: str) -> None:
    found = enough("quota", limit=limit, used=used, needed=5, unit="vCPUs", remedy="ask")
    assert found.state == state
    assert (found.remedy == "") == (state == "pass")


def look_at_images(exists: object, content: str = CONTENT, names: tuple[str, ...] = ("hub",)) -> list[tuple[str, str]]:
    locked = {"hub": LockedImage(CONTENT, DIGEST, ("registry",)), "proxy": placeholder(CONTENT)}
    references = {"hub": f"registry/semesterhub/hub@{DIGEST}", f"r/x@{DIGEST}": f"r/x@{DIGEST}"}
    found = common.images(names, locked, references, lambda _name: content, exists, "fa26")  # type: ignore[arg-type]
    return [(finding.state, finding.said + finding.remedy) for finding in found]


def test_images_are_there_by_digest() -> None:
    asked: list[str] = []

    def exists(reference: str) -> bool:
        asked.append(reference)
        return True

    assert look_at_images(exists)[0][0] == "pass"
    assert asked == [f"registry/semesterhub/hub@{DIGEST}"]


def test_an_image_that_is_missing_changed_or_unknown_says_what_to_do() -> None:
    def not_now(_reference: str) -> bool:
        raise NotKnownError("no answer")

    (missing,) = look_at_images(lambda _reference: False)
    assert missing[0] == "fail" and "image.publish --stack fa26" in missing[1]
    (changed,) = look_at_images(lambda _reference: True, content="c" * 64)
    assert changed[0] == "fail" and "has changed since" in changed[1]
    (not_locked,) = look_at_images(lambda _reference: True, names=("edge",))
    assert not_locked[0] == "fail" and "images.lock.yaml" in not_locked[1]
    (nowhere,) = look_at_images(lambda _reference: True, names=("proxy",))
    assert nowhere[0] == "fail" and nowhere[1].startswith("not published yet")
    assert look_at_images(not_now)[0][0] == "unknown"
    (foreign,) = look_at_images(lambda _reference: False, names=(f"r/x@{DIGEST}",))
    assert foreign[0] == "fail" and "correct the reference in the stack file" in foreign[1]


OURS = frozenset({"ns1.cloud.example", "ns2.cloud.example"})


@pytest.mark.parametrize(
    ("answer", "wanted", "state", "said"),
    [
        (OURS, OURS, "pass", "asked at"),
        (frozenset({"ns2.cloud.example", "ns9.cloud.example"}), OURS, "pass", "asked at"),
        (frozenset({"ns.registrar.example"}), OURS, "fail", "not the zone that this stack writes to"),
        (frozenset(), OURS, "fail", "not delegated"),
        (frozenset({"ns.campus.example"}), None, "pass", "ns.campus.example"),
        (None, OURS, "unknown", "no resolver"),
    ],
)
def test_delegation(
    answer: frozenset[str] | None, wanted: frozenset[str] | None, state: str, said: str, fa26: Semester
) -> None:
    def ask(_zone: str) -> frozenset[str]:
        if answer is None:
            raise NotKnownError("no resolver")
        return answer

    found = common.delegation(fa26, "example.edu", wanted, ask)
    assert (found.state, said in found.said) == (state, True), found
    if state == "fail":
        assert "ns1.cloud.example, ns2.cloud.example" in found.remedy


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (Certificate(datetime(2026, 11, 1, tzinfo=UTC), ""), "pass"),
        (Certificate(datetime(2026, 9, 10, tzinfo=UTC), ""), "fail"),
        (Certificate(None, "self-signed certificate"), "fail"),
        (None, "pass"),
    ],
)
def test_certificate(shown: Certificate | None, state: str, fa26: Semester) -> None:
    def look(_host: str) -> Certificate:
        if shown is None:
            raise NotKnownError("refused")
        return shown

    assert common.certificate(fa26, NOW, look).state == state
    if shown is None:
        silent = fa26.model_copy(update={"hub": fa26.hub.model_copy(update={"acme_email": None})})
        assert common.certificate(silent, NOW, look).state == "unknown"


def test_the_fallback_answers_or_not(fa26: Semester) -> None:
    def silent(_host: str, _port: int) -> str:
        raise NotKnownError("Connection refused")

    assert common.fallback(fa26, lambda host, port: f"SSH-2.0 {host} {port}").said.endswith("hub0.example.edu 22")
    assert common.fallback(fa26, silent).state == "fail"
    assert common.fallback(fa26.model_copy(update={"fallback": None}), silent).state == "unknown"
