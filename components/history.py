"""Where the copies of a semester's homes and hub database go, and what the keeper is told about it. Pure values.

Without `homes.snapshots.repository` they go to the semester's own bucket (AWS) or backups container (Azure), or to a folder
beside the hub's state (this machine). A bare-metal fallback has no identity in a cloud: without a repository of the
semester's own it keeps the copies of its time in a folder of its own (docs/backups.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.semester import Semester

S3_PREFIX = "restic"
"""Folder in the semester's bucket; its lifecycle rule keeps deleted objects for a while."""
_S3 = re.compile(
    r"s3:(?:https://)?s3[.-][a-z0-9-]*\.?amazonaws\.com(?:\.cn)?/(?P<bucket>[a-z0-9.-]+)(?:/(?P<prefix>[^?#]*))?"
)


@dataclass(frozen=True)
class OwnPlace:
    """What a cloud's deployment offers: the semester's own repository, and how its machine gets in."""

    repository: str
    azure_account: str = ""
    identity_client_id: str = ""


def s3_repository(region: str, dns_suffix: str, bucket: str) -> str:
    """The semester's own bucket as restic names it."""
    return f"s3:https://s3.{region}.{dns_suffix}/{bucket}/{S3_PREFIX}"


def s3_place(repository: str) -> tuple[str, str] | None:
    """(bucket, prefix) of a repository in Amazon's S3; None for any other."""
    found = _S3.fullmatch(repository)
    return (found["bucket"], (found["prefix"] or "").strip("/")) if found else None


def snapshots(semester: Semester, own: OwnPlace | None) -> dict[str, Any]:
    """The keeper's settings `snapshots`. ``own``: None on a site without an identity in the semester's cloud."""
    asked = semester.homes.snapshots
    found: dict[str, Any] = {
        "repository": asked.repository or (own.repository if own else ""),
        "keep_hourly": asked.keep_hourly,
        "keep_daily": asked.keep_daily,
        "keep_weekly": asked.keep_weekly,
    }
    if own and own.azure_account and asked.repository is None:
        found |= {"azure_account": own.azure_account, "identity_client_id": own.identity_client_id}
    return found


def kept(semester: Semester) -> bool:
    """Whether any copies are kept."""
    asked = semester.homes.snapshots
    return bool(asked.keep_hourly or asked.keep_daily or asked.keep_weekly)


def mounts(semester: Semester) -> list[Mapping[str, Any]]:
    """What the keeper's container needs of the machine to get at a repository on one of its disks."""
    asked = semester.homes.snapshots.repository
    return [{"source": asked, "target": asked}] if asked and asked.startswith("/") else []
