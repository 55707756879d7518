"""Who starts next: a few servers start at a time, everybody else waits in line and sees their place.

Starting 20 servers together on two cores makes all 20 students wait for the slowest; starting four at a time makes the
first ones ready in seconds and nobody later. The queue is first in, first out.

A start holds its slot until its server answers. A start for which Swarm has no room *steps aside*: Swarm keeps trying
to place it, but its slot goes to the next in line who needs less memory and so may still fit. Everybody who needs as
much or more waits: Swarm would place any of several pending services, and then it is not the first who comes first.
A second start that finds no room therefore goes back to its old place in line, and from then on, until the line is
empty, the next one is only let in when the one before has its place on a node.

Nothing here knows Docker or JupyterHub.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

RECENT_STARTS = 20
MIN_STARTS_FOR_ESTIMATE = 3


class Stage(Enum):
    """Where a start is."""

    QUEUED = "queued"
    STARTING = "starting"
    ASIDE = "aside"
    """Admitted, but the cluster has no room: waits for it without a slot."""
    GONE = "gone"


class QueueTimeoutError(Exception):
    """Waited longer than `queue_timeout_s`."""


@dataclass(frozen=True)
class Place:
    """What one waiting person may know about the queue."""

    stage: Stage
    position: int
    """1 is next; 0 when not waiting in line."""
    estimate_s: int | None
    """Until the server is ready, from recent starts; None while too few are known."""

    @property
    def ahead(self) -> int:
        """How many are served before."""
        return max(0, self.position - 1)


class Ticket:
    """One start's way through the queue. Made by `Admission.join`; give it back with `leave` whatever happens."""

    def __init__(self, queue: Admission, name: str, number: int, size: int) -> None:
        self.name = name
        self.size = size
        self.number = number
        self.stage = Stage.QUEUED
        self.joined = queue.clock()
        self.admitted_at: float | None = None
        self.waited_aside_s = 0.0
        self.has_place = False
        """Whether Swarm chose a node for it."""
        self._aside_since = 0.0
        self._queue = queue
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def turn(self, timeout_s: float) -> None:
        """Waits until this start has a slot; at once when it has. Raises QueueTimeoutError.

        After a time-out or a cancellation the place is given up.
        """
        try:
            # not wait_for: before Python 3.12 it loses a cancellation that comes in the same moment as the turn
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._turn)
        except TimeoutError:
            if self.stage is Stage.STARTING:
                return
            self.leave()
            raise QueueTimeoutError from None
        except asyncio.CancelledError:
            self.leave()
            raise

    @property
    def place(self) -> Place:
        """This start's place now."""
        return self._queue.place(self)

    @property
    def running_s(self) -> float:
        """Time since the first admission, without time set aside, s."""
        now = self._queue.clock()
        aside = self.waited_aside_s + (now - self._aside_since if self.stage is Stage.ASIDE else 0.0)
        return now - self.admitted_at - aside if self.admitted_at is not None else 0.0

    @property
    def waited_s(self) -> float:
        """Time in line and aside so far, s."""
        now = self._queue.clock()
        in_line = (now if self.admitted_at is None else self.admitted_at) - self.joined
        return in_line + self.waited_aside_s + (now - self._aside_since if self.stage is Stage.ASIDE else 0.0)

    def step_aside(self) -> bool:
        """The cluster has no room for this start: gives up the slot.

        True: it waits for room as the first of its size. False: somebody earlier does, so it is back in line; the
        caller takes its service away and waits for `turn` again.
        """
        if self.stage is Stage.ASIDE:
            return True
        self._queue.one_by_one = True
        if self._queue.room_is_awaited_before(self):
            self._turn = asyncio.get_running_loop().create_future()
            self._queue.move(self, Stage.QUEUED)
            return False
        self._aside_since = self._queue.clock()
        self._queue.move(self, Stage.ASIDE)
        return True

    def placed(self) -> None:
        """Swarm chose a node. After waiting aside the start goes on at once, slot or not: its container starts."""
        if self.has_place:
            return
        self.has_place = True
        if self.stage is Stage.ASIDE:
            self.waited_aside_s += self._queue.clock() - self._aside_since
        self._queue.move(self, Stage.STARTING)

    def leave(self, *, ready: bool = False) -> None:
        """Ends this start, wherever it is. `ready`: its server answers, so its duration counts for estimates."""
        if self.stage is not Stage.GONE:
            if ready:
                self._queue.note_start(self.running_s)
            self._queue.move(self, Stage.GONE)

    def let_in(self) -> None:
        """For Admission: this start has a slot now."""
        # whoever was back in line starts anew, for its start's time and for what it waited
        self.admitted_at = self._queue.clock()
        self.waited_aside_s = 0.0
        self.has_place = False
        self.stage = Stage.STARTING
        if not self._turn.done():
            self._turn.set_result(None)


