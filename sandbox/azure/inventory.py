"""What is in an offline subscription: a destroy must leave nothing. What Azure makes by itself and the campus' own zone
do not count."""

from __future__ import annotations

from pathlib import Path

from sandbox.azure.emulator.store import Store


def inventory(state_dir: Path) -> list[str]:
    """Type and id of every resource, from the emulator's state on disk."""
    return sorted(f"{r.type} {r.id}" for r in Store(state_dir).state.resources.values() if not r.by_azure)
