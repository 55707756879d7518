"""The difference that a change makes to a semester's infrastructure, as Markdown for a pull request.

Events of the engine -> `Preview` (operations/planned.py) -> `Report` (build) -> Markdown (render). Everything here is
pure and deterministic: the same events give the same text. A report goes through JSON (`to_json`, `from_json`), so that
what a fork's pull request computed is rendered by the code of the repository, which escapes all of it.
Standard library only.
"""

from __future__ import annotations

from operations.preview_diff.build import build
from operations.preview_diff.model import Change, Cost, Difference, Report, Verdict
from operations.preview_diff.render import COMMENT_LIMIT, render
from operations.preview_diff.wire import from_json, to_json

__all__ = [
    "COMMENT_LIMIT",
    "Change",
    "Cost",
    "Difference",
    "Report",
    "Verdict",
    "build",
    "from_json",
    "render",
    "to_json",
]
