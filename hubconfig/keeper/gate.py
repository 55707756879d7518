"""The hub's side of the lease: the hub starts only while it holds, and ends when it does not any more."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from .lease import Lease, boot_mark, boottime

RUN_PATH = Path("/run/keeper")
"""The keeper's `run_path`, as it is mounted in the hub's container."""
LOOK_EVERY_S = 0.2
EXIT_CODE = 75
"""sysexits' EX_TEMPFAIL; Docker starts the hub anew, and it waits."""


def holds(lease_file: Path, run_path: Path = RUN_PATH) -> bool:
    """Whether this machine may write now. Whatever cannot be read holds nothing."""
    try:
        lease = Lease(**json.loads(lease_file.read_text()))
        return lease.fresh(boot_mark(run_path, make=False), boottime())
    except (OSError, ValueError, TypeError):
        return False


def wait(lease_file: Path, run_path: Path = RUN_PATH) -> None:
    """Returns when the lease holds."""
    if holds(lease_file, run_path):
        return
    print(
        "hub: this site may not write now, so the hub waits; see the keeper's log for the reason",
        file=sys.stderr,
        flush=True,
    )
    while not holds(lease_file, run_path):
        time.sleep(LOOK_EVERY_S)
    print("hub: this site may write now", file=sys.stderr, flush=True)


def watch(lease_file: Path, run_path: Path = RUN_PATH) -> threading.Thread:
    """Ends this process as soon as the lease does not hold, at once and without another write: the database survives that,
    two hubs that write would not be put right by anything."""

    def look() -> None:
        while holds(lease_file, run_path):
            time.sleep(LOOK_EVERY_S)
        print("hub: this site may not write any more, so the hub ends", file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

    thread = threading.Thread(target=look, name="lease", daemon=True)
    thread.start()
    return thread
