"""What a handler raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class ProviderError(Exception):
    """An expected failure. `str()` is the whole message for the admin: what, which value, what to do. No traceback."""


class Cancelled(ProviderError):
    """The engine asked to stop (Ctrl-C)."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class PartialFailure(ProviderError):
    """The resource exists but is not as it should be: recorded in the state with `reasons`, mended by the next update.

    `outputs` are the resource's outputs as far as they are known (inputs are added); `id` is needed from create only.
    """

    def __init__(self, reasons: str | Sequence[str], *, id: str = "", outputs: Mapping[str, Any] | None = None) -> None:
        self.reasons = [reasons] if isinstance(reasons, str) else list(reasons)
        super().__init__("\n".join(self.reasons))
        self.id = id
        self.outputs = dict(outputs or {})


@dataclass(frozen=True)
class CheckFailure:
    """One refused input. `property` is a path such as `mounts[0].path`."""

    property: str
    reason: str
