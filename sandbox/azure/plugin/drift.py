"""What a look at the real resource says about the inputs: the recorded ones with what somebody changed put in.

As the official provider does: not the answer itself becomes the inputs (Azure adds defaults of its own), but what differs
between the answer recorded last time and the answer now, put onto the recorded inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.azure.plugin import sdk
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
    for name in info.inputs:
        if name in skipped or name not in info.outputs:
            continue
        old, new, own = (source.get(name, _ABSENT) for source in (before, now, inputs))
        result = _merged(own, old, new)
        if result is not own:
            changed[name] = None if result is _ABSENT else result
    return changed


def _merged(own: Any, old: Any, new: Any) -> Any:
    """`own` (an input) with the changes from `old` to `new` (two answers); `own` itself when there are none."""
    if new in (old, own):
        return own
    if isinstance(own, Mapping) and isinstance(old, Mapping) and isinstance(new, Mapping):
        result = dict(own)
        for key in {*old, *new}:
            item = _merged(own.get(key, _ABSENT), old.get(key, _ABSENT), new.get(key, _ABSENT))
            if item is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = item
        return own if result == own else result
    if all(isinstance(value, list) for value in (own, old, new)) and len(own) == len(old):
        items = [
            _merged(*(v[i] if i < len(v) else _ABSENT for v in (own, old, new))) for i in range(max(len(old), len(new)))
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
