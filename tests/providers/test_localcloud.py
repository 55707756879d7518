"""The whole life of local resources, by real `pulumi` commands on the real Docker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.providers.conftest import docker, machine
from tests.providers.harness import Stack

pytestmark = pytest.mark.sandbox


def calls(stack: Stack, name: str) -> list[str]:
    """The commands that were run in a stand-in machine."""
    return docker("exec", stack.docker_name(name), "sh", "-c", "cat /calls 2>/dev/null || true").splitlines()


def objects(stack: Stack) -> str:
    prefix = f"name=semesterhub-{stack.name}-"
    return (
        docker("ps", "-aq", "--filter", prefix)
        + docker("network", "ls", "-q", "--filter", prefix)
        + docker("volume", "ls", "-q", "--filter", prefix)
    )


def inspect(name: str) -> dict:
    return json.loads(docker("inspect", name))[0]


def test_life_of_a_cluster(cluster: Stack, machine_image: str) -> None:
    made = cluster.up()
    assert made.changed == dict.fromkeys(["net", "shared", "hub", "w1"], "create")
    hub = inspect(cluster.docker_name("hub"))
    assert hub["Config"]["Hostname"] == "hub"
    assert sorted(hub["HostConfig"]["CapAdd"]) == ["MKNOD", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"]
    assert not hub["HostConfig"]["Privileged"]
    assert hub["HostConfig"]["MaskedPaths"] in ([], None) and hub["HostConfig"]["CgroupnsMode"] == "private"
    assert hub["HostConfig"]["Memory"] == 128 * 2**20 and hub["HostConfig"]["NanoCpus"] == 5 * 10**8
    assert next(iter(hub["NetworkSettings"]["Networks"].values()))["IPAddress"] == cluster.ip(2)
    assert (
        docker("exec", cluster.docker_name("w1"), "stat", "-c", "%U %a", "/var/lib/cloud/seed/nocloud/user-data")
        == "root 600"
    )
    assert cluster.outputs("w1")["boot_s"] >= 1

    # Nothing changed: nothing is done, in the preview and in the update.
    assert cluster.run("preview", "--refresh", "--expect-no-changes").code == 0
    assert cluster.up().changed == {}

    # Updates in place leave the container alone.
    before = inspect(cluster.docker_name("w1"))["Id"]
    cluster.add(
        "w1",
        "Machine",
        **machine(
            cluster,
            machine_image,
            "w1",
            11,
            manager="$hub.id",
            memory_mib=160,
            cpus=0.75,
            images=["10.0.0.1:5000/light@sha256:aa", "10.0.0.1:5000/flaky@sha256:bb"],
        ),
    )
    assert cluster.up().changed == {"w1": "update"}
    after = inspect(cluster.docker_name("w1"))
    assert after["Id"] == before
    assert (after["HostConfig"]["Memory"], after["HostConfig"]["NanoCpus"]) == (160 * 2**20, 75 * 10**7)
    assert sum("flaky" in c for c in calls(cluster, "w1")) == 2, "a pull that failed is tried again"
    assert cluster.run("preview", "--expect-no-changes").code == 0

    # A worker dies: exactly it comes back, and the hub is told to forget the dead one.
    docker("rm", "-f", cluster.docker_name("w1"))
    seen = cluster.run("preview", "--refresh")
    assert seen.changed == {"w1": "create"}
    assert cluster.up().changed == {"w1": "create"}
    docker("kill", cluster.docker_name("w1"))
    assert cluster.up().changed == {"w1": "create"}
    assert calls(cluster, "hub") == ["forget w1"]

    # Limits changed by hand are drift.
    docker("update", "--memory", "100m", "--memory-swap", "100m", cluster.docker_name("w1"))
    assert cluster.up().changed == {"w1": "update"}
    assert inspect(cluster.docker_name("w1"))["HostConfig"]["Memory"] == 160 * 2**20

    # Another user-data is another machine; the old one is drained first.
    cluster.add(
        "w1",
        "Machine",
        **machine(cluster, machine_image, "w1", 11, manager="$hub.id", user_data="#cloud-config\n# 2\n"),
    )
    assert cluster.up().changed == {"w1": "replace"}
    assert calls(cluster, "hub") == ["forget w1", "drain w1 --timeout 5"]

    # Removed from the program: drained and gone, with its volume.
    del cluster.wanted["w1"]
    assert cluster.up().changed == {"w1": "delete"}
    assert calls(cluster, "hub")[-1] == "drain w1 --timeout 5"
    assert not docker("volume", "ls", "-q", "--filter", f"name={cluster.docker_name('w1')}")

    assert cluster.run("destroy").code == 0
    assert objects(cluster) == ""


def test_machine_waits_while_a_drain_fails(cluster: Stack) -> None:
    cluster.up()
    docker("exec", cluster.docker_name("hub"), "touch", "/refuse-drain")
    del cluster.wanted["w1"]
    refused = cluster.run("up")
    assert refused.code != 0
    assert "the Swarm has no leader" in refused.text and "SEMESTERHUB_DRAIN_TIMEOUT_S=0" in refused.text
    assert inspect(cluster.docker_name("w1"))["State"]["Running"]
    forced = cluster.up(env={"SEMESTERHUB_DRAIN_TIMEOUT_S": "0"})
    assert forced.changed == {"w1": "delete"}


def test_new_network_replaces_its_machines(cluster: Stack) -> None:
    cluster.up()
    cluster.subnet = cluster.subnet[:-3] + str(int(cluster.subnet[-3:]) + 100 if cluster.subnet[-3:].isdigit() else 1)
    other = cluster.subnet = cluster.subnet.rsplit(".", 1)[0] + "." + str(200 + os.getpid() % 50)
    cluster.wanted["net"][1]["cidr"] = f"{other}.0/24"
    cluster.wanted["hub"][1]["ip"] = f"{other}.2"
    cluster.wanted["w1"][1]["ip"] = f"{other}.11"
    assert cluster.up().changed == {"net": "replace", "hub": "replace", "w1": "replace"}
    assert cluster.run("preview", "--refresh", "--expect-no-changes").code == 0


@pytest.mark.parametrize(
    ("user_data", "said"),
    [
        ("FAIL_BOOT", ["failed to boot: no packages", "the package repository is on fire"]),
        ("EXIT_BOOT", ["ended while it booted", "kernel panic"]),
    ],
)
def test_failed_boot_is_told_recorded_and_removed_by_destroy(
    cluster: Stack, machine_image: str, user_data: str, said: list[str]
) -> None:
    cluster.add(
        "w1",
        "Machine",
        **machine(cluster, machine_image, "w1", 11, manager="$hub.id", user_data=f"#cloud-config\n# {user_data}\n"),
    )
    failed = cluster.run("up")
    assert failed.code != 0
    for part in said:
        assert part in failed.text
    assert "Traceback" not in failed.text
    assert next(r for r in cluster.exported()["deployment"]["resources"] if r["urn"].endswith("::w1"))["initErrors"]
    assert cluster.run("destroy").code == 0
    assert objects(cluster) == ""


def test_failed_boot_is_mended_by_the_next_up(cluster: Stack, machine_image: str) -> None:
    cluster.add(
        "w1",
        "Machine",
        **machine(cluster, machine_image, "w1", 11, manager="$hub.id", user_data="#cloud-config\n# FAIL_ONCE\n"),
    )
    assert cluster.run("up").code != 0
    first = inspect(cluster.docker_name("w1"))["Id"]
    assert cluster.up().changed == {"w1": "update"}
    assert inspect(cluster.docker_name("w1"))["Id"] != first
    assert cluster.outputs("w1")["container_id"] == inspect(cluster.docker_name("w1"))["Id"]
    assert cluster.run("preview", "--refresh", "--expect-no-changes").code == 0


def test_image_that_cannot_be_pulled_is_named(cluster: Stack, machine_image: str) -> None:
    cluster.add(
        "w1", "Machine", **machine(cluster, machine_image, "w1", 11, manager="$hub.id", images=["reg/missing:1"])
    )
    failed = cluster.run("up")
    assert (
        failed.code != 0
        and "could not pull (tried 3 times)" in failed.text
        and "manifest unknown: reg/missing:1" in failed.text
    )
    cluster.wanted["w1"][1]["images"] = []
    assert cluster.up().changed == {"w1": "update"}


def test_volume_is_retained_and_adopted(stack: Stack) -> None:
    stack.add("homes", "Volume", stack=stack.name, name="homes", retain=True, purpose="homes")
    stack.up()
    name = stack.docker_name("homes")
    mountpoint = Path(json.loads(docker("volume", "inspect", name))[0]["Mountpoint"])
    (mountpoint / "file").write_text("mine")
    destroyed = stack.run("destroy")
    assert destroyed.code == 0 and f"kept the volume {name}" in destroyed.text
    assert stack.up().changed == {"homes": "create"}
    assert (mountpoint / "file").read_text() == "mine"
    assert stack.run("destroy", env={"SEMESTERHUB_DELETE_HOMES": "another"}).code == 0
    assert (mountpoint / "file").exists()
    stack.up()
    assert stack.run("destroy", env={"SEMESTERHUB_DELETE_HOMES": stack.name}).code == 0
    assert objects(stack) == ""


def test_objects_of_others_are_refused(stack: Stack) -> None:
    name = stack.docker_name("net")
    docker(
        "network",
        "create",
        "--label",
        "semesterhub.owner=000000000000",
        "--label",
        "semesterhub.checkout=/home/other",
        name,
    )
    stack.add("net", "Network", stack=stack.name, name="net", cidr=f"{stack.subnet}.0/24")
    refused = stack.run("up")
    assert refused.code != 0 and f"{name} belongs to the checkout at /home/other" in refused.text
    docker("network", "rm", name)
    docker("network", "create", name)
    refused = stack.run("up")
    assert refused.code != 0 and "was not made by Semesterhub" in refused.text
    docker("network", "inspect", name)


def test_taken_addresses_and_ports_are_told_with_the_key(cluster: Stack) -> None:
    docker("network", "create", "--subnet", f"{cluster.subnet}.128/25", cluster.docker_name("inway"))
    refused = cluster.run("up")
    assert refused.code != 0
    assert (
        f"overlaps with the Docker network {cluster.docker_name('inway')}" in refused.text
        and "semesterhub:network.cidr" in refused.text
    )
    docker("network", "rm", cluster.docker_name("inway"))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        cluster.wanted["hub"][1]["ports"] = [{"host_ip": "127.0.0.1", "host_port": port, "container_port": 443}]
        refused = cluster.run("up")
    assert refused.code != 0
    assert (
        f"port {port} on 127.0.0.1 is taken by the program" in refused.text
        and "semesterhub:local.https_port" in refused.text
    )
    assert f"process {os.getpid()}" in refused.text
    assert not docker("ps", "-aq", "--filter", f"name={cluster.docker_name('hub')}"), (
        "a refused machine leaves nothing behind"
    )
    cluster.up()
    assert inspect(cluster.docker_name("hub"))["HostConfig"]["PortBindings"]["443/tcp"][0]["HostPort"] == str(port)


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = [int(c) for task in Path(f"/proc/{pid}/task").glob("*") for c in (task / "children").read_text().split()]
    return found + [g for c in found for g in children(c)]


def provider_of(pid: int) -> int:
    for child in children(pid):
        if "localcloud/main.py" in Path(f"/proc/{child}/cmdline").read_text():
            return child
    return 0


def wait_for(condition, timeout_s: float = 30):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def start_until_container(cluster: Stack, name: str) -> subprocess.Popen:
    cluster.write()
    process = subprocess.Popen(
        cluster.command("up", "--yes", "--skip-preview"),
        cwd=cluster.folder,
        env=cluster.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: docker("ps", "-q", "--filter", f"name={cluster.docker_name(name)}"))
    return process


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def test_provider_killed_during_a_creation_is_made_good_by_the_next_up(cluster: Stack) -> None:
    process = start_until_container(cluster, "hub")
    os.kill(provider_of(process.pid), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    left = inspect(cluster.docker_name("hub"))["Id"]
    cluster.up()
    assert inspect(cluster.docker_name("hub"))["Id"] == left, "the running leftover is adopted"
    assert cluster.run("preview", "--refresh", "--expect-no-changes").code == 0


def test_provider_ends_with_a_killed_engine(cluster: Stack) -> None:
    cluster.wanted["hub"][1]["user_data"] = "#cloud-config\n# SLOW_BOOT\n"
    process = start_until_container(cluster, "hub")
    provider = provider_of(process.pid)
    assert provider
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: gone(provider), 3)
    for lock in (cluster.folder / "state").rglob("locks/**/*.json"):
        lock.unlink()
    # A dead leftover is not adopted but made anew.
    docker("kill", cluster.docker_name("hub"))
    left = inspect(cluster.docker_name("hub"))["Id"]
    cluster.wanted["hub"][1]["user_data"] = "#cloud-config\n"
    cluster.up()
    assert inspect(cluster.docker_name("hub"))["Id"] != left


def test_killed_run_followed_by_destroy_is_swept(cluster: Stack) -> None:
    from providers.localcloud.sweep import leftovers, sweep

    cluster.add("homes", "Volume", stack=cluster.name, name="homes", retain=True)
    process = start_until_container(cluster, "hub")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not docker("ps", "-q", "--filter", f"name={cluster.docker_name('none')}"))
    for lock in (cluster.folder / "state").rglob("locks/**/*.json"):
        lock.unlink()
    destroyed = cluster.run("destroy")
    assert (
        destroyed.code == 0 and f"removed {cluster.docker_name('hub')}, a machine that a killed run" in destroyed.text
    )
    disk = f"{cluster.docker_name('hub')}-docker"
    assert leftovers(cluster.name) == [("volume", disk)]
    assert sweep(cluster.name) == [f"volume {disk}"] and leftovers(cluster.name) == []
    assert docker("volume", "ls", "-q", "--filter", f"name={cluster.docker_name('homes')}"), "homes stay"
