"""What the emulator knows about a resource type: one `Kind` each, gathered by `kinds/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.ids import ResourceId
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm


@dataclass(frozen=True)
class Reference:
    """Where a body names another resource, which must exist. `type`: what it must be (empty: anything).

    `holds`: the other cannot be deleted while this is there. `here`: both must be in one location.
    `in_use`: the code with which Azure refuses that deletion.
    """

    path: str
    type: str = ""
    holds: bool = True
    here: bool = False
    in_use: str = "ResourceInUse"


@dataclass(frozen=True)
class Inline:
    """Children that a body may hold as well: `subnets` of a virtual network. A PUT that leaves some out deletes them."""

    path: str
    type: str


@dataclass
class Call:
    """One PUT or PATCH on its way: what is asked, what is there, who asks."""

    arm: Arm
    id: ResourceId
    body: dict[str, Any]
    old: Resource | None

    @property
    def subscription(self) -> str:
        """The subscription's id."""
        return self.id.subscription


@dataclass(frozen=True)
class Kind:
    """One resource type.

    `check` refuses a body beyond what the tables say; `fill` adds what Azure computes (gets the call and the body to be
    stored). `hidden`: paths a client may write and never read. `fixed`: paths whose value no PUT may change.
    `sub_ids`: lists in `properties` whose items get ids of their own, which others may refer to.
    `slow`/`slow_delete`: answered at once, done later. `implicit`: exists with its parent, by the one name given.
    """

    type: str
    name: str
    name_says: str
    location: bool = True
    required: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    inline: tuple[Inline, ...] = ()
    sub_ids: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    fixed_code: str = "PropertyChangeNotAllowed"
    slow: bool = False
    slow_delete: bool = False
    global_name: str = ""
    """The code with which a name is refused that somebody has anywhere in the cloud; empty: names are local."""
    implicit: str = ""
    no_arm_delete: bool = False
    """ARM has no DELETE for it (secrets of vaults: only their data plane has)."""
    check: Callable[[Call], None] | None = None
    fill: Callable[[Call, dict[str, Any]], None] | None = None
    before_delete: Callable[[Arm, Resource], None] | None = None
    after_delete: Callable[[Arm, Resource], None] | None = None
    after_put: Callable[[Arm, Resource], None] | None = None
    actions: Mapping[str, Callable[[Arm, Resource, dict[str, Any]], Any]] = field(default_factory=dict)
    """POST below a resource. What is slow returns an `Answer` with an operation."""
    views: Mapping[str, Callable[[Arm, Resource], Any]] = field(default_factory=dict)
    """GET below a resource that is no resource itself, such as `instanceView`."""

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.type.lower()

    def check_name(self, id: ResourceId) -> None:
        """Refuse a name that Azure would refuse."""
        if not re.fullmatch(self.name, id.name):
            code = "AccountNameInvalid" if self.key == "microsoft.storage/storageaccounts" else "InvalidResourceName"
            raise ArmError(
                400, code, f"Resource name {id.name} is invalid. {self.type}: {self.name_says}.", target="name"
            )


def one_of(call: Call, path: str, allowed: tuple[str, ...], *, required: bool = False) -> str:
    """The text at `path`, which must be one of `allowed`; compared without regard to case."""
    from sandbox.azure.emulator import paths

    value = paths.get(call.body, path)
    if value is None:
        if required:
            raise bad(f"Required property '{path}' is missing.", target=path)
        return ""
    for word in allowed:
        if isinstance(value, str) and value.lower() == word.lower():
            return word
    raise bad(
        f"The value '{value}' of '{path}' is not one of {', '.join(allowed)}.",
        code="InvalidParameterValue",
        target=path,
    )


def between(call: Call, path: str, low: float, high: float) -> None:
    """The number at each place of `path` must be within both."""
    from sandbox.azure.emulator import paths

    for at, value in paths.values_at(call.body, path):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise bad(
                f"The value '{value}' of '{at}' is not between {low:g} and {high:g}.",
                code="InvalidParameterValue",
                target=at,
            )
