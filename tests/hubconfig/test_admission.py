"""The queue: who starts next, what everybody reads about their place."""

from __future__ import annotations

import asyncio

import pytest

from hubconfig.admission import Admission, QueueTimeoutError, Stage, Ticket, duration_text, place_text

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(limit: int, clock: Clock | None = None) -> Admission:
    async def ask() -> int:
        return limit

    admission = Admission(ask, clock=clock or Clock())
    admission.limit = limit
    return admission


def starting(tickets: list[Ticket]) -> list[str]:
    return [ticket.name for ticket in tickets if ticket.stage is Stage.STARTING]


async def test_first_come_first_served_up_to_the_limit() -> None:
    admission = make(2)
    tickets = [admission.join(name) for name in "abcde"]
    assert starting(tickets) == ["a", "b"]
    tickets[1].leave(ready=True)
    assert starting(tickets) == ["a", "c"]
    tickets[0].leave()
    tickets[2].leave()
    assert starting(tickets) == ["d", "e"]
    assert admission.queued == 0


async def test_everybody_sees_their_place_and_it_moves() -> None:
    admission = make(1)
    tickets = [admission.join(name) for name in "abcd"]
    assert [ticket.place.position for ticket in tickets] == [0, 1, 2, 3]
    assert place_text(tickets[3].place) == "You are number 3 in the queue (2 ahead of you)."
    tickets[1].leave()
    assert [ticket.place.position for ticket in (tickets[2], tickets[3])] == [1, 2]


async def test_turn_returns_when_a_slot_is_free() -> None:
    admission = make(1)
    first, second = admission.join("a"), admission.join("b")
    await first.turn(0)
    waiting = asyncio.create_task(second.turn(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.leave(ready=True)
    await waiting
    assert second.stage is Stage.STARTING


async def test_a_cancelled_start_gives_up_its_place_in_line() -> None:
    admission = make(1)
    admission.join("a")
    second, third = admission.join("b"), admission.join("c")
    waiting = asyncio.create_task(second.turn(60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert second.stage is Stage.GONE
    assert third.place.position == 1


async def test_a_start_cancelled_in_the_moment_of_its_turn_frees_the_slot() -> None:
    admission = make(1)
    first, second, third = (admission.join(name) for name in "abc")
    waiting = asyncio.create_task(second.turn(60))
    await asyncio.sleep(0)
    first.leave()  # gives the slot to the second, whose task has not run yet
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert third.stage is Stage.STARTING


async def test_waiting_too_long_ends_the_wait() -> None:
    admission = make(1)
    admission.join("a")
    second = admission.join("b")
    with pytest.raises(QueueTimeoutError):
        await second.turn(0)
    assert admission.queued == 0


async def test_leaving_twice_frees_one_slot() -> None:
    admission = make(1)
    tickets = [admission.join(name) for name in "abc"]
    tickets[0].leave()
    tickets[0].leave()
    assert starting(tickets) == ["b"]


async def test_a_new_worker_raises_the_limit_and_a_lost_one_stops_nobody() -> None:
    answers = [4, 1]
    clock = Clock()

    async def ask() -> int:
        return answers.pop(0)

    admission = Admission(ask, clock=clock)
    tickets = [admission.join(name) for name in "abcdef"]
    assert starting(tickets) == ["a"]
    await admission.refresh()
    assert starting(tickets) == ["a", "b", "c", "d"]
    await admission.refresh()
    assert starting(tickets) == ["a", "b", "c", "d"]
    for ticket in tickets[:3]:
        ticket.leave()
    assert starting(tickets) == ["d"]


async def test_no_answer_about_the_limit_keeps_the_last_one() -> None:
    async def ask() -> int:
        raise ConnectionError

    admission = Admission(ask)
    admission.limit = 2
    with pytest.raises(ConnectionError):
        await admission.refresh()
    assert admission.limit == 2


async def test_a_cluster_without_workers_still_lets_one_try() -> None:
    admission = make(0)
    await admission.refresh()
    assert admission.limit == 1


async def test_a_start_without_room_gives_its_slot_only_to_who_needs_less() -> None:
    admission = make(2)
    large, small = admission.join("large", 1024), admission.join("small", 256)
    same, smaller = admission.join("same", 1024), admission.join("smaller", 256)
    small.placed()
    assert large.step_aside()
    assert [t.stage for t in (small, same, smaller)] == [Stage.STARTING, Stage.QUEUED, Stage.STARTING]
    large.placed()
    assert large.stage is Stage.STARTING
    small.leave(ready=True)
    assert same.stage is Stage.QUEUED  # two slots are taken
    smaller.leave(ready=True)
    assert same.stage is Stage.STARTING


async def test_in_a_full_cluster_the_first_who_came_is_the_first_who_starts() -> None:
    admission = make(3)
    tickets = [admission.join(name) for name in "abcde"]
    assert tickets[0].step_aside()
    assert not tickets[2].step_aside()
    assert not tickets[1].step_aside()
    assert [ticket.place.position for ticket in tickets[1:]] == [2, 3, 4, 5]
    waiting = asyncio.create_task(tickets[1].turn(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    tickets[0].placed()
    await waiting
    assert starting(tickets) == ["a", "b"]


async def test_after_a_full_cluster_the_next_one_tries_when_the_one_before_has_its_place() -> None:
    admission = make(3)
    tickets = [admission.join(name) for name in "abcdef"]
    assert tickets[0].step_aside()
    assert not tickets[1].step_aside()
    assert not tickets[2].step_aside()
    tickets[0].placed()
    assert starting(tickets) == ["a", "b"]
    tickets[1].placed()
    assert starting(tickets) == ["a", "b", "c"]
    for ticket in tickets[:3]:
        ticket.placed()
        ticket.leave(ready=True)
    assert starting(tickets) == ["d"]
    for ticket in tickets[3:]:
        ticket.placed()
        ticket.leave()
    late = [admission.join(name) for name in "xyz"]
    assert starting(late) == ["x", "y", "z"]


async def test_whoever_waits_for_room_and_leaves_lets_the_next_try() -> None:
    admission = make(1)
    first, second = admission.join("a"), admission.join("b")
    first.step_aside()
    assert second.stage is Stage.QUEUED
    first.leave()
    assert second.stage is Stage.STARTING


async def test_time_aside_counts_as_waiting_not_as_starting() -> None:
    clock = Clock()
    admission = make(1, clock)
    ticket = admission.join("a")
    clock.now += 5
    ticket.step_aside()
    clock.now += 60
    assert ticket.running_s == 5
    assert ticket.waited_s == 60
    ticket.placed()
    clock.now += 2
    assert ticket.running_s == 7


async def test_the_estimate_comes_from_recent_starts() -> None:
    clock = Clock()
    admission = make(2, clock)
    for _ in range(3):
        ticket = admission.join("x")
        clock.now += 10
        ticket.leave(ready=True)
    tickets = [admission.join(name) for name in "abcde"]
    assert tickets[2].place.estimate_s == 20  # one round for those who start, one for the own
    assert tickets[4].place.estimate_s == 30
    assert "about 20 seconds" in place_text(tickets[2].place)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "about 5 seconds"), (21, "about 25 seconds"), (59, "about a minute"), (61, "about 2 minutes")],
)
def test_durations_are_rough(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
