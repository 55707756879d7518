"""Who may do what on the hub: groups, roles and services, as JupyterHub's configuration wants them.

Groups: `course-<id>` holds a course's students, `course-<id>-instructors` its instructors.
Roles are as small as their work allows; admins have JupyterHub's own role.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from .settings import CourseSettings, HubSettings, read_secret

CULLER = "cull-idle"
METRICS = "metrics"
OPERATOR = "operator"
CHECK_USER = "semesterhub-check"
"""The account that health checks start a server under; the operator may open this server and nobody else's."""
KEEPER = "kubernetes-keeper"


def groups(settings: HubSettings) -> dict[str, dict[str, list[str]]]:
    """JupyterHub.load_groups."""
    result: dict[str, dict[str, list[str]]] = {}
    for course in settings.courses:
        result[course.group] = {"users": [_normal(name) for name in course.students]}
        result[course.instructors_group] = {"users": [_normal(name) for name in course.instructors]}
    return result


def _normal(name: str) -> str:
    return name.lower()  # as JupyterHub's Authenticator.normalize_username does


def instructor_role(course: CourseSettings) -> dict[str, Any]:
    """An instructor lists, starts, stops and opens the servers of the own course's students, nobody else's.

    No scope here changes groups: who could add people to the group could reach anybody's server.
    """
    only = f"!group={course.group}"
    return {
        "name": f"instructor-{course.id}",
        "description": f"Instructors of {course.title}",
        "scopes": [
            "admin-ui",
            f"list:users{only}",
            f"read:users{only}",
            f"read:groups{only}",
            f"list:groups{only}",
            f"admin:servers{only}",
            f"access:servers{only}",
        ],
        "groups": [course.instructors_group],
    }


def roles(settings: HubSettings) -> list[dict[str, Any]]:
    """JupyterHub.load_roles. Students have JupyterHub's default role: only what is their own."""
    return [
        *(instructor_role(course) for course in settings.courses),
        {
            "name": CULLER,
            "description": "Stops servers that nobody uses",
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
            "services": [CULLER],
        },
        {
            "name": METRICS,
            "description": "Reads the hub's Prometheus metrics",
            "scopes": ["read:metrics"],
            "services": [METRICS],
        },
        {
            "name": OPERATOR,
            "description": "The project's own tasks: status, drain, start before class, run a notebook as a check",
            "scopes": [
                *("list:users", "read:users", "read:groups", "list:groups", "servers", "read:hub", "read:metrics"),
                *(f"{scope}!user={CHECK_USER}" for scope in ("admin:users", "access:servers", "tokens")),
            ],
            "services": [OPERATOR],
        },
    ]


def services(settings: HubSettings) -> list[dict[str, Any]]:
    """JupyterHub.services: the culler runs under the hub, the other two are tokens for callers from outside."""
    culling = settings.culling
    command = [
        sys.executable,
        "-m",
        "jupyterhub_idle_culler",
        f"--timeout={culling.idle_timeout_s}",
        f"--cull-every={culling.cull_every_s}",
        f"--max-age={culling.max_age_s}",
        # several stops at once, or the end of a class takes an hour
        "--concurrency=10",
    ]
    keeper: list[dict[str, Any]] = []
    if settings.orchestrator == "kubernetes":
        known = {name: os.environ[name] for name in ("SEMESTERHUB_SETTINGS",) if name in os.environ}
        keeper = [{"name": KEEPER, "command": [sys.executable, "-m", "hubconfig.kube_keeper"], "environment": known}]
    return [
        *keeper,
        {"name": CULLER, "command": command},
        {"name": METRICS, "api_token": read_secret("metrics_token")},
        {"name": OPERATOR, "api_token": read_secret("operator_token")},
    ]


def drop_stale_memberships(database: Path, settings: HubSettings) -> list[str]:
    """Takes people out of course groups who are no longer on the list; returns `user@group` of each.

    JupyterHub's load_groups only ever adds. Without this an instructor removed from the stack file would keep the
    right to open students' servers. A course without a list of students keeps those who joined by starting a server,
    except its instructors and the admins. Runs before the hub opens the database; no database yet, nothing to do.
    """
    if not database.exists():
        return []
    wanted = {name: set(content["users"]) for name, content in groups(settings).items()}
    open_groups = {course.group for course in settings.courses if not course.students}
    staff = {_normal(name) for course in settings.courses for name in course.instructors}
    staff |= {_normal(name) for name in settings.admins}
    dropped: list[str] = []
    # plain SQL: JupyterHub's own session would check or upgrade the schema, which is the hub's business a moment later
    with contextlib.closing(sqlite3.connect(database)) as connection:
        try:
            rows = connection.execute(_MEMBERSHIPS).fetchall()
        except sqlite3.OperationalError:
            return []  # a new database has no tables yet
        for user_id, user, group_id, group in rows:
            stays = user not in staff if group in open_groups else user in wanted.get(group, ())
            if not stays:
                connection.execute("DELETE FROM user_group_map WHERE user_id = ? AND group_id = ?", (user_id, group_id))
                dropped.append(f"{user}@{group}")
        connection.commit()
    return dropped


_MEMBERSHIPS = """
SELECT users.id, users.name, "groups".id, "groups".name
FROM user_group_map
JOIN users ON users.id = user_group_map.user_id
JOIN "groups" ON "groups".id = user_group_map.group_id
WHERE "groups".name LIKE 'course-%'
"""
