"""A student's server over a fake Swarm: every task state, dead nodes, a full cluster, killed hubs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import SpawnException

from hubconfig.admission import Stage
from hubconfig.cluster import ENDED_STATES, STARTING_STATES
from hubconfig.spawner import SemesterSpawner
from tests.hubconfig.fakes import FakeDocker, course, make_settings

pytestmark = pytest.mark.unit


async def until(condition: Callable[[], bool]) -> None:
    """Lets the other tasks (and the thread that makes homes) go on until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    """A few more rounds for everybody, for what must *not* happen."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_start_returns_the_nodes_address_and_the_published_port(make_spawner: Any, docker: FakeDocker) -> None:
    spawner = make_spawner()
    assert await spawner.start() == ("10.88.0.11", 32001)
    assert await spawner.poll() is None
    assert spawner.desk.admission.starting == 0


async def test_the_service_isolates_and_limits_the_student(make_spawner: Any, docker: FakeDocker) -> None:
    await make_spawner("ada").start()
    service = docker.services["server-ada"]["Spec"]
    task, container = service["TaskTemplate"], service["TaskTemplate"]["ContainerSpec"]
    assert container["User"] == "1000:100"
    assert container["CapabilityDrop"] == ["ALL"]
    assert container["Init"] is True
    assert container["StopGracePeriod"] == 10_000_000_000
    assert "Networks" not in task
    assert [(m["Source"], m["Target"], m["Type"]) for m in container["Mounts"]] == [
        ("/srv/semesterhub/homes/ada", "/home/jovyan", "bind")
    ]
    limits, reserved = task["Resources"]["Limits"], task["Resources"]["Reservations"]
    assert limits == {"NanoCPUs": 1_000_000_000, "MemoryBytes": 1024 * 1024 * 1024, "Pids": 1024}
    assert reserved["GenericResources"] == [{"DiscreteResourceSpec": {"Kind": "student-memory-mib", "Value": 512}}]
    assert task["Placement"]["Constraints"] == ["node.role==worker"]
    assert task["RestartPolicy"]["Condition"] == "none"
    assert service["EndpointSpec"] == {
        "Mode": "dnsrr",
        "Ports": [{"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}],
    }
    assert service["Labels"] == {"semesterhub.user": "ada", "semesterhub.course": "data8"}


async def test_a_leftover_of_the_same_name_makes_way(make_spawner: Any, docker: FakeDocker) -> None:
    await make_spawner().start()
    spawner = make_spawner()
    assert await spawner.start() == ("10.88.0.11", 32002)
    assert docker.removed == ["server-ada"]


@pytest.mark.parametrize("state", sorted(ENDED_STATES))
async def test_an_ended_server_is_stopped_and_its_service_removed(
    make_spawner: Any, docker: FakeDocker, state: str
) -> None:
    spawner = make_spawner()
    await spawner.start()
    docker.set_state("server-ada", state)
    spawner.cluster._snapshot._fetched = float("-inf")
    assert isinstance(await spawner.poll(), str)
    assert docker.services == {}
    assert spawner.get_state() == {}


@pytest.mark.parametrize("state", sorted(STARTING_STATES | {"running"}))
async def test_a_living_server_keeps_running(make_spawner: Any, docker: FakeDocker, state: str) -> None:
    spawner = make_spawner()
    await spawner.start()
    docker.set_state("server-ada", state)
    spawner.cluster._snapshot._fetched = float("-inf")
    assert await spawner.poll() is None
    assert "server-ada" in docker.services


def test_no_state_of_swarm_is_unknown() -> None:
    everything = "new allocated pending assigned accepted preparing ready starting running complete shutdown failed"
    assert STARTING_STATES | ENDED_STATES | {"running"} == {*everything.split(), "rejected", "remove", "orphaned"}
    assert not STARTING_STATES & ENDED_STATES


async def test_memory_beyond_the_limit_is_said_in_words(make_spawner: Any, docker: FakeDocker) -> None:
    spawner = make_spawner()
    await spawner.start()
    docker.set_state("server-ada", "failed", Err="task: non-zero exit (137)", ContainerStatus={"ExitCode": 137})
    spawner.cluster._snapshot._fetched = float("-inf")
    assert "more memory than its limit" in str(await spawner.poll())


async def test_a_server_on_a_dead_node_is_stopped_so_that_it_can_start_elsewhere(
    make_spawner: Any, docker: FakeDocker
) -> None:
    spawner = make_spawner()
    await spawner.start()
    docker.node_list = [FakeDocker.node("w1", "10.88.0.11", state="down"), FakeDocker.node("w2", "10.88.0.12")]
    spawner.cluster._snapshot._fetched = float("-inf")
    assert await spawner.poll() == "node w1 went away"
    assert docker.removed == ["server-ada"]


async def test_a_server_that_answers_survives_a_manager_that_lost_sight_of_its_node(
    make_spawner: Any, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner = make_spawner()
    await spawner.start()

    async def listens(address: str, port: int) -> bool:
        return (address, port) == ("10.88.0.11", 32001)

    monkeypatch.setattr(type(spawner), "listens", staticmethod(listens))
    docker.node_list = [FakeDocker.node("w1", "10.88.0.11", state="down")]
    spawner.cluster._snapshot._fetched = float("-inf")
    assert await spawner.poll() is None
    assert docker.removed == []


async def test_a_swarm_that_cannot_be_asked_costs_nobody_their_server(make_spawner: Any, docker: FakeDocker) -> None:
    spawner = make_spawner()
    await spawner.start()
    docker.down = "no leader"
    spawner.cluster._snapshot._fetched = float("-inf")
    assert await spawner.poll() is None
    docker.down = None
    assert await spawner.poll() is None


async def test_polling_many_servers_asks_the_swarm_once(make_spawner: Any, docker: FakeDocker) -> None:
    spawners = [make_spawner(f"student-{number}") for number in range(40)]
    for spawner in spawners:
        await spawner.start()
    docker.calls.clear()
    spawners[0].cluster._snapshot._fetched = float("-inf")
    assert set(await asyncio.gather(*(spawner.poll() for spawner in spawners))) == {None}
    assert sorted(docker.calls) == ["nodes", "tasks"]


@pytest.mark.parametrize("server", ["", "second"], ids=["default", "named"])
async def test_a_restarted_hub_finds_its_servers(make_spawner: Any, docker: FakeDocker, server: str) -> None:
    before = make_spawner(server=server)
    await before.start()
    after = make_spawner(server=server)
    after.load_state(before.get_state())
    assert await after.poll() is None
    assert await after.get_url() == "http://10.88.0.11:32001/user/ada/"
    assert after.object_name == before.object_name
    await after.stop()
    assert docker.services == {}


async def test_a_start_that_a_killed_hub_left_behind_is_adopted(make_spawner: Any, docker: FakeDocker) -> None:
    await make_spawner().start()
    after = make_spawner()  # no state: it is saved only after the start
    assert await after.poll() is None
    assert after.api_token == "token-ada"
    assert await after.get_url() == "http://10.88.0.11:32001/user/ada/"
    assert after.orm_spawner.state["task_id"] == "task-1"


@pytest.mark.parametrize("state", ["pending", "preparing", "failed"])
async def test_a_left_behind_start_that_does_not_run_is_removed(
    make_spawner: Any, docker: FakeDocker, state: str
) -> None:
    await make_spawner().start()
    docker.set_state("server-ada", state)
    assert isinstance(await make_spawner().poll(), str)
    assert docker.services == {}


async def test_without_any_service_there_is_no_server(make_spawner: Any) -> None:
    assert await make_spawner().poll() == 0


async def test_a_full_cluster_is_said_and_does_not_hold_a_slot(make_spawner: Any, docker: FakeDocker) -> None:
    settings = make_settings(admission={"concurrent_starts": 1})
    docker.new_task = {"State": "pending", "Err": "no suitable node (insufficient resources on 2 nodes)"}
    first, second = make_spawner("ada", settings=settings), make_spawner("bob", settings=settings)
    await first.cluster.snapshot(0)
    waiting = [asyncio.create_task(spawner.start()) for spawner in (first, second)]
    await until(lambda: first._ticket is not None and first._ticket.stage is Stage.ASIDE)
    await until(lambda: second._ticket is not None)
    await settle()
    assert first._ticket.stage is Stage.ASIDE
    assert second._ticket.stage is Stage.QUEUED
    assert first.desk.admission.starting == 0
    events = [spawner.desk.progress_event(spawner._ticket, None) for spawner in (first, second)]
    assert "The cluster is full: 0 servers running, 2 waiting" in events[0]["message"]
    assert "You are next" in events[0]["message"]
    assert events[1]["queue"]["position"] == 2
    docker.new_task = {"State": "running"}
    docker.place("server-ada")
    assert await asyncio.gather(*waiting) == [("10.88.0.11", 32999), ("10.88.0.11", 32002)]


async def test_without_any_ready_node_the_reason_is_named(make_spawner: Any, docker: FakeDocker) -> None:
    docker.node_list = [FakeDocker.node("w1", "10.88.0.11", state="down")]
    docker.new_task = {"State": "pending", "Err": "no suitable node (scheduling constraints not satisfied on 1 node)"}
    spawner = make_spawner()
    await spawner.cluster.snapshot(0)
    waiting = asyncio.create_task(spawner.start())
    await until(lambda: spawner._ticket is not None and spawner._ticket.stage is Stage.ASIDE)
    assert "No node for student servers is ready" in spawner.desk.progress_event(spawner._ticket, None)["message"]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancelled_start_leaves_no_service_and_no_slot(make_spawner: Any, docker: FakeDocker) -> None:
    docker.new_task = {"State": "preparing"}
    spawner = make_spawner()
    waiting = asyncio.create_task(spawner.start())
    await until(lambda: "server-ada" in docker.services)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert docker.services == {}
    assert spawner.desk.admission.starting == 0
    assert await spawner.poll() == 0


async def test_waiting_in_line_too_long_ends_with_a_sentence(make_spawner: Any, docker: FakeDocker) -> None:
    settings = make_settings(admission={"concurrent_starts": 1, "queue_timeout_s": 10})
    docker.new_task = {"State": "preparing"}
    first = asyncio.create_task(make_spawner("ada", settings=settings).start())
    await until(lambda: "server-ada" in docker.services)
    second = make_spawner("bob", settings=settings)
    object.__setattr__(second.hub_settings.admission, "queue_timeout_s", 0)
    with pytest.raises(SpawnException, match="tell your instructor that the cluster is full"):
        await second.start()
    assert list(docker.services) == ["server-ada"]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_server_that_fails_while_starting_says_why(make_spawner: Any, docker: FakeDocker) -> None:
    docker.new_task = {"State": "failed", "Err": "task: non-zero exit (1)", "ContainerStatus": {"ExitCode": 1}}
    spawner = make_spawner()
    with pytest.raises(SpawnException, match=r"stopped while it was starting: task: non-zero exit \(1\)") as ended:
        await spawner.start()
    assert ended.value.jupyterhub_message == (  # type: ignore[attr-defined]
        "Your server stopped while it was starting: task: non-zero exit (1)."
    )
    assert docker.services == {}


async def test_a_node_that_refuses_is_tried_again_elsewhere(make_spawner: Any, docker: FakeDocker) -> None:
    docker.next_tasks = [{"State": "rejected", "Err": "No such image"}, {"State": "rejected", "Err": "No such image"}]
    assert await make_spawner().start() == ("10.88.0.11", 32003)
    docker.new_task = {"State": "rejected", "Err": "No such image"}
    with pytest.raises(SpawnException, match="could not be started: No such image"):
        await make_spawner("bob").start()
    assert list(docker.services) == ["server-ada"]


async def test_a_slot_is_held_until_the_server_answers(
    make_spawner: Any, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = asyncio.Event()
    asked: list[str] = []

    async def answers(where: str) -> bool:
        asked.append(where)
        return up.is_set()

    spawner = make_spawner(settings=make_settings(admission={"concurrent_starts": 1}))
    monkeypatch.setattr(type(spawner), "answers", staticmethod(answers))
    waiting = asyncio.create_task(spawner.start())
    await until(lambda: len(asked) > 2)
    assert spawner.desk.admission.starting == 1
    assert asked[0] == "http://10.88.0.11:32001/user/ada/api"
    up.set()
    await waiting
    assert spawner.desk.admission.starting == 0


async def test_the_limit_is_per_ready_worker_unless_it_is_given(make_spawner: Any, docker: FakeDocker) -> None:
    docker.node_list.append(FakeDocker.node("w2", "10.88.0.12"))
    docker.node_list.append(FakeDocker.node("w3", "10.88.0.13", state="down"))
    desk = make_spawner(settings=make_settings(admission={"concurrent_starts_per_node": 3})).desk
    await desk.admission.refresh()
    assert desk.admission.limit == 6


async def test_each_course_has_its_own_image_and_limits(make_spawner: Any, docker: FakeDocker) -> None:
    other = course(id="stat20", image="r/other@sha256:" + "b" * 64, memory_limit_mib=2048, students=["ada"])
    settings = make_settings(courses=[course(), other])
    spawner = make_spawner(settings=settings)
    spawner.user_options = {"course": "stat20"}
    await spawner.start()
    container = docker.services["server-ada"]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert container["Image"].endswith("b" * 64)
    assert container["Labels"]["semesterhub.course"] == "stat20"
    stranger = make_spawner("bob", settings=settings)
    stranger.user_options = {"course": "stat20"}
    with pytest.raises(SpawnException, match="Your courses: data8"):
        await stranger.start()
    assert stranger.desk.admission.starting == 0


async def test_progress_shows_the_way_of_a_start(make_spawner: Any, docker: FakeDocker) -> None:
    spawner = make_spawner()
    docker.new_task = {"State": "preparing"}
    waiting = asyncio.create_task(spawner.start())
    await until(lambda: spawner._last_task is not None)
    events = spawner.progress()
    assert (await anext(events))["message"] == "Your server is being made."
    await events.aclose()
    docker.place("server-ada")
    await waiting


def test_every_thread_has_a_client_of_its_own_and_keeps_it(make_spawner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all, made by two threads at once, ended the hub (see SemesterSpawner.client)."""
    spawner, together = make_spawner(), threading.Barrier(4)
    monkeypatch.setattr(SemesterSpawner, "_own", threading.local())
    monkeypatch.setattr("docker.APIClient", SimpleNamespace)

    def twice(_number: int) -> tuple[Any, Any]:
        together.wait(5)
        return spawner.client, make_spawner("bob").client

    with ThreadPoolExecutor(4) as pool:
        clients = list(pool.map(twice, range(4)))
    assert all(first is second for first, second in clients)
    assert len({id(first) for first, _ in clients}) == 4
    assert clients[0][0].version == "auto"
