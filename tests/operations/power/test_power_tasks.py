"""What `power.show` and `power.on` tell."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from operations.power import PowerError, tasks
from tests.operations.power.clouds import Clock, Cloud

pytestmark = pytest.mark.unit


def test_show_says_what_runs_and_whether_it_could_be_stopped() -> None:
    out = io.StringIO()
    assert tasks.show("fa16", Console(file=out, width=200), Cloud(Clock()).fence()) == 0
    assert "the hub VM is running; it could be switched off from here" in out.getvalue()
    assert tasks.show("fa16", Console(file=out, width=200), Cloud(Clock(), mine=False).fence()) == 1
    assert "it could not be switched off: another account" in out.getvalue()


def test_on_says_what_runs_again() -> None:
    cloud, out = Cloud(Clock()), io.StringIO()
    cloud.fence().stop()
    tasks.on("fa16", Console(file=out, width=200), cloud.fence())
    assert "the cloud: hub run" in out.getvalue() and cloud.states["hub"] == "running"


def test_a_site_of_another_account_is_not_switched_on() -> None:
    with pytest.raises(PowerError, match="another account"):
        tasks.on("fa16", Console(file=io.StringIO()), Cloud(Clock(), mine=False).fence())
