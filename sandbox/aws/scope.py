"""What a call of a table is filled from, and what is read out of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jmespath

from providers.base import UNKNOWN
from sandbox.aws.api import Api
from sandbox.aws.convert import TableError, limits, member, to_api
from sandbox.aws.spec import ACCOUNT, ID, TAG_KEYS, TAG_MAP, TAGS, TOKEN, Call, In, Out, Spec, words

NOTHING: tuple[Any, ...] = (None, [], {}, "")
"""What a template leaves out of a call."""


@dataclass
class Settings:
    """The provider's configuration, taken in `Configure`."""

    default_tags: dict[str, str]
    region: str = ""


@dataclass
class Scope:
    """What a template is filled from."""

    api: Api
    region: str
    inputs: Mapping[str, Any]
    id: str = ""
    state: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    tag_keys: tuple[str, ...] = ()
    token: str = ""

    def call(self, call: Call) -> dict[str, Any]:
        """Make one call of a table."""
        return self.api.call(call.service, call.operation, self.parameters(call), self.region)

    def parameters(self, call: Call) -> dict[str, Any]:
        """The call's parameters. Raises ConversionError."""
        filled = self.fill(call.more)
        parameters: dict[str, Any] = dict(filled) if isinstance(filled, Mapping) else {}
        shape = self.api.shape(call.service, call.operation)
        for word in words(call.take):
            name, _, target = word.partition("=")
            value = self.inputs.get(name)
            if value is None:
                continue
            known = target or member(name, shape.members)
            if known is None or known not in shape.members:
                raise TableError(f"{call.service}.{call.operation} has no parameter for `{name}`")
            parameters[known] = to_api(value, shape.members[known], name, call.names)
        if shape is not None:
            limits(parameters, shape, "")
        return parameters

    def fill(self, template: Any) -> Any:
        """The template with values in; what is empty is left out."""
        if isinstance(template, In):
            value = self.inputs.get(template.name)
            if value is None:
                return template.default
            return value if value is UNKNOWN or template.via is None else template.via(value)
        if isinstance(template, Out):
            return (self.state or {}).get(template.name)
        if template is ID:
            return self.id
        if template is ACCOUNT:
            return self.api.account
        if template is TOKEN:
            return self.token
        if template is TAGS:
            return [{"Key": k, "Value": v} for k, v in sorted((self.tags or {}).items())]
        if template is TAG_MAP:
            return dict(self.tags or {})
        if template is TAG_KEYS:
            return list(self.tag_keys)
        if isinstance(template, Mapping):
            filled = {key: self.fill(value) for key, value in template.items()}
            return {key: value for key, value in filled.items() if value not in NOTHING}
        if callable(template):
            return template(self)
        if isinstance(template, list):
            return [value for value in (self.fill(item) for item in template) if value not in NOTHING]
        return template

    def text(self, template: str) -> str:
        """`{role}/{name}` with inputs in."""
        return template.format_map({**self.inputs, "id": self.id, "account": self.api.account, "region": self.region})


def extract(expression: Any, shown: Any, scope: Scope) -> Any:
    """An output or a seen input: JMESPath, a function of what is shown (or of that and the scope), or a text with {name}
    in it. None stays None."""
    if expression is None:
        return None
    if callable(expression):
        count: int = expression.__code__.co_argcount
        return expression(shown) if count == 1 else expression(shown, scope)
    if re.search(r"\{\w+\}", expression):
        return scope.text(expression)
    return jmespath.search(expression, shown)


def supported(spec: Spec) -> frozenset[str]:
    """Inputs that the table does something with."""
    found = {*words(spec.kept), *words(spec.computed), *spec.defaults, "region"}
    calls = [spec.create, *spec.before_delete, *(call for update in spec.updates for call in update.calls)]
    for call in calls:
        if not isinstance(call, Call):
            continue
        found |= {word.partition("=")[0] for word in words(call.take)}
        found |= _inputs(call.more) | ({call.each} if call.each else set()) | ({call.when} if call.when else set())
    for update in spec.updates:
        found |= set(words(update.inputs))
    if spec.tagging:
        found.add("tags")
    if spec.autoname:
        found |= {spec.autoname, "namePrefix"}
    return frozenset(found - {"item", ""})


def _inputs(template: Any) -> set[str]:
    if isinstance(template, In):
        return {template.name}
    if isinstance(template, Mapping):
        return set().union(*(_inputs(v) for v in template.values()))
    if isinstance(template, list):
        return set().union(*(_inputs(v) for v in template))
    return set()


def as_map(tags: Any) -> dict[str, str]:
    """Tags in any of the API's forms, as a map."""
    if isinstance(tags, Mapping):
        return dict(tags)
    return {
        str(t.get("Key", t.get("TagKey", t.get("key")))): str(t.get("Value", t.get("TagValue", t.get("value", ""))))
        for t in tags or []
    }


def plain(value: Any) -> Any:
    """A value that can be recorded: times as text, no tuples."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def policy_text(value: Any) -> str:
    """A policy as a text, whichever form the program gave it in."""
    return value if isinstance(value, str) else json.dumps(value)
