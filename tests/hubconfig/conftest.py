"""Spawners of one hub over a fake Swarm, for the tests of hubconfig."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hubconfig import class_spawner
from hubconfig.settings import HubSettings
from hubconfig.spawner import SemesterSpawner
from tests.hubconfig.fakes import FakeDocker, FakeUser, make_settings


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker()


@pytest.fixture
def make_spawner(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes spawners of one hub: same fake Swarm, same queue, no waiting between looks, homes only noted."""
    monkeypatch.setattr(class_spawner, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(class_spawner, "LOOK_FOR_ROOM_EVERY_S", 0)
    monkeypatch.setattr(class_spawner, "ASK_AGAIN_S", (0, 0))
    monkeypatch.setattr(class_spawner, "PLACE_AGAIN_S", 0)
    monkeypatch.setattr(SemesterSpawner, "_desk", None)
    monkeypatch.setattr("hubconfig.desk.StartDesk.export_metrics", lambda self: None)
    monkeypatch.setattr("hubconfig.desk.StartDesk.keep_fresh", lambda self: None)
    monkeypatch.setattr(SemesterSpawner, "_join_group", lambda self, course: None)

    async def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(docker, method)(*args, **kwargs)

    async def answers(where: str) -> bool:
        return True

    async def listens(address: str, port: int) -> bool:
        return False

    monkeypatch.setattr(SemesterSpawner, "docker", call)
    monkeypatch.setattr(SemesterSpawner, "answers", staticmethod(answers))
    monkeypatch.setattr(SemesterSpawner, "listens", staticmethod(listens))
    monkeypatch.setattr(SemesterSpawner, "server", SimpleNamespace(base_url="/user/ada/"), raising=False)
    monkeypatch.setattr(SemesterSpawner, "get_env", lambda self: {"JUPYTERHUB_API_TOKEN": f"token-{self.user.name}"})

    def make(name: str = "ada", *, settings: HubSettings | None = None, server: str = "", **user: Any) -> Any:
        spawner = SemesterSpawner(
            user=FakeUser(name, **user),
            hub_settings=settings or make_settings(),
            make_home=lambda homes, username: f"{homes}/{username}",
            orm_spawner=SimpleNamespace(name=server, state={}, server=None),
        )
        spawner.user_options = {}
        return spawner

    return make
