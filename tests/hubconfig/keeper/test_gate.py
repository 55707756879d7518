"""A hub process and its site's lease: it waits for it, and ends with it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hubconfig.keeper import gate, lease

pytestmark = pytest.mark.unit

HUB = """
import sys, time
from pathlib import Path
from hubconfig.keeper import gate
lease, run = Path(sys.argv[1]), Path(sys.argv[2])
gate.wait(lease, run)
gate.watch(lease, run)
print("writes", flush=True)
time.sleep(60)
"""


def write(file: Path, run: Path, left_s: float, boot: str | None = None) -> None:
    document = {
        "boot_id": lease.boot_mark(run) if boot is None else boot,
        "until_boottime_s": lease.boottime() + left_s,
        "epoch": 1,
    }
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("end", ["lapsed", "removed", "unreadable"])
def test_the_hub_waits_for_the_lease_and_ends_with_it(tmp_path: Path, end: str) -> None:
    file, run = tmp_path / "lease.json", tmp_path / "run"
    hub = subprocess.Popen(
        [sys.executable, "-c", HUB, file, run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(0.5)
        assert hub.poll() is None
        write(file, run, 1.5 if end == "lapsed" else 60)
        assert hub.stdout and hub.stdout.readline() == "writes\n"
        ends: dict[str, Callable[[], object]] = {
            "lapsed": time.time,
            "removed": file.unlink,
            "unreadable": lambda: file.write_text("{"),
        }
        ends[end]()
        assert hub.wait(timeout=10) == gate.EXIT_CODE
        assert hub.stderr and "may not write any more" in hub.stderr.read()
    finally:
        hub.kill()
        hub.communicate()


def test_a_lease_of_another_boot_holds_nothing(tmp_path: Path) -> None:
    file, run = tmp_path / "lease.json", tmp_path / "run"
    write(file, run, 60)
    assert gate.holds(file, run)
    (run / lease.MARK_FILE).unlink()  # what every boot does to /run
    assert not gate.holds(file, run), "the machine has no mark yet"
    lease.boot_mark(run)
    assert not gate.holds(file, run), "another mark, though the kernel's boot id is the same"
