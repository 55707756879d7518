"""Debian packages that Semesterhub needs of the machine, installed only where that needs no question: as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE
from operations.progress import note, step

DPKG_LOCK_TIMEOUT_S = 300


def is_debian() -> bool:
    """Debian or one of its descendants."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def install(names: Sequence[str], why: str) -> None:
    """`apt-get install` the packages. Raises UserError with the exact command where this user cannot."""
    command = f"apt-get install --no-install-recommends {' '.join(names)}"
    if os.geteuid() != 0 or not is_debian():
        raise UserError(
            f"{why} is needed.\n  Debian, Ubuntu: sudo {command}\n  elsewhere: install {', '.join(names)} your system's way"
        )
    apt = ["apt-get", "-yq", "-o", f"DPkg::Lock::Timeout={DPKG_LOCK_TIMEOUT_S}"]
    with (
        file_lock(CACHE / "locks" / "apt", f"installing {' '.join(names)}", say=note),
        step(f"installing {', '.join(names)} ({why})") as tell,
    ):
        for arguments in (["update"], ["install", "--no-install-recommends", *names]):
            process = subprocess.Popen(
                [*apt, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
            assert process.stdout is not None
            tail: list[str] = []
            for line in process.stdout:
                tail = [*tail[-7:], line.rstrip()]
                tell(line.strip())
            # A failed update (one mirror down) may still leave usable lists: only the installation decides.
            if process.wait() != 0 and arguments[0] == "install":
                raise UserError(f"`{command}` failed:\n  " + "\n  ".join(tail))


def program(names: Sequence[str], package: str, why: str) -> Path:
    """The first of these programs that is on PATH; its package is installed where none is. Raises UserError."""
    for attempt in ("look", "install"):
        for name in names:
            found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
            if found:
                return Path(found)
        if attempt == "look":
            install([package], why=why)
    raise UserError(f"{package} was installed, but no program {' or '.join(names)} is on PATH.")
