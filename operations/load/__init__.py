"""Classes of synthetic students: `run` sends one to a hub, `compare` sends it to the naive hub too."""

from __future__ import annotations

from operations.load.runs import compare, run, target_of

__all__ = ["compare", "run", "target_of"]
