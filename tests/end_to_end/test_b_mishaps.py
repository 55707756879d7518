"""What happens to students when something breaks: the hub, the proxy, a node, or their idle server is stopped."""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import time
from datetime import datetime

import pytest

from operations.load.student import Student
from tests.end_to_end.cluster import Cluster, answers, wait_for

pytestmark = pytest.mark.swarm

HUB_ANSWERS_WITHIN_S = 5.0
"""From the restart of the hub's container to its answer through the edge."""
ROUTES_WITHIN_S = 10.0
NODE_DOWN_WITHIN_S = 90.0
CULL = (
    "docker exec -e JUPYTERHUB_API_TOKEN={token} -e JUPYTERHUB_API_URL=http://127.0.0.1:8081/hub/api hub "
    "timeout 15 python3 -m jupyterhub_idle_culler --timeout=1 --cull-every=2 2>&1 || true"
)


async def test_files_are_there_after_the_server_was_culled_and_started_on_another_node(empty: Cluster) -> None:
    async with empty.student("ada") as ada:
        first = empty.node_of("ada")
        await ada.put_file("notes.txt", "written on " + first)
        assert ada.kernel is not None
        await ada.kernel.run(
            "import pathlib; pathlib.Path('deep/er').mkdir(parents=True); open('deep/er/x','w').write('y')"
        )
        await ada.kernel.shutdown()  # a kernel with an open page counts as activity
        await ada.kernel.disconnect()
    token = empty.sh("hub", "cat /var/lib/semesterhub/secrets/operator_token")
    culling = asyncio.create_task(asyncio.to_thread(empty.sh, "hub", CULL.format(token=shlex.quote(token))))
    await wait_for(lambda: empty.server_of("ada") is None, 30, "the culler to stop the idle server")
    await culling
    empty.cordon(first)
    async with empty.student("ada") as ada:
        assert empty.node_of("ada") != first
        assert await ada.get_file("notes.txt") == "written on " + first
        assert await ada.get_file("deep/er/x") == "y"
        await ada.put_file("notes.txt", "and changed")
    assert empty.home_file("ada", "notes.txt") == "and changed"


async def test_a_killed_hub_comes_back_at_once_and_no_kernel_notices(empty: Cluster) -> None:
    async with empty.student("ada") as ada:
        container = empty.container_of("ada")
        started_before = _started_at(empty, "hub")
        killed = empty.kill_service("hub")
        await ada.stay(0, random.Random(0))  # while the hub is away, the kernel answers
        answered = await answers(ada, "/hub/health", within_s=60)
        started = await wait_for(lambda: _changed(_started_at(empty, "hub"), started_before), 5, "the restart")
        restart_s = (answered - killed) - (started - _wall(killed))
        print(f"hub: answered {answered - killed:.1f} s after the kill, {restart_s:.1f} s after its restart")
        assert restart_s <= HUB_ANSWERS_WITHIN_S
        await ada.stay(0, random.Random(0))
        assert ada.kernel is not None
        await ada.kernel.disconnect()
        await ada.kernel.connect()  # as a reloaded page does
        await ada.stay(0, random.Random(0))
        assert empty.container_of("ada") == container
        # The hub knows the server again: it is listed, and opening it does not start another one.
        model = await ada.hub_model()
        assert model.get("name") == "ada"
        await ada.open_lab()
        assert empty.container_of("ada") == container


async def test_routes_of_a_killed_proxy_are_back_within_ten_seconds(empty: Cluster) -> None:
    async with empty.student("ada") as ada, empty.student("bob") as bob:
        killed = empty.kill_service("proxy")
        moments = await asyncio.gather(
            *(answers(s, f"/user/{s.name}/api/status", within_s=60) for s in (ada, bob)),
        )
        took_s = max(moments) - killed
        print(f"proxy: all routes back {took_s:.1f} s after the kill")
        assert took_s <= ROUTES_WITHIN_S
        for student in (ada, bob):
            assert student.kernel is not None
            await student.kernel.disconnect()
            await student.kernel.connect()
            await student.stay(0, random.Random(0))


