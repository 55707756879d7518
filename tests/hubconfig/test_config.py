"""The configuration file itself, loaded as JupyterHub loads it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import PyFileConfigLoader

from hubconfig.cluster import Node
from hubconfig.routes import GuardedProxy
from hubconfig.spawner import SemesterSpawner
from tests.hubconfig.fakes import raw_settings
from tests.hubconfig.test_settings import CLUSTER

pytestmark = pytest.mark.unit

HUBCONFIG = Path(__file__).resolve().parents[2] / "hubconfig"
SECRETS = (
    "cookie_secret",
    "crypt_key",
    "proxy_token",
    "metrics_token",
    "operator_token",
    "student_password",
    "admin_password",
)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    secrets, settings, state = tmp_path / "secrets", tmp_path / "settings.json", tmp_path / "state"
    secrets.mkdir()
    for name in SECRETS:
        (secrets / name).write_text(f"{name}-with-more-than-32-characters\n")
    monkeypatch.setenv("SEMESTERHUB_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("SEMESTERHUB_SETTINGS", str(settings))
    monkeypatch.setenv("SEMESTERHUB_STATE_DIR", str(state))

    def load(**changes: Any) -> Any:
        settings.write_text(json.dumps(raw_settings(**changes)))
        return PyFileConfigLoader("jupyterhub_config.py", path=str(HUBCONFIG)).load_config()

    return load


def test_nothing_that_ends_the_hub_ends_a_server(load: Any) -> None:
    hub = load().JupyterHub
    assert (hub.cleanup_servers, hub.cleanup_proxy, hub.shutdown_on_logout) == (False, False, False)


def test_hub_and_proxy_meet_where_the_deployment_puts_them(load: Any) -> None:
    c = load()
    assert c.JupyterHub.hub_bind_url == "http://0.0.0.0:8081"
    assert c.JupyterHub.hub_connect_url == "http://10.88.0.10:8081"
    assert c.JupyterHub.public_url == "https://demo.localhost:8443/"
    assert c.JupyterHub.proxy_class is GuardedProxy
    assert c.GuardedProxy.should_start is False
    assert c.GuardedProxy.auth_token == "proxy_token-with-more-than-32-characters"
    assert c.JupyterHub.spawner_class is SemesterSpawner


def test_with_kubernetes_the_same_rules_hold_and_a_keeper_runs(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hubconfig.kube_spawner import SemesterKubeSpawner

    monkeypatch.setenv("KUBECONFIG", "")
    c = load(orchestrator="kubernetes", kubernetes=CLUSTER)
    assert c.JupyterHub.spawner_class is SemesterKubeSpawner
    assert c.ClassSpawner.hub_settings.kubernetes.cluster_name == "semesterhub-fa26-cluster"
    assert c.SemesterKubeSpawner.namespace == "students" and c.SemesterKubeSpawner.uid == 1000
    assert "kubernetes-keeper" in {service["name"] for service in c.JupyterHub.services}
    with pytest.raises(SystemExit, match="neither PEM nor base64"):
        load(orchestrator="kubernetes", kubernetes={**CLUSTER, "ca_certificate": "x"})


def test_a_hub_on_swarm_never_loads_the_other_cluster(load: Any, tmp_path: Path) -> None:
    load()
    code = (
        "import sys; from traitlets.config import PyFileConfigLoader; "
        f"PyFileConfigLoader('jupyterhub_config.py', path={str(HUBCONFIG)!r}).load_config(); "
        "print([name for name in sys.modules if name.startswith('kube')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_queue_not_the_hub_limits_starts_and_its_page_shows_at_once(load: Any) -> None:
    c = load(admission={"queue_timeout_s": 1000, "start_timeout_s": 200})
    assert c.JupyterHub.concurrent_spawn_limit == 0
    assert c.JupyterHub.active_server_limit == 0
    assert c.ClassSpawner.start_timeout > 1200
    assert c.JupyterHub.tornado_settings.get_value({}) == {"slow_spawn_timeout": 0}


@pytest.mark.parametrize("idle_timeout_s", [60, 600, 3600, 86400])
def test_activity_is_noted_often_enough_that_a_busy_server_is_never_culled(load: Any, idle_timeout_s: int) -> None:
    c = load(culling={"idle_timeout_s": idle_timeout_s})
    reported_s = int(c.ClassSpawner.environment["JUPYTERHUB_ACTIVITY_INTERVAL"])
    assert reported_s + c.JupyterHub.activity_resolution < idle_timeout_s
    assert c.JupyterHub.last_activity_interval + c.JupyterHub.activity_resolution < idle_timeout_s


def test_metrics_need_a_token_and_named_servers_are_off(load: Any) -> None:
    hub = load().JupyterHub
    assert hub.authenticate_prometheus is True
    assert hub.allow_named_servers is False


def test_the_database_is_prepared_for_readers_beside_the_writer(load: Any, tmp_path: Path) -> None:
    load()
    with sqlite3.connect(tmp_path / "state" / "jupyterhub.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_wrong_file_stops_the_hub_with_one_sentence(load: Any) -> None:
    with pytest.raises(SystemExit, match=r"JupyterHub cannot start: .*hub_ip = 'x'"):
        load(hub_ip="x")


@pytest.mark.parametrize(("settings", "role"), [({}, "worker"), ({"server_role": "manager"}, "manager")])
def test_servers_are_placed_on_workers_and_on_the_manager_where_it_is_the_only_machine(
    load: Any, settings: dict[str, Any], role: str
) -> None:
    assert load(**settings).SemesterSpawner.placement_constraints == [f"node.role=={role}"]


def test_a_node_takes_servers_when_it_offers_memory_for_them_whatever_its_role() -> None:
    manager = Node("n1", "hub", "172.30.0.1", role="manager", state="ready", availability="active", memory_mib=512)
    assert manager.takes_servers and replace(manager, role="worker").takes_servers
    assert not replace(manager, memory_mib=0).takes_servers
    assert not replace(manager, availability="drain").takes_servers and not replace(manager, state="down").takes_servers
