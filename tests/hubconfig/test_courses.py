"""Who may start which course, and the page that asks."""

from __future__ import annotations

import pytest

from hubconfig.courses import CourseError, choose, courses_of, form, options_from_form
from tests.hubconfig.fakes import course, make_settings

pytestmark = pytest.mark.unit

SETTINGS = make_settings(
    courses=[
        course(id="open", title="Open <course>"),
        course(id="closed", students=["ada"], instructors=["prof"]),
        course(id="other", students=["bob"]),
    ]
)


def ids(name: str, *groups: str, admin: bool = False) -> list[str]:
    return [item.id for item in courses_of(SETTINGS, name, groups, admin=admin)]


def test_a_course_without_a_list_is_open_and_one_with_a_list_is_not() -> None:
    assert ids("ada") == ["open", "closed"]
    assert ids("zoe") == ["open"]
    assert ids("prof") == ["open", "closed", "other"]
    assert ids("zoe", "course-other") == ["open", "other"]
    assert ids("root", admin=True) == ["open", "closed", "other"]


def test_the_page_appears_only_when_there_is_a_choice() -> None:
    assert form(courses_of(SETTINGS, "zoe", ())) == ""
    page = form(courses_of(SETTINGS, "ada", ()))
    assert 'value="closed"' in page
    assert "Open &lt;course&gt;" in page
    assert options_from_form({"course": ["closed"]}) == {"course": "closed"}
    assert options_from_form({}) == {}


def test_nobody_chooses_a_course_of_others() -> None:
    mine = courses_of(SETTINGS, "ada", ())
    assert choose(mine, {}).id == "open"
    assert choose(mine, {"course": "closed"}).id == "closed"
    with pytest.raises(CourseError, match="Your courses: open, closed"):
        choose(mine, {"course": "other"})
    with pytest.raises(CourseError, match="not on the list of any course"):
        choose((), {})
