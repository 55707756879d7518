"""Resources on disk. One JSON file, replaced as a whole after each change: a killed emulator has every answered request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox.azure.emulator import ids


@dataclass
class Resource:
    """One resource. `body` is what the client may see; `hidden` holds what it may only write (path -> value)."""

    id: str
    type: str
    body: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)
    ready_at: float = 0.0
    """Unix time from which it is provisioned; until then `state` says what goes on."""
    state: str = "Succeeded"
    by_azure: bool = False
    """Made by Azure itself beside another resource (network watchers, the group of a cluster's nodes)."""
    owner: str = ""
    """Key of the resource with which it goes, if `by_azure`."""

    @property
    def key(self) -> str:
        """What it is found by."""
        return self.id.lower()

    @property
    def name(self) -> str:
        """The last part of its id."""
        return self.id.rsplit("/", 1)[1]

    def at(self, path: str) -> Any:
        """The value at a path such as `properties.addressSpace`; None where there is none."""
        value: Any = self.body
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value


@dataclass
class Operation:
    """Something that takes time. `resource` is the key of what it is about."""

    id: str
    resource: str
    verb: str
    ready_at: float
    status: str = "InProgress"
    error: dict[str, Any] | None = None
    then: str = ""
    """The status it has from `ready_at`, if not Succeeded."""


@dataclass
class State:
    """Everything the emulator remembers."""

    resources: dict[str, Resource] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    deleted_vaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Softly deleted key vaults by name: location, purge protection, their resources."""
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`vault/name` -> value, attributes, deleted or not."""
    blobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`account/container/name` -> content (text), type, metadata."""
    powers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key of a machine that was told to stop or start -> what it is, what it becomes, and when. Others run."""
    counter: int = 0


class Store:
    """The state, and its file. Without a folder it is kept in memory only."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = folder / "arm.json" if folder else None
        self.state = State()
        if self.path and self.path.exists():
            self.state = _loaded(json.loads(self.path.read_text("utf-8")))

    def save(self) -> None:
        """Write it. Readable by the owner only: it holds secrets."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(self.state), out)
        fresh.replace(self.path)

    def get(self, id: str) -> Resource | None:
        """The resource with this id."""
        return self.state.resources.get(id.lower().rstrip("/"))

    def put(self, resource: Resource) -> None:
        """Add or replace."""
        self.state.resources[resource.key] = resource

    def drop(self, key: str) -> None:
        """Remove one."""
        self.state.resources.pop(key, None)

    def all(self) -> Iterator[Resource]:
        """Every resource."""
        return iter(list(self.state.resources.values()))

    def below(self, id: str) -> list[Resource]:
        """What is within a resource, group or subscription: children and extensions, at any depth."""
        prefix = id.lower().rstrip("/") + "/"
        return [r for r in self.state.resources.values() if r.key.startswith(prefix)]

    def children(self, id: str, type: str) -> list[Resource]:
        """The children of one type, in the order they were made."""
        prefix = f"{id.lower()}/{type.rsplit('/', 1)[1].lower()}/"
        wanted = type.lower()
        return [r for r in self.state.resources.values() if r.type.lower() == wanted and r.key.startswith(prefix)]

    def of_type(self, type: str) -> list[Resource]:
        """All of one type."""
        wanted = type.lower()
        return [r for r in self.state.resources.values() if r.type.lower() == wanted]

    def group(self, id: str) -> Resource | None:
        """The resource group an id is in."""
        return self.get(ids.group_id(id)) if ids.group_id(id) else None

    def next(self) -> int:
        """A number nobody had before."""
        self.state.counter += 1
        return self.state.counter


def _loaded(data: dict[str, Any]) -> State:
    return State(
        resources={key: Resource(**value) for key, value in data["resources"].items()},
        operations={key: Operation(**value) for key, value in data["operations"].items()},
        deleted_vaults=data["deleted_vaults"],
        secrets=data["secrets"],
        blobs=data["blobs"],
        powers=data.get("powers", {}),
        counter=data["counter"],
    )
