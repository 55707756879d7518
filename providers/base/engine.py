"""Messages from the plugin to the engine, and so to the person watching."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import grpc

from providers.base.proto import engine_pb2, engine_pb2_grpc

_SEVERITIES = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class EngineLog:
    """The engine's Log service. Sending never fails and never waits long: progress must not break the work."""

    def __init__(self, address: str = "") -> None:
        self._lock = threading.Lock()
        self._stub: Any = None
        if address:
            self.connect(address)

    def connect(self, address: str) -> None:
        """Send to the engine at `address` (host:port) from now on."""
        with self._lock:
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def send(self, severity: str, message: str, urn: str, ephemeral: bool) -> None:
        """One message; see `providers.base.handler.Log`."""
        stub = self._stub
        if stub is None:
            return
        request: Any = engine_pb2.LogRequest(message=message, urn=urn, ephemeral=ephemeral)
        request.severity = _SEVERITIES[severity]
        with contextlib.suppress(grpc.RpcError):
            stub.Log(request, timeout=5)
