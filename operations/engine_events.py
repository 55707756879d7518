"""Pulumi's engine events (one JSON object a line) turned into what a run did, resource by resource."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

CHANGING = {
    "create": ("creating", "created"),
    "update": ("updating", "updated"),
    "delete": ("deleting", "deleted"),
    "replace": ("replacing", "replaced"),
    "create-replacement": ("creating replacement", "created replacement"),
    "delete-replaced": ("deleting replaced", "deleted replaced"),
    "read": ("reading", "read"),
    "import": ("importing", "imported"),
    "refresh": ("checking", "checked"),
}
"""The engine's operations and how a person says them, while they run and after."""

QUIET_OPS = {"same", "refresh", "replace", "read"}
"""Not changes by themselves: `replace` is followed by its create and delete."""

NOISE = (
    re.compile(r"^(error: )?(update|preview|refresh|destroy) failed\b"),
    re.compile(r"^error: resource (creation|update|deletion) failed"),
    re.compile(r"^\s*\d+ error"),
)
"""Lines that the engine adds once the real reason has been told."""


@dataclass
class Resource:
    """One resource's operation in a run. Times are seconds since the run began, by when its events arrived."""

    urn: str
    type: str
    name: str
    op: str
    began_s: float
    ended_s: float | None = None
    failed: bool = False
    latest: str = ""
    diffs: tuple[str, ...] = ()
    custom: bool = True

    @property
    def kind(self) -> str:
        """`localcloud:index:Machine` as `Machine`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"

    def said(self, *, done: bool) -> str:
        words = CHANGING.get(self.op, (self.op, self.op))
        return ("failed " + words[0]) if self.failed else words[1 if done else 0]


@dataclass(frozen=True)
class Message:
    """Something an error or a warning of the run says. `urn` is empty when it belongs to no resource."""

    severity: str
    urn: str
    text: str


@dataclass
class Run:
    """What is known of a run so far. Feed it events with `take`."""

    clock: Callable[[], float] = time.monotonic
    resources: dict[str, Resource] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
    finished: list[Resource] = field(default_factory=list)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()

    def take(self, event: dict[str, Any]) -> tuple[str, Resource | Message] | None:
        """Take one event in; returns what it means for the view: started, ended, detail or message."""
        now_s = self.clock() - self.began
        if pre := event.get("resourcePreEvent"):
            return self._started(pre["metadata"], now_s)
        if ended := event.get("resOutputsEvent"):
            return self._ended(ended["metadata"], now_s, failed=False)
        if failed := event.get("resOpFailedEvent"):
            return self._ended(failed["metadata"], now_s, failed=True)
        if diagnostic := event.get("diagnosticEvent"):
            return self._said(diagnostic)
        if summary := event.get("summaryEvent"):
            self.changes = {str(k): int(v) for k, v in (summary.get("resourceChanges") or {}).items()}
        return None

    def running(self) -> list[Resource]:
        """What is under way now, longest first."""
        return [r for r in self.resources.values() if r.ended_s is None and r.op != "same"]

    def _started(self, metadata: dict[str, Any], now_s: float) -> tuple[str, Resource]:
        urn = metadata["urn"]
        state = metadata.get("new") or metadata.get("old") or {}
        detailed = metadata.get("detailedDiff") or {}
        resource = Resource(
            urn=urn,
            type=metadata["type"],
            name=urn.rsplit("::", 1)[-1],
            op=metadata["op"],
            began_s=now_s,
            diffs=tuple(detailed) or tuple(metadata.get("diffs") or ()),
            # The engine leaves `custom` out where it is false. Providers are the engine's own affair.
            custom=bool(state.get("custom")) and not metadata["type"].startswith("pulumi:"),
        )
        self.resources[urn] = resource
        return "started", resource

    def _ended(self, metadata: dict[str, Any], now_s: float, *, failed: bool) -> tuple[str, Resource] | None:
        resource = self.resources.get(metadata["urn"])
        if resource is None or resource.ended_s is not None:
            self._started(metadata, now_s)
            resource = self.resources[metadata["urn"]]
        # The end of an operation names what it turned out to be: a refresh may find nothing.
        resource.op = metadata["op"]
        resource.ended_s = now_s
        resource.failed = failed
        self.finished.append(resource)
        return "ended", resource

    def _said(self, diagnostic: dict[str, Any]) -> tuple[str, Resource | Message] | None:
        text = _plain(diagnostic.get("prefix", "") + diagnostic.get("message", ""))
        urn = diagnostic.get("urn", "")
        severity = diagnostic.get("severity", "info")
        if not text:
            return None
        if severity.startswith("info") or severity == "debug" or diagnostic.get("ephemeral"):
            resource = self.resources.get(urn)
            if severity == "info#err":  # what a program printed on standard error
                self.messages.append(Message("stderr", urn, text))
            if resource is None:
                return None
            resource.latest = text.splitlines()[-1]
            return "detail", resource
        message = Message(severity, urn, text)
        self.messages.append(message)
        return "message", message


def _plain(text: str) -> str:
    """Without the engine's colour marks (`<{%reset%}>`) and terminal escapes."""
    return re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", text).rstrip()


def explain_failure(run: Run, fallback_lines: Iterable[str] = ()) -> str:
    """One message for a failed run: each failing resource with its provider's words, or the program's own error.

    `fallback_lines` is the CLI's output, for failures that happen before there are events.
    """
    errors = [m for m in run.messages if m.severity == "error"] or [m for m in run.messages if m.severity == "stderr"]
    told: dict[str, None] = {}
    for message in errors:
        text = _reason(message.text)
        if not text:
            continue
        owner = run.resources.get(message.urn)
        is_stack = message.urn == "" or "pulumi:pulumi:Stack" in message.urn.split("::")[-2:][0]
        told[text if owner is None or is_stack else f"{owner.label}: {text}"] = None
    if not told:
        lines = [_plain(line) for line in fallback_lines]
        said = [_reason(line) for line in lines if line.startswith("error:")]
        told = {line: None for line in said if line} or {line: None for line in lines[-6:] if line.strip()}
    return "\n".join(told) or "the engine gave no reason"


def _reason(text: str) -> str:
    """What a person needs of an error's text: a Python program's exception without its traceback, no engine noise."""
    # Our own exceptions say all there is to say; Python prints them as `module.Name: first line`, then the rest.
    found = list(re.finditer(r"^\s*(?:[\w.]+\.)?(?:SemesterError|UserError): ", text, re.MULTILINE))
    if found:
        return text[found[-1].end() :].strip()
    if "Traceback (most recent call last)" in text:
        lines = text.rstrip().splitlines()
        last = max(
            (i for i, line in enumerate(lines) if re.match(r"^\s*(\w[\w.]*)(Error|Exception|Exit)\b", line)), default=-1
        )
        text = "\n".join(lines[last:]) if last >= 0 else text
    lines = [line for line in text.strip().splitlines() if not any(noise.search(line.strip()) for noise in NOISE)]
    joined = "\n".join(lines).strip()
    # A resource that was made but not finished comes as a list: "1 error occurred:", then a bullet for each reason.
    joined = re.sub(r"^(error: )?\d+ errors? occurred:\s*", "", joined)
    joined = re.sub(r"^\s*\* ", "", joined, flags=re.MULTILINE)
    # grpc puts the second prefix before what a Python provider raises.
    return re.sub(r"^(error: |Exception calling application: )+", "", joined).strip()
