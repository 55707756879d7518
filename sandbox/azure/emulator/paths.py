"""Values at paths such as `properties.ipConfigurations[].properties.subnet.id` in JSON documents."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def values_at(document: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each value at `path` (`[]`: every item of a list; `{}`: every key of a map), with where it was found."""
    yield from _walk(document, path.replace("[]", ".[]").replace("{}", ".{}").split("."), "")


def _walk(value: Any, parts: list[str], at: str) -> Iterator[tuple[str, Any]]:
    if not parts:
        if value is not None:
            yield at, value
        return
    head, rest = parts[0], parts[1:]
    if head == "[]":
        for index, item in enumerate(value if isinstance(value, list) else []):
            yield from _walk(item, rest, f"{at}[{index}]")
    elif head == "{}":
        for key in value if isinstance(value, dict) else {}:
            yield from _walk(key, rest, f"{at}['{key}']")
    elif isinstance(value, dict):
        name = find_key(value, head)
        if name is not None:
            yield from _walk(value[name], rest, f"{at}.{name}" if at else name)


def find_key(mapping: dict[str, Any], name: str) -> str | None:
    """The key as the document writes it: ARM takes property names without regard to case."""
    if name in mapping:
        return name
    return next((key for key in mapping if key.lower() == name.lower()), None)


def get(document: Any, path: str, default: Any = None) -> Any:
    """The first value at `path`."""
    return next((value for _, value in values_at(document, path)), default)


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set a value, making the objects on the way (no lists)."""
    *heads, last = path.split(".")
    for head in heads:
        document = document.setdefault(find_key(document, head) or head, {})
    document[find_key(document, last) or last] = value


def take(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Remove what is at `path`; returns what was there by its place."""
    found: dict[str, Any] = {}
    *heads, last = path.replace("[]", ".[]").split(".")
    for at, holder in list(values_at(document, ".".join(heads).replace(".[]", "[]"))) if heads else [("", document)]:
        if isinstance(holder, dict):
            name = find_key(holder, last)
            if name is not None:
                found[f"{at}.{name}" if at else name] = holder.pop(name)
    return found


def merged(base: Any, over: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(over, dict):
        return copy.deepcopy(over)
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
