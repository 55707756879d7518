"""The node agent's decisions: packet filter, Docker's configuration, what restarts a container, how a node drains."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.node_agent import boot, bundle, config, firewall, secretstore, swarm
from components.node_agent.config import AgentError, NodeConfig

pytestmark = pytest.mark.unit


def node(role: str = "worker", **changes: Any) -> NodeConfig:
    values: dict[str, Any] = {
        "role": role,
        "hub_ip": "10.88.0.2",
        "cluster_cidr": "10.88.0.0/24",
        "bridge_cidr": "172.30.0.0/22",
        "hub_api_port": 8081,
        "registry_port": 5000,
        "student_memory_mib": 0 if role == "hub" else 5376,
        "secret_store": "file:/var/lib/semesterhub/cluster",
    }
    return NodeConfig(**{**values, **changes})


def verdict(rules: list[str], **packet: Any) -> str:
    """What the first matching rule says of a packet: a small model of iptables for the options the agent uses."""
    for rule in rules:
        words = re.findall(r"(!\s+)?(--?[a-z]+)\s+(\S+)", rule)
        target, matches = "", True
        for negated, option, value in words:
            if option == "-j":
                target = value
                continue
            if option == "-m":
                continue
            given = packet.get(
                {"-i": "i", "-o": "o", "-s": "s", "-d": "d", "-p": "p", "--dport": "dport", "--ctstate": "state"}[
                    option
                ]
            )
            if option in ("-s", "-d"):
                hit = given is not None and ipaddress.ip_address(given) in ipaddress.ip_network(value)
            elif option == "--ctstate":
                hit = given in value.split(",")
            else:
                hit = str(given) == value
            matches &= hit != bool(negated)
        if matches:
            return target
    return "RETURN"


STUDENT = {"i": "docker0", "o": "eth0", "s": "172.30.0.5", "state": "NEW", "p": "tcp"}


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ({**STUDENT, "d": "10.88.0.2", "dport": 8081}, "RETURN"),
        ({**STUDENT, "d": "10.88.0.2", "dport": 5000}, "DROP"),
        ({**STUDENT, "d": "10.88.0.2", "dport": 2377}, "DROP"),
        ({**STUDENT, "d": "10.88.0.12", "dport": 32768}, "DROP"),
        ({**STUDENT, "d": "10.88.0.1", "dport": 22}, "DROP"),
        ({**STUDENT, "d": "169.254.169.254", "dport": 80}, "DROP"),
        ({**STUDENT, "d": "169.254.169.254", "dport": 80, "state": "ESTABLISHED"}, "DROP"),
        ({**STUDENT, "d": "140.82.112.3", "dport": 443}, "RETURN"),
        ({"i": "eth0", "o": "docker0", "s": "10.88.0.2", "d": "172.30.0.5", "p": "tcp", "dport": 8888, "state": "NEW"}, "RETURN"),
        ({"i": "eth0", "o": "docker0", "s": "10.88.0.12", "d": "172.30.0.5", "p": "tcp", "dport": 8888, "state": "NEW"}, "DROP"),
        ({"i": "eth0", "o": "docker0", "s": "10.88.0.12", "d": "172.30.0.5", "p": "tcp", "dport": 8888, "state": "ESTABLISHED"}, "RETURN"),
    ],
)  # fmt: skip
def test_students_reach_the_hub_api_and_the_internet_and_only_the_hub_reaches_them(
    packet: dict[str, Any], expected: str
) -> None:
    assert verdict(firewall.forward_rules(node()), **packet) == expected


@pytest.mark.parametrize(
    ("role", "packet", "expected"),
    [
        ("worker", {"i": "docker0", "s": "172.30.0.5", "p": "tcp", "dport": 22, "state": "NEW"}, "DROP"),
        ("worker", {"i": "docker_gwbridge", "s": "172.18.0.5", "p": "tcp", "dport": 7946, "state": "NEW"}, "DROP"),
        ("worker", {"i": "eth0", "s": "10.88.0.2", "p": "tcp", "dport": 7946, "state": "NEW"}, "RETURN"),
        ("worker", {"i": "eth0", "s": "192.0.2.7", "p": "tcp", "dport": 7946, "state": "NEW"}, "DROP"),
        ("worker", {"i": "eth0", "s": "192.0.2.7", "p": "tcp", "dport": 443, "state": "NEW"}, "DROP"),
        ("hub", {"i": "eth0", "s": "192.0.2.7", "p": "tcp", "dport": 443, "state": "NEW"}, "RETURN"),
        ("hub", {"i": "eth0", "s": "192.0.2.7", "p": "tcp", "dport": 8081, "state": "NEW"}, "DROP"),
        ("hub", {"i": "eth0", "s": "10.88.0.11", "p": "tcp", "dport": 8081, "state": "NEW"}, "RETURN"),
        ("hub", {"i": "eth0", "s": "192.0.2.7", "p": "tcp", "dport": 2377, "state": "NEW"}, "DROP"),
        ("hub", {"i": "lo", "s": "127.0.0.1", "p": "tcp", "dport": 8001, "state": "NEW"}, "RETURN"),
    ],
)  # fmt: skip
def test_the_machine_itself_answers_only_who_must_reach_it(role: str, packet: dict[str, Any], expected: str) -> None:
    assert verdict(firewall.input_rules(node(role)), **packet) == expected


def test_the_filter_is_one_transaction_that_empties_its_own_chains_first() -> None:
    lines = firewall.render(node("hub")).splitlines()
    assert lines[0] == "*filter" and lines[-1] == "COMMIT"
    assert f":{firewall.FORWARD_CHAIN} - [0:0]" in lines
    assert not any(line.startswith((":INPUT", ":FORWARD", "-F")) for line in lines)


def test_docker_keeps_students_apart_and_advertises_only_what_students_may_have() -> None:
    worker, hub = boot.daemon_config(node()), boot.daemon_config(node("hub"))
    assert worker["icc"] is False and worker["no-new-privileges"] is True
    assert worker["bip"] == "172.30.0.1/22"
    assert worker["node-generic-resources"] == ["student-memory-mib=5376"]
    assert "node-generic-resources" not in hub
    assert worker["insecure-registries"] == ["10.88.0.2:5000"]


def test_with_a_registry_of_the_cloud_the_hub_has_none_of_its_own() -> None:
    cloud = node("hub", registry="123456789012.dkr.ecr.us-west-2.amazonaws.com")
    assert "insecure-registries" not in boot.daemon_config(cloud)
    registry = {"i": "eth0", "s": "10.88.0.11", "p": "tcp", "dport": 5000, "state": "NEW"}
    assert verdict(firewall.input_rules(node("hub")), **registry) == "RETURN"
    assert verdict(firewall.input_rules(cloud), **registry) == "DROP"


def test_node_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    wanted = node(cloud="aws", images=("a@sha256:1", "b@sha256:2"), open_ports=(443,), homes="nfs4:fs-1.efs:/")
    file.write_text(json.dumps(vars(wanted)))
    assert config.load(file) == wanted


def test_node_file_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    file.write_text(json.dumps({**vars(node()), "hub_adress": "10.0.0.1"}))
    with pytest.raises(AgentError, match="hub_adress"):
        config.load(file)
    with pytest.raises(AgentError, match="cloud-init writes it"):
        config.load(tmp_path / "none.json")


def test_file_store_is_for_root_alone_and_unknown_stores_are_refused(tmp_path: Path) -> None:
    store = secretstore.open_store(node(secret_store=f"file:{tmp_path}"))
    assert store.get("join-token") is None
    store.put("join-token", "SWMTKN-1-x")
    assert store.get("join-token") == "SWMTKN-1-x"
    assert (tmp_path / "join-token").stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(AgentError, match="file:/absolute/directory"):
        secretstore.open_store(node(secret_store="vault:thing"))
    with pytest.raises(AgentError, match="not understood on azure"):
        secretstore.open_store(node(cloud="azure", secret_store="ssm:us-west-2:/semesterhub/fa26"))


def container(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    settings = tmp_path / "settings.json"
    if not settings.exists():
        settings.write_text("{}")
    return {
        "name": "hub",
        "image": "r/hub@sha256:aa",
        "files": [str(settings)],
        "secret_env": {"T": "proxy_token"},
        **changes,
    }


def test_a_container_restarts_when_its_description_its_files_or_its_secrets_change(tmp_path: Path) -> None:
    (tmp_path / "proxy_token").write_text("one")
    first = bundle.fingerprint(container(tmp_path), tmp_path)
    assert bundle.fingerprint(container(tmp_path), tmp_path) == first
    assert bundle.fingerprint(container(tmp_path, image="r/hub@sha256:bb"), tmp_path) != first
    (tmp_path / "settings.json").write_text('{"title": "x"}')
    changed = bundle.fingerprint(container(tmp_path), tmp_path)
    assert changed != first
    (tmp_path / "proxy_token").write_text("two")
    assert bundle.fingerprint(container(tmp_path), tmp_path) != changed


def test_secrets_reach_a_container_by_name_only(tmp_path: Path) -> None:
    arguments = bundle.run_arguments(
        container(tmp_path, mounts=[{"source": "/a", "target": "/b", "read_only": True}]), "mark"
    )
    assert arguments[arguments.index("--env") + 1] == "T"
    assert "/a:/b:ro" in arguments
    assert arguments[-1] == "r/hub@sha256:aa"


def test_generated_secrets_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SECRETS_DIR", tmp_path)
    bundle.generate_secrets(["cookie_secret"])
    first = (tmp_path / "cookie_secret").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    bundle.generate_secrets(["cookie_secret"])
    assert (tmp_path / "cookie_secret").read_text() == first


class FakeSwarm:
    """Two servers on worker-1; the Hub's API stops them, one a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends_by_itself_after: int | None = None) -> None:
        self.calls: list[str] = []
        self.servers = [{"ID": f"s{i}", "Spec": {"Labels": {"semesterhub.user": f"u{i}"}}} for i in (1, 2)]
        self.now, self.after = 0.0, ends_by_itself_after
        entry = {"ID": "n1", "Status": {"State": "ready"}, "Description": {"Hostname": "worker-1"}}
        monkeypatch.setattr(swarm, "find", lambda _host: [entry])
        monkeypatch.setattr(swarm, "servers_on", self.on)
        monkeypatch.setattr(swarm, "docker", lambda *words, **_: self.calls.append(" ".join(words)) or "")
        monkeypatch.setattr(swarm, "stop_server", self.stop)
        monkeypatch.setattr(swarm.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(swarm.time, "sleep", self.sleep)

    def on(self, _node: str) -> list[dict[str, Any]]:
        if self.after is not None and self.now >= self.after:
            self.servers = []
        return list(self.servers)

    def stop(self, _node: NodeConfig, service: dict[str, Any]) -> None:
        self.calls.append(f"stop {service['ID']}")
        self.servers.remove(service)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_drain_cordons_waits_and_stops_only_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSwarm(monkeypatch)
    swarm.drain(node("hub"), "worker-1", timeout_s=60)
    assert fake.now >= 60
    assert fake.calls == [
        "node update --availability pause n1", "stop s1", "stop s2",
        "node update --availability drain n1", "node rm --force n1",
    ]  # fmt: skip


def test_drain_cuts_nobody_off_who_leaves_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSwarm(monkeypatch, ends_by_itself_after=20)
    swarm.drain(node("hub"), "worker-1", timeout_s=600)
    assert 20 <= fake.now < 30
    assert not any(call.startswith("stop") for call in fake.calls)


def test_forget_leaves_a_live_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [{"ID": "old", "Status": {"State": "down"}}, {"ID": "new", "Status": {"State": "ready"}}]
    calls: list[str] = []
    monkeypatch.setattr(swarm, "find", lambda _host: entries)
    monkeypatch.setattr(swarm, "docker", lambda *words, **_: calls.append(" ".join(words)) or "")
    assert swarm.forget("worker-1") == 1
    assert calls == ["node rm --force old"]


def test_the_only_machine_lets_its_students_reach_the_hub_and_nothing_else_of_it() -> None:
    alone = node("hub", student_memory_mib=4096, hub_ip="172.30.0.1", cluster_cidr="172.30.0.0/22")
    asks = {"i": "docker0", "s": "172.30.0.5", "d": "172.30.0.1", "p": "tcp", "state": "NEW"}
    rules = firewall.input_rules(alone)
    assert verdict(rules, **asks, dport=8081) == "RETURN"
    assert {verdict(rules, **asks, dport=port) for port in (22, 443, 2377, 5000, 8001)} == {"DROP"}
    assert verdict(firewall.input_rules(node("hub")), **{**asks, "d": "10.88.0.2"}, dport=8081) == "DROP"
    outside = {"i": "eth0", "s": "192.0.2.7", "d": "192.0.2.80", "p": "tcp", "state": "NEW"}
    assert [verdict(rules, **outside, dport=port) for port in (443, 8081, 5000)] == ["RETURN", "DROP", "DROP"]


@pytest.mark.parametrize(("memory_mib", "availability"), [(0, "drain"), (4096, "active")])
def test_a_manager_takes_students_only_where_it_is_the_only_machine(
    memory_mib: int, availability: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(boot, "swarm_state", lambda: {"LocalNodeState": "active", "NodeID": "n1"})
    monkeypatch.setattr(boot, "docker", lambda *words, **_: asked.append(words) or "token")
    boot.form_swarm(node("hub", student_memory_mib=memory_mib), secretstore.FileStore(tmp_path))
    assert ("node", "update", "--availability", availability, "n1") in asked


def test_a_file_takes_the_place_of_the_folder_that_docker_made_for_a_mount_without_it(tmp_path: Path) -> None:
    from components.node_agent.shell import write_file

    (tmp_path / "keeper.json").mkdir()
    assert write_file(tmp_path / "keeper.json", "{}") and (tmp_path / "keeper.json").read_text() == "{}"