class Admission:
    """The queue of one hub.

    `limit()` says how many may start at once; it is asked again by `refresh`, so that a new worker counts soon.
    """

    def __init__(self, limit: Callable[[], Awaitable[int]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.limit = 1
        self.one_by_one = False
        """The cluster was full a moment ago: the next start is let in when the one before has its place."""
        self.on_admitted: Callable[[float], None] = lambda _waited_s: None
        self._ask_limit = limit
        self._line: OrderedDict[int, Ticket] = OrderedDict()
        self._inside: dict[int, Ticket] = {}
        self._numbers = itertools.count(1)
        self._positions: dict[int, int] | None = None
        self._recent: deque[float] = deque(maxlen=RECENT_STARTS)

    @property
    def queued(self) -> int:
        """Starts waiting in line."""
        return len(self._line)

    @property
    def starting(self) -> int:
        """Starts that hold a slot."""
        return sum(ticket.stage is Stage.STARTING for ticket in self._inside.values())

    @property
    def aside(self) -> int:
        """Starts for which the cluster has no room."""
        return sum(ticket.stage is Stage.ASIDE for ticket in self._inside.values())

    @property
    def waiting(self) -> int:
        """Everybody without a slot."""
        return self.queued + self.aside

    def join(self, name: str, size: int = 1) -> Ticket:
        """A new start at the end of the line, let in at once when a slot is free. `size`: what it reserves, MiB."""
        ticket = Ticket(self, name, next(self._numbers), size)
        self._line[ticket.number] = ticket
        self._advance()
        return ticket

    async def refresh(self) -> None:
        """Asks for the limit again. A failure keeps the last one: the queue must not stop over a lost API call."""
        try:
            self.limit = max(1, await self._ask_limit())
        finally:
            self._advance()

    def place(self, ticket: Ticket) -> Place:
        """Where a ticket is, with an estimate."""
        if ticket.stage is not Stage.QUEUED:
            return Place(ticket.stage, 0, None)
        if self._positions is None:
            # one pass after each change, however many people look at their place
            self._positions = {number: index for index, number in enumerate(self._line, start=1)}
        # those set aside came earlier, and room goes to them first
        position = self._positions[ticket.number] + self.aside
        return Place(ticket.stage, position, self.estimate_s(position))

    def estimate_s(self, position: int) -> int | None:
        """Seconds until the one at `position` is ready: starts go in rounds of `limit`, each as long as the median."""
        if len(self._recent) < MIN_STARTS_FOR_ESTIMATE or self.aside:
            return None
        rounds = math.ceil((position + self.starting) / self.limit)
        return math.ceil(rounds * statistics.median(self._recent))

    def note_start(self, duration_s: float) -> None:
        """A start took this long from its slot to its answer."""
        self._recent.append(duration_s)

    def move(self, ticket: Ticket, stage: Stage) -> None:
        """For Ticket: changes its stage and lets others in."""
        ticket.stage = stage
        if stage is Stage.GONE:
            self._line.pop(ticket.number, None)
            self._inside.pop(ticket.number, None)
        elif stage is Stage.QUEUED:
            del self._inside[ticket.number]
            self._line[ticket.number] = ticket
            self._line = OrderedDict(sorted(self._line.items()))
        self._advance()

    def room_is_awaited_before(self, ticket: Ticket) -> bool:
        """For Ticket: whether another start of this size or less waits for room already."""
        return any(
            other.stage is Stage.ASIDE and other.size <= ticket.size and other is not ticket
            for other in self._inside.values()
        )

    def _advance(self) -> None:
        self._positions = None
        too_large = min((t.size for t in self._inside.values() if t.stage is Stage.ASIDE), default=math.inf)
        free = self.limit - self.starting
        if self.one_by_one:
            unplaced = any(t.stage is Stage.STARTING and not t.has_place for t in self._inside.values())
            free = 0 if unplaced else min(free, 1)
        chosen: list[Ticket] = []
        for ticket in self._line.values():
            if len(chosen) >= free:
                break
            if ticket.size < too_large:
                chosen.append(ticket)
        for ticket in chosen:
            del self._line[ticket.number]
            self._inside[ticket.number] = ticket
            ticket.let_in()
            self.on_admitted(ticket.waited_s)
        if not self.waiting:
            self.one_by_one = False


def place_text(place: Place) -> str:
    """The sentence a waiting student reads."""
    text = f"You are number {place.position} in the queue ({place.ahead} ahead of you)."
    if place.estimate_s is None:
        return text
    return f"{text} Your server should be ready in {duration_text(place.estimate_s)}."


def duration_text(seconds: float) -> str:
    """A rough duration for people: `about 20 seconds`, `about 3 minutes`."""
    if seconds < 55:
        return f"about {max(5, math.ceil(seconds / 5) * 5)} seconds"
    minutes = math.ceil(seconds / 60)
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"
