"""The active site's side of a copy of homes: which homes, which paths in them, and until when everything has arrived.

A *cycle* is a few passes: `begin` tells what to copy, whoever copies reports with `arrived`, which tells what is left, until
nothing is. Large files travel beside the cycles. What has been copied is remembered in `homes.json`, so that a keeper that
was killed goes on; what it surely knows about single paths it forgets, and compares those homes as a whole.

A home is *dirty* from the moment its user's server is seen until everything has arrived after it was gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import working
from .config import KeeperConfig
from .errors import KeeperError
from .parcels import Packer
from .scan import SMALL_BYTES, Change, Scanner, attribute_cache_s, touch
from .store import read_json, write_json
from .working import Workers

PASSES_MAX = 4
"""In one cycle: a home in which files keep going away while they are copied waits for the next one."""
WHOLE_MAX = 25
"""Homes compared as a whole in one pass: what was copied by then is never begun again."""
COMPARE_EVERY_S = 86_400
"""Every home is compared as a whole, by content, once in this time; one after the other, spread evenly."""
CLOCKS_S = 60
"""By how much the clocks of this machine and of its homes' file server may differ."""
GAP_S = 120
"""The hub notes activity about once a minute, so users count as active for this long."""


@dataclass(frozen=True)
class Batch:
    """What is to be copied in one pass. Paths are below the homes' folder."""

    first: tuple[bytes, ...] = ()
    """Small files, folders and links to copy first (:mod:`.parcels`)."""
    first_larger: tuple[bytes, ...] = ()
    """Files to copy first, by rsync."""
    small: tuple[bytes, ...] = ()
    larger: tuple[bytes, ...] = ()
    """The rest."""
    removed: tuple[bytes, ...] = ()
    """To remove after everything else."""
    whole: tuple[str, ...] = ()
    by_content: tuple[str, ...] = ()
    """Homes to compare as a whole by content, not by size and time."""
    large: tuple[bytes, ...] = ()
    """Files to copy beside the cycles; only told while none are under way."""
    large_known: bool = True
    """The large ones surely differ."""
    last: bool = False
    """Nothing is left to do in this cycle."""


@dataclass(frozen=True)
class Result:
    """Where a cycle came to."""

    homes_until: float
    """Everything written to homes before this moment has arrived (s since 1970); 0: some home never did."""
    users: int
    left: int
    """Homes that never arrived as a whole."""
    more: bool = False
    """Another cycle at once would bring more."""
    held_by: dict[str, str] = field(default_factory=dict)


