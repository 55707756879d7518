"""Tags of every cloud resource of a semester: who it belongs to, for bills, clean-ups and questions.

Values keep to the letters that every service takes (IAM and S3 refuse a comma, AWS Tagging Best Practices and
https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html), so one set of tags fits all resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from components.semester import Semester

MANAGED_BY = "pulumi"
VALUE_CHARS_MAX = 256
_NOT_IN_A_VALUE = re.compile(r"[^\w.:/=+\-@]+")


def tags(stack: str, semester: Semester) -> dict[str, str]:
    """The tags of a stack's resources. `semesterhub:course` holds the courses' ids, one space between them."""
    return {
        "semesterhub:stack": stack,
        "semesterhub:semester": tag_value(semester.title),
        "semesterhub:course": _joined(course.id for course in semester.courses),
        "semesterhub:managed-by": MANAGED_BY,
        **semester.tags,
    }


def tag_value(text: str) -> str:
    """`text` with everything that some service refuses in a tag replaced by one space: "Data 8, Fall" -> "Data 8 Fall"."""
    return _NOT_IN_A_VALUE.sub(" ", text).strip()[:VALUE_CHARS_MAX].rstrip()


def _joined(ids: Iterable[str]) -> str:
    """Whole ids only: a course that is cut in half would be found under a name that nobody knows."""
    value = ""
    for name in ids:
        longer = f"{value} {name}".strip()
        if len(longer) > VALUE_CHARS_MAX:
            break
        value = longer
    return value
