"""What a look at the real resource says about the inputs: the recorded ones with what somebody changed put in.

As the official provider does: not the answer itself becomes the inputs (Azure adds defaults of its own), but what differs
between the answer recorded last time and the answer now, put onto the recorded inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.azure.plugin import sdk
from sandbox.azure.plugin.bodies import SETS
from sandbox.azure.plugin.table import ArmType

_ABSENT: Any = object()


def of(
    info: sdk.TypeInfo,
    inputs: Mapping[str, Any],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    skipped: frozenset[str],
) -> dict[str, Any]:
    """The inputs that somebody changed, with their values now; an input that is gone has None."""
    changed: dict[str, Any] = {}
    for name, source in info.inputs.items():
        if name in skipped or name not in info.outputs:
            continue
        old, new, own = (values.get(name, _ABSENT) for values in (before, now, inputs))
        result = _merged(info.module, source, own, old, new)
        if result is not own:
            changed[name] = None if result is _ABSENT else result
    return changed


_AZURES = frozenset({"etag", "id", "provisioningState", "type"})
"""Inputs by their class, that Azure alone writes."""


def _merged(module: str, source: sdk.Input | None, own: Any, old: Any, new: Any) -> Any:
    """`own` (an input) with the changes from `old` to `new` (two answers); `own` itself when there are none."""
    if new in (old, own):
        return own
    if source is not None and source.name in SETS and isinstance(new, Mapping):
        same = isinstance(own, list) and {str(i).lower() for i in own} == {key.lower() for key in new}
        return own if same else sorted(new)
    if isinstance(own, Mapping) and isinstance(old, Mapping) and isinstance(new, Mapping):
        known = sdk.args(module, source.args) if source is not None and source.args else None
        result = dict(own)
        for key in {*old, *new}:
            if key not in own and (key in _AZURES or (known is not None and key not in known)):
                continue
            inner = known.get(key) if known is not None else None
            item = _merged(module, inner, *(values.get(key, _ABSENT) for values in (own, old, new)))
            if item is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = item
        return own if result == own else result
    if all(isinstance(value, list) for value in (own, old, new)) and len(own) == len(old):
        items = [
            _merged(module, source, *(v[i] if i < len(v) else _ABSENT for v in (own, old, new)))
            for i in range(max(len(old), len(new)))
        ]
        kept = [item for item in items if item is not _ABSENT]
        return own if kept == own else kept
    if isinstance(own, str) and isinstance(new, str) and own.lower() == new.lower():
        return own
    return new


def imported(info: sdk.TypeInfo, arm: ArmType, id: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a resource that no program described yet: what is in its path, and what Azure says."""
    parts = id.strip("/").split("/")
    found: dict[str, Any] = {name: seen[name] for name in info.inputs if name in seen and name in info.outputs}
    values = parts[-1 : -2 * len(arm.names) : -2][::-1]
    found |= {name: value for name, value in zip(arm.names, values, strict=True) if not name.startswith("=")}
    if arm.scope == "group":
        found["resourceGroupName"] = parts[3]
    elif arm.scope not in ("group", "subscription"):
        found[arm.scope] = "/" + "/".join(parts[: -2 - 2 * len(arm.names)])
    return found
