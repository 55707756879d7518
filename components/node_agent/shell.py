"""Running commands with a time limit and an error that says what failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .config import AgentError


def run(*command: str, timeout_s: float = 60, check: bool = True, stdin: str | None = None) -> str:
    """Standard output of a command; AgentError with its last lines when it fails and ``check`` is set."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise AgentError(f"{command[0]} is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise AgentError(f"{' '.join(command[:4])} did not finish within {timeout_s:g} s") from error
    if check and done.returncode:
        tail = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise AgentError(f"{' '.join(command[:4])} failed ({done.returncode}): {' '.join(tail)}")
    return done.stdout


def say(text: str) -> None:
    """One line for the journal."""
    print(f"semesterhub-node: {text}", file=sys.stderr, flush=True)


def docker(*arguments: str, timeout_s: float = 60, check: bool = True, stdin: str | None = None) -> str:
    return run("docker", *arguments, timeout_s=timeout_s, check=check, stdin=stdin)


def docker_lines(*arguments: str) -> list[Any]:
    """Objects of a docker command that prints one JSON document a line."""
    return [json.loads(line) for line in docker(*arguments, "--format", "{{json .}}").splitlines() if line]


def write_file(path: Path, text: str, mode: int = 0o644) -> bool:
    """Write atomically; True when the content is new."""
    if path.is_dir():
        path.rmdir()  # made by Docker, for a container of an earlier machine that it started before the file was there
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, mode)
        stream.write(text)
    Path(temporary).replace(path)
    return True
