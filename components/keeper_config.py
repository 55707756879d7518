"""The keeper's configuration of a site, rendered from the semester: `keeper.json` (:mod:`hubconfig.keeper.config`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from components import history
from components.semester import Semester

KEEPER_PATH = "/etc/semesterhub/keeper.json"
RUN_PATH = "/run/semesterhub"
CLOSED_FILE = f"{RUN_PATH}/closed"
"""There while the site may not write: then nobody waits for its hub to answer."""


def release(images: Mapping[str, str]) -> str:
    """Equal on two sites whose images are the same bytes, whatever registry each has them from."""
    digests = {name: reference.partition("@")[2] for name, reference in images.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]


def keeper_config(
    semester: Semester,
    site: Literal["cloud", "fallback"],
    images: Mapping[str, str],
    *,
    alone: bool = False,
    own_backups: history.OwnPlace | None = None,
) -> str:
    """The text of keeper.json. ``images``: all of the semester by catalogue name, as this site's machines pull them.

    ``alone``: the semester runs on this site only, which is active from the start and has no peer. ``own_backups``: where
    the site keeps copies when the semester does not say; None: in a folder of its own.
    """
    fallback = semester.fallback
    peer: dict[str, Any] | None = None
    if site == "cloud" and fallback is not None and not alone:
        # The cloud reaches the campus, seldom the other way round: all connections between the sites are the cloud's.
        peer = {
            "host": fallback.host,
            "port": fallback.port,
            "user": fallback.user,
            "host_key": fallback.host_key or "",
        }
    images = {**images, **{course.image: course.image for course in semester.courses if "@" in course.image}}
    # On the fallback students run beside the hub; in a cloud their image is on the workers only. A keeper of the only site asks
    # no Docker.
    beside = site == "fallback" and not alone
    students = sorted({images[course.image] for course in semester.courses}) if beside else []
    document = {
        "site": site,
        "hub_url": semester.hub_url,
        "domain": semester.domain,
        "peer": peer,
        "dials": peer is not None,
        "first_role": "active" if site == "cloud" or alone else "standby",
        "guards": fallback is not None and not alone,
        "pods": site == "cloud" and not alone and semester.orchestrator == "kubernetes",
        "images": students,
        "release": release(images),
        "snapshots": history.snapshots(semester, own_backups),
    }
    return json.dumps(document, sort_keys=True, indent=1) + "\n"
