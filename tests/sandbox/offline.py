"""A sandbox of a test's own: real engine, stand-ins, an emulator, all in a folder that goes with the test."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operations import setup
from operations.engine import Action, Pulumi, Result
from sandbox import session
from sandbox.session import Session


@dataclass
class Offline:
    """One stack's life offline. Each `run` is a session of its own, as each command is."""

    stack: str
    cloud: str
    root: Path
    results: dict[str, Result] = field(default_factory=dict)

    @contextlib.contextmanager
    def session(self, faults: str = "") -> Iterator[Session]:
        with session(self.stack, self.cloud, root=self.root, faults=faults, banner=False) as offline:
            yield offline

    def engine(self, offline: Session) -> Pulumi:
        return Pulumi(self.stack, setup.pulumi().folder, place=offline.place)

    def run(self, action: Action, *arguments: str, faults: str = "", **more: Any) -> Result:
        """Run the action to its end; UserError when it fails."""
        with self.session(faults) as offline, redirect_stdout(io.StringIO()):
            return self.engine(offline).run(action, arguments, **more)


def changed(result: Result) -> dict[str, str]:
    """What a run did besides looking: `Vpc vpc` -> update."""
    return {r.label: r.op for r in result.resources if r.custom and r.op not in {"same", "read", "refresh"}}
