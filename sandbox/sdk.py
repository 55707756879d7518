"""What a Pulumi SDK for Python says of a resource type: names, nesting, what must be given, what is secret.

Read from the text of the SDK's generated constructors, without importing it: a cloud's SDK takes seconds and 100 MB to
import, these lines a few milliseconds. The stand-ins check a program's inputs against this, so a property that the SDK
does not have is refused here as it would not even leave the program there.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from providers.base import ANY, Field, Schema
from providers.base.schema import REQUIRED, ListOf, MapOf


class UnknownTypeError(ValueError):
    """The SDK has no such type, function or class."""


@dataclass(frozen=True)
class Shape:
    """A resource type, a function or a provider. `outputs` are the properties besides the inputs."""

    token: str
    schema: Schema
    outputs: tuple[str, ...]


_PLAIN: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "Any": ANY,
    "Asset": ANY,
    "Archive": ANY,
}


class Sdk:
    """One installed SDK, such as `Sdk("pulumi_aws", "aws")`."""

    def __init__(self, package: str, name: str) -> None:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UnknownTypeError(f"the Python package {package} is not installed")
        self._root = Path(spec.origin).parent
        self._name = name

    @functools.cache  # noqa: B019  (one SDK lives as long as the process)
    def resource(self, token: str) -> Shape:
        """The resource type of a token such as `aws:ec2/vpc:Vpc`. Raises UnknownTypeError."""
        text, folder = self._source(token)
        kind = token.rpartition(":")[2]
        # Where an input class has the name already, the constructor's is called …InitArgs.
        constructor = f"{kind}InitArgs" if _class(text, f"{kind}InitArgs") else f"{kind}Args"
        schema = self._object(constructor, folder, text)
        secret = set(
            re.findall(r'__props__\.__dict__\["(\w+)"\] = None if \w+ is None else pulumi\.Output\.secret', text)
        )
        wire = _wire_names(_class(text, constructor))
        fields = {
            name: replace(field, secret=True) if name in {wire.get(s, s) for s in secret} else field
            for name, field in schema.fields.items()
        }
        own = _wire_names(_class(text, kind))
        outputs = tuple(name for name in own.values() if name not in fields)
        return Shape(token, Schema(fields), outputs)

    @functools.cache  # noqa: B019
    def function(self, token: str) -> Shape:
        """The function of a token such as `aws:ec2/getAmi:getAmi`. Raises UnknownTypeError."""
        text, folder = self._source(token)
        name = _snake(token.rpartition(":")[2])
        arguments = _signature(text, f"def {name}(")
        if arguments is None:
            raise UnknownTypeError(f"the SDK has no function {token}")
        wire = dict(re.findall(r"__args__\['(\w+)'\] = (\w+)", text))
        fields = {
            given: self._field(annotation, folder, required=False)
            for given, python in wire.items()
            if (annotation := arguments.get(python)) is not None
        }
        kind = token.rpartition(":")[2]
        result = _wire_names(_class(text, kind[0].upper() + kind[1:] + "Result"))
        return Shape(token, Schema(fields), tuple(result.values()))

    @functools.cache  # noqa: B019
    def provider(self) -> Shape:
        """The provider's own configuration."""
        text = (self._root / "provider.py").read_text("utf-8")
        return Shape(f"pulumi:providers:{self._name}", self._object("ProviderArgs", self._root, text), ())

    def _source(self, token: str) -> tuple[str, Path]:
        try:
            package, module, name = token.split(":")
        except ValueError:
            raise UnknownTypeError(f"{token!r} is no type token") from None
        folder = self._root / module.split("/")[0] if module.split("/")[0] != "index" else self._root
        path = folder / f"{_snake(name)}.py"
        if package != self._name or not path.is_file():
            raise UnknownTypeError(
                f"the SDK {self._root.name} has no `{token}` (looked for {path.name} in {folder.name}/)"
            )
        text = path.read_text("utf-8")
        if f"'{token}'" not in text:
            raise UnknownTypeError(f"the SDK {self._root.name} has no `{token}` ({path.name} is about another one)")
        return text, folder

    def _object(self, kind: str, folder: Path, text: str = "") -> Schema:
        text = _class(text, kind) or _class(_inputs(folder), kind)
        if not text:
            raise UnknownTypeError(f"the SDK {self._root.name} has no class {kind} in {folder.name}/")
        arguments = _signature(text, "def __init__(") or {}
        wire = _wire_names(text)
        return Schema(
            {
                wire.get(name, name): self._field(annotation, folder, required=required)
                for name, (annotation, required) in _required(text, arguments).items()
            }
        )

    def _field(self, annotation: str, folder: Path, *, required: bool) -> Field:
        kind = self._kind(ast.parse(annotation.strip(), mode="eval").body, folder)
        return Field(kind, "see the SDK's documentation", default=REQUIRED if required else None)

    def _kind(self, node: ast.expr, folder: Path) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):  # a class of _inputs.py, or an enum
            name = node.value.rpartition(".")[2].removesuffix("Dict")
            return self._lazy(name, folder) if name.endswith("Args") else str
        if isinstance(node, ast.Subscript):
            outer = _last(node.value)
            if outer in {"Input", "Optional"}:
                return self._kind(node.slice, folder)
            if outer == "Sequence":
                return ListOf(self._kind(node.slice, folder))
            if outer == "Mapping":
                assert isinstance(node.slice, ast.Tuple)
                return MapOf(self._kind(node.slice.elts[1], folder))
            if outer == "Union":
                assert isinstance(node.slice, ast.Tuple)
                return self._union(node.slice.elts, folder)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return _PLAIN.get(_last(node), ANY)
        return ANY

    def _union(self, nodes: list[ast.expr], folder: Path) -> Any:
        classes = [
            n for n in nodes if isinstance(n, ast.Constant) and str(n.value).removesuffix("Dict").endswith("Args")
        ]
        if classes and all(n in classes or "outputs." in str(getattr(n, "value", "")) for n in nodes):
            return self._kind(classes[0], folder)
        if classes:
            return ANY  # a policy as a text or as an object
        plain = {self._kind(n, folder) for n in nodes if isinstance(n, (ast.Name, ast.Attribute))}
        return next(iter(plain)) if len(plain) == 1 else ANY  # a text or an enum's member is a text

    def _lazy(self, kind: str, folder: Path) -> Schema:
        return Schema(_Fields(lambda: self._object(kind, folder).fields))


