"""Off means seen to be off: the steps of the fence, on a cloud that can be slow, busy, stubborn or a liar."""

from __future__ import annotations

import pytest

from operations.patience import LaterError, Patience
from operations.power.model import PowerError
from tests.operations.power.clouds import Clock, Cloud

pytestmark = pytest.mark.unit


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(Clock())


def test_a_running_site_is_stopped_closed_and_looked_at_once_more(cloud: Cloud) -> None:
    proof = cloud.fence().stop()
    assert (proof.how, proof.detail) == ("cloud", "the cloud: hub is off; nothing leads to the hub VM or to the homes")
    assert cloud.changes == ["stop", "shut"] and cloud.log[-2:] == ["doors", "look"]


def test_stopping_twice_asks_for_nothing_new(cloud: Cloud) -> None:
    cloud.fence().stop()
    cloud.log.clear()
    assert cloud.fence().stop().how == "cloud" and cloud.changes == ["shut"]


def test_a_machine_that_does_not_end_in_order_is_forced(cloud: Cloud) -> None:
    cloud.takes_s = 10_000
    cloud.fence().stop()
    assert cloud.changes == ["stop", "shut", "force"] and cloud.clock.now < 60


def test_a_cloud_that_says_done_while_the_machine_runs_on_is_not_believed(cloud: Cloud) -> None:
    cloud.watch = lambda it: it.states.update(hub="running")
    with pytest.raises(PowerError, match="hub in the cloud still run 180 s after they were told to stop at once"):
        cloud.fence().stop()
    assert cloud.changes == ["stop", "shut", "force"]


def test_a_cloud_that_says_closed_while_the_door_is_open_is_not_believed(cloud: Cloud) -> None:
    cloud.shuts = False
    with pytest.raises(PowerError, match="said that it closed the way in, but shows after 60 s: the hub is reachable"):
        cloud.fence().stop()


def test_a_machine_that_comes_up_again_is_no_proof(cloud: Cloud) -> None:
    def watch(it: Cloud) -> None:
        if "doors" in it.log:  # after the doors were looked at, somebody starts it
            it.states["hub"] = "running"

    cloud.watch = watch
    with pytest.raises(PowerError, match="came up again"):
        cloud.fence().stop()


def test_a_site_without_a_machine_proves_nothing(cloud: Cloud) -> None:
    cloud.states.clear()
    with pytest.raises(PowerError, match="nothing proves that its hub does not run somewhere"):
        cloud.fence().stop()


def test_a_machine_that_is_gone_for_good_is_off(cloud: Cloud) -> None:
    cloud.states["hub"] = "gone"
    assert "hub is gone" in cloud.fence().stop().detail


def test_another_account_is_refused_before_anything_is_touched(cloud: Cloud) -> None:
    cloud.mine = False
    for act in (cloud.fence().stop, cloud.fence().start, cloud.fence().state):
        with pytest.raises(PowerError, match="another account"):
            act()
    assert cloud.changes == []
    assert cloud.fence().check() == "another account"


def test_a_busy_cloud_is_asked_again(cloud: Cloud) -> None:
    cloud.busy = 5
    assert cloud.fence().stop().how == "cloud"


def test_a_cloud_that_stays_busy_ends_in_a_sentence(cloud: Cloud) -> None:
    cloud.busy = 10_000
    with pytest.raises(PowerError, match="the cloud could not be asked for 60 s: too many requests; run this again"):
        cloud.fence().stop()
    assert cloud.clock.now < 100


def test_every_machine_of_the_site_is_stopped(cloud: Cloud) -> None:
    cloud.states["worker-1"] = "running"
    assert "worker-1 is off" in cloud.fence().stop().detail


def test_a_stopped_site_starts_with_its_doors_open(cloud: Cloud) -> None:
    cloud.fence().stop()
    assert cloud.fence().state() == "off"
    assert cloud.fence().start() == "the cloud: hub run"
    assert cloud.changes[-2:] == ["open", "start"] and cloud.fence().state() == "running"


def test_a_machine_on_its_way_down_is_started_when_it_is_down(cloud: Cloud) -> None:
    cloud.states["hub"] = "changing"
    cloud.due["hub"] = (20.0, "off")
    # A look finds what is due; while it is on its way down, a start is refused as too early.
    watched = cloud.ask_on

    def ask_on(machines: object) -> None:
        cloud.machines()
        watched(machines)  # type: ignore[arg-type]

    cloud.ask_on = ask_on  # type: ignore[method-assign]
    assert cloud.fence().start() == "the cloud: hub run"


def test_a_machine_that_never_comes_up_is_told(cloud: Cloud) -> None:
    cloud.states["hub"] = "off"
    cloud.takes_s = 10_000
    with pytest.raises(PowerError, match="hub in the cloud do not run 180 s after they were told to start"):
        cloud.fence().start()


def test_a_check_changes_nothing(cloud: Cloud) -> None:
    assert cloud.fence().check() == "" and cloud.changes == [] and "rehearse" in cloud.log
    cloud.states.clear()
    assert cloud.fence().check() == "the cloud has no machine of this stack"


def test_patience_waits_as_long_as_the_server_wants_and_ends_in_time() -> None:
    clock = Clock()
    asked: list[float] = []

    def ask() -> None:
        asked.append(clock.now)
        raise LaterError("not now", after_s=7)

    with pytest.raises(LaterError):
        clock.patience(20).until(ask)
    assert asked == [0, 7, 14, 20]  # the last time at the very end
    assert Patience(1, sleep=lambda _s: None).until(lambda: 42) == 42
