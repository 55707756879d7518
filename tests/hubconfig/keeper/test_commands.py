"""The keeper's commands on two sites in folders of their own, as an admin's command calls them."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from hubconfig.keeper import __main__ as keeper
from hubconfig.keeper import commands, doors, store
from hubconfig.keeper.config import load
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.keeper import Beats, renew
from tests.hubconfig.keeper.fakes import FakeEngine

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """No Docker is touched: a hub that has ended, and two students' servers."""
    fake = FakeEngine()
    fake.servers = {"ada": 1, "bob": 2}
    monkeypatch.setattr(doors, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(commands, "Doors", lambda config: doors.Doors(config, fake, hub=lambda: False))
    return fake


class Site:
    """One site: its folders, and the command line of its keeper."""

    def __init__(self, folder: Path, site: str, capsys: pytest.CaptureFixture[str], **more: object) -> None:
        self._capsys = capsys
        self.file = folder / site / "keeper.json"
        paths = {name: str(folder / site / name) for name in ("homes_path", "state_path", "secrets_path", "run_path")}
        self.file.parent.mkdir(parents=True)
        role = "active" if site == "cloud" else "standby"
        document = {
            "site": site,
            "hub_url": "https://hub.test",
            "domain": "hub.test",
            "first_role": role,
            **paths,
            **more,
        }
        self.file.write_text(json.dumps(document))

    def __call__(self, *arguments: str) -> dict[str, object]:
        code = keeper.main(["--config", str(self.file), *arguments])
        said = self._capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    def refused(self, *arguments: str) -> str:
        assert keeper.main(["--config", str(self.file), *arguments]) == 3
        said = self._capsys.readouterr()
        assert not said.out
        return said.err.strip()


@pytest.fixture
def cloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, "cloud", capsys)


@pytest.fixture
def fallback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, "fallback", capsys, dials=False)


CLAIM = ("claim", "--epoch", "2", "--token", "t1", "--by", "ada", "--kind", "failover")
OURS = ("--epoch", "2", "--token", "t1")


def test_a_failover_by_its_commands_and_each_of_them_twice(cloud: Site, fallback: Site) -> None:
    for stopped in (2, 0):
        assert fallback(*CLAIM)["claim"]["by"] == "ada"  # type: ignore[index]
        fenced = cloud("fence", *OURS)
        assert (fenced["role"], fenced["writable"], fenced["servers_stopped"]) == ("fenced", False, stopped)
        fallback("proof", *OURS, "--how", "ssh", "--detail", "fenced over ssh")
        if stopped:
            assert "not the class" in fallback.refused("promote", *OURS)  # nothing was ever copied
        assert fallback("promote", *OURS, "--older-files")["writable"] is True
    assert fallback("release", "--token", "t1")["claim"] is None
    assert cloud("status")["writable"] is False


def test_no_promotion_without_claim_and_proof(fallback: Site) -> None:
    assert "no claim" in fallback.refused("promote", *OURS)
    fallback(*CLAIM)
    assert "no proof" in fallback.refused("promote", *OURS)


def test_a_second_command_is_kept_out_until_it_takes_over(fallback: Site) -> None:
    fallback(*CLAIM)
    other = ("claim", "--epoch", "3", "--token", "t2", "--by", "bob", "--kind", "failover")
    assert "by ada" in fallback.refused(*other)
    assert fallback(*other, "--take-over")["claim"]["by"] == "bob"  # type: ignore[index]
    assert "no claim" in fallback.refused("proof", *OURS, "--how", "ssh", "--detail", "late")


def test_a_host_key_is_told_and_checked(cloud: Site) -> None:
    assert "no SSH host key" in cloud.refused("trust", "--host-key", "nonsense")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDQKMjhKwYkU2cHzS0IbyD0kLZnBvTQYmLMvJSQ0abc root@metal"
    assert cloud("trust", "--host-key", key) == {"changed": True}
    assert cloud("trust", "--host-key", key) == {"changed": False}
    assert cloud("status")["peer"]["known"] is True  # type: ignore[index]


def test_a_promotion_waits_until_nothing_is_copied_here_any_more(
    fallback: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback(*CLAIM)
    fallback("proof", *OURS, "--how", "ssh", "--detail", "fenced")
    monkeypatch.setattr(commands, "wait_for_receivers", lambda config: store.wait_for_receivers(config, 0.2))
    with (tmp_path / "fallback" / "run_path" / store.RECEIVERS).open("a") as copy:
        fcntl.flock(copy, fcntl.LOCK_SH)
        assert "still being written" in fallback.refused("promote", *OURS, "--older-files")
        assert fallback("status")["writable"] is False
    assert fallback("promote", *OURS)["writable"] is True


def test_an_active_site_that_restarted_needs_its_peer_or_a_word(cloud: Site, tmp_path: Path) -> None:
    config = load(cloud.file)
    assert renew(store.Store(config), None).renew, "no peer is known, so nobody else can be active"
    cloud("trust", "--host-key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDQKMjhKwYkU2cHzS0IbyD0kLZnBvTQYmLMvJSQ0abc")
    assert renew(store.Store(config), None).renew, "silence does not end a lease that holds"
    (config.run_path / "boot").unlink()  # the machine restarts
    verdict = renew(store.Store(config), None)
    assert not verdict.renew and "confirm" in verdict.why_not
    assert cloud("status")["lapsed"] is True
    assert cloud("confirm", "--by", "ada")["writable"] is True
    assert renew(store.Store(config), None).renew


def test_hellos_between_two_sites_end_the_older_one(cloud: Site, fallback: Site) -> None:
    sites = [store.Store(load(site.file)) for site in (cloud, fallback)]
    ours, theirs = (Beats(site) for site in sites)
    for _ in range(2):
        ours.hear(theirs.serve(ours.hello()))
    assert ours.answer() and theirs.answer(), "each has heard something that was said after it asked"
    renew(sites[0], ours.answer())
    assert cloud("status")["writable"] is True
    fallback(*CLAIM)
    fallback("proof", *OURS, "--how", "admin", "--detail", "it was said to be off")
    fallback("promote", *OURS, "--older-files")
    ours.hear(theirs.serve(ours.hello()))
    assert cloud("status")["role"] == "fenced" and fallback("status")["writable"] is True


def test_a_hello_of_oneself_or_of_another_revision_is_refused(cloud: Site) -> None:
    beats = Beats(store.Store(load(cloud.file)))
    with pytest.raises(KeeperError, match="cloud site too"):
        beats.hear(beats.hello())
    with pytest.raises(KeeperError, match="same revision"):
        beats.hear({"site": "fallback"})


def test_homes_that_an_admin_changed_by_hand_are_marked_for_the_next_cycle(cloud: Site) -> None:
    homes = Path(json.loads(cloud.file.read_text())["homes_path"])
    (homes / "ada").mkdir(parents=True)
    assert cloud("mark", "ada") == {"marked": 1}
    assert "'grace' is no home on this site" in cloud.refused("mark", "ada", "grace")
