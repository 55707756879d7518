"""Writes requirements.lock from requirements.in: every package with its hashes, for every platform."""

from __future__ import annotations

import subprocess

from operations.errors import UserError
from operations.paths import CACHE, ROOT

LOWEST_PYTHON = "3.11"


def run() -> None:
    """Resolve anew, keeping the versions that still fit. The launcher then renews .venv at its next start."""
    uv = sorted((CACHE / "uv").glob("*/uv"))
    if not uv:
        raise UserError("uv is not in the cache; `./hub --setup` fetches it.")
    command = [str(uv[-1]), "pip", "compile", "--universal", "--python-version", LOWEST_PYTHON, "--generate-hashes"]
    # Neither the header nor an index belongs into the file: both name this machine's settings.
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-config", "--quiet"]
    done = subprocess.run([*command, "requirements.in", "-o", "requirements.lock"], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise UserError("requirements.lock was not written; uv's reason is above.")
