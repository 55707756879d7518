"""A `restic` for PATH that notes how it was called and answers what a test laid down; it stores nothing."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

PROGRAM = """#!{python} -IS
import json, os, sys
from pathlib import Path
folder = Path({folder!r})
arguments = sys.argv[1:]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({{"arguments": arguments, "environment": dict(os.environ)}}) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
said = " ".join(arguments)
for words, code, out, problems in answers:
    if all(word in arguments for word in words):
        sys.stdout.write(out)
        sys.stderr.write(problems)
        sys.exit(code)
"""


class FakeRestic:
    """Answers are looked up by words that must all be among the arguments; the one laid down last wins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._answers: list[tuple[list[str], int, str, str]] = []
        program = folder / "restic"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self._save()

    def answers(self, *words: str, code: int = 0, out: Any = "", problems: str = "") -> None:
        text = out if isinstance(out, str) else json.dumps(out)
        self._answers.insert(0, (list(words), code, text, problems))
        self._save()

    def calls(self, *words: str) -> list[list[str]]:
        """Arguments of the calls with all these words, without the ones that every call has."""
        return [call for call in (c["arguments"] for c in self._noted()) if all(word in call for word in words)]

    def environments(self) -> list[dict[str, str]]:
        return [call["environment"] for call in self._noted()]

    def path(self) -> str:
        return f"{self._folder}:{os.environ['PATH']}"

    def _noted(self) -> list[dict[str, Any]]:
        file = self._folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _save(self) -> None:
        (self._folder / "answers.json").write_text(json.dumps(self._answers))
