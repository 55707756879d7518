"""What the installed SDK `pulumi_azure_native` says about a type: inputs, nesting, enums, required, outputs, API version.

Its generated sources are read as text: importing them costs seconds and hundreds of MB, reading the few classes that a
type needs costs milliseconds.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers.base import ANY, Field, Schema
from providers.base.schema import REQUIRED, Kind, ListOf, MapOf

PACKAGE = "pulumi_azure_native"
PLUGIN = "azure-native"


FLAGS = frozenset({"bypass"})
"""Enums of which a text may hold several, separated by commas
(https://learn.microsoft.com/rest/api/storagerp/storage-accounts/create, NetworkRuleSet)."""


OPEN = frozenset({"vmSize"})
"""Enums that are examples only: Azure adds sizes faster than it lists them. The emulator checks their form."""


class UnknownTypeError(Exception):
    """The SDK has no such type or function."""


@dataclass(frozen=True)
class Input:
    """One argument. `args`: the name of its Args class, if it is an object or a list or map of objects."""

    name: str
    kind: Kind
    required: bool
    enum: tuple[str, ...] = ()
    args: str = ""


@dataclass(frozen=True)
class TypeInfo:
    """One resource type."""

    token: str
    module: str
    api_version: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    schema: Schema
    responses: Mapping[str, str]
    """Outputs that are objects, or lists of them -> the SDK's class of these."""


def version() -> str:
    """The installed SDK's version, which the stand-in must carry as well."""
    return importlib.metadata.version("pulumi-azure-native")


def resource(token: str) -> TypeInfo:
    """What the SDK says about `azure-native:network:VirtualNetwork`. Raises UnknownTypeError."""
    return _resource(token)


def function_arguments(token: str) -> Schema:
    """The arguments of a function such as `azure-native:authorization:getClientConfig`. Raises UnknownTypeError."""
    module, name = _parts(token)
    text = _text(module, _snake(name))
    if text is None or f"'{token}'" not in text:
        raise UnknownTypeError(f"the SDK {PACKAGE} {version()} has no function `{token}`.")
    # The first argument stands on the line of the name; every other has a line of its own.
    inputs = _inputs_of(module, re.split(r"^def ", text, flags=re.M)[1].replace("(", "(\n    ", 1))
    return Schema({name: _field(i) for name, i in inputs.items()})


@functools.cache
def _resource(token: str) -> TypeInfo:
    module, name = _parts(token)
    text = _text(module, _snake(name)) or _scan(module, name)
    if text is None or f"class {name}(pulumi.CustomResource)" not in text:
        raise UnknownTypeError(f"the SDK {PACKAGE} {version()} has no resource type `{token}`.")
    head, _, body = text.partition(f"class {name}(pulumi.CustomResource)")
    inputs = _inputs_of(module, head)
    found = _outputs_of(body)
    stated = re.search(r"Uses Azure REST API version ([\w-]+)\.", body)
    return TypeInfo(
        token=token,
        module=module,
        api_version=stated[1] if stated else "",
        inputs=inputs,
        outputs=tuple(found),
        responses={name: kind for name, kind in found.items() if kind},
        schema=Schema({name: _field(i) for name, i in inputs.items()}),
    )


def args(module: str, name: str) -> Mapping[str, Input]:
    """The properties of an Args class."""
    return _args(module, name)


@functools.cache
def _args(module: str, name: str) -> Mapping[str, Input]:
    block = _classes(module).get(name)
    if block is None:
        raise UnknownTypeError(f"the SDK's module {module} has no class {name}.")
    return _inputs_of(module, block)


def response(module: str, name: str) -> Mapping[str, str]:
    """The properties of a class of answers -> the class of each that is an object, or empty."""
    return _outputs_of(_answers(module).get(name, ""))


# --- reading sources

_GETTER = re.compile(r'^    @pulumi\.getter(?:\(name="(\w+)"\))?\n    def (\w+)\(self\)', re.M)
_ANSWER = re.compile(r'^    @pulumi\.getter(?:\(name="(\w+)"\))?\n    def (\w+)\(self\)(?: -> (.*))?:$', re.M)
_ARGUMENT = re.compile(r"^ +(\w+): (?:pulumi\.Input\[)?(.+?)(= None)?(?:,|\)(?: ->[^\n]*)?:)$", re.M)


def _parts(token: str) -> tuple[str, str]:
    parts = token.split(":")
    if len(parts) != 3 or parts[0] != PLUGIN or "/" in parts[1]:
        raise UnknownTypeError(f"`{token}` is no type of {PLUGIN}'s default versions (azure-native:module:Type).")
    return parts[1], parts[2]


@functools.cache
def _folder(module: str) -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UnknownTypeError(f"the SDK {PACKAGE} is not installed.")
    return Path(spec.origin).parent / module


def _text(module: str, file: str) -> str | None:
    path = _folder(module) / f"{file}.py"
    return path.read_text("utf-8") if path.exists() else None


def _scan(module: str, name: str) -> str | None:
    for path in sorted(_folder(module).glob("[!_]*.py")):
        text = path.read_text("utf-8")
        if f"class {name}(pulumi.CustomResource)" in text:
            return text
    return None


def _outputs_of(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for wire, own, annotation in _ANSWER.findall(text):
        kind = re.search(r"'outputs\.(\w+)'", annotation)
        found[wire or own] = kind[1] if kind else ""
    return found


@functools.cache
def _answers(module: str) -> Mapping[str, str]:
    """Each class of answers, its source by its name."""
    blocks = re.split(r"^(?=@pulumi\.output_type)", _text(module, "outputs") or "", flags=re.M)
    named = ((re.search(r"^class (\w+)\(", block, re.M), block) for block in blocks)
    return {match[1]: block for match, block in named if match}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@functools.cache
def _classes(module: str) -> Mapping[str, str]:
    """Each Args class's source by its name."""
    text = _text(module, "_inputs") or ""
    found: dict[str, str] = {}
    for block in re.split(r"^(?=@pulumi\.input_type)", text, flags=re.M):
        named = re.search(r"^class (\w+):", block, re.M)
        if named:
            found[named[1]] = block
    return found


@functools.cache
def _enums(module: str) -> Mapping[str, tuple[str, ...]]:
    text = _text(module, "_enums") or ""
    found: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"^(?=class )", text, flags=re.M):
        named = re.match(r"class (\w+)\(", block)
        if named:
            found[named[1]] = tuple(v for _, v in re.findall(r"^    [A-Z_]\w* = (['\"])(.*)\1$", block, re.M))
    return found


def _inputs_of(module: str, text: str) -> dict[str, Input]:
    """The arguments of the first signature in `text`, by their wire names."""
    wire = {own: given or own for given, own in _GETTER.findall(text)}
    start = re.search(r"def __init__\(__self__, \*,\n|\A\w+\(\n", text)
    if start is None:
        return {}
    signature = text[start.start() : _end_of_signature(text, start.end())]
    found: dict[str, Input] = {}
    for own, annotation, optional in _ARGUMENT.findall(signature):
        if own in ("opts", "args"):
            continue
        made = _input(module, wire.get(own, _camel(own)), annotation, required=not optional)
        found[made.name] = made
    return found


def _end_of_signature(text: str, start: int) -> int:
    end = re.compile(r"\)(?: ->[^\n]*)?:$", re.M).search(text, start)
    return end.end() if end else len(text)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _input(module: str, name: str, annotation: str, *, required: bool) -> Input:
    annotation = annotation.strip()
    text = annotation[: annotation.rindex("]")] if annotation.count("]") > annotation.count("[") else annotation
    node = ast.parse(text, mode="eval").body
    kind, enum, args_name = _kind(module, node)
    return Input(name, kind, required, enum, args_name)


def _kind(module: str, node: ast.expr) -> tuple[Kind, tuple[str, ...], str]:
    """The kind of an annotation, its enum's values, the name of its Args class."""
    plain: dict[str, Kind] = {"str": str, "int": int, "float": float, "bool": bool}
    if isinstance(node, ast.Attribute) and node.attr in plain:
        return plain[node.attr], (), ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _named(module, node.value)
    if isinstance(node, ast.Subscript):
        outer = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        inner = node.slice
        if outer in ("Optional", "Input"):
            return _kind(module, inner)
        if outer == "Sequence":
            kind, enum, name = _kind(module, inner)
            return ListOf(kind), enum, name
        if outer == "Mapping" and isinstance(inner, ast.Tuple):
            kind, enum, name = _kind(module, inner.elts[1])
            return MapOf(kind), enum, name
        if outer == "Union" and isinstance(inner, ast.Tuple):
            return _union(module, [_kind(module, n) for n in inner.elts if "Dict" not in ast.dump(n)])
    return ANY, (), ""


def _union(module: str, members: list[tuple[Kind, tuple[str, ...], str]]) -> tuple[Kind, tuple[str, ...], str]:
    del module
    kinds = {str(kind) for kind, _, _ in members}
    enum = next((e for _, e, _ in members if e), ())
    if len(kinds) == 1 or (len(members) == 2 and enum):
        return members[0][0], enum, members[0][2]
    return ANY, (), ""


def _named(module: str, name: str) -> tuple[Kind, tuple[str, ...], str]:
    if name in _classes(module):
        return Schema(_Lazy(module, name)), (), name
    values = _enums(module).get(name)
    return (str, values, "") if values else (ANY, (), "")


class _Lazy(Mapping[str, Field]):
    """The fields of an Args class, looked up when somebody asks: some classes contain themselves."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    @functools.cached_property
    def _fields(self) -> dict[str, Field]:
        return {name: _field(i) for name, i in _args(self._module, self._name).items()}

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"{self._module}.{self._name}"


def _field(source: Input) -> Field:
    def check(value: Any) -> str | None:
        given = value if isinstance(value, list) else [value]
        if source.name in FLAGS and isinstance(value, str):
            given = [part.strip() for part in value.split(",")]
        wrong = [v for v in given if isinstance(v, str) and v.lower() not in allowed]
        return f"{wrong[0]!r} is not one of {', '.join(source.enum)}." if wrong else None

    allowed = {value.lower() for value in source.enum}
    return Field(
        source.kind,
        "see the SDK's documentation",
        default=REQUIRED if source.required else None,
        check=check if source.enum and source.name not in OPEN else None,
    )
