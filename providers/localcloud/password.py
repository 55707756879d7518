"""localcloud:index:Password: a random password that people can read and type, kept as a secret in the state."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Context, Created, Field, Handler, Observed, Schema

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits that cannot be mistaken for each other (no 0 O 1 l I): 57 signs, 5.8 bits each."""


def _length(value: int) -> str | None:
    return None if 8 <= value <= 128 else f"{value} characters: allowed are 8 to 128."


class PasswordHandler(Handler):
    """Id: `password-v<version>`. Another version is another value."""

    token: ClassVar[str] = "localcloud:index:Password"
    schema: ClassVar[Schema] = Schema(
        {
            "length": Field(int, "how many characters", default=20, replace=True, check=_length),
            "version": Field(int, "raise it for a new value", default=1, replace=True),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("value",)
    secret_outputs: ClassVar[frozenset[str]] = frozenset({"value"})
    stable_outputs: ClassVar[frozenset[str]] = frozenset({"value"})

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        value = "".join(secrets.choice(ALPHABET) for _ in range(inputs["length"]))
        return Created(f"password-v{inputs['version']}", {"value": value})

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        # It lives in the state and nowhere else, so here the state is what there is to look at.
        return Observed({"value": state["value"]})

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return {"value": old_state["value"]}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        return
