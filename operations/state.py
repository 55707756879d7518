"""Pulumi's file:// state on disk: where it is, whether it is whole, and what a killed run left pending in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from operations.errors import UserError
from operations.paths import STATE_DIR

PROJECT = "semesterhub"
CLOUD_PROVIDERS = ("pulumi:providers:aws", "pulumi:providers:azure-native")
STAND_IN = "semesterhubStandIn"
"""Input that a stand-in adds to its provider's own record in the state: who made the stack."""


def backend_url() -> str:
    """Where the state is: PULUMI_BACKEND_URL, else a folder of this checkout that git ignores."""
    return os.environ.get("PULUMI_BACKEND_URL") or f"file://{STATE_DIR}"


def local_folder(url: str) -> Path | None:
    """The `.pulumi` folder of a file:// backend, or None for any other backend."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = unquote(parts.netloc + parts.path)
    return Path(path).expanduser() / ".pulumi"


def lock_folder(pulumi_folder: Path, stack: str) -> Path:
    return pulumi_folder / "locks" / "organization" / PROJECT / stack


def state_file(pulumi_folder: Path, stack: str) -> Path:
    return pulumi_folder / "stacks" / PROJECT / f"{stack}.json"


def repair(pulumi_folder: Path, stack: str, say: Callable[[str], None]) -> None:
    """Put right what a power cut or a kill can do to the state file: scratch files, and a file that is no JSON.

    The CLI writes a scratch file and renames it, and keeps the version before as `.bak`.
    """
    path = state_file(pulumi_folder, stack)
    scratch = [
        *path.parent.glob("fileblob*"),
        *path.parent.glob(f"{stack}.json.*.tmp"),
        *path.parent.glob(f"{stack}.json.bak.*.tmp"),
    ]
    for left in scratch:
        left.unlink(missing_ok=True)
    # Beside each file the backend keeps one with its content type, written in place: a kill leaves it empty, and then
    # the CLI refuses the whole stack ("failed to load checkpoint: EOF"). It can do without.
    for kept in (path, path.with_name(path.name + ".bak"), pulumi_folder / "meta.yaml"):
        attributes = kept.with_name(kept.name + ".attrs")
        if attributes.exists() and _parse(attributes) is None:
            attributes.unlink(missing_ok=True)
    if not path.exists() or _parse(path) is not None:
        return
    backup = path.with_name(path.name + ".bak")
    if backup.exists() and _parse(backup) is not None:
        path.replace(path.with_name(path.name + ".broken"))
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(backup.read_bytes())
        temporary.replace(path)
        say(
            f"the state of stack '{stack}' was cut off while being written; the version before it is used ({path}.broken keeps it)"
        )
        return
    raise UserError(
        f"{path} is not readable as Pulumi state, and neither is its backup {backup.name}.\n"
        f"  Older versions are in {pulumi_folder / 'backups' / PROJECT / stack}: copy one over it and run this again."
    )


def pending_operations(pulumi_folder: Path, stack: str) -> list[str]:
    """What a killed run had begun: `creating localcloud:index:Machine worker-1` and so on."""
    data = _parse(state_file(pulumi_folder, stack)) or {}
    latest = (data.get("checkpoint") or {}).get("latest") or {}
    return describe_pending(latest.get("pending_operations") or [])


def describe_pending(operations: list[dict[str, Any]]) -> list[str]:
    """For the one line that tells of them."""
    return [f"{p.get('type', '?')} {p['resource']['urn'].rsplit('::', 1)[-1]}" for p in operations]


def output(pulumi_folder: Path, stack: str, name: str) -> Any:
    """A stack output that is no secret, as the state file has it; None where there is none."""
    latest = ((_parse(state_file(pulumi_folder, stack)) or {}).get("checkpoint") or {}).get("latest") or {}
    for resource in latest.get("resources") or []:
        if resource.get("type") == "pulumi:pulumi:Stack":
            return (resource.get("outputs") or {}).get(name)
    return None


def refuse_others(pulumi_folder: Path, stack: str, *, stand_ins: bool) -> None:
    """Refuse a stack that the other kind of provider made: what a stand-in noted says nothing about a cloud account,
    and a stand-in must never act on what is really there. Raises UserError."""
    latest = ((_parse(state_file(pulumi_folder, stack)) or {}).get("checkpoint") or {}).get("latest") or {}
    for resource in latest.get("resources") or []:
        if resource.get("type") not in CLOUD_PROVIDERS:
            continue
        made_by_stand_in = STAND_IN in (resource.get("inputs") or {})
        provider = resource["type"].rpartition(":")[2]
        if made_by_stand_in and not stand_ins:
            raise UserError(
                f"the state of stack '{stack}' in {pulumi_folder} was made by the sandbox's stand-in for {provider}: it "
                "names nothing that is in a cloud account.\n"
                f"  To go on offline: ./hub up --stack {stack} --sandbox. For the real one, take the sandbox's state out of the backend."
            )
        if stand_ins and not made_by_stand_in:
            raise UserError(
                f"the state of stack '{stack}' in {pulumi_folder} was made by the official provider {provider}: "
                "the sandbox does not touch it.\n"
                "  The sandbox keeps a state of its own; a real stack's state does not belong there. Remove it."
            )


def _parse(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def release(resources: list[dict[str, Any]]) -> bool:
    """Take protection and retention from every resource of an exported state; whether there was any.

    What was kept may be emptied as well (`forceDestroy` of AWS's buckets and vaults, which the provider reads from the
    state): who lets go of the homes lets go of their copies, and a bucket with files in it could never be deleted.
    """
    held = [resource for resource in resources if resource.get("protect") or resource.get("retainOnDelete")]
    for resource in held:
        resource.pop("protect", None)
        resource.pop("retainOnDelete", None)
        for values in (resource.get("inputs") or {}, resource.get("outputs") or {}):
            if "forceDestroy" in values:
                values["forceDestroy"] = True
    return bool(held)
