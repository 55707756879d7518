"""What Pulumi's SDK takes for granted where it declares resources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


def _loop() -> Iterator[None]:
    """An event loop for the main thread, as `pulumi up` gives to a program. After another test's asyncio.run there is none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)


own_event_loop = pytest.fixture(autouse=True)(_loop)
event_loop_of_module_fixtures = pytest.fixture(scope="module", autouse=True)(_loop)
