"""The stand-in over gRPC, as the engine calls it, in front of an emulator on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from providers.base.engine import EngineLog
from providers.base.proto import provider_pb2, provider_pb2_grpc
from providers.base.server import build_server
from providers.base.values import decode, encode
from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.http import Before, Wire, serve
from sandbox.azure.emulator.store import Store
from sandbox.azure.plugin.provider import StandIn

SUBSCRIPTION_ID = "12345678-1234-4234-8234-123456789012"


@contextlib.contextmanager
def emulator(
    folder: Path | None = None, *, duration_s: float = 0.0, before: Before | None = None
) -> Iterator[tuple[str, Arm]]:
    """An emulator on a free port of loopback: its address, and what is behind it."""
    arm = Arm(Store(folder), duration_s=duration_s)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(Wire(arm, before=before).application(), listener, ended)),
        daemon=True,
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", arm
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


class Rig:
    """Calls of the engine, with plain values. `state` keeps what the engine would keep: id -> (inputs, outputs)."""

    def __init__(self, stub: Any, arm: Arm, address: str) -> None:
        self.stub, self.arm, self.address = stub, arm, address

    def check(
        self, token: str, inputs: Mapping[str, Any], olds: Mapping[str, Any] | None = None, seed: bytes = b"seed"
    ) -> tuple[dict[str, Any], dict[str, str]]:
        token = f"azure-native:{token}"
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                urn=urn(token), type=token, news=encode(inputs), olds=encode(olds or {}), randomSeed=seed
            )
        )
        return decode(answer.inputs)[0], {f.property: f.reason for f in answer.failures}

    def create(
        self, token: str, inputs: Mapping[str, Any], secret: tuple[str, ...] = (), *, preview: bool = False
    ) -> Made:
        checked, failures = self.check(token, inputs)
        assert not failures, failures
        full = f"azure-native:{token}"
        answer = self.stub.Create(
            provider_pb2.CreateRequest(urn=urn(full), type=full, properties=encode(checked, secret), preview=preview)
        )
        outputs, secrets = decode(answer.properties)
        return Made(self, full, answer.id, checked, outputs, secrets)

    def invoke(self, token: str, **arguments: Any) -> tuple[dict[str, Any], set[str]]:
        answer = self.stub.Invoke(provider_pb2.InvokeRequest(tok=f"azure-native:{token}", args=encode(arguments)))
        assert not answer.failures, answer.failures
        return decode(getattr(answer, "return"))


class Made:
    """A resource as the engine remembers it."""

    def __init__(
        self, rig: Rig, token: str, id: str, inputs: dict[str, Any], outputs: dict[str, Any], secrets: set[str]
    ) -> None:
        self.rig, self.token, self.id = rig, token, id
        self.inputs, self.outputs, self.secrets = inputs, outputs, secrets

    def changed(self, **values: Any) -> dict[str, Any]:
        """The inputs with other values; None leaves one out."""
        return {k: v for k, v in {**self.inputs, **values}.items() if v is not None}

    def diff(self, **values: Any) -> Any:
        request = provider_pb2.DiffRequest(
            id=self.id,
            urn=urn(self.token),
            type=self.token,
            olds=encode(self.outputs),
            old_inputs=encode(self.inputs),
            news=encode(self.changed(**values)),
        )
        return self.rig.stub.Diff(request)

    def replaces(self, **values: Any) -> list[str]:
        return sorted(self.diff(**values).replaces)

    def update(self, *, preview: bool = False, **values: Any) -> dict[str, Any]:
        news = self.changed(**values)
        request = provider_pb2.UpdateRequest(
            id=self.id,
            urn=urn(self.token),
            type=self.token,
            olds=encode(self.outputs),
            old_inputs=encode(self.inputs),
            news=encode(news),
            preview=preview,
        )
        outputs = decode(self.rig.stub.Update(request).properties)[0]
        if not preview:
            self.inputs, self.outputs = news, outputs
        return outputs

    def read(self, *, known: bool = True) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Id ("" when it is gone), inputs, outputs. Not `known`: as an import asks."""
        request = provider_pb2.ReadRequest(id=self.id, urn=urn(self.token), type=self.token)
        if known:
            request.inputs.CopyFrom(encode(self.inputs))
            request.properties.CopyFrom(encode(self.outputs))
        answer = self.rig.stub.Read(request)
        return answer.id, decode(answer.inputs)[0], decode(answer.properties)[0]

    def delete(self) -> None:
        self.rig.stub.Delete(
            provider_pb2.DeleteRequest(
                id=self.id,
                urn=urn(self.token),
                type=self.token,
                properties=encode(self.outputs),
                old_inputs=encode(self.inputs),
            )
        )


def urn(token: str) -> str:
    return f"urn:pulumi:demo::semesterhub::{token}::a-thing"


@contextlib.contextmanager
def rig(
    folder: Path | None = None, *, duration_s: float = 0.0, before: Before | None = None, **config: str
) -> Iterator[Rig]:
    """A configured stand-in. The caller sets SEMESTERHUB_SANDBOX_AZURE: see the fixture in conftest.py."""
    import os

    with emulator(folder, duration_s=duration_s, before=before) as (address, arm):
        os.environ["SEMESTERHUB_SANDBOX_AZURE"] = address
        server, port, _ = build_server(StandIn(), EngineLog())
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                options = {"subscriptionId": SUBSCRIPTION_ID, "location": "westus2", **config}
                stub.Configure(provider_pb2.ConfigureRequest(args=encode(options)))
                yield Rig(stub, arm, address)
        finally:
            server.stop(None)
            os.environ.pop("SEMESTERHUB_SANDBOX_AZURE", None)
