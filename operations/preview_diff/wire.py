"""A report as JSON and back. What comes back may be from anybody: sizes and types are checked, everything else is text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from operations.preview_diff.model import OPS, Change, Cost, Difference, Report, Verdict

FORMAT = "semesterhub-preview/1"
LONGEST_TEXT = 200_000
MOST_ITEMS = 20_000


class BadReport(ValueError):
    """The JSON is no report; the message says where."""


def to_json(report: Report) -> str:
    """The report as one line of JSON, the same for the same report."""
    return json.dumps({"format": FORMAT, **asdict(report)}, sort_keys=True, ensure_ascii=False) + "\n"


def from_json(text: str) -> Report:
    """The report in a JSON text. Raises BadReport."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"not JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise BadReport(f"not a report of the format {FORMAT}")
    try:
        return _report(data)
    except (KeyError, TypeError) as error:
        raise BadReport(f"not a report: {error}") from None


def _report(data: Mapping[str, Any]) -> Report:
    cost = data.get("cost")
    return Report(
        stack=_text(data["stack"], "stack"),
        cloud=_text(data["cloud"], "cloud"),
        baseline=_text(data["baseline"], "baseline"),
        changes=tuple(_change(item) for item in _items(data["changes"], "changes")),
        unchanged=_count(data["unchanged"]),
        cost=None if cost is None else _cost(cost),
        verdicts=tuple(
            Verdict(
                _text(v["rule"], "rule"),
                _text(v["title"], "title"),
                _texts(v["findings"], "findings"),
                _texts(v["later"], "later"),
            )
            for v in _items(data["verdicts"], "verdicts")
        ),
        notes=_texts(data["notes"], "notes"),
        error=_text(data["error"], "error"),
    )


def _change(item: Mapping[str, Any]) -> Change:
    if item["op"] not in OPS:
        raise BadReport(f"op is {item['op']!r}; allowed are {', '.join(OPS)}")
    return Change(
        op=item["op"],
        type=_text(item["type"], "type"),
        name=_text(item["name"], "name"),
        differences=tuple(_difference(d) for d in _items(item["differences"], "differences")),
        security=_text(item["security"], "security"),
        alarm=_text(item["alarm"], "alarm"),
        homes=item["homes"] is True,
    )


def _difference(item: Mapping[str, Any]) -> Difference:
    unknown = set(item) - {f.name for f in fields(Difference)}
    if unknown:
        raise BadReport(f"a difference has {', '.join(sorted(unknown))}")
    return Difference(
        path=_text(item["path"], "path"),
        before=None if item["before"] is None else _text(item["before"], "before"),
        after=None if item["after"] is None else _text(item["after"], "after"),
        secret=item["secret"] is True,
        replaces=item["replaces"] is True,
        security=_text(item["security"], "security"),
        alarm=_text(item["alarm"], "alarm"),
    )


def _cost(item: Mapping[str, Any]) -> Cost:
    lines = tuple(
        (_text(line[0], "cost line"), _money(line[1]), _money(line[2])) for line in _items(item["lines"], "cost lines")
    )
    return Cost(_money(item["before"]), _money(item["after"]), _text(item["as_of"], "as_of"), lines)


def _money(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadReport(f"a cost is {value!r}, not a number")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise BadReport(f"unchanged is {value!r}, not a count")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise BadReport(f"{what} is not a text of at most {LONGEST_TEXT} characters")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    return tuple(_text(item, what) for item in _items(value, what))


def _items(value: object, what: str) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise BadReport(f"{what} is not a list of at most {MOST_ITEMS} items")
    return value
