"""What a preview plans, resource by resource, read from the engine's events: the one source of the rendered difference
(operations/preview_diff) and of the policies (operations/policies). Standard library only.

Events never hold a secret's value (the engine writes `[secret]`), so nothing that is made from a `Planned` can tell one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Op = Literal["create", "update", "replace", "delete", "same", "read"]

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""Key that marks a special value (pulumi/sdk/go/common/resource/sig)."""
_SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"
_KNOWN_LATER: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""Stand for what only the update will know: bool, number, string, array, asset, archive, object
(sdk/go/common/resource/plugin/rpc.go)."""


class _Special:
    """A value that has none to show."""

    def __init__(self, said: str) -> None:
        self.said = said

    def __repr__(self) -> str:
        return self.said


SECRET: Final = _Special("(secret)")
UNKNOWN: Final = _Special("(known after deploy)")


@dataclass(frozen=True)
class Asset:
    """A file given to a resource: told by its hash, never by its content."""

    hash: str

    def __str__(self) -> str:
        return f"(file {self.hash[:12]})"


@dataclass(frozen=True)
class Planned:
    """One resource: what it is, what it will be, what happens to it.

    `inputs` are the new ones (of a deletion: none), `old_inputs` those of the state (of a creation: none). Values are
    plain, or SECRET, UNKNOWN, Asset. `touched` are the property paths that the provider's diff names, `replacing` those
    that force a replacement.
    """

    urn: str
    type: str
    name: str
    op: Op
    custom: bool = True
    parent: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    old_inputs: Mapping[str, Any] = field(default_factory=dict)
    old_outputs: Mapping[str, Any] = field(default_factory=dict)
    old_id: str = ""
    protect: bool = False
    retain: bool = False
    was_protected: bool = False
    was_retained: bool = False
    touched: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`aws:ec2/vpc:Vpc` as `Vpc`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def provider(self) -> str:
        """`aws`, `azure-native`, `localcloud`, or `semesterhub` for a component."""
        return self.type.split(":", 1)[0]

    @property
    def label(self) -> str:
        """For a sentence: the kind and the name."""
        return f"{self.kind} '{self.name}'"


@dataclass(frozen=True)
class Preview:
    """A whole preview. `resources` holds one entry a resource, ordered by URN; components and providers are included,
    with `custom` false. Outputs are the stack's, before and after."""

    resources: tuple[Planned, ...]
    old_outputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def kept(self) -> tuple[Planned, ...]:
        """The custom resources that there will be."""
        return tuple(r for r in self.resources if r.custom and r.op != "delete")


def decode(value: Any) -> Any:
    """A value of an event as plain data, SECRET, UNKNOWN or Asset."""
    if isinstance(value, str):
        return UNKNOWN if value in _KNOWN_LATER else value
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        signature = value.get(_SIGNATURE)
        if signature == _SECRET_SIGNATURE:
            return SECRET
        if signature is not None:
            return Asset(str(value.get("hash", ""))) if "hash" in value else UNKNOWN
        return {str(key): decode(item) for key, item in value.items() if not str(key).startswith("__")}
    return value


_OPS: Final[Mapping[str, Op]] = {
    "create": "create",
    "import": "create",
    "update": "update",
    "delete": "delete",
    "same": "same",
    "read": "read",
    "create-replacement": "replace",
    "replace": "replace",
    "import-replacement": "replace",
    "read-replacement": "replace",
}
"""The engine's steps as a person counts them. The steps of a replacement (`create-replacement`, `replace`,
`delete-replaced`, in whichever order) are one."""


def collect(events: Iterable[Mapping[str, Any]]) -> Preview:
    """The plan that the engine's events of a preview (`--event-log`, one object each) tell."""
    found: dict[str, Planned] = {}
    old_outputs: Mapping[str, Any] = {}
    outputs: Mapping[str, Any] = {}
    for event in events:
        told = event.get("resourcePreEvent") or event.get("resOutputsEvent")
        if not told:
            continue
        metadata = told["metadata"]
        if metadata["type"] == "pulumi:pulumi:Stack":
            if "resOutputsEvent" in event and metadata["op"] != "refresh":
                old_outputs = decode((metadata.get("old") or {}).get("outputs") or {})
                outputs = decode((metadata.get("new") or {}).get("outputs") or {})
            continue
        planned = _planned(metadata)
        if planned is None:
            continue
        before = found.get(planned.urn)
        # A deletion beside a replacement is its second half; of the same URN under two types the later one counts.
        if before is not None and before.op == "replace" and planned.op in {"delete", "replace"}:
            continue
        if before is not None and before.op == planned.op:
            continue
        found[planned.urn] = planned
    return Preview(tuple(found[urn] for urn in sorted(found)), old_outputs, outputs)


def _planned(metadata: Mapping[str, Any]) -> Planned | None:
    op = _OPS.get(metadata["op"])
    if op is None:
        return None
    urn, kind = str(metadata["urn"]), str(metadata["type"])
    old, new = metadata.get("old") or {}, metadata.get("new") or {}
    state = new or old
    detailed: Mapping[str, Any] = metadata.get("detailedDiff") or {}
    replacing = [path for path, diff in detailed.items() if str(diff.get("diffKind", "")).endswith("-replace")]
    return Planned(
        urn=urn,
        type=kind,
        name=urn.rsplit("::", 1)[-1],
        op=op,
        # The engine leaves `custom` out where it is false. Providers are its own affair.
        custom=bool(state.get("custom")) and not kind.startswith("pulumi:"),
        parent=str(state.get("parent") or ""),
        inputs=decode(new.get("inputs") or {}),
        old_inputs=decode(old.get("inputs") or {}),
        old_outputs=decode(old.get("outputs") or {}),
        old_id=str(old.get("id") or ""),
        protect=bool(new.get("protect")),
        retain=bool(new.get("retainOnDelete")),
        was_protected=bool(old.get("protect")),
        was_retained=bool(old.get("retainOnDelete")),
        touched=tuple(sorted(detailed)) or tuple(sorted(metadata.get("diffs") or ())),
        replacing=tuple(sorted(replacing)) or tuple(sorted(metadata.get("keys") or ())),
    )
