"""What may not change on a running semester: compares two semesters of one stack by what the model's fields say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from components.semester_errors import Loc, key_path


@dataclass(frozen=True)
class Change:
    """A key that may not change on a running semester, with both values."""

    key: str
    old: str
    new: str
    because: str

    def __str__(self) -> str:
        return f"{self.key} cannot change from {self.old} to {self.new}: {self.because}."


def immutable_changes(old: BaseModel, new: BaseModel) -> tuple[Change, ...]:
    """What differs between two semesters of one stack although it may not."""
    return tuple(_immutable_changes(old, new, ()))


def _immutable_changes(old: BaseModel, new: BaseModel, loc: Loc) -> Iterator[Change]:
    for name, info in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("immutable") and before != after:
            yield Change(key_path((*loc, name)), _plain(before), _plain(after), str(extra["immutable_because"]))
        elif isinstance(before, BaseModel) and type(before) is type(after):
            yield from _immutable_changes(before, after, (*loc, name))


def fixed(semester: BaseModel) -> dict[str, str]:
    """The keys that may not change while the semester runs, with their values: kept as a stack output, so that the next
    run knows what is deployed, whoever made it and wherever."""
    return {key: value for key, value, _ in _fixed(semester, ())}


def moved(deployed: Mapping[str, str], new: BaseModel) -> tuple[Change, ...]:
    """What differs between what is deployed (see `fixed`) and a semester although it may not."""
    return tuple(
        Change(key, deployed[key], value, because)
        for key, value, because in _fixed(new, ())
        if key in deployed and deployed[key] != value
    )


def _fixed(model: BaseModel, loc: Loc) -> Iterator[tuple[str, str, str]]:
    for name, info in type(model).model_fields.items():
        value, extra = getattr(model, name), info.json_schema_extra
        if isinstance(extra, dict) and extra.get("immutable"):
            yield key_path((*loc, name)), _plain(value), str(extra["immutable_because"])
        elif isinstance(value, BaseModel):
            yield from _fixed(value, (*loc, name))


def _plain(value: object) -> str:
    return "nothing" if value is None else str(value)
