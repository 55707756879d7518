"""Where things are: in this checkout, and in the cache that all checkouts of this user share."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""


def _cache() -> Path:
    named = os.environ.get("SEMESTERHUB_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semesterhub"


CACHE = _cache()
"""Downloads and builds, keyed by version. May be deleted at any time; costs only time."""
BYTECODE = CACHE / "bytecode"
"""Compiled Python of programs that run often: without it each `up` compiles a cloud's SDK again, 3 CPU-seconds of 4."""

WORK_DIR = ROOT / ".semesterhub"
"""What this checkout keeps for itself and git ignores: state, passphrase, locks, logs."""

STATE_DIR = WORK_DIR / "state"
"""Pulumi's file:// backend, unless PULUMI_BACKEND_URL names another one."""

PASSPHRASE_FILE = WORK_DIR / "passphrase"
"""Encrypts the secrets in the state. Made on first use, mode 0600. Losing it means losing the state's secrets."""

LOCKS_DIR = WORK_DIR / "locks"
LOGS_DIR = WORK_DIR / "logs"
CONFIG_DIR = WORK_DIR / "config"
STACKS_DIR = ROOT / "stacks"
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"


def owner_label() -> str:
    """Names this checkout on the Docker objects it makes (label `semesterhub.owner`): 12 hex digits of its path."""
    return hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]


def admin_path(text: str) -> Path:
    """A path that a stack file names on the admin's machine: ~ is the home folder, a relative one is in this checkout."""
    return ROOT / Path(text).expanduser()


def stack_file(stack: str) -> Path:
    """The stack's file, whether or not it exists."""
    return STACKS_DIR / f"Pulumi.{stack}.yaml"


def certificate_file(stack: str) -> Path:
    """The certificate of the authority that signed a local hub's own, written by `up`."""
    return WORK_DIR / stack / "ca.crt"
