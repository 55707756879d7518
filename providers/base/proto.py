"""Pulumi's generated protocol modules, without the rest of its SDK.

`import pulumi.runtime.proto` runs `pulumi/__init__`, which costs 0.7 s of CPU at each start of a plugin; the generated
modules import each other relatively, so they load as well under a package of our own (measured: 0.2 s in all). A
process that also imports the SDK is fine: both describe the same messages to protobuf's one descriptor pool.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi.runtime.proto import (
        engine_pb2,
        engine_pb2_grpc,
        errors_pb2,
        plugin_pb2,
        provider_pb2,
        provider_pb2_grpc,
        status_pb2,
    )
else:
    _PACKAGE = "providers.base._pulumi_proto"

    def _load(name: str) -> types.ModuleType:
        if _PACKAGE not in sys.modules:
            spec = importlib.util.find_spec("pulumi")
            if spec is None or spec.origin is None:
                raise ImportError("the Python package `pulumi` is not installed in this environment")
            package = types.ModuleType(_PACKAGE)
            package.__path__ = [str(Path(spec.origin).parent / "runtime" / "proto")]
            sys.modules[_PACKAGE] = package
        return importlib.import_module(f"{_PACKAGE}.{name}")

    provider_pb2 = _load("provider_pb2")
    provider_pb2_grpc = _load("provider_pb2_grpc")
    plugin_pb2 = _load("plugin_pb2")
    status_pb2 = _load("status_pb2")
    errors_pb2 = _load("errors_pb2")
    engine_pb2 = _load("engine_pb2")
    engine_pb2_grpc = _load("engine_pb2_grpc")

__all__ = [
    "engine_pb2",
    "engine_pb2_grpc",
    "errors_pb2",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
]
