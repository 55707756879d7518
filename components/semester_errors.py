"""The one message a person gets for a wrong stack file: key path, value, what is allowed, what to do.

`SemesterError` carries `Problem`s; `problems_of()` turns pydantic's errors into them with the help of what each field
of the model says about itself (`allowed`, `unit`, examples). Values of secrets are never part of a message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

NAMESPACE = "semesterhub"

Loc = tuple[str | int, ...]

SECRET_TYPES: list[type] = []
"""Types of values that are never shown; whoever defines one adds it."""
_SECRETIVE = re.compile(r"secret|passw|passphrase|token|credential|api_?key|private_?key", re.IGNORECASE)
_NUMBER_WITH_UNIT = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z%$]*)\s*$")
_GIB_PER = {"": 1.0, "k": 2**-20, "m": 2**-10, "g": 1.0, "t": 2.0**10}
_SECONDS_PER = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Problem:
    """One wrong thing: `key` as a path, `value` already fit to be shown ("" when there is none)."""

    key: str
    value: str
    allowed: str
    remedy: str
    line: int | None = None
    meant: str = ""
    """The known key an unknown one was probably meant to be."""

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        value = f" is {self.value}" if self.value else ""
        allowed = f"\n      Allowed: {self.allowed}." if self.allowed else ""
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.key}{where}{value}{allowed}\n      Do: {self.remedy}{end}"


@dataclass
class SemesterError(Exception):
    """A stack file (or configuration) that cannot become a semester. `str()` is the whole message."""

    source: str
    problems: Sequence[Problem] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        super().__init__(self.source)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"{self.source}: {count}; nothing was touched."]
        lines += [f"  {number}. {problem}" for number, problem in enumerate(self.problems, start=1)]
        return "\n".join(lines)

    __hash__ = Exception.__hash__


def wrong(allowed: str, remedy: str, *, at: str = "", value: object = None) -> PydanticCustomError:
    """What a validator raises: `at` names a key below the validated one, `value` replaces the value that is shown."""
    context: dict[str, Any] = {"allowed": allowed, "remedy": remedy, "at": at}
    if value is not None:
        context["value"] = value
    return PydanticCustomError("semester", "not allowed", context)


def key_path(loc: Iterable[str | int]) -> str:
    """`("courses", 0, "memory_limit_gib")` -> `semesterhub:courses[0].memory_limit_gib`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{NAMESPACE}:{text.removeprefix('.')}" if text else f"{NAMESPACE}:"


def show(value: object, key: str = "") -> str:
    """A value as the message shows it: short, on one line, never a secret."""
    if _SECRETIVE.search(key) and value is not None and not isinstance(value, bool | int | float):
        return "not shown here because it may be a secret"
    if isinstance(value, Mapping):
        if set(value) == {"secure"}:
            return "an encrypted value"
        keys = [str(name) for name in value]
        return f"a mapping with the keys {listing(keys)}" if keys else "an empty mapping"
    if isinstance(value, list | tuple):
        plain = [item for item in value if isinstance(item, str | int | float)]
        if plain and len(plain) == len(value) and len(value) <= 5:
            return "[" + ", ".join(show(item) for item in plain) + "]"
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A password inside a URL would otherwise end in terminals and CI logs.
        text = re.sub(r"(?<=://)[^/@\s]+@", "…@", value)
        text = text if len(text) <= 100 else text[:97] + "…"
        return '"' + text.replace("\n", "\\n") + '"'
    return f"{value:g}" if isinstance(value, float) else str(value)