class _Fields(dict[str, Field]):
    """The fields of a nested class, read when they are first looked at: classes may contain themselves."""

    def __init__(self, load: Any) -> None:
        super().__init__()
        self._load: Any = load

    def _fill(self) -> None:
        if self._load is not None:
            load, self._load = self._load, None
            super().update(load())

    def __iter__(self) -> Any:
        self._fill()
        return super().__iter__()

    def __contains__(self, name: object) -> bool:
        self._fill()
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Field:
        self._fill()
        return super().__getitem__(name)

    def __len__(self) -> int:
        self._fill()
        return super().__len__()

    def get(self, name: str, default: Any = None) -> Any:
        self._fill()
        return super().get(name, default)

    def items(self) -> Any:
        self._fill()
        return super().items()

    def keys(self) -> Any:
        self._fill()
        return super().keys()


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@functools.cache
def _inputs(folder: Path) -> str:
    path = folder / "_inputs.py"
    return path.read_text("utf-8") if path.is_file() else ""


def _class(text: str, name: str) -> str:
    """The text of a class, to the next one at the margin."""
    found = re.search(rf"^class {name}[:(]", text, re.MULTILINE)
    if not found:
        return ""
    end = re.search(r"^(?:class |@pulumi\.|def |if not MYPY|\Z)", text[found.end() :], re.MULTILINE)
    return text[found.start() : found.end() + (end.start() if end else len(text))]


def _wire_names(text: str) -> dict[str, str]:
    """Python name -> name on the wire, from the getters of a class."""
    pattern = r"@pulumi\.getter(?:\(name=\"(\w+)\"\))?\n    def (\w+)\(self\)"
    return {python.rstrip("_") if not wire else python: wire or python for wire, python in re.findall(pattern, text)}


def _signature(text: str, start: str) -> dict[str, str] | None:
    """Argument -> annotation of the first function that begins so; arguments with a default have it cut off."""
    at = text.find(start)
    if at < 0:
        return None
    end = re.search(r"\)(?: -> [^\n]*)?:\n", text[at:])
    assert end
    inside = text[at + len(start) : at + end.start()]
    found = re.findall(r"^\s*(\w+): (.*?)(?:,?\s*)$", inside, re.MULTILINE)
    return {name: annotation.removesuffix(" = None") for name, annotation in found if name != "opts"}


def _required(text: str, arguments: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Argument -> its annotation, and whether it must be given."""
    head = text[text.find("def __init__(") :]
    return {
        name: (annotation, re.search(rf"^\s*{name}: [^\n]* = None[,)]", head, re.MULTILINE) is None)
        for name, annotation in arguments.items()
    }


def _snake(name: str) -> str:
    """`LaunchTemplate` as `launch_template`; as the SDKs name their modules."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z])(?=[a-z])", lambda m: "_" + m[0], name).lower()