async def test_a_lost_worker_hurts_only_its_students_and_up_replaces_exactly_it(empty: Cluster) -> None:
    survivors, lost = await _two_on_different_nodes(empty)
    async with empty.student(survivors) as lucky, empty.student(lost) as unlucky:
        node, other = empty.node_of(lost), empty.node_of(survivors)
        assert node != other
        await unlucky.put_file("kept.txt", "still here")
        machines = {n: empty.machine(n).id for n in ("hub", *empty.workers())}
        empty.machine(node).kill()
        await lucky.stay(0, random.Random(0))
        began = time.monotonic()
        await wait_for(lambda: node not in empty.workers(), NODE_DOWN_WITHIN_S, "the Swarm to notice the lost node")
        await _gone_for_the_hub(unlucky)
        async with empty.student(lost) as again:
            print(f"worker lost: its student computed again after {time.monotonic() - began:.0f} s")
            assert empty.node_of(lost) == other
            assert await again.get_file("kept.txt") == "still here"
        await lucky.stay(0, random.Random(0))
        container = empty.container_of(survivors)

        await empty.hub("up")
        assert [(kind, name) for _, kind, name in empty.changes("up")] == [("Machine", node)]
        assert sorted(empty.workers()) == sorted(n for n in machines if n != "hub")
        assert len([n for n in empty.nodes() if n["name"] == node]) == 1
        assert empty.machine(node).id != machines[node]
        assert all(empty.machine(n).id == machines[n] for n in machines if n != node)
        await lucky.stay(0, random.Random(0))
        assert empty.container_of(survivors) == container


async def _two_on_different_nodes(empty: Cluster) -> tuple[str, str]:
    """Start two students' servers on two nodes; their names."""
    first, second = empty.workers()[:2]
    empty.cordon(second)
    async with empty.student("lucky", computed=False):
        pass
    empty.uncordon()
    empty.cordon(first)
    async with empty.student("unlucky", computed=False):
        pass
    empty.uncordon()
    return "lucky", "unlucky"


async def _gone_for_the_hub(student: Student) -> None:
    """Wait until the hub has noticed that the student's server is gone (it looks every 15 s)."""
    for _ in range(60):
        model = await student.hub_model()
        if not (model.get("servers") or {}).get("", {}).get("ready") and not model.get("server"):
            return
        await asyncio.sleep(1)
    raise AssertionError("after 60 s the hub still believes in the lost server")


async def test_a_larger_class_adds_nodes_and_a_smaller_one_drains_them(empty: Cluster) -> None:
    from operations import scratch_stack

    before = empty.workers()
    course = {"id": "data8", "title": "Foundations of Data Science", "image": "student", "memory_guarantee_gib": 0.25}
    course["memory_limit_gib"] = 1
    async with empty.student("ada") as ada:
        container, machines = empty.container_of("ada"), {n: empty.machine(n).id for n in before}
        scratch_stack.change(empty.stack, {"courses": [{**course, "students": 60}]})
        await empty.hub("preview")
        assert empty.changes("preview") == [("create", "Machine", "worker-3")]
        await empty.hub("up")
        assert empty.changes("up") == [("create", "Machine", "worker-3")]
        assert empty.workers() == [*before, "worker-3"]
        assert {n: empty.machine(n).id for n in before} == machines
        assert empty.container_of("ada") == container
        await ada.stay(0, random.Random(0))

        empty.cordon(*before)
        async with empty.student("late") as late:
            assert empty.node_of("late") == "worker-3"
            await late.put_file("kept.txt", "still here")
        empty.uncordon()
        scratch_stack.change(empty.stack, {"courses": [{**course, "students": 40}]})
        await empty.hub("up")
        assert empty.changes("up") == [("delete", "Machine", "worker-3")]
        assert [n["name"] for n in empty.nodes() if n["name"] == "worker-3"] == []
        assert empty.container_of("ada") == container
        await ada.stay(0, random.Random(0))
    # The drained student was stopped cleanly, through the hub: a new login starts a new server with the files.
    async with empty.student("late") as late:
        assert await late.get_file("kept.txt") == "still here"


def _started_at(cluster: Cluster, name: str) -> float:
    """When the container of the hub VM was started last, seconds since the epoch."""
    text = json.loads(cluster.sh("hub", f"docker inspect {name}"))[0]["State"]["StartedAt"]
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def _changed(now: float, before: float) -> float | None:
    return now if now != before else None


def _wall(monotonic: float) -> float:
    """A monotonic moment as seconds since the epoch."""
    return time.time() - (time.monotonic() - monotonic)
