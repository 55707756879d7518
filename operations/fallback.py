"""The bare-metal site of a semester: how it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations import stacks
from operations.errors import UserError
from operations.fallback_folder import Folder
from operations.paths import admin_path
from operations.ssh import Target

if TYPE_CHECKING:
    from components.semester import Semester


def semester_of(stack: str) -> Semester:
    """The checked semester. Raises UserError when it names no machine to fall back to."""
    semester = stacks.load(stack)
    if semester.fallback is None:
        raise UserError(
            f"stack '{stack}' names no machine to fall back to: write `semesterhub:fallback` with host and ssh_key in "
            f"stacks/Pulumi.{stack}.yaml (docs/failover.md)."
        )
    return semester


def ssh_target(stack: str, semester: Semester | None = None) -> Target:
    """How the bare metal is reached: from the stack file and this checkout alone."""
    given = (semester or semester_of(stack)).fallback
    assert given is not None
    known_hosts = Folder(stack).known_hosts
    return Target(given.host, given.port, given.user, admin_path(given.ssh_key), known_hosts, given.host_key or "")
