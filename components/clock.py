"""What time it is for a deployment."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment in UTC, or the one that SOURCE_DATE_EPOCH (seconds since 1970) names.

    A preview depends on the date (scaling actions that are over are left out), so tests and CI fix it, as reproducible
    builds do (https://reproducible-builds.org/specs/source-date-epoch/). Raises ValueError for a value that is no number.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(fixed), UTC) if fixed else datetime.now(UTC)
