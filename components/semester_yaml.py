"""Reads a stack file as Pulumi reads it, and remembers the line of every key.

PyYAML follows YAML 1.1, Pulumi's reader does not: `10:00` is text there (not 600), `no` is text (not false) and a day
is text. Duplicate keys are refused instead of the last one winning silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.semester_errors import NAMESPACE, Loc, Problem, SemesterError, listing, nearest, show

PULUMI_KEYS = ("config", "encryptionsalt", "secretsprovider", "encryptedkey", "environment")
"""Top-level keys that Pulumi itself writes into a stack file."""
OTHER_NAMESPACES = frozenset(
    (
        "aws",
        "aws-native",
        "azure",
        "azure-native",
        "azuread",
        "docker",
        "kubernetes",
        "localcloud",
        "pulumi",
        "random",
        "tls",
    )
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: true/false, null, decimal numbers; everything else is text."""


_ROOT = Path(__file__).resolve().parent.parent
_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class StackFile:
    """The `semesterhub:` part of a stack file as plain data, and the line of each key path."""

    source: str
    data: dict[str, object]
    lines: dict[Loc, int]


def read_stack_file(path: Path) -> StackFile:
    """Reads `path`. Raises `SemesterError` for everything that can be wrong before the values are looked at."""
    source = _shown(path)
    root = _compose(path, source)
    if not isinstance(root, yaml.MappingNode):
        raise _error(source, "(file)", "a list or a single value", "a mapping with the key config:", _BEGIN, root)
    problems = list(_structure(root))
    if problems:
        raise SemesterError(source, problems)
    problems = [_top_level(key) for key, _ in root.value if key.value not in PULUMI_KEYS]
    if problems:
        raise SemesterError(source, problems)
    config = next((value for key, value in root.value if key.value == "config"), None)
    if config is None:
        raise _error(source, "config", "missing", "a mapping with keys such as semesterhub:cloud", _BEGIN, root)
    if not isinstance(config, yaml.MappingNode):
        raise _error(source, "config", "not a mapping", "a mapping with keys such as semesterhub:cloud", _BEGIN, config)
    data, lines = _own_keys(source, config)
    return StackFile(source, data, lines)


_BEGIN = "begin the file with `config:` and, indented below it, `semesterhub:cloud: local`; stacks/Pulumi.demo.yaml shows a whole one"


def _error(
    source: str, key: str, value: str, allowed: str, remedy: str, node: yaml.Node | None = None
) -> SemesterError:
    return SemesterError(source, [Problem(key, value, allowed, remedy, node.start_mark.line + 1 if node else None)])


def _shown(path: Path) -> str:
    """`stacks/Pulumi.demo.yaml` for a file of this checkout."""
    full = path.resolve()
    return str(full.relative_to(_ROOT)) if full.is_relative_to(_ROOT) else str(path)


def _compose(path: Path, source: str) -> yaml.Node:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        stacks = sorted(
            file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in path.parent.glob("Pulumi.*.yaml")
        )
        name = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        meant = nearest(name, stacks)
        remedy = f"did you mean `--stack {meant}`? Or make it" if meant else "name another stack, or make this one"
        allowed = f"one of the stacks {listing(stacks)}" if stacks else "a stack file"
        raise _error(source, "(file)", "not there", allowed, f"{remedy} with `./hub semester.new {name}`") from None
    except UnicodeDecodeError:
        raise _error(source, "(file)", "not UTF-8 text", "a YAML file in UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise _error(
            source, "(file)", f"not readable: {error.strerror}", "a readable file", "correct its permissions"
        ) from None
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        hint = (
            "indent with spaces, not tabs"
            if "\\t" in str(error.problem)
            else "correct the line (often: indentation, a missing space after `:`, an open quote)"
        )
        raise _error(
            source, "(file)", f"not YAML at {where}: {error.problem or error.context}", "valid YAML", hint
        ) from None
    except yaml.YAMLError as error:
        raise _error(
            source, "(file)", f"not YAML: {str(error).splitlines()[0]}", "valid YAML", "remove the unreadable character"
        ) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        raise _error(source, "(file)", "empty", "a mapping with the key config:", _BEGIN)
    return root


