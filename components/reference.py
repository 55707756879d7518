"""Writes docs/schema/semester.schema.json and docs/reference.md from the model, so that neither can say anything else.

python -m components.reference           # writes both
python -m components.reference --check   # exit status 1 when a file is not what the model says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from components.semester import Semester
from components.semester_errors import NAMESPACE
from components.semester_yaml import PULUMI_KEYS

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_FILE = Path("docs/schema/semester.schema.json")
REFERENCE_FILE = Path("docs/reference.md")

_INTRODUCTION = """\
# Reference of the stack file

<!-- Made by `python -m components.reference` from components/semester*.py. Change the model, not this page. -->

One file describes one semester: `stacks/Pulumi.<name>.yaml`. `stacks/Pulumi.demo.yaml` is a short one to begin with, and
`./hub semester.new` copies a semester into the next one. Everything below stands under `config:` as
`semesterhub:<key>`. Every number has its unit in the key's name or in this table. An unknown key, a wrong unit or a value
that cannot work is refused before anything is touched, with one message that says what to write instead.

Keys marked *fixed* cannot change on a running semester. Secrets are written by
`./hub pulumi config set --stack NAME --secret --path 'semesterhub:authenticator.client_secret'`; one in the open is refused.
Editors that know JSON schema complete and check the file with `docs/schema/semester.schema.json`.
"""


class _InOrder(GenerateJsonSchema):
    """Keys stay in the order of the model: it is the order in which a person writes them."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def _semester() -> dict[str, Any]:
    return Semester.model_json_schema(mode="validation", schema_generator=_InOrder)


def schema() -> dict[str, Any]:
    """JSON schema of a whole stack file, as editors use it."""
    semester = _semester()
    definitions = semester.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Semesterhub stack file",
        "type": "object",
        "required": ["config"],
        "additionalProperties": False,
        "properties": {
            **{name: True for name in PULUMI_KEYS if name != "config"},
            "config": {
                "type": "object",
                "properties": {f"{NAMESPACE}:{name}": part for name, part in semester["properties"].items()},
                "required": [f"{NAMESPACE}:{name}" for name in semester["required"]],
                "patternProperties": {f"^(?!{NAMESPACE}:)[a-z-]+:": True},
                "additionalProperties": False,
            },
        },
        "$defs": definitions,
    }


def reference() -> str:
    """The page for people."""
    whole = _semester()
    definitions: dict[str, Any] = whole.pop("$defs")
    parts = [_INTRODUCTION, _table("The semester", f"{NAMESPACE}:", whole, "", definitions)]
    seen: set[str] = set()
    parts += _sections(whole, f"{NAMESPACE}:", definitions, seen)
    return "\n".join(parts)


def _sections(model: dict[str, Any], path: str, definitions: dict[str, Any], seen: set[str]) -> Iterator[str]:
    for name, part in model["properties"].items():
        for reference_name, many in _references(part):
            inner_path = f"{path}{name}{'[]' if many else ''}."
            if inner_path + reference_name in seen:
                continue
            seen.add(inner_path + reference_name)
            inner = definitions[reference_name]
            tag = next((str(inner["properties"][key]["const"]) for key in ("kind", "provider")
                        if "const" in inner["properties"].get(key, {})), "")  # fmt: skip
            title = f"`{inner_path.removesuffix('.').removesuffix('[]')}`" + (f", {tag}" if tag else "")
            yield _table(title, inner_path, inner, str(inner.get("description", "")), definitions)
            yield from _sections(inner, inner_path, definitions, seen)


def _references(part: Any, many: bool = False) -> Iterator[tuple[str, bool]]:
    """The models a key may hold, and whether it holds a list of them."""
    if not isinstance(part, dict):
        return
    if "$ref" in part:
        yield str(part["$ref"]).rpartition("/")[2], many
    for keyword in ("anyOf", "oneOf", "allOf"):
        for option in part.get(keyword, ()):
            yield from _references(option, many)
    yield from _references(part.get("items"), True)


def _table(title: str, path: str, model: dict[str, Any], description: str, definitions: dict[str, Any]) -> str:
    required = set(model.get("required", ()))
    lines = [f"## {title}", ""]
    if description:
        lines += [description, ""]
    lines += ["| key | meaning | allowed | default | example |", "|---|---|---|---|---|"]
    for name, part in model["properties"].items():
        fixed = " *fixed*" if part.get("immutable") else ""
        default = "**required**" if name in required else _default(part)
        example = f"`{_plain(part['examples'][0])}`" if part.get("examples") else ""
        # A description that the part's own section repeats is left out of the schema by pydantic.
        meaning = part.get("description") or next(
            (definitions[inner]["description"] for inner, _ in _references(part)), ""
        )
        cells = (f"`{path}{name}`{fixed}", meaning, _allowed(part), default, example)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _default(part: dict[str, Any]) -> str:
    value = part.get("default")
    return "" if value is None or value in ([], {}) else f"`{_plain(value)}`"


def _allowed(part: dict[str, Any]) -> str:
    if part.get("allowed"):
        return str(part["allowed"])
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kinds = {"string": "text", "boolean": "true or false", "array": "a list", "object": "a mapping"}
    return kinds.get(str(part.get("type", "")), "")


def _plain(value: object) -> str:
    """A value in YAML's flow style. Texts stand as they are: examples carry their own quotes where YAML needs them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def rendered() -> dict[Path, str]:
    """Both files, by path below the checkout."""
    return {
        SCHEMA_FILE: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        REFERENCE_FILE: reference(),
    }


def stale(root: Path = ROOT) -> list[Path]:
    """Files that do not say what the model says."""
    return [
        path
        for path, text in rendered().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """The command line named in the module's description."""
    if arguments == ["--check"]:
        old = stale()
        for path in old:
            print(f"{path} is not what the model says: run `python -m components.reference`", file=sys.stderr)
        return 1 if old else 0
    if arguments:
        print("usage: python -m components.reference [--check]", file=sys.stderr)
        return 2
    for path, text in rendered().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