class HomesSource:
    """The homes of the site that is active in ``epoch``."""

    def __init__(
        self,
        config: KeeperConfig,
        epoch: int,
        *,
        workers: Workers | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._epoch = epoch
        self._clock = clock
        self._workers = workers or working.at_work(config)
        self._file = config.site_path / "homes.json"
        self._scanner = Scanner(config.homes_path)
        self._since: dict[str, float] = {}
        """Dirty homes -> everything before that moment has arrived; 0: never did."""
        self._looked_at = 0.0
        """Before this moment every home that is not dirty was at rest."""
        self._compared = ""
        """Home that was compared by content last, and when."""
        self._compared_at = 0.0
        self._saved: dict[str, Any] = {}
        self._pass = 0
        self._at_work: set[str] = set()
        self._todo: set[str] = set()
        self._looks: dict[str, Change] = {}
        self._small_until: dict[str, float] = {}
        self._flying: dict[str, Change] = {}
        self._why: dict[str, str] = {}
        self._by_content: set[str] = set()
        self._new: set[str] = set()
        """Homes that came since this was made, and have not arrived yet."""
        self._packer = Packer(config.homes_path)
        self._names: list[str] = []
        """Homes there were at the last look. One that has come since is dirty, whoever made it."""
        self._load()

    def begin(self) -> Batch:
        """A cycle begins; its first pass."""
        now = self._clock()
        before, self._names = set(self._names), self._scanner.names()
        there = set(self._names)
        marked = working.marked(self._config)
        self._at_work = (self._workers(self._looked_at - GAP_S) | marked) & there
        self._new = (self._new | (there - before)) & there
        for name in (self._at_work | self._new) - self._since.keys():
            self._since[name] = self._looked_at
        for name in set(self._since) - there:
            self._drop(name)
        self._by_content = set(self._next_to_compare(now))
        for name in self._by_content:
            self._since.setdefault(name, self._looked_at)
            self._scanner.forget(name)
        self._save()
        working.unmark(self._config, marked)
        self._looked_at = now
        self._why, self._pass, self._todo = {}, 0, set(self._since)
        return self._next()

    def arrived(self, failed: dict[str, str], vanished: Iterable[str]) -> Batch:
        """The pass was copied, but for what is named; the next one."""
        gone = set(vanished)
        for name, change in self._looks.items():
            if name in failed:
                self._why[name] = failed[name]
                self._todo.discard(name)
                self._scanner.forget(name)
                continue
            complete = self._scanner.sent(change, self._packer.missed)
            if change.whole:
                # Things changed while it was compared; the next look tells. And a file of the same size may have got other
                # content and its old time back since all was known to be there.
                if (since := self._since.get(name, 0)) and name not in self._new:
                    self._scanner.send_again(name, int((since - CLOCKS_S) * 1e9))
                continue
            if name in gone or not complete:
                # What went away under its name may be there under another one, so the home is looked at again.
                self._why[name] = "files in it are renamed faster than they can be copied"
                continue
            self._todo.discard(name)
            self._why.pop(name, None)
            self._small_until[name] = change.until
            if change.large:
                self._why[name] = "a large file of it is being copied"
            else:
                self._since[name] = change.until
                self._new.discard(name)
                if name not in self._at_work:
                    self._drop(name)
        self._looks = {}
        return self._next()

    def parcel(self, paths: Sequence[bytes]) -> bytes:
        """These small things of the pass, packed."""
        return self._packer.pack(paths)

    def large_ended(self, arrived: bool) -> None:
        """The large files under way are there, or not all of them."""
        for name, change in self._flying.items():
            if arrived and name in self._since:
                self._scanner.sent_large(change)
                self._since[name] = max(self._since[name], min(change.until, self._small_until.get(name, 0)))
        self._flying = {}

    def result(self) -> Result:
        """After what was copied is on the other site's disk: where the cycle came to."""
        self._save()
        slack = attribute_cache_s(self._config.homes_path)
        until = min([self._looked_at, *self._since.values()])
        behind = {
            name: why
            for name, why in sorted(self._why.items())
            if self._since.get(name, self._looked_at) < self._looked_at
        }
        return Result(
            homes_until=max(0.0, until - slack) if until else 0.0,
            users=len(self._names),
            left=sum(not since for since in self._since.values()),
            more=any(name not in self._why for name in self._todo),
            held_by=behind,
        )

    def _next(self) -> Batch:
        self._pass += 1
        if not self._todo or self._pass > PASSES_MAX:
            return Batch(last=True)
        fs_ns = touch(self._config.homes_path)
        whole: list[str] = []
        chosen: list[str] = []
        for name in sorted(self._todo):
            if not self._scanner.knows(name) and len(whole) >= WHOLE_MAX:
                continue
            chosen.append(name)
            if not self._scanner.knows(name):
                whole.append(name)
        looked = self._scanner.look(chosen, until=self._clock(), fs_ns=fs_ns)
        for name in chosen:
            change = looked.get(name)
            if isinstance(change, Change):
                self._looks[name] = change
                self._scanner.sending(change)
                continue
            self._todo.discard(name)
            if change is None:
                self._drop(name)
            else:
                self._why[name] = f"it cannot be read: {change.strerror}"
        whole = [name for name in whole if name in self._looks]
        self._packer = Packer(self._config.homes_path)
        looks = list(self._looks.values())
        by_content = [name for name in whole if name in self._by_content]
        self._by_content.difference_update(by_content)
        large = self._take_off(looks)
        some = [look for look in looks if not look.whole]
        first = [(path, look) for look in some for path in look.first()]
        then = [(path, look) for look in some for path in look.then()]
        later = any(not _small(look, path) for path, look in then)
        return Batch(
            first=tuple(path for path, look in first if _small(look, path)),
            first_larger=tuple(path for path, look in first if not _small(look, path)),
            small=(
                *(path for path, look in then if _small(look, path)),
                *(path for look in some for path in look.folders()),  # again, for their times
            ),
            # All of them once more: of a file with several names rsync must hear in one call.
            larger=tuple(path for path, look in (*then, *first) if not _small(look, path)) if later else (),
            removed=tuple(path for look in looks for path in look.removed),
            whole=tuple(name for name in whole if name not in by_content),
            by_content=tuple(by_content),
            large=tuple(path for look in large for path in look.large),
            large_known=all(not look.whole for look in large),
        )

    def _take_off(self, looks: list[Change]) -> list[Change]:
        """Looks whose large files travel now: none while others do; those of one kind only."""
        if self._flying:
            return []
        having = [look for look in looks if look.large]
        chosen = [look for look in having if look.whole] or having
        self._flying = {look.name: look for look in chosen}
        return chosen

    def _next_to_compare(self, now: float) -> list[str]:
        """Homes whose turn it is to be compared by content."""
        at_rest = [name for name in self._names if name not in self._since]
        if not self._compared_at:
            self._compared_at = now
        due = int((now - self._compared_at) * len(self._names) / COMPARE_EVERY_S)
        if due < 1 or not at_rest:
            return []
        self._compared_at = now
        later = [name for name in at_rest if name > self._compared]
        chosen = (later or at_rest)[: min(due, WHOLE_MAX)]
        self._compared = chosen[-1]
        return chosen

    def _drop(self, name: str) -> None:
        """This home is not dirty any more."""
        self._new.discard(name)
        self._since.pop(name, None)
        self._small_until.pop(name, None)
        self._scanner.forget(name)

    def _load(self) -> None:
        try:
            saved = read_json(self._file) or {}
        except KeeperError:
            saved = {}  # everything is compared
        if saved.get("epoch") == self._epoch:
            self._since = {str(name): float(since) for name, since in saved["since"].items()}
            self._looked_at, self._compared_at = float(saved["looked_at"]), float(saved["compared_at"])
            self._compared, self._names = str(saved["compared"]), list(saved["homes"])

    def _save(self) -> None:
        document = {
            "epoch": self._epoch,
            "homes": self._names,
            "since": self._since,
            "looked_at": self._looked_at,
            "compared": self._compared,
            "compared_at": self._compared_at,
        }
        if document != self._saved:
            write_json(self._file, document)
            self._saved = {**document, "since": dict(self._since)}


def _small(look: Change, path: bytes) -> bool:
    return look.sizes.get(path, 0) <= SMALL_BYTES
