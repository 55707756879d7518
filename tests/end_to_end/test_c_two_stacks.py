"""Stacks beside each other, and what `destroy` leaves: nothing but the homes, and not even those when asked."""

from __future__ import annotations

import pytest

from operations import scratch_stack
from operations.load.student import Student
from tests.end_to_end.cluster import Cluster

pytestmark = pytest.mark.swarm


async def test_a_second_semester_runs_beside_the_first_and_leaves_nothing(empty: Cluster) -> None:
    before = scratch_stack.objects(empty.stack)
    changes = {**scratch_stack.LIGHT, "homes": {"protect": True}}
    with scratch_stack.scratch_stack("beside", changes) as other:
        async with empty.student("ada") as ada:
            container = empty.container_of("ada")
            second = Cluster(other, empty.target, {})
            await second.hub("up")
            assert scratch_stack.objects(other)
            assert scratch_stack.objects(empty.stack) == before
            from tests.end_to_end.conftest import _cluster

            second = _cluster(other)
            assert second.target.hub_url != empty.target.hub_url
            async with Student(second.target, "ada") as other_ada:
                await other_ada.login()
                await other_ada.start_server()
            assert second.node_of("ada") == "worker-1"
            async with Student(second.target, "eve") as eve:
                with pytest.raises(Exception, match="refused the login"):
                    await eve.login(empty.target.student_password)

            await second.hub("destroy")
            assert scratch_stack.objects(other) == {f"volume semesterhub-{other}-homes"}
            assert scratch_stack.processes(other) == []
            await second.hub("destroy", "--delete-homes", "--yes")
            assert scratch_stack.objects(other) == set()

            assert scratch_stack.objects(empty.stack) == before
            assert empty.container_of("ada") == container
            import random

            await ada.stay(0, random.Random(0))
