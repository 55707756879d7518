"""The keeper's commands on two sites in folders of their own, as an admin's command calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hubconfig.keeper import __main__ as keeper
from hubconfig.keeper import commands, doors
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
