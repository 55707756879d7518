"""Ports of stacks that come and go."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from operations import scratch_stack
from operations.errors import UserError

pytestmark = pytest.mark.unit


def test_ports_are_distinct_and_never_those_of_outgoing_connections() -> None:
    low, high = scratch_stack._outgoing_ports()
    ports = scratch_stack.free_ports(20)
    assert len(set(ports)) == 20
    assert not [port for port in ports if low <= port <= high]


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as port:
        # Every port but the held one counts as named by a stack file.
        monkeypatch.setattr(
            scratch_stack, "_numbers", lambda _file: [str(p) for p in range(10_000, 65_000) if p != port]
        )
        monkeypatch.setattr(scratch_stack, "_outgoing_ports", lambda: (1, 2))
        with pytest.raises(UserError, match="no 1 free ports"):
            scratch_stack.free_ports(1)


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield int(held.getsockname()[1])
