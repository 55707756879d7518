"""What the emulator did, so that it can do it again: moto forgets everything with its process.

Each changing request is one line of `journal.jsonl`, written before its answer goes out. The next start sends the lines
through moto once more. Every request is executed alone and with a seed of its own (its line's number), so the ids that
moto draws are the same again; a fingerprint of the ids in the answer proves it. Measured: 3 ms a line.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
_IDS = re.compile(
    rb"\b(?:[a-z]{1,9}-[0-9a-f]{8,17}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|A(?:ROA|IPA|KIA)[A-Z0-9]{16})\b"
)
_REQUEST_IDS = re.compile(rb"<(RequestId|requestId|RequestID)>[^<]*<|\"requestId\":\s*\"[^\"]*\"", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One request: enough to send it again, and what its answer must contain."""

    method: str
    target: str
    """Path and query."""
    headers: dict[str, str]
    body: str
    """Base64."""
    ids: str
    """Fingerprint of the ids in the answer."""


def fingerprint(answer: bytes) -> str:
    """Of the ids that an answer contains, without the request's own."""
    found = sorted(set(_IDS.findall(_REQUEST_IDS.sub(b"", answer))))
    return hashlib.sha256(b" ".join(found)).hexdigest()[:16]


def line(method: str, target: str, headers: Mapping[str, str], body: bytes, answer: bytes) -> Line:
    """The line of an executed request."""
    return Line(method, target, dict(headers), base64.b64encode(body).decode(), fingerprint(answer))


class Journal:
    """The lines of one cloud. A last line that a kill cut off is dropped: its answer never went out."""

    def __init__(self, state_dir: Path, version: str) -> None:
        self.path = state_dir / "journal.jsonl"
        self._head = json.dumps({"format": FORMAT, "moto": version})
        self._text = self.path.read_text("utf-8") if self.path.exists() else ""
        if self._text:
            head, _, _ = self._text.partition("\n")
            if head != self._head:
                raise SystemExit(
                    f"{self.path} was written by another version ({head.strip()}); this one is {self._head}. "
                    f"Delete the folder {state_dir} and the stack's state in the sandbox, then run up again."
                )

    def __iter__(self) -> Iterator[Line]:
        for text in self._text.splitlines()[1:]:
            try:
                yield Line(**json.loads(text))
            except ValueError:
                return

    def open(self) -> None:
        """Get ready to append; a torn last line goes away."""
        whole = [self._head, *(json.dumps(asdict(entry)) for entry in self)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("\n".join(whole) + "\n", "utf-8")
        self._out = self.path.open("a", encoding="utf-8")

    def append(self, entry: Line) -> None:
        """Write it through to the kernel: it survives this process, however that ends."""
        self._out.write(json.dumps(asdict(entry)) + "\n")
        self._out.flush()
