"""Old inputs against new ones, leaf by leaf, as texts that a person reads."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, Final

from operations.planned import SECRET, UNKNOWN, Asset, Planned
from operations.preview_diff.model import Difference
from operations.preview_diff.references import Names, settled

MISSING: Final = object()
ENCODED: Final = re.compile(r"[A-Za-z0-9+/\s]{64,}={0,2}\s*")
DECODED_MAX_BYTES: Final = 1 << 20
SECRET_CHANGED: Final = ("(secret, as it was)", "(secret, another value)")


def differences(planned: Planned, names: Names) -> tuple[Difference, ...]:
    """What differs, ordered by path. Where a secret changes, the fact is told and nothing else."""
    old = settled(planned, planned.old_inputs) if planned.op != "create" else {}
    new = settled(planned, planned.inputs) if planned.op != "delete" else {}
    found = {
        d.path: d
        for name in sorted({*old, *new})
        for d in _walk(name, old.get(name, MISSING), new.get(name, MISSING), names)
    }
    if planned.op in {"update", "replace"}:
        for path in planned.touched:
            # Two secrets look alike here; the provider saw them and says that they differ.
            if _at(new, path) is SECRET and path not in found:
                found[path] = Difference(path, *SECRET_CHANGED, secret=True)
            elif not any(_within(known, path) or _within(path, known) for known in found):
                found[path] = Difference(path, None, "(changed; the provider does not say how)")
        found = {
            path: replace(d, replaces=any(_within(path, r) or _within(r, path) for r in planned.replacing))
            for path, d in found.items()
        }
    return tuple(found[path] for path in sorted(found, key=_natural))


def _walk(path: str, old: Any, new: Any, names: Names) -> Iterator[Difference]:
    if old is MISSING and new is MISSING:
        return
    if old is SECRET or new is SECRET:
        if old is not new:
            yield Difference(path, _hidden(old), _hidden(new), secret=True)
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _walk(f"{path}{_accessor(key)}", old.get(key, MISSING), new.get(key, MISSING), names)
        return
    if isinstance(old, list) and isinstance(new, list):
        yield from _walk_lists(path, old, new, names)
        return
    if _same(old, new):
        return
    before, after = text(old, names), text(new, names)
    if before != after or old is UNKNOWN:
        yield Difference(path, before, after)


def _walk_lists(path: str, old: list[Any], new: list[Any], names: Names) -> Iterator[Difference]:
    """Lists are aligned by what they have in common, so that an item put in front does not change all the others."""
    if all(_plain(item) for item in [*old, *new]):
        if not _same(old, new):
            yield Difference(path, text(old, names), text(new, names))
        return
    keys = [[_key(item) for item in items] for items in (old, new)]
    for what, i1, i2, j1, j2 in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        for step in range(max(i2 - i1, j2 - j1)):
            before = old[i1 + step] if i1 + step < i2 else MISSING
            after = new[j1 + step] if j1 + step < j2 else MISSING
            # A removed item is named by its old place, the others by their new one.
            place = j1 + step if after is not MISSING else i1 + step
            gone = " (removed)" if after is MISSING else ""
            yield from _walk(f"{path}[{place}]{gone}", before, after, names)


def _plain(value: Any) -> bool:
    return not isinstance(value, (Mapping, list)) and value is not SECRET


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _same(old: Any, new: Any) -> bool:
    # 1 == True in Python; not here. A value known only later may be the same, and is shown as what it is.
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _hidden(value: Any) -> str | None:
    """Beside a secret nothing is shown in the clear: what was or becomes secret may be the very same value."""
    return None if value is MISSING else "(secret)" if value is SECRET else "(a value in the clear, not shown)"


def text(value: Any, names: Names) -> str | None:
    """A value as a person reads it: documents (JSON, scripts packed for a machine) are opened, ids become names."""
    if value is MISSING:
        return None
    if value is UNKNOWN or isinstance(value, Asset):
        return str(value)
    if isinstance(value, str):
        return names.told(_document(value))
    return names.told(json.dumps(_shown(value), sort_keys=True, ensure_ascii=False, indent=1 if _deep(value) else None))


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return str(value) if value in (SECRET, UNKNOWN) or isinstance(value, Asset) else value


def _deep(value: Any) -> bool:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(isinstance(item, (Mapping, list)) and item for item in items)


def _document(value: str) -> str:
    stripped = value.strip()
    if stripped[:1] in {"{", "["}:
        try:
            return json.dumps(json.loads(stripped), sort_keys=True, ensure_ascii=False, indent=1)
        except ValueError:
            return value
    if ENCODED.fullmatch(value):
        return _unpacked(value) or value
    return value


def _unpacked(value: str) -> str | None:
    """The text behind base64, gzip or not; None where there is none."""
    try:
        data = base64.b64decode(value, validate=False)
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data) if len(data) < DECODED_MAX_BYTES else b""
        shown = data.decode("utf-8")
    except (binascii.Error, ValueError, OSError, EOFError, zlib.error):
        return None
    return shown if shown and len(data) <= DECODED_MAX_BYTES and (shown.isprintable() or "\n" in shown) else None


def _accessor(key: str) -> str:
    plain = key.replace("_", "a").isalnum() and not key[:1].isdigit()
    return f".{key}" if plain else '["' + key.replace("\\", "\\\\").replace('"', '\\"') + '"]'


_STEPS: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')


def steps(path: str) -> tuple[str | int, ...]:
    """A property path of the engine (`a.b[0]["c d"]`) in its parts."""
    found: list[str | int] = []
    for quoted, index, name in _STEPS.findall(path):
        found.append(int(index) if index else re.sub(r"\\(.)", r"\1", quoted) if quoted else name)
    return tuple(found)


def _at(value: Any, path: str) -> Any:
    for step in steps(path):
        if value is SECRET:
            return SECRET
        if isinstance(value, Mapping):
            value = value.get(str(step), MISSING)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return MISSING
    return value


def _within(path: str, outer: str) -> bool:
    """Whether `path` is `outer` or below it."""
    inside, around = steps(path), steps(outer)
    return inside[: len(around)] == around


def _natural(path: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `a[2]` before `a[10]`."""
    return tuple((0, int(p), "") if isinstance(p, int) else (1, 0, p) for p in steps(path))
