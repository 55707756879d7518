"""What a source of an engine is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from toolchain.pins import Tool


class Unavailable(Exception):
    """This source cannot give the engine here and now; `str()` says why. The next source is tried."""


class Source(Protocol):
    """Somewhere an engine comes from."""

    @property
    def name(self) -> str:
        """For progress lines and messages."""
        ...

    def fill(self, tool: Tool, into: Path, cache: Path, tell: Callable[[str], None]) -> None:
        """Put every file of the tool into the empty folder `into`, executable. Raises Unavailable."""
        ...
