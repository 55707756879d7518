"""The resource types that the emulator knows, one module a family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.azure.emulator.kind import Kind
from sandbox.azure.emulator.kinds import (
    access,
    addresses,
    backup,
    clusters,
    compute,
    dns,
    monitor,
    network,
    resources,
    storage,
    vaults,
)

_MODULES = (resources, network, addresses, dns, storage, access, vaults, compute, clusters, backup, monitor)
KINDS: dict[str, Kind] = {kind.key: kind for module in _MODULES for kind in module.KINDS}
SPECIAL_POSTS: dict[str, Callable[..., Any]] = {
    "microsoft.keyvault/locations/deletedvaults": vaults.deleted_vault_action
}
"""Actions on what is no resource."""


def find(type: str) -> Kind | None:
    """The kind of a resource type, in any case."""
    return KINDS.get(type.lower())
