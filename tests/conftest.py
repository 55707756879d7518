"""What all tests share: the order of the kinds, and the rule that each test says which kind it is."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A time limit for each example says how busy the machine is, not whether the code is right.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

TESTS = Path(__file__).resolve().parent
KINDS = ("unit", "sandbox", "swarm", "browser", "load")
"""Cheap ones first, so that a plain mistake is told in seconds."""
LONGEST_FIRST = ("swarm", "browser", "load", "sandbox", "unit")
"""The same where several processes share the tests: what shares nothing fills the gaps until the end."""


def kind_of(item: pytest.Item) -> str:
    """The one marker that says what a test needs. A test without one, or with two, stops the run."""
    kinds = [kind for kind in KINDS if item.get_closest_marker(kind)]
    if len(kinds) != 1:
        raise pytest.UsageError(
            f"{item.nodeid}: mark it with exactly one of {', '.join(KINDS)} (has: {', '.join(kinds) or 'none'})"
        )
    return kinds[0]


@pytest.hookimpl(wrapper=True, tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    shared = getattr(config.option, "loadgroup", False)  # set by xdist in its processes
    order = LONGEST_FIRST if shared else KINDS
    items.sort(key=lambda item: order.index(kind_of(item)))  # stable: within a kind the order stays
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    yield
    if shared and not all("@" in item.nodeid for item in items):
        raise pytest.UsageError("this pytest-xdist does not group tests with this pytest; see requirements.in")


def group_of(item: pytest.Item) -> str:
    """Which tests one process runs in order when `./hub test` runs several: those that share something that is costly.

    All that need a whole semester share one, and so do those of one stack that is up offline. Others share what their module
    prepares, and those of one cloud's components its SDK and the programs that they look at.
    """
    fixtures = getattr(item, "fixturenames", ())
    folder = item.path.parent.relative_to(TESTS).as_posix()
    if folder == "end_to_end" and "cluster" in fixtures:  # the provider's tests have a light `cluster` of their own
        return "semester"
    if "brought_up" in fixtures:
        parameters = item.callspec.params  # type: ignore[attr-defined]
        return f"offline {parameters.get('stack') or parameters['life']}"
    kind = "" if kind_of(item) == "unit" else " with engines"
    return folder if folder in {"components/aws", "components/azure"} else f"{folder}/{item.path.stem}{kind}"


def pytest_collection_finish() -> None:
    """The clouds' SDKs are a million objects that stay; to look through them again and again was a third of the unit tests' time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout under test."""
    return TESTS.parent


def pytest_configure() -> None:
    """A background job ignores Ctrl-C and hands that down; tests that press it need the usual answer."""
    gc.disable()  # until everything is imported, see pytest_collection_finish
    signal.signal(signal.SIGINT, signal.default_int_handler)
