"""The engine, for real: a small project with Pulumi's own CLI, its state, its locks, and what a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import engine, paths, setup

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

# Two resources in a row; the second one waits, fails, or the program itself refuses, as the environment says.
PROGRAM = """
import os, pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
class Provider(ResourceProvider):
    def create(self, props):
        import time
        open(props["touch"], "w").close()
        time.sleep(float(props["seconds"]))
        if props["fail"]:
            raise Exception("port 8443 is taken by nginx")
        return CreateResult("made", props)
class Thing(Resource):
    def __init__(self, name, seconds, fail, after):
        touch = os.path.join(os.getcwd(), f"begun-{name}")
        super().__init__(Provider(), name, {"seconds": seconds, "fail": fail, "touch": touch}, pulumi.ResourceOptions(depends_on=after))
class SemesterError(Exception): ...
if os.environ.get("REFUSE"):
    raise SemesterError("courses[0].students is 0")
first = Thing("first", 0, False, [])
Thing("second", float(os.environ.get("SECONDS", 0)), bool(os.environ.get("FAIL")), [first])
pulumi.export("student_password", pulumi.Output.secret("hidden words"))
"""
DRIVER = """
import sys
from operations import engine, paths, setup
from operations.engine import Pulumi
from operations.errors import UserError
try:
    result = Pulumi("demo", setup.pulumi().folder).run(sys.argv[1])
    print(result.changed, result.outputs.get("student_password"))
except UserError as error:
    print(error)
    sys.exit(error.exit_code)
"""
STACK_FILE = 'config:\n  semesterhub:title:   "odd   spacing stays"   # and so does this\n'


class Project:
    """A checkout of its own: this one's operations around a program of four resources."""

    def __init__(self, root: Path, repository: Path) -> None:
        self.root = root
        for folder in ("operations", "toolchain"):
            shutil.copytree(repository / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (root / ".venv").symlink_to(repository / ".venv")
        (root / "Pulumi.yaml").write_text("name: semesterhub\nruntime: python\nstackConfigDir: stacks\n")
        (root / "stacks").mkdir()
        self.stack_file = root / "stacks" / "Pulumi.demo.yaml"
        self.stack_file.write_text(STACK_FILE)
        (root / "__main__.py").write_text(PROGRAM)
        (root / "driver.py").write_text(DRIVER)
        self.state = root / ".semesterhub" / "state" / ".pulumi"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, action: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(self.root / ".venv/bin/python"), "driver.py", action], cwd=self.root, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(self.root), **environment},
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, action: str, **environment: str) -> tuple[int, str]:
        process = self.start(action, **environment)
        out, _ = process.communicate(timeout=240)
        return process.returncode, out

    def reach(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait until the resource `name` is being created."""
        deadline = time.monotonic() + 90
        while not (self.root / f"begun-{name}").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"{name} was never begun"
            time.sleep(0.02)

    def engine_of(self, process: subprocess.Popen[str]) -> int:
        """The Pulumi process below a driver."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "pulumi")

    def locks(self) -> list[Path]:
        return list((self.state / "locks").rglob("*.json"))


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Iterator[Project]:
    setup.pulumi()
    made = Project(tmp_path, repository)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_up_up_destroy_and_the_committed_files_stay_as_they_were(project: Project) -> None:
    code, out = project.run("up")
    assert code == 0, out
    assert out.splitlines()[-1].endswith("hidden words")
    code, out = project.run("up")
    assert (code, out.splitlines()[-1]) == (0, "0 hidden words")
    assert project.stack_file.read_text() == STACK_FILE
    assert [p.name for p in (project.root / "stacks").iterdir()] == ["Pulumi.demo.yaml"]

    passphrase = project.root / ".semesterhub" / "passphrase"
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    for written in (project.root / ".semesterhub").rglob("*"):
        if written.is_file():
            assert "hidden words" not in written.read_text(errors="replace"), written

    code, out = project.run("destroy")
    assert code == 0, out
    assert project.stack_file.read_text() == STACK_FILE


def test_a_failing_resource_is_one_message_and_the_next_run_goes_on(project: Project) -> None:
    code, out = project.run("up", FAIL="1")
    assert code == 1
    assert "Resource second: port 8443 is taken by nginx" in out
    assert "Traceback" not in out
    code, out = project.run("up")
    assert (code, out.splitlines()[-1]) == (0, "1 hidden words")


def test_a_refused_stack_file_is_told_in_its_own_words(project: Project) -> None:
    code, out = project.run("up", REFUSE="1")
    assert code == 1
    assert "courses[0].students is 0" in out
    assert "Traceback" not in out


def test_ctrl_c_lets_the_step_under_way_finish_and_the_next_run_goes_on(project: Project) -> None:
    process = project.start("up", SECONDS="2")
    project.reach("second", process)
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=90)[0]
    assert process.returncode == 130, out
    assert "stopping" in out
    assert project.locks() == []
    code, out = project.run("up", SECONDS="2")
    assert code == 0, out
    assert "killed" not in out  # nothing was left pending: it was no kill


def test_a_killed_engine_leaves_a_lock_that_the_next_run_explains_and_breaks(project: Project) -> None:
    process = project.start("up", SECONDS="60")
    project.reach("second", process)
    os.kill(project.engine_of(process), signal.SIGKILL)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "SIGKILL" in out
    assert len(project.locks()) == 1

    code, out = project.run("up")
    assert (code, out.splitlines()[-1]) == (0, "1 hidden words")
    assert "left its lock" in out
    assert "was killed while creating second" in out
    assert project.locks() == []
    code, out = project.run("up")
    assert (code, out.splitlines()[-1]) == (0, "0 hidden words")
    assert "killed" not in out


def test_a_killed_command_takes_its_engine_along_and_the_next_run_goes_on(project: Project) -> None:
    process = project.start("up", SECONDS="3")
    project.reach("second", process)
    engine = project.engine_of(process)
    process.kill()
    process.wait()
    code, out = project.run("up", SECONDS="3")  # comes while the orphaned engine finishes its step
    assert code == 0, out
    assert not Path(f"/proc/{engine}").exists()
    assert project.locks() == []


def test_a_second_run_of_the_same_stack_is_told_who_runs(project: Project) -> None:
    process = project.start("up", SECONDS="5")
    project.reach("second", process)
    code, out = project.run("destroy")
    assert code == 1
    assert f"process {process.pid} is bringing up stack 'demo'" in out
    assert process.communicate(timeout=90)[0].splitlines()[-1].endswith("hidden words")


def test_the_program_finds_its_packages_compiled_although_the_shell_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    given = engine.environment(tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in given
    assert Path(given["PYTHONPYCACHEPREFIX"]) == paths.CACHE / "bytecode", "and not in the checkout"
