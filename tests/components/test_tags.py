"""Tags: the same on every resource, and in letters that every service of both clouds takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.semester import SemesterError, from_mapping, load_stack_file
from components.semester_yaml import read_stack_file
from components.tags import tag_value, tags

pytestmark = pytest.mark.unit
CLOUD = Path("tests/components/stacks/cloud.yaml")
IAM_VALUE = re.compile(r"[\w .:/=+\-@]{0,256}")
"""The strictest of all: IAM's pattern for a tag's value."""


def test_tags_name_stack_semester_courses_and_the_admins_own() -> None:
    semester = load_stack_file(CLOUD).model_copy(update={"tags": {"cost-centre": "4711"}})
    assert tags("fa26", semester) == {
        "semesterhub:stack": "fa26",
        "semesterhub:semester": "Data 8 Fall 2026",
        "semesterhub:course": "data8 stat20",
        "semesterhub:managed-by": "pulumi",
        "cost-centre": "4711",
    }


@pytest.mark.parametrize("title", ["Data 8, Fall 2026", "R&D <b>*</b>", "Größe (neu)", "x" * 300, "a" * 255 + ",b"])
def test_any_title_becomes_a_value_that_iam_takes(title: str) -> None:
    assert IAM_VALUE.fullmatch(tag_value(title)) and tag_value(title) == tag_value(title).strip()


def test_a_long_list_of_courses_ends_with_a_whole_id() -> None:
    semester = load_stack_file(CLOUD)
    many = tuple(semester.courses[0].model_copy(update={"id": f"course-number-{n}"}) for n in range(40))
    value = tags("fa26", semester.model_copy(update={"courses": many}))["semesterhub:course"]
    assert len(value) <= 256 and set(value.split()) < {course.id for course in many}


def test_an_admins_tag_that_a_service_would_refuse_is_refused_before_anything_is_touched() -> None:
    data = read_stack_file(CLOUD).data
    with pytest.raises(SemesterError, match=r"(?s)tags\.owner.*Ada, Grace.*letters, digits, spaces") as refused:
        from_mapping({**data, "tags": {"owner": "Ada, Grace"}}, source="test")
    assert "remove" in str(refused.value)
