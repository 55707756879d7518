"""`./hub test`: everything the tests need, the checks, every test, and nothing left behind."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from operations import setup
from operations.errors import UserError
from operations.paths import BYTECODE, ROOT, VENV_PYTHON, owner_label
from operations.progress import note

MARKERS = ("unit", "sandbox", "swarm", "browser", "load")
PROCESSES = 3
"""On 2 cores: with two, a third of the time waited for machines; more would starve the machines (docs/benchmarks.md)."""


def run(arguments: Sequence[str]) -> int:
    """Run checks and tests; returns pytest's exit code, or 1 when only the checks or the tidiness failed."""
    parser = argparse.ArgumentParser(prog="./hub test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fast", action="store_true", help="only tests without Docker (marker unit)")
    parser.add_argument("--only", metavar="MARK", choices=MARKERS, help=f"only one kind of test: {', '.join(MARKERS)}")
    parser.add_argument("--no-lint", action="store_true", help="skip ruff, pyright and zizmor")
    options, rest = parser.parse_known_args(list(arguments))
    if options.fast and options.only not in {None, "unit"}:
        raise UserError(f"--fast runs the unit tests; it does not go with --only {options.only}.")
    mark = "unit" if options.fast else options.only

    # Beside the first tests, which mostly wait for machines.
    checks = None if options.no_lint else ThreadPoolExecutor(1).submit(lint)
    daemon = None
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(BYTECODE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if mark != "unit":
        daemon = setup.docker()
        setup.testing_programs()
        environment["SEMESTERHUB_PULUMI"] = str(setup.pulumi().folder)
        if mark in {None, "browser"}:
            environment["SEMESTERHUB_CHROMIUM"] = str(setup.chromium())
    try:
        before = _objects() if mark != "unit" else set()
        command = [str(VENV_PYTHON), "-m", "pytest", *_selection(mark, rest), *rest]
        # Standard input is closed: a test that asks something fails instead of hanging.
        status = _wait(subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL))
        left = sorted((_objects() if mark != "unit" else set()) - before)
    finally:
        if daemon is not None:
            daemon.stop()
    if left:
        note(f"the tests left behind: {', '.join(left)}")
    failed = checks.result() if checks else 0
    if failed:
        note("lint failed, see above")
    return status or (1 if left or failed else 0)


def _selection(mark: str | None, rest: Sequence[str]) -> list[str]:
    """pytest's options. Everything at once runs in several processes: tests of the local cloud mostly wait for its machines,
    so the others find a core that is free. The order is that of tests/conftest.py, longest chains first."""
    if mark:
        return ["-m", mark]
    told_itself = any(option in {"-s", "--pdb", "-n"} or option.startswith("--dist") for option in rest)
    return [] if told_itself else ["-n", str(PROCESSES), "--dist", "loadgroup", "--no-loadscope-reorder"]


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C goes to pytest as well (same terminal); let it clean up and report."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def lint() -> int:
    """ruff and pyright over the project, zizmor over the workflows; 0 when all are content."""
    failed = 0
    checks = (
        ("ruff", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "--quiet", "."]),
        ("pyright", ["pyright", "--warnings"]),
        # GitHub's schema, pins, permissions, injections; offline, so it needs no token.
        ("zizmor", ["zizmor", "--offline", "--strict-collection", "--no-progress", "--quiet", ".github/workflows"]),
    )
    for name, command in checks:
        done = subprocess.run(
            [str(VENV_PYTHON.parent / command[0]), *command[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        )
        if done.returncode != 0:
            print(done.stdout + done.stderr, file=sys.stderr)
            failed = 1
        note(f"{name}: {'ok' if done.returncode == 0 else 'failed'}")
    return failed


def _objects() -> set[str]:
    """Containers, networks and volumes of this checkout: what a test run must not add to."""
    import docker

    client = docker.from_env()
    try:
        label: dict[str, str | list[str] | bool] = {"label": f"semesterhub.owner={owner_label()}"}
        containers = [f"container {c.name}" for c in client.containers.list(all=True, filters=label)]
        networks = [f"network {n.name}" for n in client.networks.list(filters=label)]
        volumes = [f"volume {v.name}" for v in client.volumes.list(filters=label)]
        return {*containers, *networks, *volumes}
    finally:
        client.close()
