"""Values between the provider's form (camelCase, as in the SDK) and the API's, led by botocore's model of the call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from providers.base import UNKNOWN


class ConversionError(ValueError):
    """A value that the API's model does not take; the text says which and why."""


class TableError(LookupError):
    """A table names something that the API's model does not have: a mistake in sandbox/aws/types."""


def member(name: str, members: Iterable[str]) -> str | None:
    """The member that an input's name means: the same but for case and plural."""
    by_lower = {m.lower().replace("_", ""): m for m in members}
    low = name.lower()
    for form in (
        low,
        low.removesuffix("s"),
        low + "s",
        low.removesuffix("es"),
        low.removesuffix("ies") + "y",
        "is" + low,
    ):
        if form in by_lower:
            return by_lower[form]
    return None


def to_api(value: Any, shape: Any, at: str, names: Mapping[str, str]) -> Any:
    """`value` as the shape wants it. Raises ConversionError for what the shape refuses, with the path `at`."""
    if value is UNKNOWN or value is None:
        return value
    kind = shape.type_name
    if kind == "structure":
        return _structure(value, shape, at, names)
    if kind == "list":
        if isinstance(value, Mapping) and set(getattr(shape.member, "members", ())) == {"Key", "Value"}:
            return [{"Key": key, "Value": item} for key, item in sorted(value.items())]  # tags
        items = value if isinstance(value, list) else [value]
        return [to_api(item, shape.member, at, names) for item in items]
    if kind == "map":
        if not isinstance(value, Mapping):
            raise ConversionError(f"{at}: must be a map")
        return {key: to_api(item, shape.value, f"{at}.{key}", names) for key, item in value.items()}
    return _plain(value, shape, at)


def _structure(value: Any, shape: Any, at: str, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):  # a list of at most one, in the provider's form
        if len(value) > 1:
            raise ConversionError(f"{at}: at most one is possible")
        value = value[0] if value else {}
    if not isinstance(value, Mapping):
        raise ConversionError(f"{at}: must be an object")
    result = {}
    for key, item in value.items():
        path = f"{at}.{key}"
        name = names.get(path) or member(key, shape.members)
        if name is None or name not in shape.members:
            raise ConversionError(
                f"{path}: the stand-in knows no parameter of {shape.name} for it (sandbox/aws/types names those that differ)"
            )
        if item not in (None, [], {}):
            result[name] = to_api(item, shape.members[name], path, names)
    return result


def _plain(value: Any, shape: Any, at: str) -> Any:
    kind = shape.type_name
    if kind == "string":
        text = (
            json.dumps(value)
            if isinstance(value, (dict, list))
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )
        if shape.enum and text not in shape.enum:
            raise ConversionError(f"{at}: {text!r} is not possible; allowed are {', '.join(shape.enum)}")
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and len(text) < low) or (high is not None and len(text) > high):
            raise ConversionError(f"{at}: has {len(text)} characters; allowed are {low or 0} to {high}")
        return text
    if kind in {"integer", "long", "float", "double"}:
        try:
            number = float(value) if kind in {"float", "double"} else int(value)
        except (TypeError, ValueError):
            raise ConversionError(f"{at}: {value!r} is no number") from None
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and number < low) or (high is not None and number > high):
            raise ConversionError(f"{at}: {number} is not possible; allowed are {low} to {high}")
        return number
    if kind == "boolean":
        if value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            raise ConversionError(f"{at}: {value!r} is neither true nor false")
    return value


def limits(value: Any, shape: Any, at: str) -> None:
    """Hold a value in the API's own form against the model's limits and choices, which botocore itself does not. Raises
    ConversionError."""
    if value is UNKNOWN or value is None:
        return
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        for name, item in value.items():
            if name in shape.members:
                limits(item, shape.members[name], f"{at}.{name}" if at else name)
    elif kind == "list" and isinstance(value, list):
        for item in value:
            limits(item, shape.member, at)
    elif kind in {"string", "integer", "long", "float", "double"} and not isinstance(value, (dict, list)):
        _plain(value, shape, at)


def like(recorded: Any, actual: Any) -> Any:
    """What the look shows, in the form in which the input was given; `recorded` itself where both mean the same."""
    if recorded is UNKNOWN:
        return actual
    if isinstance(recorded, Mapping):
        return _like_map(recorded, actual)
    if isinstance(recorded, list):
        return _like_list(recorded, actual)
    if isinstance(recorded, bool):
        return str(actual).lower() == "true" if isinstance(actual, (str, bool)) else bool(actual)
    if isinstance(recorded, (int, float)) and isinstance(actual, str):
        try:
            return type(recorded)(float(actual))
        except ValueError:
            return actual
    if isinstance(recorded, str):
        if same_document(recorded, actual):
            return recorded
        if isinstance(actual, (dict, list)):
            return json.dumps(actual)
        if isinstance(actual, bool):
            return str(actual).lower()
        return (
            actual
            if actual is None or isinstance(actual, str)
            else f"{actual:g}"
            if isinstance(actual, float)
            else str(actual)
        )
    return actual


def _like_map(recorded: Mapping[str, Any], actual: Any) -> Any:
    if (
        isinstance(actual, list)
        and all(isinstance(i, Mapping) and {"Key", "Value"} <= set(i) for i in actual)
        and actual
    ):
        return {item["Key"]: item["Value"] for item in actual}
    if isinstance(actual, list) and len(actual) == 1:
        actual = actual[0]
    if not isinstance(actual, Mapping):
        return {} if actual in (None, []) else actual
    seen = {}
    for key, value in recorded.items():
        name = key if key in actual else member(key, actual)
        if name is not None:
            seen[key] = like(value, actual[name])
        elif value in (False, 0, "", [], {}):
            seen[key] = value  # a default that the API does not mention
    return seen


def _like_list(recorded: list[Any], actual: Any) -> Any:
    if actual is None:
        return []
    if not isinstance(actual, list):
        actual = [actual]
    if not recorded:
        return list(actual)
    left, ordered = list(actual), []
    for item in recorded:  # the order says nothing in the API's answers
        match = next((other for other in left if like(item, other) == item), None)
        if match is not None:
            left.remove(match)
            ordered.append(item)
    missing = len(recorded) - len(ordered)
    if not left and not missing:
        return list(recorded)
    return ordered + [like(recorded[min(i, len(recorded) - 1)], other) for i, other in enumerate(left)]


def same_document(one: Any, other: Any) -> bool:
    """Whether two texts are the same, or the same JSON (policies come back with other spaces and order)."""
    if one == other:
        return True
    if not isinstance(one, str) or not one.lstrip().startswith(("{", "[")):
        return False
    try:
        return json.loads(one) == (json.loads(other) if isinstance(other, str) else other)
    except ValueError:
        return False
