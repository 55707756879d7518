"""Stale locks are broken only when their owner is surely dead; our own locks cannot go stale."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operations import locks
from operations.errors import UserError

pytestmark = pytest.mark.unit

HERE = socket.gethostname()


def lock(pid: int = 4242, host: str = HERE, since: float = 1000.0) -> locks.PulumiLock:
    return locks.PulumiLock(Path("lock.json"), pid, "ada", host, since)


def write_lock(folder: Path, pid: int, host: str = HERE, stamp: str = "2026-11-23T09:30:00.123456789Z") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "0b1.json"
    path.write_text(json.dumps({"pid": pid, "username": "ada", "hostname": host, "timestamp": stamp}))
    path.with_name("0b1.json.attrs").write_text("{}")
    return path


def test_a_lock_whose_process_is_gone_is_stale() -> None:
    assert locks.owner_is_dead(lock(), started=lambda _: None)


def test_a_living_pulumi_that_began_before_its_lock_holds_it() -> None:
    assert not locks.owner_is_dead(lock(since=1000), started=lambda _: 990.0, name=lambda _: "pulumi")


def test_a_process_younger_than_the_lock_reuses_the_pid() -> None:
    assert locks.owner_is_dead(lock(since=1000), started=lambda _: 2000.0, name=lambda _: "pulumi")


def test_another_program_under_the_same_pid_is_not_the_owner() -> None:
    assert locks.owner_is_dead(lock(since=1000), started=lambda _: 990.0, name=lambda _: "nginx")


def test_a_process_whose_name_cannot_be_read_counts_as_the_owner() -> None:
    assert not locks.owner_is_dead(lock(since=1000), started=lambda _: 990.0, name=lambda _: "")


def test_another_machines_lock_is_never_stale() -> None:
    assert not locks.owner_is_dead(lock(host="elsewhere"), started=lambda _: None)


def test_rounding_of_start_times_does_not_break_a_fresh_lock() -> None:
    assert not locks.owner_is_dead(lock(since=1000), started=lambda _: 1000.9, name=lambda _: "pulumi")


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and locks.process_start_epoch_s(child.pid) is not None:
        time.sleep(0.05)
    assert locks.process_start_epoch_s(child.pid) is None  # ended, and not waited for yet
    child.wait()


def test_the_start_of_a_real_process_is_near_the_truth() -> None:
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        began = locks.process_start_epoch_s(child.pid)
        assert began is not None
        assert abs(began - before) < locks.CLOCK_SLACK_S
        child.kill()


@pytest.mark.parametrize(
    ("stamp", "epoch_s"),
    [
        ("2026-11-23T09:30:00.123456789Z", 1795426200.123456),
        ("2026-11-23T09:30:00Z", 1795426200.0),
        ("2026-11-23T10:30:00.5+01:00", 1795426200.5),
    ],
)
def test_gos_timestamps_are_read(tmp_path: Path, stamp: str, epoch_s: float) -> None:
    found = locks.read_pulumi_lock(write_lock(tmp_path, 7, stamp=stamp))
    assert found.since_epoch_s == pytest.approx(epoch_s, abs=1e-5)
    assert (found.pid, found.user, found.host) == (7, "ada", HERE)


def test_a_half_written_lock_belongs_to_nobody(tmp_path: Path) -> None:
    path = write_lock(tmp_path, 1)
    path.write_text('{"pid": 12')
    said: list[str] = []
    locks.break_stale_locks(tmp_path, "demo", said.append)
    assert not path.exists()


def test_breaking_a_stale_lock_says_whose_it_was(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    path = write_lock(tmp_path, child.pid)
    said: list[str] = []
    locks.break_stale_locks(tmp_path, "demo", said.append)
    assert list(tmp_path.iterdir()) == []
    assert len(said) == 1
    assert f"ada@{HERE}, process {child.pid}" in said[0]
    assert not path.exists()


def test_a_held_lock_is_explained_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "owner_is_dead", lambda _lock: False)
    path = write_lock(tmp_path, os.getpid())
    with pytest.raises(UserError) as refused:
        locks.break_stale_locks(tmp_path, "demo", lambda _: None)
    assert path.exists()
    assert f"kill -INT {os.getpid()}" in str(refused.value)


def test_another_machines_lock_is_explained_and_kept(tmp_path: Path) -> None:
    path = write_lock(tmp_path, 1, host="elsewhere")
    with pytest.raises(UserError, match=r"(?s)ada@elsewhere.*pulumi cancel --stack demo"):
        locks.break_stale_locks(tmp_path, "demo", lambda _: None)
    assert path.exists()


HOLD = """
import sys, pathlib
from operations.locks import file_lock
with file_lock(pathlib.Path(sys.argv[1]), "bringing up stack 'demo'"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told_who_holds_the_lock_and_a_killed_owner_frees_it(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "stack-demo"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"process {owner.pid} is bringing up stack 'demo' since \d\d:\d\d"),
            locks.file_lock(path, "destroying", wait=False),
        ):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    with locks.file_lock(path, "destroying", wait=False):
        pass
