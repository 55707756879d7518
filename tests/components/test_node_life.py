"""A machine's life in a cloud: disks before Docker, images before students, the bundle followed, a quiet goodbye."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.node_agent import boot, bundle, disks, drains, follow, images, leave, watch
from components.node_agent.config import AgentError
from components.node_agent.notice import Notice
from tests.components.test_node_agent import node

pytestmark = pytest.mark.unit
HOMES = "nfs4:fs-0abc.efs.us-west-2.amazonaws.com:/"


class Commands:
    """What would be run; answers by the beginning of the command, '' else."""

    def __init__(self, answers: dict[str, str | Exception] | None = None) -> None:
        self.run: list[str] = []
        self.answers = answers or {}

    def __call__(self, *command: str, **_: Any) -> str:
        line = " ".join(command)
        self.run.append(line)
        answer = next((text for start, text in self.answers.items() if line.startswith(start)), "")
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeClock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.now = 0.0
        for module in modules:
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
            monkeypatch.setattr(module.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# -- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(disks, "UNITS", tmp_path / "units")
    monkeypatch.setattr(disks, "TLS_FILE", tmp_path / "tls.conf")
    monkeypatch.setattr(disks, "HOMES_DIR", tmp_path / "homes")
    monkeypatch.setattr(disks, "STATE_MOUNT", tmp_path / "state")
    mounted: set[Path] = set()
    monkeypatch.setattr(Path, "is_mount", lambda self: self in mounted)
    monkeypatch.setattr(disks, "MOUNTED", mounted, raising=False)
    return tmp_path


def commands_that_mount(
    monkeypatch: pytest.MonkeyPatch, where: Path, answers: dict[str, str | Exception] | None = None
) -> Commands:
    commands = Commands(answers)

    def run(*command: str, **more: Any) -> str:
        if command[:2] == ("systemctl", "start") and command[2].endswith(".mount"):
            disks.MOUNTED.add(where)  # type: ignore[attr-defined]
        return commands(*command, **more)

    monkeypatch.setattr(disks, "run", run)
    return commands


def test_homes_come_over_tls_and_docker_waits_for_them(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands_that_mount(monkeypatch, disk / "homes")
    disks.mount_homes(node(cloud="aws", homes=HOMES))
    tls = (disk / "tls.conf").read_text()
    assert (
        "connect = fs-0abc.efs.us-west-2.amazonaws.com:2049" in tls
        and "checkHost = fs-0abc.efs.us-west-2.amazonaws.com" in tls
    )
    assert "verifyChain = yes" in tls and "accept = 127.0.0.1:20049" in tls
    unit = (disk / "units" / disks.unit_name(disk / "homes")).read_text()
    assert "What=127.0.0.1:/\n" in unit and "RequiredBy=docker.service" in unit and "Before=docker.service" in unit
    assert "Requires=semesterhub-homes-tls.service" in unit and "port=20049" in unit and "nfsvers=4.1" in unit


def test_homes_that_do_not_mount_stop_the_boot(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "run", Commands())
    with pytest.raises(AgentError, match=r"is not mounted from fs-0abc.*journalctl"):
        disks.mount_homes(node(cloud="aws", homes=HOMES))
    with pytest.raises(AgentError, match="allowed: nfs4:<host>:/<export>"):
        disks.mount_homes(node(cloud="aws", homes="fs-0abc"))


STATE = {"state_device": "/dev/fake-*", "cloud": "aws"}


def test_an_empty_disk_is_made_a_file_system_once(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "find_device", lambda _pattern: "/dev/nvme1n1")
    commands = commands_that_mount(monkeypatch, disk / "state", {"blkid -o value -s UUID": "u-1\n"})
    disks.mount_state(node("hub", **STATE))
    assert "mkfs.ext4 -q -L semesterhub /dev/nvme1n1" in commands.run
    assert "What=/dev/disk/by-uuid/u-1" in (disk / "units" / disks.unit_name(disk / "state")).read_text()
    before = len(commands.run)
    disks.mount_state(node("hub", **STATE))
    assert len(commands.run) == before


def test_the_stacks_own_disk_is_mounted_as_it_is(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "find_device", lambda _pattern: "/dev/nvme1n1")
    answers: dict[str, str | Exception] = {
        "blkid -o value -s LABEL": "semesterhub\n",
        "blkid -o value -s UUID": "u-1\n",
    }
    commands = commands_that_mount(monkeypatch, disk / "state", answers)
    disks.mount_state(node("hub", **STATE))
    assert not any(line.startswith("mkfs") for line in commands.run)


def test_a_disk_with_anything_on_it_is_never_formatted(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "find_device", lambda _pattern: "/dev/nvme1n1")
    commands = Commands({"blkid -p": "DEVNAME=/dev/nvme1n1\nTYPE=xfs\n"})
    monkeypatch.setattr(disks, "run", commands)
    with pytest.raises(AgentError, match=r"something else on it .*TYPE=xfs.*not formatted"):
        disks.mount_state(node("hub", **STATE))
    assert not any(line.startswith("mkfs") for line in commands.run)


def test_the_one_unused_disk_is_found_and_two_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(monkeypatch, disks)
    used = {"a"}
    monkeypatch.setattr(disks, "in_use", lambda name: Path(name).name in used)
    (tmp_path / "a").touch()
    with pytest.raises(AgentError, match="no unused disk after 300 s"):
        disks.find_device(f"{tmp_path}/*")
    assert clock.now >= 300
    (tmp_path / "b").touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert disks.find_device(f"{tmp_path}/*") == str(tmp_path / "b")
    used.clear()
    with pytest.raises(AgentError, match="are all unused; name one"):
        disks.find_device(f"{tmp_path}/*")


def test_a_new_hub_vm_with_the_old_disk_is_the_same_swarm_manager() -> None:
    assert boot.daemon_config(node("hub", **STATE))["data-root"] == "/var/lib/semesterhub/docker"
    assert "data-root" not in boot.daemon_config(node("worker", **STATE))


# -- images ----------------------------------------------------------------------------------------------------------


class Registry:
    """Holds images from a time on; Docker's client pulls only while it is signed in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, published_at: float) -> None:
        self.clock = FakeClock(monkeypatch, images)
        self.here: set[str] = set()
        self.signed_in = False
        self.pulls: list[str] = []
        self.published_at = published_at

        @contextmanager
        def session(_node: Any) -> Any:
            self.signed_in = True
            yield
            self.signed_in = False

        monkeypatch.setattr(images, "signed_in", session)
        monkeypatch.setattr(images, "docker", self.docker)

    def docker(self, *words: str, **_: Any) -> str:
        if words[0] == "image":
            return "x" if words[-1] in self.here else ""
        assert words[0] == "pull" and self.signed_in
        self.pulls.append(words[-1])
        if self.clock.now < self.published_at:
            raise AgentError("manifest unknown")
        self.here.add(words[-1])
        return ""


