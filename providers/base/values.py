"""Property values between Pulumi's wire form (protobuf Struct with marked unknowns and secrets) and plain Python.

Handlers see plain values; `UNKNOWN` stands where a preview does not know yet. Which properties are secret is kept
beside the values, by top-level name: a secret anywhere inside a property makes the whole property secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import struct_pb2

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT_VALUE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
# One sentinel a type (sdk/go/common/resource/plugin/rpc.go): bool, number, string, array, asset, archive, object.
_UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        _UNKNOWN_STRING,
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


class _Unknown:
    """The type of `UNKNOWN`. Equal to nothing but itself, and never true by accident."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("a value that is not known yet was used as a condition")

    def __copy__(self) -> _Unknown:
        return self

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN: Final[Any] = _Unknown()
"""A value that only the update will know."""


def contains_unknown(value: Any) -> bool:
    """Whether `value` is, or has inside, something not known yet."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Mapping):
        return any(contains_unknown(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(contains_unknown(v) for v in value)
    return False


def decode(struct: struct_pb2.Struct) -> tuple[dict[str, Any], set[str]]:
    """The properties as plain values, and the names of the secret ones. Nulls are left out: Pulumi's "not given"."""
    values: dict[str, Any] = {}
    secrets: set[str] = set()
    for name, raw in struct.fields.items():
        value, secret = _decode_value(raw)
        if secret:
            secrets.add(name)
        if value is not None:
            values[name] = value
    return values, secrets


def _decode_value(raw: struct_pb2.Value) -> tuple[Any, bool]:
    kind = raw.WhichOneof("kind")
    if kind == "string_value":
        return (UNKNOWN if raw.string_value in _UNKNOWNS else raw.string_value), False
    if kind == "number_value":
        number = raw.number_value
        return (int(number) if number.is_integer() else number), False
    if kind == "bool_value":
        return raw.bool_value, False
    if kind == "list_value":
        pairs = [_decode_value(v) for v in raw.list_value.values]
        return [v for v, _ in pairs], any(s for _, s in pairs)
    if kind == "struct_value":
        return _decode_struct(raw.struct_value)
    return None, False


def _decode_struct(struct: struct_pb2.Struct) -> tuple[Any, bool]:
    fields = struct.fields
    signature = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    if signature == _SECRET:
        return _decode_value(fields["value"])[0] if "value" in fields else None, True
    if signature == _OUTPUT_VALUE:
        value, inner = _decode_value(fields["value"]) if "value" in fields else (UNKNOWN, False)
        return value, inner or ("secret" in fields and fields["secret"].bool_value)
    pairs = {k: _decode_value(v) for k, v in fields.items()}
    return {k: v for k, (v, _) in pairs.items() if v is not None}, any(s for _, s in pairs.values())


def encode(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """The wire form of plain `values`; the properties named in `secrets` marked as secret."""
    secret_names = set(secrets)
    struct = struct_pb2.Struct()
    for name, value in values.items():
        if value is None:
            continue
        encoded = _encode_value(value)
        if name in secret_names:
            wrapper = struct_pb2.Struct()
            wrapper.fields[_SIGNATURE].string_value = _SECRET
            wrapper.fields["value"].CopyFrom(encoded)
            encoded = struct_pb2.Value(struct_value=wrapper)
        struct.fields[name].CopyFrom(encoded)
    return struct


def _encode_value(value: Any) -> struct_pb2.Value:
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=_UNKNOWN_STRING)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return struct_pb2.Value(number_value=float(value))
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        struct = struct_pb2.Struct()
        for key, item in value.items():
            struct.fields[str(key)].CopyFrom(_encode_value(item))
        return struct_pb2.Value(struct_value=struct)
    if isinstance(value, (list, tuple)):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode_value(v) for v in value]))
    raise TypeError(f"a property value cannot be of type {type(value).__name__}")