def listing(names: Iterable[str]) -> str:
    """`a, b, c` with a bound, so that a message stays a message."""
    shown = list(names)
    return ", ".join(shown[:30]) + (", …" if len(shown) > 30 else "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if matches:
        return matches[0]
    if shorter := next(
        (known_name for known_name in names if len(known_name) > 2 and name.startswith(known_name)), None
    ):
        return shorter
    plain = name.lower().replace("-", "_")
    # memory_limit -> memory_limit_gib: the unit was left out, or another one was written.
    return next((known_name for known_name in names if known_name.startswith((plain + "_", plain))), None) or next(
        (
            known_name
            for known_name in names
            if plain.count("_") > 1 and known_name.rsplit("_", 1)[0] == plain.rsplit("_", 1)[0]
        ),
        None,
    )


def problems_of(
    error: ValidationError, model: type[BaseModel], data: object, lines: Mapping[Loc, int] | None = None
) -> list[Problem]:
    """Pydantic's errors as problems, in the file's order. `data` is what was validated; `lines` maps a path to a line."""
    lines = lines or {}
    problems: list[Problem] = []
    for details in _causes(error.errors(include_url=False)):
        loc, info, owner = _locate(model, details["loc"], data)
        context = details.get("ctx", {})
        if context.get("at"):
            loc = (*loc, *_parts(str(context["at"])))
            info = owner.model_fields.get(str(context["at"])) if owner else info
        problem = _problem(details, loc, info, owner, data, _line_of(loc, lines))
        if problem not in problems:
            problems.append(problem)
    # `titel: …` is one mistake, not an unknown key and a missing one.
    renamed = {(_split(problem.key)[0], problem.meant) for problem in problems if problem.meant}
    follows = [problem for problem in problems if problem.value == "missing" and _split(problem.key) in renamed]
    return sorted((problem for problem in problems if problem not in follows), key=lambda problem: problem.line or 0)


def _split(key: str) -> tuple[str, str]:
    """`semesterhub:courses[0].title` -> (`semesterhub:courses[0]`, `title`)."""
    cut = max(key.rfind("."), key.rfind(":"))
    return key[:cut], key[cut + 1 :]


def _causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows from another error: a list is not too short because its only item is wrong."""
    wrong_parts = {details["loc"] for details in errors}
    return [
        details
        for details in errors
        if details["type"] != "too_short"
        or not any(
            len(loc) > len(details["loc"]) and loc[: len(details["loc"])] == details["loc"] for loc in wrong_parts
        )
    ]


def _parts(path: str) -> Loc:
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def _line_of(loc: Loc, lines: Mapping[Loc, int]) -> int | None:
    while loc:
        if loc in lines:
            return lines[loc]
        loc = loc[:-1]
    return None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """The models a field may hold, through Optional, Annotated, tuples and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _locate(model: type[BaseModel], raw: Loc, data: object) -> tuple[Loc, FieldInfo | None, type[BaseModel] | None]:
    """Follows pydantic's location through the model: drops the tags of unions, finds the field and its owner."""
    loc: list[str | int] = []
    owners, info = [model], None
    for index, part in enumerate(raw):
        if isinstance(part, int):
            loc.append(part)
            continue
        tagged = [owner for owner in owners if len(owners) > 1 and _has_tag(owner, part)]
        if tagged:
            owners = tagged
            continue
        holder = next((owner for owner in owners if part in owner.model_fields), None)
        loc.append(part)
        if holder is None:
            in_mapping = info is not None and get_origin(info.annotation) is dict
            return tuple(loc), info if in_mapping else None, owners[0]
        info = holder.model_fields[part]
        inner = _models_in(info.annotation)
        if index == len(raw) - 1:
            return tuple(loc), info, inner[0] if len(inner) == 1 else holder
        owners = inner or [holder]
    return tuple(loc), info, owners[0]


def _has_tag(owner: type[BaseModel], tag: str) -> bool:
    return any(
        tag in get_args(owner.model_fields[name].annotation)
        for name in ("kind", "provider")
        if name in owner.model_fields
    )


def _extra(info: FieldInfo | None, name: str) -> str:
    """What a field says about itself: first the field, then its type."""
    if info is None:
        return ""
    extra = info.json_schema_extra
    own = extra.get(name) if isinstance(extra, dict) else None
    return str(own or next((getattr(mark, name) for mark in info.metadata if getattr(mark, name, None)), ""))


def _example(info: FieldInfo | None) -> str:
    if info is None or not info.examples:
        return ""
    value = info.examples[0]
    if isinstance(value, str):
        return value
    return show(value) if not isinstance(value, Mapping | list) else _flow(value)


def _flow(value: object) -> str:
    """A small example in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return value if isinstance(value, str) else show(value)


def _problem(
    details: ErrorDetails,
    loc: Loc,
    info: FieldInfo | None,
    owner: type[BaseModel] | None,
    data: object,
    line: int | None,
) -> Problem:
    name = next((part for part in reversed(loc) if isinstance(part, str)), "")
    context = details.get("ctx", {})
    kind, value = details["type"], details["input"]
    key = key_path(loc)
    if info is not None and get_origin(info.annotation) is dict and not isinstance(value, str | dict | list):
        return Problem(
            key, show(value, name), _extra(info, "allowed"), f'write `{name}: "{show(value)}"`, in quotes', line
        )
    allowed = _extra(info, "allowed")
    example = _example(info)
    write = f"write `{name}: {example}`" if example else f"correct {name}"
    if kind == "semester":
        shown = str(context["value"]) if "value" in context else show(value, name)
        if context.get("at") and "value" not in context:
            shown = show(_lookup(data, loc), name)
        return Problem(key, shown, str(context["allowed"]), str(context["remedy"]).replace("{key}", key), line)
    if kind == "missing":
        return Problem(key, "missing", allowed, f"add `{name}: {example}`" if example else f"add {name}", line)
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if owner else []
        meant = nearest(name, known) or ""
        better = _converted(meant, value, owner.model_fields[meant]) if meant and owner else ""
        remedy = f"did you mean `{meant}`?" if meant else "remove it, or use one of the allowed keys"
        # A misspelt `client_secret` is found by the key it was meant to be, and by what stands beside it.
        hidden = (
            "client_secret"
            if owner and any(info.annotation in SECRET_TYPES for info in owner.model_fields.values())
            else ""
        )
        unknown = f"not a known key (its value: {show(value, name + hidden + meant)})"
        return Problem(key, unknown, listing(known), f"{remedy} Then {better}" if better else remedy, line, meant)
    if kind in ("literal_error", "enum", "union_tag_invalid", "union_tag_not_found"):
        return _choice_problem(key, name, context, value, loc, info, owner, line)
    return Problem(key, show(value, name), allowed or details["msg"], _converted(name, value, info) or write, line)


def _choice_problem(
    key: str,
    name: str,
    context: Mapping[str, Any],
    value: object,
    loc: Loc,
    info: FieldInfo | None,
    owner: type[BaseModel] | None,
    line: int | None,
) -> Problem:
    if "discriminator" in context:
        name = str(context["discriminator"]).strip("'")
        key = key_path((*loc, name))
        choices = [str(choice).strip("'") for choice in str(context.get("expected_tags", "")).split(", ") if choice]
        value = value.get(name) if isinstance(value, Mapping) else value
        if not choices:
            choices = [
                str(tag) for model in _models_in(info.annotation if info else None) for tag in _tags(model, name)
            ]
    else:
        annotation = info.annotation if info else None
        choices = [str(choice) for choice in get_args(annotation) if isinstance(choice, str | int)]
        if not choices:
            choices = re.findall(r"'([^']+)'", str(context.get("expected", "")))
    meant = nearest(str(value), choices) if isinstance(value, str) else None
    remedy = f"did you mean `{name}: {meant}`?" if meant else f"write one of them, such as `{name}: {choices[0]}`"
    return Problem(key, "missing" if value is None else show(value, name), "one of " + listing(choices), remedy, line)


def _tags(model: type[BaseModel], name: str) -> Sequence[object]:
    return get_args(model.model_fields[name].annotation) if name in model.model_fields else ()


def _lookup(data: object, loc: Loc) -> object:
    for part in loc:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _converted(name: str, value: object, info: FieldInfo | None) -> str:
    """`memory_gib: 512MB` -> the number that was meant, in the key's own unit; "" when that cannot be told."""
    unit = _extra(info, "unit")
    if unit == "share" and isinstance(value, int | float) and 1 < value <= 100:
        return f"write `{name}: {value / 100:g}`, a share of 1"
    match = _NUMBER_WITH_UNIT.match(value) if isinstance(value, str) else None
    if not match or not unit:
        return ""
    number, suffix = float(match[1]), match[2].lower()
    if unit == "GiB":
        number *= _GIB_PER.get(suffix.removesuffix("b").removesuffix("i"), 1)
    elif unit == "s":
        number *= _SECONDS_PER.get(suffix, 1)
    elif suffix == "%" and unit == "share":
        number /= 100
    return f"write `{name}: {number:g}`, a plain number without quotes or unit"
