"""Resource groups, and what Azure itself makes beside them."""

from __future__ import annotations

from sandbox.azure.emulator import ids
from sandbox.azure.emulator.kind import Kind

KINDS = (
    Kind(
        ids.GROUPS,
        r"[\w().\-]{0,89}[\w()\-]",
        "1 to 90 letters, digits, _ - . ( ), not ending in a period",
        slow_delete=True,
    ),
)
