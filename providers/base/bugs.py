"""Tracebacks of bugs go to a file, not to the admin's terminal."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from pathlib import Path


def log_dir() -> Path:
    """`$SEMESTERHUB_LOGS_DIR`, else `logs` in the user's cache of semesterhub."""
    named = os.environ.get("SEMESTERHUB_LOGS_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semesterhub" / "logs"


def record_bug(provider: str, urn: str, error: BaseException) -> Path:
    """Append the traceback to the provider's log; returns the file. Locals are left out: they may hold secrets."""
    entry = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {urn}\n{''.join(traceback.format_exception(error))}\n"
    path = log_dir() / f"provider-{provider}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(entry)
    except OSError:
        descriptor, name = tempfile.mkstemp(prefix=f"provider-{provider}-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as log:
            log.write(entry)
        path = Path(name)
    return path
