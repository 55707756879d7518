"""The command line: what a person meets first, without Docker or engines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations import docker_engine, leftovers, main, packages, passthrough, stacks, testing
from operations.errors import UserError

pytestmark = pytest.mark.unit


def test_without_words_it_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 0
    said = capsys.readouterr().out
    for words in ("./hub up", "./hub test", "./hub --list", "./hub pulumi", "./hub shell"):
        assert words in said


def hub(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operations.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    return subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_every_task_of_the_contract_is_listed_wherever_one_stands(repository: Path) -> None:
    listed = hub(repository, "--list").stdout
    for task in (
        "up",
        "preview",
        "destroy",
        "status",
        "test",
        "lint",
        "load.class",
        "load.crash",
        "semester.new",
        "image.build",
        "image.list",
    ):
        assert f"  {task} " in listed


@pytest.mark.parametrize("task", ["up", "preview", "destroy", "status", "load.class", "load.crash"])
def test_an_unknown_stack_is_told_which_ones_there_are(repository: Path, task: str) -> None:
    done = hub(repository, task, "--stack", "fa62")
    assert done.returncode == 1
    assert "no stack 'fa62'" in done.stderr
    assert "demo" in done.stderr
    assert "./hub semester.new --stack fa62" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["Demo", "../x", "a b", "", "x" * 21])
def test_a_name_that_cannot_be_a_stacks_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="not a stack's name"):
        stacks.path_of(name)


def test_an_unknown_task_is_one_line(repository: Path) -> None:
    done = hub(repository, "upp")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_homes_are_deleted_only_after_their_stack_is_named(repository: Path) -> None:
    done = hub(repository, "destroy", "--delete-homes", "--stack", "nothing-here")
    assert done.returncode == 1
    assert "not confirmed; nothing was touched" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stack", "acts"),
    [
        (["up", "--stack", "fa26"], "fa26", "up"),
        (["preview", "--stack=fa26", "--diff"], "fa26", "preview"),
        (["--non-interactive", "destroy", "-s", "fa26"], "fa26", "destroy"),
        (["stack", "ls"], None, "stack"),
        (["up", "--stack"], None, "up"),
    ],
)
def test_pulumis_own_arguments_are_read(arguments: list[str], stack: str | None, acts: str) -> None:
    assert passthrough.named_stack(arguments) == stack
    assert passthrough.acts(arguments) == acts


def test_fast_does_not_go_with_another_kind() -> None:
    with pytest.raises(UserError, match="--fast"):
        testing.run(["--fast", "--only", "swarm"])


def test_without_docker_a_person_gets_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "problem", lambda: "Connection refused")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match=r"(?s)sudo apt-get install docker.io iptables.*systemctl start docker"):
        docker_engine.ensure()


def test_a_docker_that_forbids_this_user_says_how_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "problem", lambda: "PermissionError(13, 'Permission denied')")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(UserError, match="usermod -aG docker"):
        docker_engine.ensure()


def test_a_named_docker_host_is_never_replaced_by_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "problem", lambda: "Connection refused")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(UserError, match=r"DOCKER_HOST=tcp://127\.0\.0\.1:1"):
        docker_engine.ensure()


def test_packages_are_not_installed_by_someone_who_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="sudo apt-get install --no-install-recommends chromium"):
        packages.install(["chromium"], why="Chromium")


def test_only_marked_processes_of_this_stack_are_ended() -> None:
    def sleeper(stack: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sleep", "60"], env={leftovers.MARK: leftovers.mark(stack), "PATH": os.environ["PATH"]}
        )

    ours, other = sleeper("leftover-test"), sleeper("leftover-other")
    try:
        # The kernel shows a process's environment a moment after Popen has returned.
        deadline = time.monotonic() + 10
        while (
            not (leftovers.find("leftover-test") and leftovers.find("leftover-other")) and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        assert leftovers.find("leftover-test") == [ours.pid]
        leftovers.end("leftover-test", print)
        assert ours.wait(timeout=10) != 0
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("mark", "rest", "expected"),
    [
        (None, [], ["-n", "3", "--dist", "loadgroup", "--no-loadscope-reorder"]),
        (None, ["-k", "homes"], ["-n", "3", "--dist", "loadgroup", "--no-loadscope-reorder"]),
        (None, ["-s"], []),
        (None, ["-n", "4"], []),
        ("unit", [], ["-m", "unit"]),
    ],
)
def test_everything_at_once_runs_in_two_processes_unless_told_otherwise(
    mark: str | None, rest: list[str], expected: list[str]
) -> None:
    from operations.testing import _selection

    assert _selection(mark, rest) == expected
