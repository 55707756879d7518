"""Safe Markdown for GitHub: whatever a value holds, it stays a value (no mention, no link, no HTML, no end of a table)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import unified_diff
from typing import Final

LINE_MAX: Final = 300
"""Characters of one line of a value."""
CELL_MAX: Final = 72
"""Characters of a value in a table."""
CONTEXT_LINES: Final = 2
KNOWN_LATER: Final = "(known after deploy)"
LINES_BEFORE_UNKNOWN: Final = 4

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def code(value: str, *, most: int = CELL_MAX) -> str:
    """An inline code span that also holds in a table."""
    text = shorten(" ".join(_clean(value).split()), most)
    if not text:
        return "` `"
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return fence + pad + text.replace("|", "\\|") + pad + fence


def words(value: str) -> str:
    """Text between HTML tags or in a sentence: every sign that Markdown, HTML or GitHub reads is an entity."""
    text = " ".join(_clean(value).split()).replace("www.", "www&#46;")
    read = r"&#46;|[^\w \-.,;:()/='\"{}^?’‹›·…%+]|_|:(?=\S)"
    return re.sub(read, lambda m: m[0] if len(m[0]) > 1 else f"&#{ord(m[0])};", text)


def shorten(text: str, most: int) -> str:
    """At most so many characters, and says that there are more."""
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"


def fence(lines: Iterable[str], language: str = "diff") -> str:
    """A code block, longer fenced than anything in it."""
    body = [_clean(line).replace("\n", " ") for line in lines]
    marks = "`" * max(3, max((_longest_run(line) for line in body), default=0) + 1)
    return "\n".join([f"{marks}{language}", *body, marks])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A table; cells are Markdown already. `right`: columns of figures."""
    rule = ["---:" if place in right else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def details(summary: str, body: str) -> str:
    """Folded; `summary` is HTML already."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def change_lines(before: str | None, after: str | None, most: int) -> list[str]:
    """A value before and after as lines of a diff; of long documents only what differs and its neighbourhood."""
    old, new = _lines(before), _lines(after)
    if len(old) > 1 and len(new) > 1:
        told = unified_diff(old, new, lineterm="", n=CONTEXT_LINES)
        # Without line numbers: they tell nothing of a value, and move with everything above.
        hunks = ["@@ … @@" if line.startswith("@@") else line for line in told if not line.startswith(("---", "+++"))]
        return _capped(hunks, most)
    if after == KNOWN_LATER:
        most = min(most, LINES_BEFORE_UNKNOWN + 1)  # there is nothing to compare the old lines with
    # Neither side may hide the other.
    gone, come = [f"- {line}" for line in old], [f"+ {line}" for line in new]
    half = max(most // 2, 1)
    return _capped(gone, max(most - len(come), half)) + _capped(come, max(most - len(gone), half))


def _capped(lines: list[str], most: int) -> list[str]:
    told = [shorten(line, LINE_MAX) for line in lines]
    left = len(told) - most
    return told if left <= 0 else [*told[:most], f"  … {left} more line{'s' if left > 1 else ''}"]


def _lines(value: str | None) -> list[str]:
    return [] if value is None else value.splitlines() or [""]


def _clean(text: str) -> str:
    """Without characters that are not seen, or that turn the direction of what is."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", "    "))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