def test_a_node_waits_until_its_images_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(monkeypatch, published_at=100)
    assert images.pull(node(registry="r"), ["r/a@sha256:1", "r/b@sha256:2"], 3600) == ["r/a@sha256:1", "r/b@sha256:2"]
    assert registry.here == {"r/a@sha256:1", "r/b@sha256:2"} and registry.clock.now >= 100
    registry.pulls.clear()
    assert images.pull(node(registry="r"), ["r/a@sha256:1"]) == [] and registry.pulls == []


def test_images_that_never_come_end_in_the_registrys_words(monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(monkeypatch, published_at=1e9)
    with pytest.raises(AgentError, match="manifest unknown"):
        images.pull(node(registry="r"), ["r/a@sha256:1"], 60)


def test_the_registrys_password_is_piped_and_its_folder_is_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def docker(*words: str, stdin: str = "", **_: Any) -> str:
        seen.update(words=words, stdin=stdin, folder=Path(images.os.environ["DOCKER_CONFIG"]))
        return ""

    class Cloud:
        def registry_login(self) -> tuple[str, str]:
            return "AWS", "secret"

    monkeypatch.setattr(images, "docker", docker)
    monkeypatch.setattr(images, "cloud_of", lambda _node: Cloud())
    monkeypatch.setattr(images, "RUN_DIR", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    with images.signed_in(node(registry="r.example")):
        assert seen["folder"].is_dir()
    assert seen["stdin"] == "secret" and "secret" not in seen["words"]
    assert not seen["folder"].exists() and "DOCKER_CONFIG" not in images.os.environ


# -- the bundle ------------------------------------------------------------------------------------------------------


class Store:
    """A cloud with one object and some secrets."""

    def __init__(self, document: dict[str, Any] | None, secrets: dict[str, str]) -> None:
        self.document, self.secrets = document, secrets

    def fetch(self, _address: str, etag: str) -> tuple[str, str] | None:
        if self.document is None:
            return None
        now = f'"{hash(json.dumps(self.document))}"'
        return None if etag == now else (now, json.dumps(self.document))

    def get_secret(self, name: str) -> str | None:
        return self.secrets.get(name)


@pytest.fixture
def hub_vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Paths of a hub VM below a folder; the bundles that were applied."""
    applied: list[Any] = []
    monkeypatch.setattr(follow, "ETAG_FILE", tmp_path / "etag")
    monkeypatch.setattr(follow, "SETTINGS_FILE", tmp_path / "settings.json")
    monkeypatch.setattr(follow, "SECRETS_DIR", tmp_path / "secrets")
    monkeypatch.setattr(bundle, "BUNDLE_FILE", tmp_path / "bundle.json")
    monkeypatch.setattr(bundle, "load_bundle", lambda: json.loads((tmp_path / "bundle.json").read_text()))
    monkeypatch.setattr(bundle, "apply", lambda described, _pull: applied.append(described) or [])
    return applied


HUB = {"cloud": "aws", "bundle": "s3://b/bundle/current.json"}
DOCUMENT = {"settings": "{}\n", "bundle": {"revision": "1", "containers": [], "store_secrets": ["oauth_client_secret"]}}


def test_the_hub_vm_converges_to_what_was_written(
    hub_vm: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(None, {"oauth_client_secret": "s3cret"})
    monkeypatch.setattr(follow, "cloud_of", lambda _node: store)
    assert "nobody has written" in str(follow.once(node("hub", **HUB))["waiting"])
    store.document = DOCUMENT
    assert follow.once(node("hub", **HUB))["changed"] is True
    assert (tmp_path / "settings.json").read_text() == "{}\n"
    secret = tmp_path / "secrets/oauth_client_secret"
    assert secret.read_text() == "s3cret" and secret.stat().st_mode & 0o777 == 0o600
    assert follow.once(node("hub", **HUB))["changed"] is False
    assert [item["revision"] for item in hub_vm] == ["1", "1"]


def test_what_did_not_work_out_is_tried_again(hub_vm: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(DOCUMENT, {})
    monkeypatch.setattr(follow, "cloud_of", lambda _node: store)
    for _ in range(2):
        with pytest.raises(AgentError, match="oauth_client_secret is not in the secret store"):
            follow.once(node("hub", **HUB))
    assert hub_vm == []
    store.secrets["oauth_client_secret"] = "now"
    assert follow.once(node("hub", **HUB))["changed"] is True and len(hub_vm) == 1


def test_a_worker_pulls_what_the_newest_bundle_names(hub_vm: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[str] = []
    store = Store({"settings": "", "bundle": {"worker_images": ["r/student@sha256:9"]}}, {})
    monkeypatch.setattr(follow, "cloud_of", lambda _node: store)
    monkeypatch.setattr(images, "pull", lambda _node, references: pulled.extend(references))
    follow.once(node(**HUB))
    follow.once(node(**HUB))
    assert pulled == ["r/student@sha256:9"] and hub_vm == []


def test_a_worker_joins_only_when_the_bundle_and_its_images_are_there(
    hub_vm: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pulled = Store(None, {}), []
    clock = FakeClock(monkeypatch, follow)

    def fetch(_address: str, etag: str) -> tuple[str, str] | None:
        store.document = (
            {"settings": "", "bundle": {"worker_images": ["r/student@sha256:9"]}} if clock.now >= 60 else None
        )
        return Store.fetch(store, _address, etag)

    def pull(_node: Any, references: list[str]) -> None:
        if clock.now < 120:
            raise AgentError("manifest unknown")
        pulled.extend(references)

    monkeypatch.setattr(store, "fetch", fetch)
    monkeypatch.setattr(follow, "cloud_of", lambda _node: store)
    monkeypatch.setattr(images, "pull", pull)
    follow.first_images(node(**HUB))
    assert pulled == ["r/student@sha256:9"] and 120 <= clock.now < 160
    clock.now, store.document = -1e9, None
    with pytest.raises(AgentError, match="manifest unknown"):
        monkeypatch.setattr(
            store, "fetch", lambda *_: ('"1"', json.dumps({"settings": "", "bundle": {"worker_images": ["x"]}}))
        )
        follow.first_images(node(**HUB))


# -- going away ------------------------------------------------------------------------------------------------------


class Cloud:
    def __init__(self) -> None:
        self.heartbeats, self.ended, self.now = 0, 0, None

    def notice(self) -> Notice | None:
        return self.now

    def still_draining(self, _notice: Notice) -> None:
        self.heartbeats += 1

    def gone(self, _notice: Notice) -> None:
        self.ended += 1


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(boot, "DAEMON_FILE", tmp_path / "daemon.json")
    monkeypatch.setattr(leave, "run", commands)
    monkeypatch.setattr(leave, "docker", lambda *words, **_: commands("docker", *words))
    return commands


def test_a_worker_asks_waits_for_its_students_and_ends_the_cloud_s_wait(
    worker: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, cloud = FakeClock(monkeypatch, leave), Cloud()
    monkeypatch.setattr(leave, "servers_here", lambda: 3 if clock.now < 200 else 0)
    leave.leave(node(cloud="aws"), cloud, Notice("lifecycle", 600, "goodbye"))
    assert json.loads(boot.DAEMON_FILE.read_text())["labels"] == ["semesterhub.drain=600"]
    assert worker.run[0] == "pkill -HUP -x dockerd" and worker.run[-1] == "docker swarm leave --force"
    assert 205 <= clock.now <= 225 and cloud.heartbeats == 3 and cloud.ended == 1


def test_an_empty_worker_stays_until_nobody_can_be_sent_to_it_any_more(
    worker: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, cloud = FakeClock(monkeypatch, leave), Cloud()
    monkeypatch.setattr(leave, "servers_here", lambda: 0)
    leave.leave(node(cloud="aws"), cloud, Notice("spot", 90, "goodbye"))
    assert leave.CORDONED_AFTER_S + leave.EMPTY_FOR_S <= clock.now < 70 and cloud.ended == 1


def test_a_student_who_never_leaves_does_not_hold_the_machine_for_ever(
    worker: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, cloud = FakeClock(monkeypatch, leave), Cloud()
    monkeypatch.setattr(leave, "servers_here", lambda: 1)
    leave.leave(node(cloud="aws"), cloud, Notice("lifecycle", 300, "goodbye"))
    assert clock.now <= 300 + leave.CORDONED_AFTER_S + leave.STOP_S + 10 and cloud.ended == 1


def test_a_machine_that_may_stay_after_all_joins_again(worker: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cloud, boots, left = FakeClock(monkeypatch, leave), Cloud(), [], []
    monkeypatch.setattr(leave, "cloud_of", lambda _node: cloud)
    monkeypatch.setattr(leave, "leave", lambda *_: left.append(1))
    monkeypatch.setattr(boot, "boot", lambda _node: boots.append(1))
    machine = leave.Leave(node(cloud="azure"))
    machine.look()
    cloud.now = Notice("e-1", 1, "reboot")
    machine.look()
    machine.look()
    assert (left, boots) == ([1], [])
    cloud.now = None
    clock.now = 590
    machine.look()
    assert boots == []
    clock.now = 610
    machine.look()
    machine.look()
    assert (left, boots) == ([1], [1])


def entry(id: str, state: str = "ready", labels: dict[str, str] | None = None, role: str = "worker") -> dict[str, Any]:
    description = {"Hostname": f"host-{id}", "Engine": {"Labels": labels}}
    return {"ID": id, "Spec": {"Role": role}, "Status": {"State": state}, "Description": description}


def test_the_hub_vm_drains_who_asks_once_and_forgets_who_is_long_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, drained, commands = FakeClock(monkeypatch, drains), [], Commands()
    entries = [
        entry("stays"),
        entry("asks", labels={"semesterhub.drain": "45"}),
        entry("manager", labels={"semesterhub.drain": "1"}, role="manager"),
        entry("asks-and-is-down", "down", {"semesterhub.drain": "9"}),
    ]
    monkeypatch.setattr(drains.swarm, "nodes", lambda: entries)
    monkeypatch.setattr(
        drains.swarm, "drain_entry", lambda _node, one, wait_s: drained.append((one["ID"], wait_s)) or "done"
    )
    monkeypatch.setattr(drains, "docker", lambda *words, **_: commands(*words))
    manager = drains.Drains(node("hub", cloud="aws"))
    manager.look()
    for thread in manager.draining.values():
        thread.join(5)
    assert drained == [("asks", 45.0)] and commands.run == []
    entries.pop(1)
    clock.now = 299
    manager.look()
    assert commands.run == []
    clock.now = 301
    manager.look()
    assert commands.run == ["node rm --force asks-and-is-down"]


def test_a_trouble_is_said_once_and_never_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tries = iter([AgentError("no network"), AgentError("no network"), None, OSError("again"), KeyboardInterrupt()])

    def look() -> None:
        trouble = next(tries)
        if trouble:
            raise trouble

    monkeypatch.setattr(watch, "say", said.append)
    monkeypatch.setattr(watch.time, "sleep", lambda _s: None)
    with pytest.raises(KeyboardInterrupt):
        watch.forever(look, 1)
    assert said == ["no network", "again"]
