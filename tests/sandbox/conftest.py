"""Stacks that are up offline, brought up once for all tests of a run."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable

import pytest

from operations import stacks
from tests.sandbox.offline import Offline


@pytest.fixture(scope="session")
def brought_up(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Offline]:
    """A stack that is up, in a sandbox of the caller's own: what the one `up` of the run left, copied."""
    originals: dict[str, Offline] = {}
    numbers = itertools.count(1)

    def get(stack: str) -> Offline:
        if stack not in originals:
            first = Offline(stack, str(stacks.cloud_of(stack)), tmp_path_factory.mktemp(f"{stack}-up"))
            first.results["up"] = first.run("up")
            originals[stack] = first
        copy = tmp_path_factory.mktemp(stack) / str(next(numbers))
        shutil.copytree(originals[stack].root, copy)
        return dataclasses.replace(originals[stack], root=copy, results=dict(originals[stack].results))

    return get
