"""One whole semester for all end-to-end tests: brought up once, shared, destroyed at the end whatever happened."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

import pytest

from operations import scratch_stack, setup
from operations.engine import Pulumi
from operations.load.runs import target_of
from tests.conftest import group_of
from tests.end_to_end.cluster import Cluster

LIFE = pytest.StashKey[contextlib.ExitStack]()
"""Of the shared semester: closing it destroys the semester."""


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The demo semester under a name, ports and a network of its own.

    SEMESTERHUB_TEST_STACK names a stack that is already up, for working on the tests; it is left as it is.
    """
    with contextlib.ExitStack() as life:
        pytestconfig.stash[LIFE] = life
        yield life.enter_context(_semester())


@contextlib.contextmanager
def _semester() -> Iterator[Cluster]:
    existing = os.environ.get("SEMESTERHUB_TEST_STACK")
    if existing:
        yield _cluster(existing)
        return
    changes = {"nodes": {"drain_timeout_s": 5}}
    with scratch_stack.scratch_stack("e2e", changes, keep=bool(os.environ.get("SEMESTERHUB_TEST_KEEP"))) as name:
        done = scratch_stack.hub("up", "--stack", name)
        assert done.returncode == 0, scratch_stack.tail(done, 30)
        yield _cluster(name)


@pytest.hookimpl(trylast=True)  # after what the test itself takes down
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Where processes share the tests by groups, the semester goes with the last test of its group, not of the whole run."""
    grouped = getattr(item.config.option, "loadgroup", False)
    last = nextitem is None or group_of(nextitem) != group_of(item)
    if grouped and last and LIFE in item.config.stash:
        item.config.stash[LIFE].close()


def _cluster(name: str) -> Cluster:
    outputs = Pulumi(name, setup.pulumi().folder).outputs()
    return Cluster(name, target_of(name), outputs)


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Cluster]:
    """The semester without a running server and with every node open; the test's servers are stopped after it."""
    yield cluster
    cluster.uncordon()
    asyncio.run(cluster.stop_all())
