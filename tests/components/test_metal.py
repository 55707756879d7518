"""A semester on one machine: what it is told to be, and what the other site's key may do there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from components import metal
from components.hub_bundle import HUB_IMAGES, course_images
from components.plan import plan
from components.semester import load_stack_file

pytestmark = pytest.mark.unit
DEMO = load_stack_file(Path("stacks/Pulumi.demo.yaml"))
PLAN = plan(DEMO)
DIGESTS = dict.fromkeys((*HUB_IMAGES, *course_images(DEMO)), "sha256:" + "a" * 64)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0OmYxm5GCbVGlKXAP4Jm8FTrWSS9fCzJpNpuoK1eXm"


def test_students_run_on_the_manager_and_call_the_hub_at_the_bridges_first_address() -> None:
    settings, bundle = (json.loads(text) for text in metal.site_texts("demo", DEMO, PLAN, DIGESTS))
    assert (settings["hub_ip"], settings["server_role"]) == ("172.30.0.1", "manager")
    assert settings["courses"][0]["image"] == f"172.30.0.1:5000/student@{DIGESTS['student']}"
    assert [c["name"] for c in bundle["containers"]] == ["keeper", "hub", "proxy", "edge"]
    node = metal.node(DEMO, PLAN, 16 * 1024)
    assert (node.role, node.hub_ip, node.own_registry) == ("hub", "172.30.0.1", "172.30.0.1:5000")
    taken = round((DEMO.nodes.hub_memory_gib + DEMO.nodes.system_reserved_gib) * 1024)
    assert node.student_memory_mib == 16 * 1024 - taken


def test_the_hub_is_at_the_same_url_on_both_sites_so_that_cookies_stay_good() -> None:
    settings = json.loads(metal.site_texts("demo", DEMO, PLAN, DIGESTS)[0])
    assert settings["hub_url"] == DEMO.hub_url


@pytest.mark.parametrize(("alone", "role"), [(False, "standby"), (True, "active")])
def test_the_site_begins_as_a_standby_unless_it_is_the_only_one(alone: bool, role: str) -> None:
    assert DEMO.fallback is not None
    semester = DEMO.model_copy(update={"fallback": DEMO.fallback.model_copy(update={"alone": alone})})
    bundle = json.loads(metal.site_texts("demo", semester, PLAN, DIGESTS)[1])
    keeper = json.loads(bundle["texts"]["/etc/semesterhub/keeper.json"])
    assert (keeper["site"], keeper["first_role"], keeper["peer"]) == ("fallback", role, None)


def test_a_kubernetes_semester_falls_back_to_a_swarm_of_one() -> None:
    semester = load_stack_file(Path("stacks/Pulumi.fa26.yaml"))
    digests = dict.fromkeys((*HUB_IMAGES, *course_images(semester)), "sha256:" + "b" * 64)
    settings, bundle = (json.loads(text) for text in metal.site_texts("fa26", semester, plan(semester), digests))
    assert settings["orchestrator"] == "swarm" and "kubernetes" not in settings
    hub = next(c for c in bundle["containers"] if c["name"] == "hub")
    assert any(m["source"].endswith("docker.sock") for m in hub["mounts"])


def test_equal_inputs_give_equal_bytes_and_the_size_of_the_class_changes_nothing() -> None:
    larger = DEMO.model_copy(update={"courses": (DEMO.courses[0].model_copy(update={"students": 60}),)})
    assert metal.site_texts("demo", larger, plan(larger), DIGESTS) == metal.site_texts("demo", DEMO, PLAN, DIGESTS)


def test_the_machine_files_hold_no_secret_and_run_any_dockerd() -> None:
    files = metal.machine_files(metal.node(DEMO, PLAN, 8192))
    assert json.loads(files["/etc/semesterhub/node.json"])["open_ports"] == [22, 80, 443, 2222]
    assert "/usr/bin/env dockerd" in files["/etc/systemd/system/docker.service.d/semesterhub.conf"]
    assert metal.mode(metal.PEER_PATH) == 0o755 and metal.mode("/etc/semesterhub/node.json") == 0o644
    assert not any("PRIVATE" in text for text in files.values())


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        ("peer", ["exec", "-i", "keeper", "python3", "-m", "hubconfig.keeper", "peer"]),
        (
            "rsync --server -e.LsfxCIvu . /srv/x; rm -rf /",
            [
                "exec",
                "-i",
                "keeper",
                "python3",
                "-m",
                "hubconfig.keeper",
                "peer-rsync",
                "rsync --server -e.LsfxCIvu . /srv/x; rm -rf /",
            ],
        ),
        ("sh", None),
        ("peer; sh", None),
        ("", None),
        ("rsync --daemon", None),
    ],
)
def test_the_peers_key_is_for_copying_alone(asked: str, done: list[str] | None, tmp_path: Path) -> None:
    (tmp_path / "docker").write_text(f'#!/bin/sh\nfor word; do echo "$word"; done > {tmp_path}/ran\n')
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "peer").write_text(metal.PEER)
    for arguments, environment in (([], {"SSH_ORIGINAL_COMMAND": asked}), ([asked], {})):
        (tmp_path / "ran").unlink(missing_ok=True)
        ended = subprocess.run(
            ["sh", str(tmp_path / "peer"), *arguments], env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        ran = (tmp_path / "ran").read_text().splitlines() if (tmp_path / "ran").exists() else None
        assert ran == done
        assert (ended.returncode == 3 and "copying" in ended.stderr) if done is None else ended.returncode == 0


@pytest.mark.parametrize(("user", "command"), [("root", metal.PEER_PATH), ("ada", "exec sudo -n " + metal.PEER_PATH)])
def test_the_peers_key_opens_nothing_else_for_root_and_for_one_who_becomes_root(user: str, command: str) -> None:
    line = metal.peer_line(KEY + " keeper@cloud", user)
    assert line.startswith(f'restrict,command="{command}') and line.endswith(f"{KEY} semesterhub-peer")


def test_a_machine_without_memory_for_the_hub_offers_none_to_students() -> None:
    assert metal.node(DEMO, PLAN, 1024).student_memory_mib < 0


FA15 = load_stack_file(Path("stacks/Pulumi.fa15.yaml"))


def test_the_semester_on_bare_metal_alone_holds_its_class_and_has_a_public_certificate() -> None:
    planned = plan(FA15)
    assert FA15.alone and not DEMO.alone and FA15.hub_url == "https://hub-fa15.example.edu"
    node = metal.node(FA15, planned, 64 * 1024)
    assert node.student_memory_mib >= sum(c.peak_servers * c.memory_guarantee_mib for c in planned.courses)
    digests = dict.fromkeys((*HUB_IMAGES, *course_images(FA15)), "sha256:" + "c" * 64)
    bundle = json.loads(metal.site_texts("fa15", FA15, planned, digests)[1])
    edge = next(c for c in bundle["containers"] if c["name"] == "edge")
    assert edge["env"]["SEMESTERHUB_TLS"] == "hub-admins@example.edu"
    keeper = json.loads(bundle["texts"]["/etc/semesterhub/keeper.json"])
    assert (keeper["first_role"], keeper["guards"], keeper["images"]) == ("active", False, [])
