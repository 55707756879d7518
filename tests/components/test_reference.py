"""The schema and the reference page say what the model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from components import reference
from components.semester import Semester

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent


def test_schema_and_reference_are_fresh(repository: Path) -> None:
    assert reference.stale(repository) == [], "run `python -m components.reference` and commit what it writes"


def test_a_changed_page_is_noticed(tmp_path: Path) -> None:
    for path, text in reference.rendered().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert reference.stale(tmp_path) == []
    (tmp_path / reference.REFERENCE_FILE).write_text("other", encoding="utf-8")
    assert reference.stale(tmp_path) == [reference.REFERENCE_FILE]


@pytest.mark.parametrize("name", ["local", "cloud", "demo"])
def test_the_schema_accepts_what_the_model_accepts(name: str, repository: Path) -> None:
    file = repository / "stacks/Pulumi.demo.yaml" if name == "demo" else HERE / "stacks" / f"{name}.yaml"
    schema = json.loads((repository / reference.SCHEMA_FILE).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(file.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: Test", "titel: Test"),
        ("students: 40", "students: many"),
        ("students: 40", "students: -1"),
        ("cloud: local", "cloud: gcp"),
    ],
)
def test_the_schema_refuses_plain_mistakes(old: str, new: str, repository: Path) -> None:
    schema = json.loads((repository / reference.SCHEMA_FILE).read_text(encoding="utf-8"))
    text = (HERE / "stacks" / "local.yaml").read_text(encoding="utf-8").replace(f"{old}\n", f"{new}\n", 1)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), schema)


def models(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for info in annotation.model_fields.values():
            yield from models(info.annotation, seen)
    for argument in get_args(annotation):
        yield from models(argument, seen)


ALL = list(models(Semester, set()))


@pytest.mark.parametrize("model", ALL, ids=[model.__name__ for model in ALL])
def test_every_key_says_what_it_means_and_what_is_allowed(model: type[BaseModel], repository: Path) -> None:
    page = (repository / reference.REFERENCE_FILE).read_text(encoding="utf-8")
    assert model.__doc__
    for name, info in model.model_fields.items():
        assert info.description, f"{model.__name__}.{name}"
        rows = [
            line
            for line in page.splitlines()
            if line.startswith(("| `semesterhub:",)) and f"{name}`" in line.split("|")[1]
        ]
        assert rows, f"{model.__name__}.{name} is not on the page"
        assert all(cell.strip() for row in rows for cell in row.split(" | ")[1:3]), rows
