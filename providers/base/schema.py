"""Declared inputs: checked with messages that teach, compared with the old ones path by path.

Own code rather than pydantic because every value may be unknown at any depth during a preview, and because it costs
nothing at start (pydantic: 0.4 s at each start of a plugin).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from providers.base.errors import CheckFailure
from providers.base.values import UNKNOWN, contains_unknown


class Free:
    """The kind of a value that the provider does not look into."""


ANY = Free()
REQUIRED: Any = object()
"""Default of a property that must be given."""


@dataclass(frozen=True)
class ListOf:
    """A list whose items are all of one kind."""

    item: Kind


@dataclass(frozen=True)
class MapOf:
    """A map from strings to values of one kind."""

    value: Kind


@dataclass(frozen=True)
class Field:
    """One input.

    `kind`: `str`, `int`, `float`, `bool`, `ListOf`, `MapOf`, a `Schema` (an object) or `ANY`. `replace`: a change needs a new
    resource. `secret`: never shown, and kept encrypted in the state. `check`: gets a known value, returns what is wrong
    with it and what to do, or None. `doc` names the property for humans, with its unit.
    """

    kind: Kind
    doc: str
    default: Any = REQUIRED
    replace: bool = False
    secret: bool = False
    check: Callable[[Any], str | None] | None = None


@dataclass(frozen=True)
class Schema:
    """The inputs of one resource type (or of an object inside). `whole` checks properties against each other."""

    fields: Mapping[str, Field]
    whole: Callable[[Mapping[str, Any]], list[CheckFailure]] | None = field(default=None)

    def check(
        self, given: Mapping[str, Any], hidden: frozenset[str] = frozenset()
    ) -> tuple[dict[str, Any], list[CheckFailure]]:
        """The inputs with defaults filled in, and what is wrong. Values of `hidden` properties stay out of messages."""
        values: dict[str, Any] = {}
        failures: list[CheckFailure] = []
        self.check_into(values, failures, given, "", hidden)
        if not failures and self.whole and not contains_unknown(values):
            failures.extend(self.whole(values))
        return values, failures

    def check_into(
        self,
        values: dict[str, Any],
        failures: list[CheckFailure],
        given: Mapping[str, Any],
        at: str,
        hidden: frozenset[str],
    ) -> None:
        """As `check`, into `values` and `failures`; `at` is the path of the object."""
        for name in given:
            if name not in self.fields and not name.startswith("__"):
                close = difflib.get_close_matches(name, self.fields, n=1)
                hint = f" Did you mean `{close[0]}`?" if close else f" Known are: {', '.join(self.fields)}."
                failures.append(CheckFailure(at + name, f"unknown property `{name}`.{hint}"))
        for name, spec in self.fields.items():
            path = at + name
            value = given.get(name)
            if value is None:
                if spec.default is REQUIRED:
                    failures.append(CheckFailure(path, f"`{name}` is missing: {spec.doc}."))
                elif spec.default is not None:
                    values[name] = spec.default
                continue
            values[name] = _checked(spec.kind, value, path, spec, failures, spec.secret or name in hidden)

    def secret_names(self) -> set[str]:
        """The inputs that are secret by declaration."""
        return {name for name, spec in self.fields.items() if spec.secret}


Kind = type[str] | type[int] | type[float] | type[bool] | ListOf | MapOf | Schema | Free

_NAMES: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _checked(kind: Kind, value: Any, path: str, spec: Field, failures: list[CheckFailure], hide: bool) -> Any:
    """`value` as `kind` wants it, with every fault added to `failures`."""
    if value is UNKNOWN:
        return UNKNOWN

    def refuse(expected: str) -> Any:
        shown = "" if hide else f", but {value!r} was given"
        failures.append(CheckFailure(path, f"must be {expected}{shown} ({spec.doc})."))
        return value

    before = len(failures)
    if isinstance(kind, Free):
        result: Any = value
    elif isinstance(kind, ListOf):
        if not isinstance(value, list):
            return refuse("a list")
        result = [_checked(kind.item, v, f"{path}[{i}]", _inner(spec), failures, hide) for i, v in enumerate(value)]
    elif isinstance(kind, (MapOf, Schema)):
        if not isinstance(value, Mapping):
            return refuse("an object" if isinstance(kind, Schema) else "a map")
        result = _checked_object(kind, value, path, spec, failures, hide)
    elif not _is_plain(kind, value):
        return refuse(_NAMES[kind])
    else:
        result = float(value) if kind is float else value
    if spec.check and len(failures) == before and not contains_unknown(result):
        wrong = spec.check(result)
        if wrong:
            failures.append(CheckFailure(path, wrong))
    return result


def _is_plain(kind: Kind, value: Any) -> bool:
    """Whether a value is of a plain kind. True is no number, although Python says so; 2 is a number with a fraction."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)  # pyright: ignore[reportArgumentType]


def _checked_object(
    kind: MapOf | Schema, value: Mapping[str, Any], path: str, spec: Field, failures: list[CheckFailure], hide: bool
) -> dict[str, Any]:
    if isinstance(kind, MapOf):
        return {k: _checked(kind.value, v, path + _accessor(k), _inner(spec), failures, hide) for k, v in value.items()}
    result: dict[str, Any] = {}
    kind.check_into(result, failures, value, f"{path}.", frozenset(kind.fields) if hide else frozenset())
    return result


def _inner(spec: Field) -> Field:
    """The field's description for its items; its own check is for the whole."""
    return Field(spec.kind, spec.doc)


@dataclass(frozen=True)
class Change:
    """One difference between old and new inputs. `path` is Pulumi's property path (`ports[0].host_port`)."""

    path: str
    kind: Literal["add", "delete", "update"]
    replace: bool

    @property
    def top(self) -> str:
        """The top-level property it is in."""
        return top_level(self.path)


def top_level(path: str) -> str:
    """The top-level property of a property path."""
    return path.replace("[", ".").split(".", 1)[0]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema | None = None) -> list[Change]:
    """What differs, leaf by leaf. An input that the old state lacks and that has its default now is no difference:
    so a property added to a provider does not touch what older versions made."""
    found: list[Change] = []
    for name in [*old, *(n for n in new if n not in old)]:
        spec = schema.fields.get(name) if schema else None
        if name.startswith("__"):
            continue
        if name not in old and spec is not None and spec.default is not REQUIRED and new[name] == spec.default:
            continue
        replace = spec.replace if spec else False
        found.extend(Change(path, kind, replace) for path, kind in _leaves(name, old.get(name), new.get(name)))
    return found


def _leaves(path: str, old: Any, new: Any) -> Iterator[tuple[str, Literal["add", "delete", "update"]]]:
    if old is None and new is None:
        return
    if old is None:
        yield path, "add"
    elif new is None:
        yield path, "delete"
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from _leaves(f"{path}{_accessor(key)}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        for i in range(max(len(old), len(new))):
            yield from _leaves(f"{path}[{i}]", old[i] if i < len(old) else None, new[i] if i < len(new) else None)
    elif new is UNKNOWN or old is UNKNOWN or not _same(old, new):
        yield path, "update"


def _accessor(key: str) -> str:
    plain = key.replace("_", "a").isalnum() and not key[:1].isdigit()
    return f".{key}" if plain else '["' + key.replace("\\", "\\\\").replace('"', '\\"') + '"]'


def _same(old: Any, new: Any) -> bool:
    # 1 == True in Python; not here.
    return old == new and isinstance(old, bool) == isinstance(new, bool)
