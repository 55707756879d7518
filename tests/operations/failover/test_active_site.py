"""Which site is asked for what is done where the class works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from operations import stacks
from operations.errors import UserError
from operations.failover import context
from operations.failover.sites import Done, Site, Sites, UnreachableError
from operations.ssh import NotLetIn

pytestmark = pytest.mark.unit


class Line:
    """A way to a machine that answers with one status, or not at all."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer, self.asked = answer, 0

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = 0) -> Done:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return Done(0, self.answer, "")


AWAY = UnreachableError("away")
ACTIVE = '{"role": "active", "epoch": 3, "writable": true}'
FENCED = '{"role": "fenced", "epoch": 3, "writable": false}'
PROMOTED = '{"role": "active", "epoch": 4, "writable": true}'


def two(monkeypatch: pytest.MonkeyPatch, cloud: Line, fallback: Line) -> None:
    @contextlib.contextmanager
    def sites_of(_stack: str, _semester: Any) -> Iterator[Sites]:
        yield Sites(Site("cloud", "", 443, cloud), Site("fallback", "", 443, fallback))

    monkeypatch.setattr(context, "sites_of", sites_of)


def test_the_cloud_is_asked_alone_while_it_may_write_even_if_the_fallback_was_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fallback = Line(NotLetIn("semesterhub:fallback.ssh_key: does not exist"))
    two(monkeypatch, Line(ACTIVE), fallback)
    with context.active_site("demo") as site:
        assert site.name == "cloud"
    assert fallback.asked == 0


@pytest.mark.parametrize("cloud", [AWAY, FENCED], ids=["away", "fenced"])
def test_after_a_failover_the_fallback_is_asked(monkeypatch: pytest.MonkeyPatch, cloud: str | Exception) -> None:
    two(monkeypatch, Line(cloud), Line(PROMOTED))
    with context.active_site("demo") as site:
        assert site.name == "fallback"


def test_in_the_middle_of_a_failover_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    two(monkeypatch, Line(FENCED), Line('{"role": "standby", "epoch": 2, "writable": false}'))
    with pytest.raises(UserError, match="no site says that it is active"), context.active_site("demo"):
        pass


def test_a_semester_without_a_fallback_has_its_hub_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = stacks.load("demo").model_copy(update={"fallback": None})
    monkeypatch.setattr(stacks, "load", lambda _stack: alone)
    with context.active_site("demo") as site:
        assert (site.name, str(site.port)) == ("cloud", "8443")
