"""Events as the engine writes them, made by hand: one resource a call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
STACK_TYPE = "pulumi:pulumi:Stack"


def recorded() -> list[dict[str, Any]]:
    """What Pulumi 3.250.0 really wrote: an update, a replacement, a deletion, a secret with another value."""
    lines = Path(__file__).with_name("recorded.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:fa26::semesterhub::{kind}::{name}"


def step(
    op: str,
    kind: str,
    name: str,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    *,
    touched: dict[str, str] | None = None,
    id: str = "",
    outputs: dict[str, Any] | None = None,
    was: dict[str, bool] | None = None,
    options: dict[str, bool] | None = None,
) -> dict[str, Any]:
    """`touched`: property path -> kind of difference (update, add-replace, …)."""

    def state(inputs: dict[str, Any], extra: dict[str, bool] | None, made: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "urn": urn(kind, name), "custom": True, "inputs": inputs, **made, **(extra or {})}

    metadata = {
        "op": op,
        "urn": urn(kind, name),
        "type": kind,
        "old": None
        if old is None
        else state(old, was, {"id": id or f"{name}-id", "outputs": {**old, **(outputs or {})}}),
        "new": None if new is None else state(new, options, {"id": "", "outputs": {}}),
        "detailedDiff": {path: {"diffKind": how, "inputDiff": True} for path, how in (touched or {}).items()},
    }
    return {"resourcePreEvent": {"metadata": metadata}}


def replaced(kind: str, name: str, old: dict[str, Any], new: dict[str, Any], because: str) -> list[dict[str, Any]]:
    """The three steps of a replacement."""
    touched = {because: "update-replace"}
    return [
        step("create-replacement", kind, name, old, new, touched=touched),
        step("replace", kind, name, old, new, touched=touched),
        step("delete-replaced", kind, name, old),
    ]


def stack_outputs(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {
        "resOutputsEvent": {
            "metadata": {
                "op": "same",
                "urn": urn(STACK_TYPE, "s"),
                "type": STACK_TYPE,
                "old": {"outputs": old},
                "new": {"outputs": new},
            }
        }
    }
