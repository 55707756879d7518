"""A synthetic student sees what a person would see: every failure of a hub is noticed and named by its step."""

from __future__ import annotations

import asyncio
import random

import pytest

from operations.load import student as student_module
from operations.load.class_run import _ClassRun
from operations.load.student import Student
from operations.load.target import Target
from tests.load import fake_hub
from tests.load.fake_hub import PASSWORD, FakeHub, Faults, serve

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_module, "EVENT_SOURCE_RETRY_S", 0.01)


def target(hub: FakeHub, password: str = PASSWORD) -> Target:
    return Target("fake", hub.url, password)


async def visit(hub: FakeHub, *, password: str = PASSWORD, give_up_s: float = 10, leave: bool = True):
    async with Student(target(hub, password), "ada", give_up_s=give_up_s) as student:
        return await student.visit(0.05, random.Random(1), leave=leave)


async def test_a_whole_visit_is_timed_in_order_and_leaves_no_server() -> None:
    async with serve() as hub:
        record = await visit(hub)
        assert record.failure is None
        steps = [record.login_s, record.ready_s, record.lab_s, record.computed_s, record.saved_s, record.left_s]
        assert None not in steps
        assert steps == sorted(steps)
        assert hub.running == set()
        assert hub.stopped == ["ada"]
        assert hub.logged_out == 1
        assert hub.assets_served == 2


async def test_places_in_the_queue_are_recorded_with_the_wait() -> None:
    async with serve(Faults(queue=(7, 6, 6, 0), queue_step_s=0.05)) as hub:
        record = await visit(hub)
        assert record.queue_positions == [7, 6, 0]
        assert record.queue_s is not None
        assert record.queue_s >= 0.2
        assert record.ready_s is not None
        assert record.queue_s < record.ready_s


async def test_no_queue_means_no_wait() -> None:
    async with serve(Faults(queue=())) as hub:
        record = await visit(hub)
        assert record.queue_s == 0.0
        assert record.queue_positions == []


async def test_a_stream_that_breaks_off_is_reopened_as_browsers_do() -> None:
    async with serve(Faults(stream_breaks_once=True)) as hub:
        record = await visit(hub)
        assert record.failure is None
        assert record.stream_reconnects == 1


async def test_a_hub_that_restarts_under_a_waiting_student_is_waited_for_as_the_page_does() -> None:
    async with serve(Faults(away_once=True)) as hub:
        record = await visit(hub)
        assert record.failure is None
        assert any("503" in text for _, text in record.messages)


async def test_a_page_that_loads_itself_again_is_waited_for_and_told() -> None:
    async with serve(Faults(pages_away=2)) as hub:
        record = await visit(hub)
        assert record.failure is None
        assert any(text == "the hub is away: 503" for _, text in record.messages)


async def test_a_page_that_goes_on_loading_itself_again_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_module, "AWAY_AT_MOST_S", 0.1)
    async with serve(Faults(pages_away=10_000)) as hub:
        record = await visit(hub)
        assert record.failed_step == "server"
        assert "answered 503: One moment, please" in (record.failure or "")


async def test_wrong_password_fails_at_login_with_the_hubs_sentence() -> None:
    async with serve() as hub:
        record = await visit(hub, password="guess")
        assert record.failed_step == "login"
        assert "Invalid username or password" in (record.failure or "")
        assert hub.pending == set()


@pytest.mark.parametrize(
    ("faults", "step", "words"),
    [
        (Faults(spawn_fails_with="Spawn failed: cluster full"), "server", "cluster full"),
        (Faults(no_lab=True), "lab", "503"),
        (Faults(wrong_result=True), "compute", "expected"),
        (Faults(cell_raises=True), "compute", "MemoryError: too much"),
        (Faults(kernel_dies=True), "compute", "kernel died"),
        (Faults(file_changes=True), "save", "another content"),
        (Faults(forgets_state=True), "stay", "expected"),
    ],
)
async def test_every_fault_is_noticed_and_named(faults: Faults, step: str, words: str) -> None:
    async with serve(faults) as hub:
        record = await visit(hub)
        assert record.failed_step == step
        assert words in (record.failure or "")


async def test_a_student_gives_up_in_time_and_says_at_what() -> None:
    async with serve(Faults(never_ready=True)) as hub:
        record = await visit(hub, give_up_s=0.5)
        assert record.failed_step == "server"
        assert "gave up" in (record.failure or "")


async def test_a_class_stops_servers_of_students_that_failed() -> None:
    async with serve(Faults(wrong_result=True)) as hub:
        result = await _ClassRun(target(hub), 3, 0.1, 0.0, 1, False, 10, "load", None).main()
        assert [s.failed_step for s in result.students] == ["compute"] * 3
        assert hub.running == set()
        assert sorted(hub.stopped) == ["load-001", "load-002", "load-003"]


async def test_a_class_that_is_interrupted_stops_its_servers() -> None:
    async with serve(Faults(never_ready=True, queue=())) as hub:
        run = asyncio.create_task(_ClassRun(target(hub), 3, 0.0, 0.0, 1, False, 60, "load", None).main())
        while len(hub.pending) < 3:
            await asyncio.sleep(0.02)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert hub.pending == set()
        assert len(hub.stopped) == 3


async def test_keep_leaves_the_servers_running() -> None:
    async with serve() as hub:
        result = await _ClassRun(target(hub), 2, 0.0, 0.0, 1, True, 10, "load", None).main()
        assert not result.failures
        assert hub.running == {"load-001", "load-002"}
        assert hub.logged_out == 0


async def test_a_channel_stays_open_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_hub, "HEARTBEAT_S", 0.2)
    async with serve() as hub, Student(target(hub), "ada", give_up_s=10) as student:
        await student.visit(0.05, random.Random(1), leave=False)
        assert student.kernel is not None
        await student.kernel.disconnect()
        await student.kernel.connect()
        await student.kernel.run("mine = 5\nprint(sum(i * i for i in range(3)) + mine)")
        await asyncio.sleep(0.8)  # several heartbeats: one that is not answered closes the channel
        assert (await student.kernel.run("print(mine)")).text.strip() == "5"
