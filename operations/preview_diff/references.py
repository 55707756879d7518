"""Ids that a cloud made (`vpc-0a1b2c`) told by what they belong to: readable, and the same in every run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from operations.planned import Planned

SHORTEST = 8
"""Shorter texts are words, not ids."""
ENDINGS = ("id", "arn", "endpoint", "dnsname", "ip", "fqdn", "uri", "url", "thumbprint", "fingerprint")
"""Outputs that name a thing of the cloud end in one of these."""

NOT_ITS_OWN = frozenset(
    {"ownerid", "accountid", "registryid", "tenantid", "subscriptionid", "sourcesecuritygroupownerid"}
)
"""The account's, not the resource's."""


class Names:
    """What is known of the state's ids. `told` puts names in their place."""

    def __init__(self, resources: Iterable[Planned]) -> None:
        self._names: dict[str, str] = {}
        for resource in resources:
            if not resource.custom or not resource.old_inputs:
                continue
            given = set(_texts(settled(resource, resource.old_inputs)))
            made_up = str(resource.old_inputs.get("name") or "")
            for key, value in [("id", resource.old_id), ("name", made_up), *sorted(_outputs(resource.old_outputs))]:
                # What the program itself chose is no id to hide: it is the same in every run.
                if len(value) >= SHORTEST and value not in given and any(c.isdigit() for c in value):
                    self._names.setdefault(value, f"‹{key} of {resource.kind} {resource.name}›")
        longest_first = sorted(self._names, key=lambda value: (-len(value), value))
        self._pattern = (
            re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9])")
            if longest_first
            else None
        )

    def told(self, text: str) -> str:
        """The text with every known id replaced by its owner's name."""
        return self._pattern.sub(lambda match: self._names[match.group()], text) if self._pattern else text


_RANDOM = re.compile(r"[0-9a-f]{7,26}")


def settled(resource: Planned, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs with names that the provider made up (`nodes-1a2b3c4`) told as such: others in every run."""
    starts = [start for start in (inputs.get("namePrefix"), f"{resource.name}-") if isinstance(start, str) and start]
    return {key: _settled(value, starts) if isinstance(value, str) else value for key, value in inputs.items()}


def _settled(value: str, starts: Iterable[str]) -> str:
    for start in starts:
        if value.startswith(start) and _RANDOM.fullmatch(value[len(start) :]):
            return f"{start}‹random›"
    return value


def _outputs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, str) and key.lower().endswith(ENDINGS) and key.lower() not in NOT_ITS_OWN:
            yield key, value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
