"""The bare metal of a light semester: made by `./hub fallback.up` over SSH alone, a standby behind its gate, then the class's hub."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations import scratch_stack, setup
from operations.engine import Pulumi
from operations.failover.health import FixedResolver
from operations.fallback_folder import Folder
from operations.load.runs import target_of
from operations.load.student import Student
from operations.load.target import Target
from operations.paths import ROOT, stack_file
from tests.end_to_end.cluster import Cluster

pytestmark = [pytest.mark.swarm, pytest.mark.timeout(1200)]
STANDBY = "127.0.0.2"


class Metal(Cluster):
    """The cluster, and its machine `metal`."""

    def keeper(self, *arguments: str) -> dict[str, Any]:
        done = self.machine("metal").exec_run(
            ["docker", "exec", "keeper", "python3", "-m", "hubconfig.keeper", *arguments], stderr=False
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    def until(self, condition: Any, timeout_s: float, what: str) -> Any:
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < end, f"waited {timeout_s:.0f} s for {what}"
            time.sleep(0.5)
        return value


def hub(*arguments: str, fails: bool = False) -> str:
    done = scratch_stack.hub(*arguments)
    assert (done.returncode != 0) == fails, scratch_stack.tail(done, 30)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def metal() -> Iterator[Metal]:
    with scratch_stack.scratch_stack("metal", scratch_stack.LIGHT) as name:
        hub("up", "--stack", name)
        hub("fallback.up", "--stack", name)
        yield Metal(name, target_of(name), Pulumi(name, setup.pulumi().folder).outputs())


def visit(metal: Metal, password: str) -> None:
    """A student signs in at the bare metal and gets a server there."""
    authority = metal.sh("metal", "cat /var/lib/semesterhub/state/edge/pki/authorities/local/root.crt")
    target = dataclasses.replace(metal.target, ca_certificate=authority, student_password=password)
    host = metal.target.hub_url.removeprefix("https://").partition(":")[0]

    async def steps() -> None:
        async with Student(target, "student-1", give_up_s=180, resolver=FixedResolver(host, STANDBY)) as student:
            await student.login()
            await student.start_server()

    asyncio.run(steps())


def test_a_standby_of_one_machine_waits_behind_its_gate(metal: Metal) -> None:
    status = metal.keeper("status")
    assert (status["site"], status["role"], status["writable"]) == ("fallback", "standby", False)
    assert status["hub"]["answers"] is False
    nodes = metal.sh("metal", "docker node ls --format '{{.Hostname}} {{.Availability}} {{.ManagerStatus}}'")
    assert nodes == "metal Active Leader"
    assert _shown(metal) == "503"
    assert "standby" in hub("fallback.status", "--stack", metal.stack)


def _shown(metal: Metal) -> str:
    """The status that the fallback's edge answers with; in its first seconds it has no certificate yet (curl's 35)."""
    host, _, port = metal.target.hub_url.removeprefix("https://").partition(":")
    ask = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", f"{host}:{port}:{STANDBY}"]

    def answered() -> subprocess.CompletedProcess[str] | None:
        done = subprocess.run([*ask, metal.target.hub_url], check=False, capture_output=True, text=True)
        return done if done.returncode != 35 else None

    done = metal.until(answered, 30, "the edge's first certificate")
    assert done.returncode == 0, f"curl ended with {done.returncode}"
    return done.stdout


def test_it_has_the_clouds_images_byte_for_byte_and_its_secrets(metal: Metal) -> None:
    for name, digest in metal.outputs["images"].items():
        reference = f"172.30.0.1:5000/{name}@{digest}"
        assert (
            metal.sh("metal", f"docker image inspect --format '{{{{index .RepoDigests 0}}}}' {reference}") == reference
        )
    for secret in ("cookie_secret", "proxy_token", "student_password"):
        path = f"/var/lib/semesterhub/secrets/{secret}"
        assert metal.sh("metal", f"sha256sum {path}") == metal.sh("hub", f"sha256sum {path}")
        assert metal.sh("metal", f"stat -c %a {path}") == "600"
        value = metal.sh("metal", f"cat {path}")
        assert not [f for f in _kept(Folder(metal.stack).path) if value in f.read_text("utf-8", "replace")]


def _kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_second_up_changes_nothing_and_takes_seconds(metal: Metal) -> None:
    before = metal.sh("metal", "docker ps -q --no-trunc")
    began = time.monotonic()
    assert "no changes" in hub("fallback.up", "--stack", metal.stack)
    assert time.monotonic() - began < 60 and metal.sh("metal", "docker ps -q --no-trunc") == before
    assert "(OpenTofu): no changes" in hub("preview", "--stack", metal.stack)


def test_what_somebody_removed_there_comes_back(metal: Metal) -> None:
    metal.sh("metal", "docker rm --force edge")
    assert "site" in hub("fallback.up", "--stack", metal.stack)
    assert "edge" in metal.sh("metal", "docker ps --format '{{.Names}}'").split()


def test_a_killed_up_is_brought_to_its_end_by_the_next(metal: Metal) -> None:
    metal.sh("metal", "rm -rf /var/lib/semesterhub/machine-id && docker rm --force edge proxy")
    for after_s in (1.5, 4.0, 8.0):
        process = subprocess.Popen(
            [str(ROOT / "hub"), "fallback.up", "--stack", metal.stack],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    hub("fallback.up", "--stack", metal.stack)
    assert "no changes" in hub("fallback.up", "--stack", metal.stack)
    assert metal.keeper("status")["role"] == "standby"


def test_a_wrong_key_and_a_machine_that_is_away_are_sentences(metal: Metal, tmp_path: Path) -> None:
    given = yaml.safe_load(stack_file(metal.stack).read_text())["config"]["semesterhub:fallback"]
    other = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    for changes, sentence in (
        ({"ssh_key": str(other)}, "does not let the key"),
        ({"port": scratch_stack.free_ports(1)[0]}, "cannot be reached"),
        ({"host_key": "ssh-ed25519 " + "A" * 68}, "another host key"),
    ):
        scratch_stack.change(metal.stack, {"fallback": {**given, **changes}})
        try:
            said = hub("fallback.status", "--stack", metal.stack, fails=True)
        finally:
            _only(metal.stack, given)
        assert sentence in said.replace("\n", " ") and "Traceback" not in said


def _only(stack: str, fallback: dict[str, Any]) -> None:
    """The key with exactly these values; `change` merges."""
    head, _, rest = stack_file(stack).read_text().partition("\n")
    document = yaml.safe_load(rest)
    document["config"]["semesterhub:fallback"] = fallback
    stack_file(stack).write_text(f"{head}\n{yaml.safe_dump(document, sort_keys=False)}")


def test_promoted_it_runs_the_class_on_the_same_machine(metal: Metal) -> None:
    epoch = str(metal.keeper("status")["seen_epoch"] + 5)
    metal.keeper("claim", "--epoch", epoch, "--token", "t", "--by", "a test", "--kind", "failover")
    metal.keeper("proof", "--epoch", epoch, "--token", "t", "--how", "admin", "--detail", "a test")
    metal.keeper("promote", "--epoch", epoch, "--token", "t", "--older-files")
    metal.until(lambda: metal.keeper("status")["hub"]["answers"], 60, "the promoted hub")
    visit(metal, metal.target.student_password)
    service = metal.sh(
        "metal", "docker service ls --filter label=semesterhub.user=student-1 --format '{{.Name}} {{.Replicas}}'"
    )
    assert service.endswith(" 1/1") and len(service.splitlines()) == 1
    assert metal.sh("metal", "ls /srv/semesterhub/homes") == "student-2d1", (
        "the home is named as the spawner escapes it"
    )
    refused = hub("fallback.destroy", "--stack", metal.stack, fails=True)
    assert "is the active site" in refused


def test_destroy_takes_all_of_it_along(metal: Metal) -> None:
    hub("destroy", "--stack", metal.stack, "--delete-homes", "--yes")
    assert scratch_stack.objects(metal.stack) == set()
    assert not Folder(metal.stack).path.exists()


def test_a_semester_runs_on_bare_metal_alone() -> None:
    changes = {**scratch_stack.LIGHT, "fallback": {"alone": True, "host": "127.0.0.1"}}
    with scratch_stack.scratch_stack("alone", changes) as name:
        try:
            said = hub("up", "--stack", name)
            assert "is up" in said and "images" in said
            assert "(OpenTofu): no changes" in hub("preview", "--stack", name)
            url = yaml.safe_load(stack_file(name).read_text())["config"]["semesterhub:domain"]
            port = yaml.safe_load(stack_file(name).read_text())["config"]["semesterhub:local"]["https_port"]
            alone = Metal(name, Target(name, f"https://{url}:{port}", ""), {})
            assert alone.keeper("status")["role"] == "active" and alone.keeper("status")["site"] == "fallback"
            visit(alone, alone.sh("metal", "cat /var/lib/semesterhub/secrets/student_password"))
            assert "no changes" in hub("up", "--stack", name)
        finally:
            hub("destroy", "--stack", name, "--delete-homes", "--yes")
        assert scratch_stack.objects(name) == set()
