"""`./hub pulumi …`, `./hub tofu …`, `./hub shell`: the engines themselves, with the environment the tasks give them."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from operations import setup, stacks
from operations.engine import Pulumi, config_copy, environment
from operations.errors import UserError
from operations.paths import ROOT, VENV_PYTHON, WORK_DIR, stack_file

TAKE_CONFIG_FILE = {"up", "update", "preview", "pre", "refresh", "destroy", "down", "dn", "import", "watch"}
"""Pulumi commands that have --config-file, and would otherwise write an encryption salt into the stack's file."""


def pulumi(arguments: Sequence[str]) -> int:
    """Run the Pulumi CLI in the project; a stack that has a file is made in the backend when it is first used."""
    folder = setup.pulumi().folder
    stack = named_stack(arguments)
    cloud = stacks.cloud_of(stack) if stack else "local"
    own = environment(folder, fetch_plugins=cloud != "local")
    command = [str(folder / "pulumi"), *arguments]
    if acts(arguments) in TAKE_CONFIG_FILE and not any(a.startswith("--config-file") for a in arguments):
        stack = stack or _selected(folder, own)
        if stack and stack_file(stack).exists():
            if cloud == "local":
                setup.docker()
            engine = Pulumi(stack, folder)
            copy = config_copy(stack)
            engine.create()
            command += ["--config-file", str(copy)]
    return subprocess.run(command, cwd=ROOT, env=own, check=False).returncode


def acts(arguments: Sequence[str]) -> str:
    """The command among the arguments: the first that is no option."""
    return next((a for a in arguments if not a.startswith("-")), "")


def named_stack(arguments: Sequence[str]) -> str | None:
    """The stack that --stack or -s names."""
    for position, argument in enumerate(arguments):
        if argument in {"--stack", "-s"} and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--stack="):
            return argument.partition("=")[2]
    return None


def _selected(folder: Path, own: dict[str, str]) -> str | None:
    done = subprocess.run(
        [str(folder / "pulumi"), "stack", "--show-name", "--non-interactive"],
        cwd=ROOT,
        env=own,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip() or None


def tofu(arguments: Sequence[str]) -> int:
    """Run OpenTofu where the user stands; obtained now if this is its first use."""
    here = os.environ.get("SEMESTERHUB_CWD") or Path.cwd()
    return subprocess.run([str(setup.tofu().program), *arguments], cwd=here, check=False).returncode


def shell() -> int:
    """The user's shell with `pulumi` and the project's Python in front of PATH."""
    folder = setup.pulumi().folder
    shims = WORK_DIR / "bin"
    shims.mkdir(parents=True, exist_ok=True)
    for name in ("pulumi", "tofu"):
        shim = shims / name
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(str(ROOT / "hub"))} {name} "$@"\n', "utf-8")
        shim.chmod(0o755)
    own = environment(folder)
    own["PATH"] = os.pathsep.join([str(shims), str(VENV_PYTHON.parent), os.environ.get("PATH", os.defpath)])
    own["VIRTUAL_ENV"] = str(VENV_PYTHON.parent.parent)
    program = os.environ.get("SHELL") or "/bin/sh"
    if not os.access(program, os.X_OK):
        raise UserError(f"SHELL={program} is not a program. Set SHELL to your shell.")
    print("pulumi and python are this project's here; `exit` leaves.")
    return subprocess.run([program], env=own, check=False).returncode
