"""One cycle of copying homes, whichever way: the active site's :class:`.source.HomesSource` says what, rsync copies it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .homes import Copier, LargeCopy, Outcome
from .parcels import sliced
from .source import Batch, Result

LARGE_WAIT_S = 2
"""A cycle waits this long for large files that are almost there."""


class Source(Protocol):
    """The homes of the active site (:class:`.source.HomesSource`), here or behind the channel."""

    def begin(self) -> Batch: ...
    def parcel(self, paths: Sequence[bytes]) -> bytes: ...
    def arrived(self, failed: dict[str, str], vanished: list[str]) -> Batch: ...
    def large_ended(self, arrived: bool) -> None: ...
    def result(self) -> Result: ...


@dataclass
class Cycles:
    """Cycles of copying homes between two sites. After an error it is of no more use: make another one."""

    source: Source
    copier: Copier
    take: Callable[[bytes], dict[str, str]]
    """Puts a parcel into its places on the other site (:func:`.parcels.unpack`)."""
    remove: Callable[[list[bytes]], dict[str, str]]
    """Removes paths on the other site (:func:`.homes.remove`)."""
    flush: Callable[[], None]
    """Returns when everything that the other site received is on its disk."""
    _large: LargeCopy | None = None

    def run(self) -> tuple[Result, int]:
        """One cycle: where it came to, and bytes moved. KeeperError when the other site went away."""
        moved = 0
        self._look_after_large(0)
        batch = self.source.begin()
        while not batch.last:
            if batch.large and self._large is None:
                self._large = self.copier.large(batch.large, known=batch.large_known)
            failed: dict[str, str] = {}
            outcomes: list[Outcome] = []
            for small, larger in ((batch.first, batch.first_larger), (batch.small, batch.larger)):
                for paths in sliced(small):
                    parcel = self.source.parcel(paths)
                    failed |= self.take(parcel)
                    moved += len(parcel)
                outcomes.append(self.copier.paths(larger))
            outcomes.append(self.copier.whole(batch.whole))
            outcomes.append(self.copier.whole(batch.by_content, checksum=True))
            moved += sum(outcome.moved_bytes for outcome in outcomes)
            for outcome in outcomes:
                failed |= outcome.failed
            vanished = sorted(set().union(*(outcome.vanished for outcome in outcomes)))
            if batch.removed:
                failed |= self.remove(
                    [path for path in batch.removed if os.fsdecode(path.partition(b"/")[0]) not in failed]
                )
            batch = self.source.arrived(failed, vanished)
        self._look_after_large(LARGE_WAIT_S)
        self.flush()
        return self.source.result(), moved

    def close(self) -> None:
        """Ends what is under way."""
        if self._large is not None:
            self._large.stop()

    def _look_after_large(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self._large is not None:
            ended = self._large.ended()
            if ended is not None:
                self._large = None
                self.source.large_ended(ended)
            elif time.monotonic() >= deadline:
                return
            else:
                time.sleep(0.05)
