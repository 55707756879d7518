"""What the keeper does to the containers around it, and that a fence is not done before nothing writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from hubconfig.keeper import doors as subject
from hubconfig.keeper import roles
from hubconfig.keeper.config import KeeperConfig, parse
from hubconfig.keeper.engine import Engine
from hubconfig.keeper.errors import KeeperError
from tests.hubconfig.keeper.fakes import FakeEngine

pytestmark = pytest.mark.unit


@pytest.fixture
def config(tmp_path: Path) -> KeeperConfig:
    paths = {name: str(tmp_path / name) for name in ("homes_path", "state_path", "secrets_path", "run_path")}
    return parse({"site": "cloud", "hub_url": "https://hub.test:8443", "domain": "hub.test", **paths})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 0.001)


FENCED = roles.fence(roles.first("cloud", "active"), 2, "t")


def test_shut_and_open_again_leave_nothing_behind(config: KeeperConfig) -> None:
    engine = FakeEngine()
    doors = subject.Doors(config, engine, hub=lambda: False)
    for _ in range(2):
        doors.shut(FENCED)
        assert doors.closed and engine.paused == {"proxy"}
        assert "https://hub.test:8443" in config.away_file.read_text()
    for _ in range(2):
        doors.open()
        assert not doors.closed and not engine.paused and not config.away_file.exists()
    assert not list(config.away_file.parent.glob(".*"))


def test_each_role_has_a_page_of_its_own(config: KeeperConfig) -> None:
    doors = subject.Doors(config, FakeEngine(), hub=lambda: False)
    pages = set()
    for state in (FENCED, roles.rejoined(FENCED), roles.first("cloud", "active")):
        doors.shut(state)
        pages.add(config.away_file.read_text())
    assert len(pages) == 3


def test_a_hub_that_hangs_is_killed_and_one_that_stays_is_told(config: KeeperConfig) -> None:
    engine = FakeEngine()
    subject.Doors(config, engine, hub=lambda: not engine.restarted).end_hub(within_s=0.01)
    assert engine.restarted == ["hub"]
    with pytest.raises(KeeperError, match="does not end"):
        subject.Doors(config, FakeEngine(), hub=lambda: True).end_hub(within_s=0.01)


def test_servers_are_removed_and_waited_for(config: KeeperConfig) -> None:
    engine = FakeEngine()
    engine.servers = {"ada": 3, "bob": 0}
    assert subject.Doors(config, engine).remove_servers() == {"servers_stopped": 2, "machines_down": []}
    assert not engine.servers and not engine.ending


def test_a_server_that_does_not_end_is_a_refusal_unless_its_machine_is_down(config: KeeperConfig) -> None:
    engine = FakeEngine()
    engine.servers = {"ada": 10**9}
    doors = subject.Doors(config, engine)
    with pytest.raises(KeeperError, match="1 students' servers still run"):
        doors.remove_servers(within_s=0.02)
    engine.down = {"node-ada"}
    assert doors.remove_servers()["machines_down"] == ["node-ada-host"]


class Docker(BaseHTTPRequestHandler):
    """The Engine API's answers as Docker 20.10 gives them, for one frozen proxy."""

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None: ...

    def _say(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/containers/proxy/json":
            self._say(200, {"State": {"Running": True, "Paused": True}})
        elif self.path.startswith("/tasks"):
            ours = {"Labels": {"semesterhub.user": "ada"}}
            self._say(200, [{"Spec": {"ContainerSpec": ours}}, {"Spec": {"ContainerSpec": {}}}, {"Spec": {}}])
        elif self.path.startswith("/services"):
            self._say(503, {"message": "This node is not a swarm manager."})
        else:
            self._say(404, {"message": "no such thing"})

    def do_POST(self) -> None:
        self._say(*((204, None) if self.path == "/containers/proxy/unpause" else (500, {"message": "broken"})))


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Engine]:
    path = tmp_path / "docker.sock"
    server = ThreadingUnixStreamServer(str(path), Docker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Engine(path)
    server.shutdown()
    server.server_close()


def test_docker_is_asked_over_its_socket(docker: Engine) -> None:
    assert docker.unpause("proxy") and not docker.pause("proxy")
    assert docker.container("hub") is None and not docker.restart("hub")
    assert docker.services() == [] and len(docker.tasks()) == 1
    assert docker.has_image("a@sha256:1") is False


def test_a_docker_that_fails_or_is_away_is_a_refusal(docker: Engine, tmp_path: Path) -> None:
    with pytest.raises(KeeperError, match="broken"):
        docker.restart("proxy")
    with pytest.raises(KeeperError, match="does not answer"):
        Engine(tmp_path / "none.sock").container("hub")