def _top_level(key: yaml.Node) -> Problem:
    name = str(key.value)
    line = key.start_mark.line + 1
    if name == NAMESPACE or name.startswith(f"{NAMESPACE}:"):
        return Problem(
            name, "at the top level", "keys of the semester below `config:`", "indent it below `config:`", line
        )
    meant = nearest(name, PULUMI_KEYS)
    return Problem(
        name,
        "not a key of a stack file",
        listing(PULUMI_KEYS),
        f"did you mean `{meant}:`?" if meant else "move it below `config:` or remove it",
        line,
    )


def _structure(node: yaml.Node, prefix: str = "", above: tuple[yaml.Node, ...] = ()) -> Iterator[Problem]:
    """Duplicate keys, keys that are not plain text, and anchors that hold themselves."""
    path = prefix.removeprefix("config.") or "(file)"
    if any(node is other for other in above):
        yield Problem(
            path, "an alias of itself", "values that end", "remove the alias (`*…`)", node.start_mark.line + 1
        )
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield Problem(
                    path, "a mapping with a key that is no text", "keys that are words", "correct the key", line
                )
                continue
            inner = f"{prefix}.{key.value}".removeprefix(".")
            if key.value in first:
                twice = f"written twice, first on line {first[key.value]}"
                yield Problem(inner.removeprefix("config."), twice, "each key once", "remove one of the two", line)
            first.setdefault(key.value, line)
            yield from _structure(value, inner, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _structure(item, f"{prefix}[{index}]", (*above, node))


def _own_keys(source: str, config: yaml.MappingNode) -> tuple[dict[str, object], dict[Loc, int]]:
    from components.semester import Semester  # the model names the known keys; it imports this module

    known = list(Semester.model_fields)
    data: dict[str, object] = {}
    lines: dict[Loc, int] = {(): config.start_mark.line + 1}
    problems: list[Problem] = []
    loader = _Loader("")
    for key, value in config.value:
        name, line = str(key.value), key.start_mark.line + 1
        namespace, colon, rest = name.partition(":")
        if not colon:
            flat = name == NAMESPACE and isinstance(value, yaml.MappingNode)
            remedy = (
                f"write flat keys such as `{NAMESPACE}:cloud`"
                if flat
                else f"write `{NAMESPACE}:{nearest(name, known) or name}`"
            )
            problems.append(
                Problem(
                    name,
                    "without a namespace" if not flat else "a mapping",
                    f"keys as {NAMESPACE}:<name>",
                    remedy,
                    line,
                )
            )
        elif namespace == NAMESPACE:
            try:
                data[rest] = loader.construct_object(value, deep=True)
            except (yaml.YAMLError, ValueError):
                problem = Problem(
                    name,
                    "unreadable: it holds a YAML tag or a value that no plain YAML has",
                    "plain YAML values",
                    "remove the YAML tag (`!…`)",
                    value.start_mark.line + 1,
                )
                problems.append(problem)
                continue
            lines[(rest,)] = line
            lines.update(_lines(value, (rest,)))
        elif namespace not in OTHER_NAMESPACES and (rest in known or nearest(namespace, [NAMESPACE])):
            problems.append(
                Problem(
                    name,
                    f"in the namespace {show(namespace)}",
                    f"keys as {NAMESPACE}:<name>",
                    f"write `{NAMESPACE}:{rest}`",
                    line,
                )
            )
    if problems:
        raise SemesterError(source, problems)
    if not data:
        raise _error(
            source,
            "config",
            f"without any {NAMESPACE}: key",
            f"{NAMESPACE}:cloud, {NAMESPACE}:courses, …",
            _BEGIN,
            config,
        )
    return data, lines


def _lines(node: yaml.Node, loc: Loc) -> Iterator[tuple[Loc, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*loc, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*loc, index), item.start_mark.line + 1
            yield from _lines(item, (*loc, index))
