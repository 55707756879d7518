"""How the engines are obtained: Pulumi with its Python language host, and OpenTofu. Pins are in pins.toml."""

from __future__ import annotations

from toolchain.obtain import Engine, obtain

__all__ = ["Engine", "obtain"]
