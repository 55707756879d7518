"""A machine is looked at before it is touched: each reason not to is a sentence."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.plan import plan
from components.semester import load_stack_file
from operations import bare_machine
from operations.bare_machine import Facts, refusals, room
from operations.errors import UserError

pytestmark = pytest.mark.unit
DEMO = load_stack_file(Path("stacks/Pulumi.demo.yaml"))
PLAN = plan(DEMO)
GOOD = Facts(
    os="debian", like="", version="12", name="Debian GNU/Linux 12 (bookworm)", is_root=True, arch="x86_64", cpus=8,
    memory_mib=32 * 1024, free_gib=200, id="", is_ours=False, has_systemctl=True, docker="",
)  # fmt: skip


def test_a_fresh_debian_or_ubuntu_with_room_is_not_refused() -> None:
    assert refusals(GOOD, "hub0", DEMO, PLAN) == [] and room(GOOD, DEMO, PLAN) == ""
    ubuntu = replace(GOOD, os="ubuntu", version="24.04", docker="27.3.1")
    assert refusals(ubuntu, "hub0", DEMO, PLAN) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"is_root": False}, "do not run as root"),
        (
            {"os": "fedora", "name": "Fedora Linux 41", "version": "41"},
            "runs Fedora Linux 41; the fallback needs Debian 11 or newer",
        ),
        ({"version": "10", "name": "Debian GNU/Linux 10 (buster)"}, "which is too old; the fallback needs Debian 11"),
        ({"os": "ubuntu", "version": "20.04", "name": "Ubuntu 20.04"}, "Ubuntu 20.04, which is too old"),
        ({"has_systemctl": False}, "no systemctl"),
        ({"docker": "19.03.8"}, "Docker 19.03.8, which is too old. Upgrade it to 20.10"),
        ({"foreign_containers": ("shop", "mail")}, "containers that are not the semester's: shop, mail"),
        ({"free_gib": 3.2}, "3.2 GiB of disk free; 6 GiB is the least"),
        ({"listening": frozenset({22, 443})}, "port 443 is taken by another program"),
        ({"memory_mib": 1500}, "not one student's server fits"),
    ],
)
def test_each_refusal_is_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    found = refusals(replace(GOOD, **changes), "hub0.example.edu", DEMO, PLAN)
    assert len(found) == 1 and sentence in found[0] and found[0].startswith("hub0.example.edu")
    with pytest.raises(UserError, match=r"hub0\.example\.edu"):
        bare_machine.require(replace(GOOD, **changes), "hub0.example.edu", DEMO, PLAN)


def test_a_machine_that_is_ours_already_may_hold_its_ports_and_use_its_disk() -> None:
    used = replace(GOOD, is_ours=True, listening=frozenset({443, 8081, 5000}), free_gib=3)
    assert refusals(used, "hub0", DEMO, PLAN) == []


def test_a_machine_smaller_than_the_class_is_told_not_refused() -> None:
    small = replace(GOOD, memory_mib=6 * 1024)
    assert refusals(small, "hub0", DEMO, PLAN) == []
    assert "of the class at its peak" in room(small, DEMO, PLAN) and "queue" in room(small, DEMO, PLAN)


def test_the_probe_runs_here_and_its_answer_is_understood() -> None:
    done = subprocess.run(["sh", "-c", bare_machine.PROBE], capture_output=True, text=True, check=True)
    facts = bare_machine.parse(done.stdout)
    assert facts.cpus > 0 and facts.memory_mib > 256 and facts.free_gib > 0 and facts.arch
    assert facts.os in done.stdout and not facts.is_ours


def test_what_is_the_semesters_own_is_not_foreign() -> None:
    said = "uid=0\ncontainers=hub:1: shop:: server-ada.1.x::ada \nlistening=0016 01BB 1F91 \nlimit=1073741824\nmemory_kib=8388608"
    facts = bare_machine.parse(said)
    assert facts.foreign_containers == ("shop",)
    assert facts.listening == {22, 443, 8081}
    assert facts.memory_mib == 1024, "a container's limit is what it has"


def test_packages_are_installed_without_a_question_and_a_docker_that_is_there_stays(tmp_path: Path) -> None:
    for name, script in {
        "dockerd": "exit 0",
        "dpkg-query": '[ "$4" = iptables ] && echo "install ok installed"; exit 0',
        "apt-get": f'echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/asked; exit ${{FAILS:-0}}',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    script = bare_machine.prepare_script(
        ["docker.io", "iptables", "docker-registry"], {"http_proxy": "http://proxy:3128"}
    )
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run(["sh", "-c", script], env=environment, check=False).returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert "noninteractive" in asked and asked.strip().endswith("docker-registry") and "docker.io" not in asked
    failed = subprocess.run(["sh", "-c", script], env={**environment, "FAILS": "1"}, capture_output=True, check=False)
    assert failed.returncode == 1
