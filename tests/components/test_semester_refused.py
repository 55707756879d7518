"""Malformed stack files: each is refused before anything is touched, with one message that teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components import semester_course
from components.plan import plan
from components.semester import SemesterError, load_stack_file

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "malformed_stacks.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images for courses and one of the cluster, whatever hubconfig/images holds today."""
    for name in ("student", "light", "hub"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").touch()
    monkeypatch.setattr(semester_course, "CATALOGUE", tmp_path / "images")


def text_of(case: dict[str, Any]) -> str:
    """The stack file of a case."""
    if "text" in case:
        return case["text"]
    base = (HERE / "stacks" / f"{case.get('base', 'local')}.yaml").read_text(encoding="utf-8")
    assert base.count(case["replace"]) >= 1, f"the base file does not hold {case['replace']!r}"
    return base.replace(case["replace"], case["by"], 1)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_malformed_stack_file_is_refused_with_key_value_and_remedy(case: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text(text_of(case), encoding="utf-8")
    with pytest.raises(SemesterError) as refused:
        plan(load_stack_file(file))
    message = str(refused.value)
    problem = next((problem for problem in refused.value.problems if problem.key == case["key"]), None)
    assert problem is not None, message
    assert case["value"] in problem.value, message
    assert case["remedy"] in f"{problem.allowed} {problem.remedy}", message
    assert str(problem) in message
    for traceback in ("Traceback", 'File "', "ValidationError", "pydantic", "yaml.", "errors.pydantic.dev"):
        assert traceback not in message


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_no_message_shows_a_secret(case: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text(text_of(case), encoding="utf-8")
    with pytest.raises(SemesterError) as refused:
        plan(load_stack_file(file))
    for secret in ("hunter2", "ghp_Abc123", "v1:AAAA", "v1:CCCC"):
        assert secret not in str(refused.value)


def test_the_table_is_as_long_as_promised() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 70


@pytest.mark.parametrize("base", ["local", "cloud"])
def test_the_base_files_themselves_are_accepted(base: str) -> None:
    plan(load_stack_file(HERE / "stacks" / f"{base}.yaml"))


def test_a_problem_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    text = (HERE / "stacks" / "local.yaml").read_text(encoding="utf-8").replace("students: 40", "students: many")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SemesterError, match=r"semesterhub:courses\[0\]\.students \(line 12\) is \"many\""):
        load_stack_file(file)


def test_all_problems_come_at_once_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    text = (HERE / "stacks" / "local.yaml").read_text(encoding="utf-8")
    file.write_text(
        text.replace("cloud: local", "cloud: lokal").replace("https_port: 8443", "https_prt: 8443"), encoding="utf-8"
    )
    with pytest.raises(SemesterError) as refused:
        load_stack_file(file)
    assert [problem.key for problem in refused.value.problems] == ["semesterhub:cloud", "semesterhub:local.https_prt"]
    assert str(refused.value).startswith(f"{file}: 2 problems")


def test_a_misspelt_required_key_is_one_problem_not_two(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    text = (HERE / "stacks" / "local.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("students: 40", "studnets: 40"), encoding="utf-8")
    with pytest.raises(SemesterError) as refused:
        load_stack_file(file)
    assert [problem.key for problem in refused.value.problems] == ["semesterhub:courses[0].studnets"]


def test_a_missing_file_names_the_stacks_there_are(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.fa26.yaml").write_text("config:\n", encoding="utf-8")
    with pytest.raises(SemesterError, match=r"did you mean `--stack fa26`\? Or make it with `./hub semester.new fa25`"):
        load_stack_file(tmp_path / "Pulumi.fa25.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(b"config:\n  semesterhub:title: \xff\xfe\n")
    with pytest.raises(SemesterError, match="not UTF-8 text"):
        load_stack_file(file)
