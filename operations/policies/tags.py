"""Everything says whose it is: for the bill, for a clean-up, for whoever finds it in three years."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from operations.planned import SECRET, UNKNOWN, Planned
from operations.policies.facts import Facts, Findings, items, plain_type

REQUIRED: Final = ("semesterhub:stack", "semesterhub:semester", "semesterhub:course", "semesterhub:managed-by")
WITHOUT: Final = frozenset({"aws:s3/bucketObjectv2:BucketObjectv2", "aws:s3/bucketObject:BucketObject"})
"""Parts of something that has the tags; S3 bills each tag of each object."""
_REMEDY: Final = "Give the resource components.tags.tags(stack, semester)."


def present(facts: Facts, found: Findings) -> None:
    """Every resource that can have tags has the semester's."""
    for r in facts.preview.kept():
        if r.op == "read" or r.type in WITHOUT or not takes_tags(r.type):
            continue
        given = _tags(r)
        if given is None:
            found.unknown(r, "tags")
            continue
        missing = [name for name in REQUIRED if name not in given]
        if missing:
            found.add(r, "tags", f"without {', '.join(missing)}", _REMEDY)
        elif given["semesterhub:stack"] not in {facts.stack, UNKNOWN}:
            found.add(r, "tags semesterhub:stack", given["semesterhub:stack"], f"Write {facts.stack}.")


def _tags(r: Planned) -> Mapping[str, Any] | None:
    """A resource's tags; None while they are not known. An autoscaling group has a list of pairs."""
    value = r.inputs.get("tags")
    if value is UNKNOWN or value is SECRET:
        return None
    if isinstance(value, list):
        return {str(item.get("key")): item.get("value") for item in items(value) if isinstance(item, Mapping)}
    return value if isinstance(value, Mapping) else {}


@functools.cache
def takes_tags(token: str) -> bool:
    """Whether the SDK's class for a type has `tags`. Its file is read, not imported: importing costs a second."""
    package, module, name = plain_type(token).split(":", 2)
    if package == "aws":
        folder = Path("pulumi_aws") / module.split("/", 1)[0]
    elif package == "azure-native":
        folder = Path("pulumi_azure_native") / module
    else:
        return False
    home = _site(folder.parts[0])
    if home is None:
        return False
    path = home / folder.parts[1] / f"{_snake(name)}.py"
    return path.is_file() and re.search(r"^    def tags\(self\)", path.read_text("utf-8"), re.MULTILINE) is not None


@functools.cache
def _site(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def _snake(name: str) -> str:
    """`NATGateway` as `nat_gateway`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
