"""Names and labels: which Docker objects are this checkout's own.

Every object carries who made it for what. An object of the right name that another checkout made (or a person) is
refused, never adopted and never removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from operations.paths import ROOT, owner_label
from providers.base import ProviderError

STACK, NAME, KIND = "semesterhub.stack", "semesterhub.name", "semesterhub.kind"
OWNER, SPEC, CHECKOUT = "semesterhub.owner", "semesterhub.spec", "semesterhub.checkout"


def object_name(stack: str, name: str) -> str:
    """A Docker object's name; also the resource's id."""
    return f"semesterhub-{stack}-{name}"


def spec_hash(inputs: Mapping[str, Any]) -> str:
    """A fingerprint of inputs, to tell whether a leftover is what is wanted. Never give it secrets: labels are public."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def labels(stack: str, name: str, kind: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """The labels of an object."""
    return {
        STACK: stack,
        NAME: name,
        KIND: kind,
        OWNER: owner_label(),
        CHECKOUT: str(ROOT),
        SPEC: spec_hash(spec),
    }


def is_ours(found: Mapping[str, str] | None) -> bool:
    """Whether an object with these labels was made by this checkout."""
    return (found or {}).get(OWNER) == owner_label()


def require_ours(what: str, docker_name: str, found: Mapping[str, str] | None) -> None:
    """Refuse an object that is not this checkout's own. `what`: "network", "volume", "container"."""
    if is_ours(found):
        return
    if OWNER in (found or {}):
        where = (found or {}).get(CHECKOUT, "another place")
        raise ProviderError(
            f"the Docker {what} {docker_name} belongs to the checkout at {where}, not to this one ({ROOT}). "
            f"Destroy that stack there (`./hub destroy` in {where}), or give this semester another stack name."
        )
    raise ProviderError(
        f"a Docker {what} named {docker_name} exists, and it was not made by Semesterhub. "
        f"Remove it (`docker {what} rm {docker_name}`) if it is not needed, or give this semester another stack name."
    )
