"""How long to go on asking a server that says "not now", answers late, or has not done yet what it promised."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class LaterError(Exception):
    """Ask again. `after_s`: not before that, as the server said itself; 0 leaves it to the one who asks."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True)
class Patience:
    """Bounded repetition: `total_s` in all, first pause `first_s`, each one twice as long up to `most_s`.

    Pauses are scattered a little: two commands that were refused together do not come back together. Tests give a clock
    of their own.
    """

    total_s: float
    first_s: float = 0.5
    most_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    scatter: Callable[[], float] = field(default=lambda: random.uniform(0.8, 1.2))

    def until(self, ask: Callable[[], T]) -> T:
        """What `ask` returns at last. It raises LaterError to be asked again; the last one is raised on when the time is
        over. `ask` is always called once more at the very end, and everything else it raises ends the waiting."""
        deadline, pause = self.clock() + self.total_s, self.first_s
        while True:
            try:
                return ask()
            except LaterError as later:
                left = deadline - self.clock()
                if left <= 0:
                    raise
                self.sleep(min(left, max(pause * self.scatter(), later.after_s)))
                pause = min(pause * 2, self.most_s)
