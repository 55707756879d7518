"""Ports of stacks that come and go."""

from __future__ import annotations

import socket

import pytest

from operations import scratch_stack

pytestmark = pytest.mark.unit


def test_ports_are_free_distinct_and_never_those_of_outgoing_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = scratch_stack._outgoing_ports()
    ports = scratch_stack.free_ports(20)
    assert len(set(ports)) == 20
    assert not [port for port in ports if low <= port <= high]
    with socket.socket() as held:
        held.bind(("127.0.0.1", ports[0]))
        held.listen()
        others = [port for port in range(10_000, 65_000) if port not in ports[:2]]
        monkeypatch.setattr(scratch_stack, "_outgoing_ports", lambda: (min(others), min(others)))
        monkeypatch.setattr(scratch_stack, "_numbers", lambda _file: [str(port) for port in others])
        assert scratch_stack.free_ports(1) == [ports[1]]
