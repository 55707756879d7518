"""A fenced site on Kubernetes ends its students' pods; against an API server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubconfig import kube_api
from hubconfig.keeper import doors, pods
from hubconfig.keeper.config import KeeperConfig, parse
from hubconfig.keeper.errors import KeeperError
from hubconfig.kube_manifests import PLACEHOLDER, ROLE_LABEL, SERVER
from tests.boot.standin import StandIn, jwt, reply
from tests.hubconfig.fake_kubernetes import FakeKubernetes, node, serving
from tests.hubconfig.test_kube import settings

pytestmark = pytest.mark.unit


def _pod(name: str, role: str = SERVER, on: str = "n1", phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {ROLE_LABEL: role}},
        "spec": {"nodeName": on},
        "status": {"phase": phase},
    }


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    """A cluster with two students' pods and a placeholder; the hub's settings name it."""
    fake = FakeKubernetes(jwt("kubernetes"))
    fake.pods = {p["metadata"]["name"]: p for p in (_pod("ada"), _pod("bob"), _pod("room-1", PLACEHOLDER))}
    monkeypatch.setattr("ssl.create_default_context", lambda *_a, **_k: None)
    monkeypatch.setattr(pods, "LOOK_EVERY_S", 0.001)
    with serving(StandIn()) as metadata, serving(fake) as address:
        monkeypatch.setattr(pods, "connection", lambda cluster, folder: kube_api.connection(cluster, folder, metadata))
        file = tmp_path / "settings.json"
        file.write_text(settings(api_url=address).model_dump_json(by_alias=True))
        monkeypatch.setenv("SEMESTERHUB_SETTINGS", str(file))
        yield fake


@pytest.fixture
def config(tmp_path: Path) -> KeeperConfig:
    paths = {name: str(tmp_path / name) for name in ("homes_path", "state_path", "secrets_path", "run_path")}
    return parse({"site": "cloud", "hub_url": "https://hub.test", "domain": "hub.test", "pods": True, **paths})


def test_students_pods_end_and_the_placeholders_stay(api: FakeKubernetes, config: KeeperConfig) -> None:
    api.pods["old"] = _pod("old", phase="Succeeded")
    assert doors.Doors(config).remove_servers() == {"servers_stopped": 2, "machines_down": []}
    assert api.pods.keys() == {"room-1", "old"}
    assert doors.Doors(config).remove_servers() == {"servers_stopped": 0, "machines_down": []}


def test_a_pod_that_does_not_end_is_a_refusal_unless_its_node_is_silent(api: FakeKubernetes) -> None:
    api.lingering = {"ada": 10**9}
    with pytest.raises(KeeperError, match=r"1 students' pods still run .*kubectl -n"):
        pods.remove(1)
    api.nodes = [node("n1", ready=False), node("n2")]
    assert pods.remove(5)["machines_down"] == ["n1"]


def test_a_cluster_that_does_not_answer_is_a_sentence(api: FakeKubernetes) -> None:
    api.refuse = [reply(403, {"kind": "Status", "code": 403, "reason": "Forbidden"}, Content_Type="application/json")]
    with pytest.raises(KeeperError, match=r"students' pods cannot be ended.*403.*powered-it-off"):
        pods.remove(1)
