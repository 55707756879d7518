"""What a rule looks at and how it says what it finds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final

from operations.planned import SECRET, UNKNOWN, Planned, Preview

WORLD_PREFIX_MAX: Final = 7
"""A network shorter than /8 is no network of anybody's own, whatever it is called (0.0.0.0/1 and 128.0.0.0/1 are all)."""
_WORLD_WORDS: Final = frozenset({"*", "any", "internet", "0.0.0.0", "::", "<nw>/0", "/0"})  # noqa: S104 (read, not bound)


@dataclass(frozen=True)
class Facts:
    """A planned stack. `budget_usd` is the stack file's limit per month, None without one."""

    preview: Preview
    stack: str
    cloud: str
    budget_usd: float | None = None

    def planned(self, *types: str) -> Iterator[Planned]:
        """The resources there will be, of these types (`aws:ec2/vpc:Vpc`; Azure's without an API version)."""
        for resource in self.preview.kept():
            if plain_type(resource.type) in types:
                yield resource

    def changed(self) -> Iterator[Planned]:
        """All custom resources, those that go as well."""
        return (r for r in self.preview.resources if r.custom)


@dataclass
class Findings:
    """What one rule says: `found` breaks it, `later` could not be looked at because only the update will know."""

    found: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)

    def add(self, resource: Planned, path: str, value: object, remedy: str) -> None:
        """One finding: `path` of `resource` is `value`; `remedy` says what to do."""
        self.found.append(f"{resource.label}: {path} is {shown(value)}. {remedy}")

    def unknown(self, resource: Planned, path: str) -> None:
        """`path` is not known before the update."""
        self.later.append(f"{resource.label}: {path}")

    def want(self, resource: Planned, path: str, wanted: object, remedy: str) -> None:
        """A finding unless the property has this value (`true` counts as True: some AWS properties are texts)."""
        value = at(resource.inputs, path)
        if value is UNKNOWN:
            self.unknown(resource, path)
        elif (as_bool(value) if isinstance(wanted, bool) else value) != wanted:
            self.add(resource, path, value, remedy)


@dataclass(frozen=True)
class Rule:
    """`name` is for commands and tests, `title` for readers. `clouds`: where it applies."""

    name: str
    title: str
    check: Callable[[Facts, Findings], None]
    clouds: tuple[str, ...] = ("aws", "azure")


def plain_type(token: str) -> str:
    """`azure-native:network/v20240501:Subnet` as `azure-native:network:Subnet`; AWS's tokens as they are."""
    if not token.startswith("azure-native:"):
        return token
    package, module, name = token.split(":", 2)
    return f"{package}:{module.split('/', 1)[0]}:{name}"


def at(value: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none, UNKNOWN or SECRET where the way ends in one."""
    for step in path.split("."):
        if value is UNKNOWN or value is SECRET:
            return value
        if isinstance(value, list):
            value = value[0] if value else None  # single blocks come as lists of one from some providers
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def items(value: Any) -> list[Any]:
    """A list as a list; a single value as one; nothing as none."""
    if value is None or value is UNKNOWN or value is SECRET:
        return []
    return list(value) if isinstance(value, list) else [value]


def as_bool(value: Any) -> Any:
    """`"true"` as True, as AWS's launch templates write it."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def is_world(source: Any) -> bool:
    """Whether a source of network traffic is (nearly) the whole internet."""
    if not isinstance(source, str):
        return False
    if source.strip().lower() in _WORLD_WORDS:
        return True
    try:
        network = ip_network(source.strip(), strict=False)
    except ValueError:
        return False
    return network.prefixlen <= WORLD_PREFIX_MAX and not network.is_private


def shown(value: object) -> str:
    """A value in a sentence, at most 120 characters."""
    if value is None:
        return "not set"
    if value is SECRET or value is UNKNOWN:
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    return text if len(text) <= 120 else text[:119] + "…"
