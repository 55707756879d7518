"""Hub state arrives complete or not at all, in small pieces, and never on a site that uses it."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from pathlib import Path

import pytest

from hubconfig.keeper import config as configuration
from hubconfig.keeper import hub_state
from hubconfig.keeper.config import KeeperConfig
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.hub_state import Shipment, StateSource

pytestmark = pytest.mark.unit


def site(folder: Path, name: str, role: str) -> KeeperConfig:
    paths = {key: str(folder / name / key) for key in ("homes_path", "state_path", "secrets_path", "run_path")}
    config = configuration.parse(
        {"site": name, "hub_url": "https://hub.test", "domain": "hub.test", "first_role": role, **paths}
    )
    for path in (config.state_path / "hub", config.state_path / "edge" / "pki", config.secrets_path):
        path.mkdir(parents=True)
    return config


@pytest.fixture
def cloud(tmp_path: Path) -> KeeperConfig:
    config = site(tmp_path, "cloud", "active")
    with sqlite3.connect(database(config)) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE users (name TEXT, token TEXT)")
        opened.executemany("INSERT INTO users VALUES (?, ?)", [(f"u{n}", "x" * 500) for n in range(500)])
    opened.close()
    (config.secrets_path / "cookie_secret").write_text("c" * 64)
    (config.secrets_path / "peer_key").write_text("never leaves")
    (config.state_path / "edge" / "pki" / "root.key").write_text("key")
    (config.state_path / "edge" / "autosave.json").write_text("not this")
    return config


@pytest.fixture
def fallback(tmp_path: Path) -> KeeperConfig:
    return site(tmp_path, "fallback", "standby")


def database(config: KeeperConfig) -> Path:
    return config.state_path / "hub" / "jupyterhub.sqlite"


def users(config: KeeperConfig) -> int:
    with sqlite3.connect(database(config)) as opened:
        (count,) = opened.execute("SELECT count(*) FROM users").fetchone()
    opened.close()
    return count


def add(config: KeeperConfig, name: str) -> None:
    with sqlite3.connect(database(config)) as opened:
        opened.execute("INSERT INTO users VALUES (?, 'y')", (name,))
    opened.close()


def ship(source: StateSource, target: KeeperConfig, *, arrived: bool) -> Shipment:
    found = source.look(arrived=arrived)
    assert isinstance(found, Shipment)
    hub_state.receive(target, found.header, found.data)
    return found


def test_database_secrets_and_certificates_arrive_and_nothing_else(cloud: KeeperConfig, fallback: KeeperConfig) -> None:
    ship(StateSource(cloud), fallback, arrived=False)
    assert users(fallback) == 500
    assert (fallback.secrets_path / "cookie_secret").read_text() == "c" * 64
    assert (fallback.state_path / "edge" / "pki" / "root.key").read_text() == "key"
    assert [path.name for path in fallback.secrets_path.iterdir()] == ["cookie_secret"]
    assert not (fallback.state_path / "edge" / "autosave.json").exists()
    assert database(fallback).stat().st_mode & 0o777 == 0o600


def test_without_a_change_nothing_travels_and_a_change_costs_little(
    cloud: KeeperConfig, fallback: KeeperConfig
) -> None:
    source = StateSource(cloud)
    whole = ship(source, fallback, arrived=False)
    time.sleep(0.06)
    before = time.time()
    for arrived in (True, False, False):
        until = source.look(arrived=arrived)
        assert isinstance(until, float)
        assert until >= before
    add(cloud, "new")
    (blocks,) = ship(source, fallback, arrived=False).header["blocks"].values()
    assert len(blocks[1]) < 5 < whole.header["blocks"][hub_state.DATABASE][0] // hub_state.BLOCK
    assert users(fallback) == 501


def test_a_checkpoint_alone_is_no_change(cloud: KeeperConfig, fallback: KeeperConfig) -> None:
    source = StateSource(cloud)
    hub = sqlite3.connect(database(cloud))
    hub.execute("INSERT INTO users VALUES ('new', 'y')")
    hub.commit()
    ship(source, fallback, arrived=False)
    time.sleep(0.06)
    assert isinstance(source.look(arrived=True), float)
    hub.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    hub.close()
    assert isinstance(source.look(arrived=False), float)


def test_what_did_not_arrive_is_sent_again(cloud: KeeperConfig, fallback: KeeperConfig) -> None:
    source = StateSource(cloud)
    ship(source, fallback, arrived=False)
    add(cloud, "lost on the way")
    assert isinstance(source.look(arrived=True), Shipment)
    ship(source, fallback, arrived=False)
    assert users(fallback) == 501


def test_a_site_that_lost_its_base_asks_for_everything(cloud: KeeperConfig, fallback: KeeperConfig) -> None:
    source = StateSource(cloud)
    ship(source, fallback, arrived=False)
    for path in (fallback.site_path / "hub-state").iterdir():
        path.unlink()
    add(cloud, "new")
    found = source.look(arrived=True)
    assert isinstance(found, Shipment)
    with pytest.raises(KeeperError, match="sent again"):
        hub_state.receive(fallback, found.header, found.data)
    again = source.look(arrived=False, again=True)
    assert isinstance(again, Shipment)
    hub_state.receive(fallback, again.header, again.data)
    assert users(fallback) == 501


@pytest.mark.parametrize("seed", range(8))
def test_a_site_killed_while_it_takes_state_has_the_old_or_the_new(
    cloud: KeeperConfig, fallback: KeeperConfig, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = StateSource(cloud)
    ship(source, fallback, arrived=False)
    database(fallback).with_name("jupyterhub.sqlite-wal").write_bytes(b"of another database")
    add(cloud, "new")
    (cloud.secrets_path / "cookie_secret").write_text("d" * 64)
    found = source.look(arrived=True)
    assert isinstance(found, Shipment)
    write, writes = hub_state._write, [random.Random(seed).randrange(6)]

    class Killed(Exception):
        pass

    def killed(path: Path, data: bytes, mode: int) -> None:
        if writes[0] == 0:
            raise Killed
        writes[0] -= 1
        write(path, data, mode)

    monkeypatch.setattr(hub_state, "_write", killed)
    with contextlib.suppress(Killed):
        hub_state.receive(fallback, found.header, found.data)
    monkeypatch.setattr(hub_state, "_write", write)
    hub_state.finish(fallback)
    pair = (users(fallback), (fallback.secrets_path / "cookie_secret").read_text()[0])
    assert pair in ((500, "c"), (501, "d"))


def test_nothing_is_put_in_place_on_an_active_site(cloud: KeeperConfig, tmp_path: Path) -> None:
    other = site(tmp_path, "fallback", "active")
    found = StateSource(cloud).look(arrived=False)
    assert isinstance(found, Shipment)
    hub_state.receive(other, found.header, found.data)
    assert not database(other).exists()


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "secrets/../../x",
        "secrets/peer_key",
        "edge/../x",
        "edge/pki/../../../x",
        "edge/pki",
        "hub/other",
        "",
    ],
)
def test_no_other_place_is_written_to(fallback: KeeperConfig, name: str) -> None:
    header = {"files": {name: [hub_state.digest(b""), 0o600]}, "blocks": {name: [0, []]}, "until": 1.0}
    with pytest.raises(KeeperError, match="no part of a hub's state"):
        hub_state.receive(fallback, header, b"")
