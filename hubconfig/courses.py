"""Which courses a person may start a server for, and the page that asks when there are several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from .settings import CourseSettings, HubSettings

FIELD = "course"
"""Name of the form field and of the key in the server's options."""


class CourseError(ValueError):
    """No course, or not one of the person's own. Its text is for the student."""


def courses_of(
    settings: HubSettings, username: str, groups: Collection[str], *, admin: bool = False
) -> tuple[CourseSettings, ...]:
    """The courses of one person, in the order of the settings.

    A course without a list of students is open to everybody. Groups count too, so that an admin can let somebody in
    on the hub's admin page until the list in the stack file is corrected.
    """

    def belongs(course: CourseSettings) -> bool:
        return (
            admin
            or not course.students
            or username in course.students
            or username in course.instructors
            or not {course.group, course.instructors_group}.isdisjoint(groups)
        )

    return tuple(course for course in settings.courses if belongs(course))


def choose(mine: Sequence[CourseSettings], options: Mapping[str, Any]) -> CourseSettings:
    """The course that the options ask for, else the person's first. Raises CourseError."""
    if not mine:
        raise CourseError(
            "You are not on the list of any course on this hub. Ask your instructor to add you, "
            "with exactly the user name shown at the top of this page."
        )
    wanted = options.get(FIELD)
    if wanted is None:
        return mine[0]
    for course in mine:
        if course.id == wanted:
            return course
    names = ", ".join(course.id for course in mine)
    raise CourseError(f"There is no course {str(wanted)[:60]!r} for you. Your courses: {names}.")


def form(mine: Sequence[CourseSettings]) -> str:
    """HTML of the choice, empty when there is nothing to choose."""
    if len(mine) < 2:
        return ""
    rows = "\n".join(
        f'<label class="semesterhub-course"><input type="radio" name="{FIELD}" value="{escape(course.id)}"'
        f"{' checked' if index == 0 else ''}> <strong>{escape(course.title)}</strong>"
        f"<small>{course.memory_limit_mib} MiB memory, {course.cpu_limit:g} CPU</small></label>"
        for index, course in enumerate(mine)
    )
    return f'<fieldset class="semesterhub-courses"><legend>Which course?</legend>\n{rows}\n</fieldset>'


def options_from_form(data: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What the form's answer means as server options."""
    chosen = data.get(FIELD)
    return {FIELD: str(chosen[0])} if chosen else {}
