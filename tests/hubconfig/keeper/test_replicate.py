"""Two keepers copy homes and hub state between two sites, whichever of them is active, and nothing that only one holds is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hubconfig.keeper.trees import Student, held
from tests.hubconfig.keeper.two_sites import Sites

pytestmark = pytest.mark.sandbox


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    both = Sites(tmp_path)
    both.make_database()
    for name in ("ada", "other"):
        Student(both.homes("cloud") / name, 5).work(20)
    both.at_work("ada", "other")
    (tmp_path / "cloud" / "secrets" / "cookie_secret").write_text("c" * 64)
    try:
        both.start("cloud")
        both.start("fallback")
        yield both
    finally:
        both.stop()


def equal(sites: Sites) -> None:
    for home in ("ada", "other"):
        assert held(sites.homes("fallback") / home) == held(sites.homes("cloud") / home)


def test_what_the_active_site_has_is_on_the_standby_by_the_watermark(sites: Sites) -> None:
    first = sites.copied()
    equal(sites)
    assert sites.users("fallback") == {"ada", "other"}
    assert (sites.folder / "fallback" / "secrets" / "cookie_secret").read_text() == "c" * 64
    Student(sites.homes("cloud") / "ada", 6).work(30)
    sites.at_work("new")
    second = sites.copied()
    equal(sites)
    assert "new" in sites.users("fallback")
    assert (second["epoch"], second["seq"] > first["seq"]) == (1, True)
    assert sites.ask("cloud", "status")["watermark"]["homes_until"] > 0


def test_hub_state_is_there_within_two_seconds_and_costs_no_connection(sites: Sites) -> None:
    sites.copied()
    before = (sites.folder / "connections").read_text().count("peer\n")
    sites.at_work("quick")
    began = time.monotonic()
    sites.until(lambda: "quick" in sites.users("fallback"))
    assert time.monotonic() - began < 2
    assert (sites.folder / "connections").read_text().count("peer\n") == before == 1


def test_a_keeper_killed_again_and_again_gets_there(sites: Sites) -> None:
    for round_ in range(4):
        time.sleep(0.3 * round_)
        sites.kill("cloud")
        Student(sites.homes("cloud") / "ada", 100 + round_).work(20)
        sites.start("cloud")
    sites.copied()
    equal(sites)


def test_after_a_cut_network_everything_goes_on(sites: Sites) -> None:
    sites.copied()
    sites.cut()
    sites.kill("cloud")
    sites.start("cloud")
    sites.until(lambda: "No route to host" in sites.log("cloud"))
    Student(sites.homes("cloud") / "ada", 7).work(20)
    sites.cut(False)
    sites.copied()
    equal(sites)


def test_a_planned_move_and_back_loses_nothing(sites: Sites) -> None:
    sites.copied()
    (sites.homes("cloud") / "ada" / "last words").write_text("before the fence")
    sites.at_work("late")
    sites.hand_over("cloud", "fallback", 2, "t-two")
    assert (sites.homes("fallback") / "ada" / "last words").read_text() == "before the fence"
    assert "late" in sites.users("fallback")
    sites.until(lambda: sites.ask("cloud", "status")["role"] == "standby")
    (sites.homes("fallback") / "ada" / "on the fallback").write_text("x")
    (sites.homes("fallback") / "other" / "last words").unlink(missing_ok=True)
    sites.at_work("there", site="fallback")
    mark = sites.copied("cloud")
    assert mark["epoch"] == 2
    assert (sites.homes("cloud") / "ada" / "on the fallback").read_text() == "x"
    assert "there" in sites.users("cloud")
    (sites.homes("fallback") / "ada" / "also this").write_text("y")
    sites.hand_over("fallback", "cloud", 3, "t-three")
    assert (sites.homes("cloud") / "ada" / "also this").read_text() == "y"
    sites.until(lambda: sites.ask("fallback", "status")["role"] == "standby")
    sites.copied()
    equal(sites)


def test_work_that_only_a_lost_site_had_comes_beside_what_was_done_since(sites: Sites) -> None:
    sites.copied()
    cloud, fallback = sites.homes("cloud") / "ada", sites.homes("fallback") / "ada"
    (cloud / "both.ipynb").write_text("the same at first")
    sites.copied()
    sites.kill("cloud")
    (cloud / "both.ipynb").write_text("written just before the power went")
    (cloud / "only here.txt").write_text("x")
    sites.promote_unasked("fallback", 2, "t-two", "failover")
    (fallback / "both.ipynb").write_text("written after the move")
    sites.start("cloud")
    sites.until(lambda: sites.ask("cloud", "status")["role"] == "standby")
    for home in (cloud, fallback):
        assert (home / "both.ipynb").read_text() == "written after the move"
        assert (home / "only here.txt").read_text() == "x"
        (kept,) = home.glob("both (kept from cloud, epoch 1, *).ipynb")
        assert kept.read_text() == "written just before the power went"


def test_the_same_the_other_way_round(sites: Sites) -> None:
    sites.copied()
    sites.hand_over("cloud", "fallback", 2, "t-two")
    sites.until(lambda: sites.ask("cloud", "status")["role"] == "standby")
    sites.copied("cloud")
    cloud, fallback = sites.homes("cloud") / "ada", sites.homes("fallback") / "ada"
    (fallback / "both.ipynb").write_text("the same at first")
    sites.copied("cloud")
    sites.cut()
    sites.kill("cloud")
    sites.start("cloud")
    sites.until(lambda: "No route to host" in sites.log("cloud"))
    (fallback / "both.ipynb").write_text("written just before the power went")
    (fallback / "only there.txt").write_text("x")
    sites.promote_unasked("cloud", 3, "t-three", "failback")
    (cloud / "both.ipynb").write_text("written after the move")
    sites.cut(False)
    sites.until(lambda: sites.ask("fallback", "status")["role"] == "standby")
    sites.copied()
    for home in (cloud, fallback):
        assert (home / "both.ipynb").read_text() == "written after the move"
        assert (home / "only there.txt").read_text() == "x"
        (kept,) = home.glob("both (kept from fallback, epoch 2, *).ipynb")
        assert kept.read_text() == "written just before the power went"
    assert not list((sites.homes("cloud") / ".semesterhub-incoming").iterdir())


def test_a_site_that_is_active_takes_nothing(sites: Sites) -> None:
    sites.copied()
    sites.kill("cloud")
    sites.promote_unasked("fallback", 2, "t-two", "failover")
    top = f"{sites.homes('fallback')}/"
    code, why = sites.run(
        "fallback", "peer-rsync", f"rsync --server -logDtpRe.iLsfxCIvu --files-from=- --from0 . {top}"
    )
    assert (code, "active itself" in why) == (3, True)


@pytest.mark.parametrize(
    "command",
    [
        "rsync --server -logDtpRe.iLsfxCIvu . /etc/",
        "rsync --server -logDtpRe.iLsfxCIvu . {top}../",
        "rsync --server -logDtpRe.iLsfxCIvu --log-file=/etc/passwd . {top}",
        "rsync --server -logDtpRe.iLsfxCIvu --files-from=/etc/shadow . {top}",
        "rsync --server --daemon . {top}",
        "rsync --server -logDtpRe.iLsfxCIvu --partial-dir=/etc . {top}",
        "rsync --server -e.iLsfxCIvu --remove-source-files . {top}",
        "sh -c id",
        "rsync {top}",
        "",
    ],
)
def test_only_a_copy_of_homes_may_come_in(tmp_path: Path, command: str) -> None:
    both = Sites(tmp_path)
    code, why = both.run("fallback", "peer-rsync", command.format(top=f"{both.homes('fallback')}/"))
    assert (code, why.startswith("refused: ")) == (3, True)


def test_sync_says_why_there_is_nothing_to_copy(tmp_path: Path) -> None:
    both = Sites(tmp_path)
    code, why = both.run("fallback", "sync")
    assert (code, "does not dial" in why) == (3, True)
    code, why = both.run("cloud", "sync", "--final")
    assert (code, "--token" in why) == (3, True)
