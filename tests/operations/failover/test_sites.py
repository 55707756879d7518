"""How a keeper's answer, its refusal and its silence are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from operations.errors import UserError
from operations.failover.sites import Done, RefusedError, Site, Sites, UnreachableError, active_name, call

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Says:
    """A transport with one answer for everything."""

    done: Done | None

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = 45) -> Done:
        if self.done is None:
            raise UnreachableError("no route")
        return self.done


def site(done: Done | None, name: str = "fallback") -> Site:
    return Site(name, "192.0.2.1", 443, Says(done))


def test_an_answer_a_refusal_and_a_silence_are_three_things() -> None:
    assert site(Done(0, '{"role": "standby"}', "")).status() == {"role": "standby"}
    with pytest.raises(RefusedError, match="the fallback site refuses: epoch 2 is old"):
        site(Done(3, "", "epoch 2 is old\n")).keeper("claim")
    with pytest.raises(UnreachableError, match="keeper does not answer: Error: no such container"):
        site(Done(1, "", "Error: no such container: keeper")).status()
    with pytest.raises(UnreachableError, match="answers no JSON"):
        site(Done(0, "hello", "")).status()


def test_the_active_site_is_the_one_of_the_newest_epoch() -> None:
    old = site(Done(0, '{"role": "active", "epoch": 1}', ""), "cloud")
    new = site(Done(0, '{"role": "active", "epoch": 2}', ""))
    assert active_name(Sites(old, new)) == "fallback"
    with pytest.raises(
        UserError, match=r"no site says that it is active \(cloud: does not answer, fallback: standby\)"
    ):
        active_name(Sites(site(None, "cloud"), site(Done(0, '{"role": "standby", "epoch": 2}', ""))))


def test_a_secret_that_is_not_there_is_said_without_a_value() -> None:
    with pytest.raises(UnreachableError, match="has no operator_token"):
        site(Done(0, "\n", "")).secret("operator_token")
    with pytest.raises(ValueError, match="etc/passwd"):
        site(None).secret("../etc/passwd")


def test_a_command_that_hangs_is_a_site_that_does_not_answer() -> None:
    with pytest.raises(UnreachableError, match=r"the machine m did not answer within 0.2 s"):
        call(["sleep", "5"], "", 0.2, "the machine m")
    with pytest.raises(UserError, match="no-such-program is not installed"):
        call(["no-such-program"], "", 1, "the machine m")
