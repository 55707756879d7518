"""A report as Markdown. Red letters on GitHub are the `-` lines of a diff block, so what is replaced is told in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from operations.preview_diff.markdown import change_lines, code, details, fence, table, words
from operations.preview_diff.model import OPS, Change, Cost, Difference, Op, Report

COMMENT_LIMIT: Final = 65_536
"""Characters that GitHub takes in one comment. Bytes are counted here, which is never less."""
_CLOUDS: Final = {"aws": "AWS", "azure": "Azure", "local": "this machine"}
_MARKS: Final[dict[Op, str]] = {"create": "🟢", "update": "🟡", "replace": "🔴", "delete": "⚫"}
_HEADS: Final[dict[Op, str]] = {"create": "Created", "update": "Updated", "replace": "Replaced", "delete": "Deleted"}
_TO: Final[dict[Op, str]] = {
    "create": "to create",
    "update": "to update",
    "replace": "to replace",
    "delete": "to delete",
}
_SECURITY_ROWS: Final = 40
_ALIKE_MIN: Final = 3
_REPLACED_MEANS: Final = (
    "Not changed in place: the old one is deleted and a new one is made, with another id and without what was on it."
)


@dataclass(frozen=True)
class Level:
    """How much is told. `opened`: operations whose properties are shown; `most`: resources listed of each."""

    opened: frozenset[Op]
    lines: int
    most: int
    left_out: str = ""


_LEVELS: Final = (
    Level(frozenset(OPS), 60, 10_000),
    Level(frozenset(OPS), 12, 10_000, "lines of long values"),
    Level(frozenset({"update", "replace", "delete"}), 12, 10_000, "properties of created resources"),
    Level(frozenset({"update", "replace"}), 6, 10_000, "properties of created and deleted resources"),
    Level(frozenset({"replace"}), 6, 200, "properties of resources that are not replaced"),
    Level(frozenset(), 0, 60, "all properties but the security-relevant ones, and a part of the lists"),
    Level(frozenset(), 0, 12, "all properties but the security-relevant ones, and most of the lists"),
    Level(frozenset(), 0, 2, "nearly all"),
)


def render(reports: Report | Sequence[Report], *, limit: int = COMMENT_LIMIT, whole: str = "") -> str:
    """The Markdown of one or more reports within `limit` bytes. What does not fit is left out and said to be left out;
    `whole` says where everything is. The same reports give the same text."""
    several = [reports] if isinstance(reports, Report) else list(reports)
    room = limit - 2 * len(several)
    texts: dict[int, str] = {}
    # Short ones first: what they do not use is for the others.
    waiting = sorted(range(len(several)), key=lambda i: (_size(_at_level(several[i], _LEVELS[0], whole)), i))
    for done, index in enumerate(waiting):
        text = _fit(several[index], room // (len(waiting) - done), whole)
        texts[index] = text
        room -= _size(text)
    return "\n\n".join(texts[i] for i in range(len(several))) + "\n"


def _fit(report: Report, limit: int, whole: str) -> str:
    text = ""
    for level in _LEVELS:
        text = _at_level(report, level, whole)
        if _size(text) <= limit:
            return text
    # One absurdly long name or finding is left: cut at a line's end, so that no block stays open.
    head = _head(report)
    note = "\n\n_Too long for a comment" + (f"; {whole}" if whole else "") + "._"
    return head if _size(head + note) > limit else head + note


def _size(text: str) -> int:
    return len(text.encode())


def _at_level(report: Report, level: Level, whole: str) -> str:
    if report.error:
        return f"{_title(report)}\n\n{fence(report.error.splitlines()[:40], 'text')}"
    parts = [_head(report)]
    parts += [f"> {words(note)}" for note in report.notes]
    if level.left_out:
        where = f" {words(whole)}" if whole else ""
        parts.append(f"> ✂️ Shortened to fit a comment. Left out: {level.left_out}.{where}")
    if report.broken:
        parts.append(_broken(report, level))
    parts += filter(None, [_security(report, level), _replaced(report, level)])
    for op in ("update", "create", "delete"):
        if report.of(op):
            parts.append(_section(op, report.of(op), level))
    if report.cost:
        parts.append(_cost(report.cost))
    if report.verdicts and not report.broken:
        kept = ", ".join(words(v.title) for v in report.verdicts)
        parts.append(details(f"✅ {len(report.verdicts)} policies kept", kept))
    later = [item for verdict in report.verdicts for item in verdict.later]
    if later:
        shown = "\n".join(f"- {words(item)}" for item in later[: min(level.most, 50)])
        values = "value that policies look at is" if len(later) == 1 else "values that policies look at are"
        head = f"{len(later)} {values} known only after deploy, and checked then"
        parts.append(details(head, shown))
    return "\n\n".join(parts)


def _title(report: Report) -> str:
    return f"### Preview of {code(report.stack)} on {words(_CLOUDS.get(report.cloud, report.cloud))}"


def _head(report: Report) -> str:
    counts = [
        f"{_MARKS[op] + ' ' if op == 'replace' else ''}**{len(report.of(op))} {_TO[op]}**"
        for op in ("create", "update", "replace", "delete")
        if report.of(op)
    ]
    said = ", ".join(counts) or "**No changes**"
    against = f" Compared with {code(report.baseline)}." if report.baseline else ""
    return f"{_title(report)}\n\n{said}, {report.unchanged} unchanged.{against}"


def _broken(report: Report, level: Level) -> str:
    count = sum(len(v.findings) for v in report.broken)
    rows = []
    for verdict in report.broken:
        rows += [f"- ❌ **{words(verdict.title)}**: {words(f)}" for f in verdict.findings[: max(level.most, 2)]]
        rows += _more(len(verdict.findings), max(level.most, 2), "finding")
    kept = len(report.verdicts) - len(report.broken)
    head = f"#### ❌ Policies: {count} finding{'s' if count > 1 else ''}; this cannot be deployed as it is"
    return "\n".join([head, "", *rows, "", f"{kept} other policies are kept."])


def _more(count: int, shown: int, what: str) -> list[str]:
    left = count - shown
    return [f"- … and {left} more {what}{'s' if left > 1 else ''}"] if left > 0 else []


@dataclass(frozen=True)
class _Row:
    alarm: str
    reason: str
    change: Change
    path: str
    before: str
    after: str


def _security(report: Report, level: Level) -> str:
    rows: list[_Row] = []
    for change in report.changes:
        told = [d for d in change.differences if d.security]
        if change.op in {"create", "delete"}:
            alarms = [d for d in told if d.alarm]
            if change.security and not alarms:
                rows.append(_whole(change, told))
            told = alarms
        rows += [_Row(d.alarm, d.security, change, d.path, _cell(d.before), _cell(d.after)) for d in told]
    if not rows:
        return ""
    rows.sort(key=lambda r: (not r.alarm, r.change.op not in {"replace", "update"}, r.reason))
    most = min(_SECURITY_ROWS, level.most * 3)
    cells = [
        (
            f"🔴 **{words(r.alarm)}**" if r.alarm else words(r.reason),
            f"{_MARKS[r.change.op]} {code(r.change.short_type)} {code(r.change.name)}",
            code(r.path, most=60) if r.path else "",
            r.before,
            r.after,
        )
        for r in rows[:most]
    ]
    text = "#### 🛡️ Security-relevant changes\n\n" + table(("why", "resource", "property", "before", "after"), cells)
    rest = _more(len(rows), most, "row")
    return text + ("\n\n" + rest[0].removeprefix("- ") + " (their resources are below)" if rest else "")


def _whole(change: Change, told: Sequence[Difference]) -> _Row:
    """A resource that comes or goes as a whole, by the property that says most: a source, a policy, a principal."""
    what = f"_{_HEADS[change.op].lower()}_"
    for difference in told:
        value = difference.after if change.op == "create" else difference.before
        if value and not value.startswith(("(", "‹")):
            pair = ("", code(value)) if change.op == "create" else (code(value), what)
            return _Row("", change.security, change, difference.path, *pair)
    return _Row("", change.security, change, "", "", what)


def _cell(value: str | None) -> str:
    return "" if value is None else code(value)


def _replaced(report: Report, level: Level) -> str:
    found = report.of("replace")
    if not found:
        return ""
    lines = []
    for change in found[: level.most]:
        causes = [d.path for d in change.differences if d.replaces]
        because = f" because of {', '.join(causes[:4])}" if causes else ", since what it needs is"
        lines.append(f"- {change.short_type} {change.name}: deleted and made anew{because}")
        if change.homes:
            lines.append("-     THIS HOLDS STUDENTS' FILES")
    left = len(found) - len(found[: level.most])
    if left:
        lines.append(f"  … and {left} more")
    head = f"#### 🔴 Replaced ({len(found)})\n\n{_REPLACED_MEANS}"
    parts = [head, fence(lines)]
    if "replace" in level.opened:
        parts.append(_all_opened(found, level))
    return "\n\n".join(parts)


def _section(op: Op, changes: Sequence[Change], level: Level) -> str:
    head = f"#### {_HEADS[op]} ({len(changes)})"
    shown = changes[: level.most]
    if op in level.opened:
        body = _all_opened(shown, level)
    else:
        body = "\n".join(f"- {_MARKS[op]} {code(c.short_type)} {code(c.name)}{_paths(c)}" for c in shown)
    rest = _more(len(changes), level.most, "resource")
    body = "\n".join([body, *rest])
    if op == "create" and len(changes) > 8:
        return f"{head}\n\n{details(f'all {len(changes)}', body)}"
    return f"{head}\n\n{body}"


def _paths(change: Change) -> str:
    if change.op != "update":
        return ""
    tops = list(dict.fromkeys(d.path for d in change.differences))
    return (
        ": "
        + ", ".join(code(path, most=40) for path in tops[:3])
        + (f" and {len(tops) - 3} more" if len(tops) > 3 else "")
    )


def _all_opened(changes: Sequence[Change], level: Level) -> str:
    """Each resource, folded; those that change alike (a tag on everything) as one."""
    alike: dict[tuple[Difference, ...], list[Change]] = {}
    for change in changes:
        alike.setdefault(change.differences, []).append(change)
    texts: list[str] = []
    for differences, group in alike.items():
        if len(group) < _ALIKE_MIN or not differences:
            texts += [_opened(change, level) for change in group]
            continue
        names = ", ".join(f"{code(c.short_type)} {code(c.name)}" for c in group)
        tops = _listed([d.path for d in differences], words)
        summary = f"{_MARKS[group[0].op]} <b>{len(group)} resources</b> alike: {tops}"
        texts.append(details(summary, f"{names}\n\n{fence(_diff_lines(group[0], level))}"))
    return "\n\n".join(texts)


def _opened(change: Change, level: Level) -> str:
    lines = _diff_lines(change, level)
    tops = list(dict.fromkeys(d.path.split(" (removed)")[0] for d in change.differences))
    what = "" if change.op in {"create", "delete"} else ": " + _listed(tops, words)
    summary = f"{_MARKS[change.op]} <code>{words(change.short_type)}</code> <b>{words(change.name)}</b>{what}"
    return details(summary, fence(lines) if lines else "nothing to show")


def _diff_lines(change: Change, level: Level) -> list[str]:
    lines: list[str] = []
    for difference in change.differences:
        why = "   (forces the replacement)" if difference.replaces and change.op == "replace" else ""
        told = change_lines(difference.before, difference.after, level.lines)
        if change.op in {"create", "delete"} and len(told) == 1:
            lines.append(f"{told[0][:2]}{difference.path}: {told[0][2:]}")
        else:
            lines += [f"@@ {difference.path} @@{why}", *told]
    return lines


def _listed(items: Sequence[str], shown: Callable[[str], str]) -> str:
    text = ", ".join(shown(item) for item in items[:3])
    return text + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _cost(cost: Cost) -> str:
    date = f", prices of {words(cost.as_of)}" if cost.as_of else ""
    rows = [("**whole stack**", _usd(cost.before), _usd(cost.after), _change_of(cost.before, cost.after))]
    text = f"#### Cost per month\n\nAn estimate{date}.\n\n" + table(
        ("", "before", "after", "change"), rows, right=(1, 2, 3)
    )
    if cost.lines:
        lines = [(words(what), _usd(b), _usd(a), _change_of(b, a)) for what, b, a in cost.lines]
        text += "\n\n" + details("what changes", table(("", "before", "after", "change"), lines, right=(1, 2, 3)))
    return text


def _usd(value: float | None) -> str:
    return "" if value is None else f"${value:,.2f}"


def _change_of(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    change = after - before
    if abs(change) < 0.005:
        return "none"
    sign = "+" if change > 0 else "−"
    percent = f" ({sign}{abs(change) / before * 100:.0f}%)" if before else ""
    return f"{sign}${abs(change):,.2f}{percent}"
