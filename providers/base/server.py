"""The plugin as a process: prints its port, serves until the engine is done, and never outlives it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from providers.base.engine import EngineLog
from providers.base.handler import Provider
from providers.base.proto import provider_pb2_grpc
from providers.base.servicer import Servicer

MAX_MESSAGE_BYTES = 400 * 1024 * 1024
"""As the engine's own limit (sdk/go/common/util/rpcutil)."""

THREADS = 64
"""Calls in progress at once. Each waits for Docker most of its time; `pulumi up` runs 16 x CPUs resources at once by default."""

WATCH_EVERY_S = 0.5


def build_server(provider: Provider, log: EngineLog) -> tuple[grpc.Server, int, Servicer]:
    """A started server on a free port of loopback; also what in-process tests use."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call"), options=options)
    servicer = Servicer(provider, log)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port, servicer


def serve(provider: Provider, arguments: list[str] | None = None) -> None:
    """Run the plugin: `pulumi-resource-<name> [engine address]`. Returns never."""
    parent = os.getppid()  # at once: a parent that dies from here on is noticed
    parser = argparse.ArgumentParser(
        description=f"Pulumi provider plugin `{provider.name}`, started by the Pulumi CLI."
    )
    parser.add_argument("engine", nargs="?", default="", help="address of the engine (host:port)")
    parser.add_argument("--version", action="version", version=provider.version)
    known, _ = parser.parse_known_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if known.engine:
        if not _reachable(known.engine):
            sys.exit(f"pulumi-resource-{provider.name}: no Pulumi engine answers at {known.engine}")
        threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent watch").start()
    server, port, _ = build_server(provider, EngineLog(known.engine))
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is gone: the engine may be killed (SIGKILL) in the middle of a create,
    and a provider left alone would go on making things that no state records. PR_SET_PDEATHSIG would not do: it
    fires when the parent's *thread* ends, which Go does at will."""
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)


def _reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False
