"""What is left in an offline Azure: for the end of a destroy."""

from __future__ import annotations

from pathlib import Path

from sandbox.azure.emulator.store import Store


def inventory(state_dir: Path) -> list[str]:
    """The ids of all resources that a stack made, and its blobs. What Azure makes by itself (network watchers) and what the
    campus has (its DNS zone) is not the stack's; a vault deleted softly is gone but for its name."""
    store = Store(state_dir)
    return sorted([r.id for r in store.all() if not r.by_azure] + [f"blob {name}" for name in store.state.blobs])
