"""The SDK's flat inputs into ARM's documents and back: `addressSpace` is `properties.addressSpace` there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.base import UNKNOWN
from providers.base.schema import ListOf, MapOf, Schema
from sandbox.azure.plugin import sdk
from sandbox.azure.plugin.table import ENVELOPE, NESTED, NESTED_WIRE, NESTED_WITHIN, ArmType

SETS = frozenset({"userAssignedIdentities"})
"""Inputs that are lists in the SDK and maps (with what Azure knows of each item) in ARM and in outputs."""


def to_arm(info: sdk.TypeInfo, arm: ArmType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The request body of a PUT."""
    body: dict[str, Any] = {}
    for name, value in inputs.items():
        if name in arm.in_path or name.startswith("__") or name not in info.inputs:
            continue
        source = info.inputs[name]
        place = body if _in_envelope(arm, name) else body.setdefault("properties", {})
        place[arm.wire.get(name, name)] = _to(info.module, source, value)
    return body


def from_arm(info: sdk.TypeInfo, arm: ArmType, body: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs that the SDK knows, from a response."""
    own = {wire: name for name, wire in arm.wire.items()}
    flat: dict[str, Any] = {}
    properties = {} if "properties" in arm.envelope else body.get("properties") or {}
    for source, names in ((properties, frozenset[str]()), (body, ENVELOPE | arm.envelope)):
        for wire, value in source.items():
            if wire == "properties" and wire not in arm.envelope:
                continue
            if names and wire not in names:
                continue
            if names and (wire in arm.within):
                continue
            # A renamed property is one of `properties`: `roleType` is `type` there, beside the resource's own type.
            name = (None if names else own.get(wire)) or wire[:1].lower() + wire[1:]
            flat[name] = _from(info.module, info.inputs.get(name), value)
    flat["azureApiVersion"] = arm.api_version or info.api_version
    return {name: value for name, value in flat.items() if name in info.outputs}


def _in_envelope(arm: ArmType, name: str) -> bool:
    return name in arm.envelope or (name in ENVELOPE and name not in arm.within)


def _to(module: str, source: sdk.Input, value: Any) -> Any:
    if source.name in SETS and isinstance(value, list):
        return {item: {} for item in value}
    if not source.args:
        return value
    return _each(source.kind, value, lambda item: _object_to(module, source.args, item))


def _each(kind: Any, value: Any, change: Callable[[Any], Any]) -> Any:
    if value is UNKNOWN:
        return value
    if isinstance(kind, ListOf) and isinstance(value, list):
        return [_each(kind.item, item, change) for item in value]
    if isinstance(kind, MapOf) and isinstance(value, Mapping):
        return {key: _each(kind.value, item, change) for key, item in value.items()}
    return change(value) if isinstance(kind, Schema) and isinstance(value, Mapping) else value


def _object_to(module: str, args: str, value: Mapping[str, Any]) -> dict[str, Any]:
    model = args.removesuffix("Args")
    known = sdk.args(module, args)
    wires = NESTED_WIRE.get(module, {}).get(model, {})
    flat = model in NESTED.get(module, frozenset())
    within = NESTED_WITHIN.get(model, frozenset())
    result: dict[str, Any] = {}
    for name, item in value.items():
        place = result
        if flat and (name not in ENVELOPE or name in within):
            place = result.setdefault("properties", {})
        place[wires.get(name, name)] = _to(module, known[name], item) if name in known else item
    return result


def _from(module: str, source: sdk.Input | None, value: Any) -> Any:
    """An output. Where the SDK's inputs have the same property, its names are theirs; else ARM's, with nested
    `properties` folded in where this module's objects are flat."""
    if source is not None and source.args:
        return _each_out(source.kind, value, lambda item: _object_from(module, source.args, item))
    return _folded(module, value) if source is None else value


def _each_out(kind: Any, value: Any, change: Callable[[Any], Any]) -> Any:
    return _each(kind, value, change)


def _object_from(module: str, args: str, value: Mapping[str, Any]) -> dict[str, Any]:
    model = args.removesuffix("Args")
    known = sdk.args(module, args)
    own = {wire: name for name, wire in NESTED_WIRE.get(module, {}).get(model, {}).items()}
    flat = model in NESTED.get(module, frozenset())
    parts = {**value, **(value.get("properties") or {})} if flat else dict(value)
    if flat:
        parts.pop("properties", None)
    return {own.get(wire, wire): _from(module, known.get(own.get(wire, wire)), item) for wire, item in parts.items()}


def _folded(module: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(module, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    parts = dict(value)
    if module in NESTED and isinstance(parts.get("properties"), Mapping):
        parts = {**parts, **parts.pop("properties")}
    return {name: _folded(module, item) for name, item in parts.items()}
