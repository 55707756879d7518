"""What every provider plugin of the project is made of: the ResourceProvider gRPC service over plain Python handlers.

A provider is a `Provider` (its name, its resource handlers) given to `serve`. A handler says what its inputs are
(`Schema`) and how one resource is created, read, updated and deleted; unknowns, secrets, diffs, partial failures,
logging and the plugin's life as a child process are dealt with here.
"""

from __future__ import annotations

from providers.base.errors import Cancelled, CheckFailure, PartialFailure, ProviderError
from providers.base.handler import Context, Created, Function, Handler, Observed, Provider
from providers.base.schema import ANY, Field, Schema
from providers.base.server import serve
from providers.base.values import UNKNOWN, contains_unknown

__all__ = [
    "ANY",
    "UNKNOWN",
    "Cancelled",
    "CheckFailure",
    "Context",
    "Created",
    "Field",
    "Function",
    "Handler",
    "Observed",
    "PartialFailure",
    "Provider",
    "ProviderError",
    "Schema",
    "contains_unknown",
    "serve",
]
