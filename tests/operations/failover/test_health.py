"""The health check against a hub of one file: what it calls well, what it calls broken, and how it says so."""

from __future__ import annotations

import re

import pytest

from hubconfig.access import CHECK_USER
from operations.errors import UserError
from operations.failover import health
from tests.load.fake_hub import TOKEN, FakeHub, Faults, serve

pytestmark = pytest.mark.unit


async def check(hub: FakeHub, timeout_s: float = 20) -> dict[str, object]:
    return await health._check(health.Hub(hub.url, "127.0.0.1"), TOKEN, timeout_s)


async def test_a_notebook_computes_and_its_server_is_stopped_again() -> None:
    async with serve() as hub:
        found = await check(hub)
        assert re.fullmatch(r"\d+", str(found["value"]))
        assert hub.stopped == [CHECK_USER]


async def test_a_hub_that_is_away_for_a_moment_is_asked_again_at_every_single_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operations.load.browser.AWAY_EVERY_S", 0.01)
    async with serve(Faults(calls_away=2)) as hub:
        await check(hub)
        assert min(hub.asked.values()) >= 3, hub.asked
        assert hub.stopped == [CHECK_USER]


async def test_a_hub_that_stays_away_ends_the_check_in_time_with_what_it_answered() -> None:
    async with serve(Faults(calls_away=10_000)) as hub:
        with pytest.raises(UserError, match=r"waiting for the hub to answer took more than 0\.5 s, at last: .*503"):
            await check(hub, timeout_s=0.5)


async def test_a_start_that_went_with_a_restarting_hub_is_asked_for_again() -> None:
    async with serve(Faults(starts_lost=1)) as hub:
        await check(hub)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(starts_lost=2), "the hub started it 2 times, and it ended before it was ready"),
        (Faults(cell_raises=True), "running the notebook failed: the cell .* raised MemoryError"),
        (Faults(wrong_result=True), "running the notebook failed: the notebook holds '0', expected"),
        (Faults(kernel_dies=True), "running the notebook failed: .*kernel died"),
    ],
)
async def test_a_broken_hub_or_notebook_is_told_and_no_server_stays(faults: Faults, words: str) -> None:
    async with serve(faults) as hub:
        with pytest.raises(UserError, match=words):
            await check(hub)
        assert hub.running == set()
