"""Which semesters there are, and reading one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from operations.errors import UserError
from operations.paths import ROOT, STACKS_DIR

if TYPE_CHECKING:
    from components.semester import Semester

NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
"""Stack names become parts of host and container names: short, lower case."""


def names() -> list[str]:
    """Every stack that has a file, alphabetically."""
    return sorted(p.name.removeprefix("Pulumi.").removesuffix(".yaml") for p in STACKS_DIR.glob("Pulumi.*.yaml"))


def path_of(stack: str) -> Path:
    """The stack's file. Raises UserError naming the stacks there are when it has none."""
    path = STACKS_DIR / f"Pulumi.{stack}.yaml"
    if not NAME.fullmatch(stack):
        raise UserError(
            f"--stack {stack!r} is not a stack's name: lower case letters, digits and dashes, at most 20, a letter first.\n{_there_are()}"
        )
    if not path.is_file():
        raise UserError(
            f"there is no stack '{stack}' ({path.relative_to(ROOT)} does not exist).\n{_there_are()}\n"
            f"  A new one: ./hub semester.new --stack {stack}"
        )
    return path


def _there_are() -> str:
    found = names()
    return f"  There {'is' if len(found) == 1 else 'are'}: {', '.join(found)}." if found else "  There are none yet."


def load(stack: str) -> Semester:
    """The stack's file as a checked semester. Raises UserError or SemesterError before anything is touched."""
    from components.semester import load_stack_file

    return load_stack_file(path_of(stack))


def _config(path: Path) -> dict[str, Any]:
    return _config_of(path.read_text("utf-8"))


def _config_of(text: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    config = data.get("config") if isinstance(data, dict) else None
    return config if isinstance(config, dict) else {}


def _dig(config: dict[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = config.get(f"semesterhub:{keys[0]}")
    for key in keys[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def cloud_of(stack: str) -> str:
    """The stack's cloud as its file says, unchecked; "local" where it says nothing."""
    path = STACKS_DIR / f"Pulumi.{stack}.yaml"
    return str(_dig(_config(path), ("cloud",)) or "local") if path.exists() else "local"


def alone(stack: str) -> bool:
    """Whether the stack's file says that it runs on bare metal alone, unchecked."""
    path = STACKS_DIR / f"Pulumi.{stack}.yaml"
    return path.exists() and _dig(_config(path), ("fallback", "alone")) is True


def cloud_in(text: str) -> str:
    """The cloud that a stack file's text names, unchecked; "local" where it names none."""
    return str(_dig(_config_of(text), ("cloud",)) or "local")
