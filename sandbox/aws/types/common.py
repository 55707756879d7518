"""What several families share: EC2's way of tags, names in ARNs, checks of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.spec import ID, TAG_KEYS, TAGS, Call, Tagging

EC2_TAGS = Tagging(
    set=Call("ec2", "create_tags", {"Resources": [ID], "Tags": TAGS}),
    unset=Call("ec2", "delete_tags", {"Resources": [ID], "Tags": lambda scope: [{"Key": k} for k in scope.tag_keys]}),
)


def ec2_tags(kind: str) -> dict[str, Any]:
    """The parameter with which most of EC2's creations take tags."""
    return {"TagSpecifications": lambda s: [{"ResourceType": kind, "Tags": s.fill(TAGS)}] if s.tags else None}


def ec2_arn(kind: str) -> str:
    """A text with {} for `outputs`."""
    return f"arn:aws:ec2:{{region}}:{{account}}:{kind}/{{id}}"


def tag_calls(
    service: str, set_: str, unset: str, key: str, of: Any, tags: Any = TAGS, keys: str = "TagKeys", path: str = "Tags"
) -> Tagging:
    """The way of most other services: `key` is the parameter that names the resource, `of` its value."""
    tag_name = {"TagKeys": "Tags"}.get(keys, "tags")
    return Tagging(
        set=Call(service, set_, {key: of, tag_name: tags}),
        unset=Call(service, unset, {key: of, keys: TAG_KEYS}),
        path=path,
    )


def known(values: Mapping[str, Any], *names: str) -> bool:
    """Whether all of the inputs are given and known."""
    return all(values.get(name) is not None and values.get(name) is not UNKNOWN for name in names)


def ask(scope: Any, service: str, operation: str, path: str, **parameters: Any) -> Any:
    """A look at something else, for refusals."""
    import jmespath

    return jmespath.search(path, scope.api.call(service, operation, parameters, scope.region))


def in_use(what: str, users: Callable[[Any], list[str]]) -> Callable[[Any, Mapping[str, Any]], str | None]:
    """A refusal to delete what others use, in AWS's own words (DependencyViolation)."""

    def refuse(scope: Any, _inputs: Mapping[str, Any]) -> str | None:
        found = sorted(set(users(scope)))
        if not found:
            return None
        return f"DependencyViolation: the {what} '{scope.id}' has dependencies and cannot be deleted ({', '.join(found[:5])})"

    return refuse
