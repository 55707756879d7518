"""Which semesters there are, and making a new one."""

from __future__ import annotations

import re
from collections.abc import Callable
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


def new(stack: str, like: str = "demo", title: str = "") -> Path:
    """A new stack file made from `like`, with a network and ports no other stack of this checkout uses."""
    if not NAME.fullmatch(stack):
        path_of(stack)
    path = STACKS_DIR / f"Pulumi.{stack}.yaml"
    if path.exists():
        raise UserError(f"{path.relative_to(ROOT)} exists already. Edit it, or choose another name.")
    text = path_of(like).read_text("utf-8")
    others = [_config(STACKS_DIR / f"Pulumi.{name}.yaml") for name in names()]

    def taken(*keys: str) -> set[str]:
        return {str(_dig(config, keys)) for config in others}

    second = _first_free(lambda n: f"10.{n}.0.0/24", range(88, 250), taken("network", "cidr"))
    https = _first_free(str, range(8443, 8543), taken("local", "https_port"))
    registry = _first_free(str, range(5443, 5543), taken("local", "registry_port"))
    text = _replace(text, r"(\n\s+cidr:\s*)\S+", second)
    text = _replace(text, r"(\n\s+https_port:\s*)\S+", https)
    text = _replace(text, r"(\n\s+registry_port:\s*)\S+", registry)
    text = _replace(text, r"(\n\s+semesterhub:domain:\s*)\S+", f"{stack}.localhost")
    text = _replace(text, r"(\n\s+semesterhub:title:[ \t]*)[^\n#]+", title or f"Semesterhub {stack}")
    text = re.sub(
        r"(\n# )The demo semester:[^\n]*",
        rf"\1The semester '{stack}': `./hub up --stack {stack}`. Every key is explained in docs/reference.md.",
        text,
        count=1,
    )
    text = text.replace("https://demo.localhost:8443", f"https://{stack}.localhost:{https}")
    path.write_text(text, "utf-8")
    try:
        load(stack)
    except Exception:
        path.unlink()
        raise
    return path


def _replace(text: str, pattern: str, value: str) -> str:
    return re.sub(pattern, lambda found: found.group(1) + value, text, count=1)


def _first_free(say: Callable[[int], str], numbers: range, taken: set[str]) -> str:
    return next(candidate for candidate in map(say, numbers) if candidate not in taken)


def _config(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
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
