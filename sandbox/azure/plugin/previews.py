"""What a preview can say of an object before Azure has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.azure.plugin import sdk
from sandbox.azure.plugin.bodies import SETS

_AZURES = frozenset({"principalId", "tenantId", "clientId"})
"""Of an identity: some SDK classes have them as inputs as well, but only Azure knows them."""


def expected(module: str, source: sdk.Input, kind: str, value: Any) -> Any:
    """An input as it will come back: with the properties unknown that only Azure writes (`identity.principalId`).
    `kind`: the SDK's class of the answer."""
    if not kind or value is UNKNOWN:
        return value
    if isinstance(value, list):
        return [expected(module, source, kind, item) for item in value]
    if not isinstance(value, Mapping) or not source.args:
        return value
    known, answered = sdk.args(module, source.args), sdk.response(module, kind)
    given = {
        name: expected(module, known[name], answered.get(name, ""), item) if name in known else item
        for name, item in value.items()
        if name not in SETS
    }
    return {
        name: UNKNOWN for name in answered if name not in known or name in _AZURES or (name in SETS and name in value)
    } | given


def kept(value: Any, before: Any) -> Any:
    """An expected output of an update: what only Azure writes is what it was."""
    if value is UNKNOWN:
        return before if before is not None else UNKNOWN
    if isinstance(value, Mapping) and isinstance(before, Mapping):
        return {name: kept(item, before.get(name)) if _open(item) else item for name, item in value.items()}
    return value


def _open(value: Any) -> bool:
    return value is UNKNOWN or isinstance(value, Mapping)
