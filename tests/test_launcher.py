"""The launcher, run by the real sh, with stand-ins for Python and uv that cost nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

# A Python that has every module, makes an environment of itself, and says how it was called.
PYTHON = """#!/bin/sh
case "$*" in
    --version) echo Python 3.12.0 ;;
    "-c import sys; sys.exit"*) exit ${TOO_OLD:-0} ;;
    -c*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*uv.txt) exit ${UV_FAILS:-0} ;;
    "-m pip "*) echo pip >>"$RECORD"; exit ${PIP_FAILS:-0} ;;
    "-m operations.main"*) shift 2; echo "main $*" ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
UV = """#!/bin/sh
case "$*" in
    venv*) for last; do :; done; mkdir -p "$last/bin" && cp "$FAKE/python3" "$last/bin/python" ;;
    "pip sync"*) echo sync >>"$RECORD"; sleep ${SLOW:-0}; exit ${SYNC_FAILS:-0} ;;
esac
"""


class Checkout:
    """The launcher in a folder of its own, with stand-ins on PATH."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.root = folder / "a checkout"
        (self.root / "toolchain").mkdir(parents=True)
        shutil.copy(repository / "hub", self.root / "hub")
        shutil.copy(repository / "toolchain" / "uv.txt", self.root / "toolchain" / "uv.txt")
        (self.root / "requirements.lock").write_text("one\n")
        self.fake = folder / "bin"
        self.fake.mkdir()
        self.record = folder / "record"
        self.cache = folder / "cache"
        version = next(
            line for line in (repository / "toolchain" / "uv.txt").read_text().splitlines() if line.startswith("uv==")
        )
        self.uv = self.cache / "uv" / version.split("==")[1].split()[0] / "uv"
        self.uv.parent.mkdir(parents=True)
        for path, text in ((self.fake / "python3", PYTHON), (self.uv, UV)):
            path.write_text(text)
            path.chmod(0o755)

    def start(self, *arguments: str, path: str = "", **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "hub"), *arguments], cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": path or f"{self.fake}:/usr/bin:/bin", "HOME": "/nonexistent", "SEMESTERHUB_CACHE": str(self.cache),
                 "RECORD": str(self.record), "FAKE": str(self.fake), **environment},
        )  # fmt: skip

    def run(self, *arguments: str, path: str = "", **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, path=path, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def installs(self) -> list[str]:
        return self.record.read_text().split() if self.record.exists() else []


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    return Checkout(tmp_path, repository)


def test_the_environment_is_made_once_and_arguments_arrive_whole(checkout: Checkout) -> None:
    assert checkout.run("up", "--stack", "fa 26")[:2] == (0, "main up --stack fa 26\n")
    code, out, err = checkout.run("status")
    assert (code, out, err) == (0, "main status\n", "")
    assert checkout.installs() == ["sync"]


def test_another_lock_file_renews_the_environment(checkout: Checkout) -> None:
    checkout.run("x")
    (checkout.root / "requirements.lock").write_text("two\n")
    checkout.run("x")
    assert checkout.installs() == ["sync", "sync"]


def test_it_works_through_a_symlink(checkout: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(checkout.root / "hub")
    (tmp_path / "second").symlink_to("link")
    environment = {"PATH": f"{checkout.fake}:/usr/bin:/bin", "SEMESTERHUB_CACHE": str(checkout.cache),
                   "RECORD": str(checkout.record), "FAKE": str(checkout.fake)}  # fmt: skip
    done = subprocess.run(
        [str(tmp_path / "second"), "up"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "main up\n"


@pytest.mark.parametrize("lock_program", [True, False])
def test_two_at_once_install_once(checkout: Checkout, tmp_path: Path, lock_program: bool) -> None:
    path = f"{checkout.fake}:/usr/bin:/bin"
    if not lock_program:  # a machine without flock: everything else the launcher calls, and nothing more
        bare = tmp_path / "bare"
        bare.mkdir()
        for name in (
            "sh",
            "sed",
            "cut",
            "sha256sum",
            "mkdir",
            "rm",
            "mv",
            "cp",
            "cat",
            "sleep",
            "date",
            "dirname",
            "readlink",
            "id",
        ):
            (bare / name).symlink_to(shutil.which(name) or name)
        path = f"{checkout.fake}:{bare}"
    both = [checkout.start("up", path=path, SLOW="1") for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [out for out, _ in answers] == ["main up\n", "main up\n"]
    assert checkout.installs() == ["sync"]
    assert sum("waiting" in err for _, err in answers) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_installation_is_made_again(checkout: Checkout, number: signal.Signals) -> None:
    process = checkout.start("up", SLOW="30")
    deadline = time.monotonic() + 20
    while checkout.installs() != ["sync"] and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert checkout.run("up")[:2] == (0, "main up\n")
    assert checkout.installs() == ["sync", "sync"]


def test_without_uv_pip_does_it(checkout: Checkout) -> None:
    checkout.uv.unlink()
    code, out, err = checkout.run("up", UV_FAILS="1")
    assert (code, out) == (0, "main up\n")
    assert checkout.installs() == ["pip"]
    assert "trying pip" in err


def test_a_failed_installation_says_so_and_is_tried_again(checkout: Checkout) -> None:
    code, out, err = checkout.run("up", SYNC_FAILS="1", PIP_FAILS="1")
    assert (code, out) == (1, "")
    assert "could not be installed" in err
    assert checkout.run("up")[0] == 0


def test_without_a_new_enough_python_it_says_what_to_install(checkout: Checkout) -> None:
    bare = checkout.fake.parent / "bare"
    bare.mkdir()
    for name in ("sh", "cut", "sha256sum", "dirname", "readlink", "mkdir", "flock", "cat", "id"):
        if found := shutil.which(name):
            (bare / name).symlink_to(found)
    code, out, err = checkout.run("up", path=f"{checkout.fake}:{bare}", TOO_OLD="1")
    assert (code, out) == (1, "")
    assert "Python 3.11 or newer" in err
    assert "apt-get install python3" in err
    assert "SEMESTERHUB_PYTHON=" in err
