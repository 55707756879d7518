"""Term and courses: who comes when, in which image, with how much of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from components.semester_errors import listing, nearest, wrong
from components.semester_types import (
    Day,
    GitRepo,
    Image,
    Keys,
    Moment,
    Plain,
    RelativePath,
    Slug,
    TimeOfDay,
    Timezone,
    Title,
    UrlPath,
    Username,
    key,
    number,
)

CATALOGUE = Path(__file__).resolve().parent.parent / "hubconfig" / "images"
SYSTEM_IMAGES = frozenset({"machine", "hub", "proxy", "edge"})
"""Images that the cluster itself runs on; no course may choose them."""

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def course_images() -> list[str]:
    """Names a course may write as its image: the folders of hubconfig/images that are not the cluster's own."""
    return sorted(file.parent.name for file in CATALOGUE.glob("*/Dockerfile") if file.parent.name not in SYSTEM_IMAGES)


class Holiday(Keys):
    """Days without meetings; exams on them take place."""

    title: Title = key("Its name.", example="Thanksgiving")
    starts: Day = key("First day.", example="2026-11-25", allowed="a day as YYYY-MM-DD")
    ends: Day | None = key(
        "Last day; default: the first one.", default=None, example="2026-11-27", allowed="a day as YYYY-MM-DD"
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends is not None and self.ends < self.starts:
            raise wrong(f"a day not before starts ({self.starts})", "correct the two", at="ends", value=str(self.ends))
        return self


class Term(Keys):
    """When the semester runs."""

    starts: Day = key("First day of the semester.", example="2026-08-26", allowed="a day as YYYY-MM-DD")
    ends: Day = key("Last day of the semester.", example="2026-12-18", allowed="a day as YYYY-MM-DD")
    timezone: Timezone = key("The time zone of all times in this file.", example="America/Los_Angeles")
    holidays: tuple[Holiday, ...] = key(
        "Days without meetings: the nodes stay few.",
        default=(),
        allowed="a list of mappings with title, starts and perhaps ends",
        example=[{"title": "Thanksgiving", "starts": '"2026-11-25"', "ends": '"2026-11-27"'}],
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(
                f"a day after term.starts ({self.starts})", "correct the two days", at="ends", value=str(self.ends)
            )
        if (self.ends - self.starts).days > 370:
            raise wrong(
                f"a day within 370 days of term.starts ({self.starts})",
                "one stack is one semester: make another stack with `./hub semester.new` for the next one",
                at="ends",
                value=str(self.ends),
            )
        return self


class Content(Keys):
    """A git repository whose files every student of the course gets."""

    repo: GitRepo = key("Address of the repository.", example="https://github.com/data-8/materials-fa26")
    ref: Plain = key("Branch, tag or commit.", default="main", allowed="a branch, tag or commit as text")
    path: RelativePath | None = key(
        "Folder below the student's home; default: the repository's name.",
        default=None,
        example="materials-fa26",
        allowed="a path below the home folder",
    )


class Meeting(Keys):
    """A weekly meeting: capacity is there before it begins."""

    days: tuple[Weekday, ...] = key(
        "Days of the week.", example=["mon", "wed", "fri"], allowed="a list of mon … sun", min_length=1
    )
    starts: TimeOfDay = key("Begin, in the term's time zone.", example='"10:00"')
    ends: TimeOfDay = key("End, in the term's time zone.", example='"11:00"')
    peak_concurrency: float | None = number(
        "Share of the course that works at the same moment in this meeting; default: the course's.",
        "share",
        ge=0.01,
        le=1,
        default=None,
        example=0.7,
    )
    cancelled: tuple[Day, ...] = key(
        "Days on which this meeting does not take place, besides the term's holidays.",
        default=(),
        allowed="a list of days as YYYY-MM-DD",
        example=['"2026-09-07"'],
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(
                f"a time after starts ({self.starts:%H:%M}) on the same day",
                "correct the two times",
                at="ends",
                value=f"{self.ends:%H:%M}",
            )
        return self


class Exam(Keys):
    """A single date on which (nearly) everybody works at once."""

    title: Title = key("Its name.", example="Midterm")
    starts: Moment = key("Begin, in the term's time zone.", example='"2026-10-16 19:00"')
    ends: Moment = key("End, in the term's time zone.", example='"2026-10-16 21:00"')
    peak_concurrency: float = number(
        "Share of the course that works at the same moment.", "share", ge=0.01, le=1, default=1.0
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(f"a moment after starts ({self.starts:%Y-%m-%d %H:%M})", "correct the two", at="ends")
        return self


class Course(Keys):
    """One course: who comes, in which image, with how much of a machine."""

    id: Slug = key("Short name, used in groups and links.", example="data8")
    title: Title = key("Name that students see.", example="Foundations of Data Science")
    students: int = key(
        "Class size: how many students are enrolled.",
        example=480,
        allowed="a whole number of students from 1 to 5000",
        unit="students",
        ge=1,
        le=5000,
    )
    image: Image = key(
        "What students' servers run: a folder of hubconfig/images, or a reference pinned by digest.", default="student"
    )
    content: tuple[Content, ...] = key(
        "Repositories that students receive.",
        default=(),
        allowed="a list of mappings with `repo`",
        example=[{"repo": "https://github.com/data-8/materials-fa26"}],
    )
    instructors: tuple[Username, ...] = key("Who teaches.", default=(), allowed="a list of user names", example=["ada"])
    cpu_guarantee: float = number(
        "CPU that each server is promised. A notebook idles most of the time; 0.05 is enough for 20 to share one core.",
        "cores",
        ge=0,
        le=64,
        default=0.05,
    )
    cpu_limit: float = number("CPU that one server may use at most.", "cores", ge=0.05, le=64, default=2.0)
    memory_guarantee_gib: float = number(
        "Memory that each server is promised, and what the plan counts with. One server with one kernel was measured at "
        "146 MB; 0.25 leaves room for a small table.",
        "GiB",
        ge=0.0625,
        le=512,
        default=0.25,
        example=0.25,
    )
    memory_limit_gib: float = number(
        "Memory at which the kernel ends a student's processes.", "GiB", ge=0.125, le=512, default=1.0, example=2
    )
    peak_concurrency: float = number(
        "Share of the class that works at the same moment. 1 is an exam; lectures saw less.",
        "share",
        ge=0.01,
        le=1,
        default=1.0,
    )
    background_concurrency: float = number(
        "Share of the class that works at any time outside meetings, such as on homework in the evening.",
        "share",
        ge=0,
        le=1,
        default=0.1,
    )
    meetings: tuple[Meeting, ...] = key(
        "Weekly meetings. With meetings, exams or a calendar the nodes follow them; without any, the nodes for the whole "
        "class always stand.",
        default=(),
        allowed="a list of mappings with days, starts, ends",
        example=[{"days": ["mon", "wed"], "starts": '"10:00"', "ends": '"11:00"'}],
    )
    exams: tuple[Exam, ...] = key(
        "Exams.",
        default=(),
        allowed="a list of mappings with title, starts, ends",
        example=[{"title": "Midterm", "starts": '"2026-10-16 19:00"', "ends": '"2026-10-16 21:00"'}],
    )
    calendar: RelativePath | None = key(
        "An iCal file in this repository with more meetings and exams (category EXAM: an exam; HOLIDAY: no meetings).",
        default=None,
        example="stacks/data8.ics",
        allowed="a path in the repository",
    )
    default_url: UrlPath = key("Page that opens in a student's server.", default="/lab")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.memory_guarantee_gib > self.memory_limit_gib:
            raise wrong(
                f"at least memory_guarantee_gib ({self.memory_guarantee_gib:g})",
                "raise the limit or lower the guarantee: a server is promised no more than it may use",
                at="memory_limit_gib",
                value=f"{self.memory_limit_gib:g}",
            )
        if self.cpu_guarantee > self.cpu_limit:
            raise wrong(
                f"at least cpu_guarantee ({self.cpu_guarantee:g})",
                "raise the limit or lower the guarantee",
                at="cpu_limit",
                value=f"{self.cpu_limit:g}",
            )
        if "@" not in self.image and (known := course_images()) and self.image not in known:
            meant = nearest(self.image, known)
            raise wrong(
                f"a folder of hubconfig/images for courses ({listing(known)}), or a reference pinned by digest",
                f"did you mean `image: {meant}`?" if meant else f"write `image: {known[0]}`, or add the folder",
                at="image",
            )
        return self
