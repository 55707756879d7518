"""Groups, roles and services: nobody may do more than their work needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.roles import create_role, grant_role
from jupyterhub.scopes import _expand_scope, get_scopes_for

from hubconfig import access
from tests.hubconfig.fakes import course, make_settings

pytestmark = pytest.mark.unit

SETTINGS = make_settings(
    courses=[course(id="data8", students=["Ada", "bob"], instructors=["prof"]), course(id="open", instructors=["tia"])]
)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMESTERHUB_SECRETS_DIR", str(tmp_path))
    for name in ("metrics_token", "operator_token"):
        (tmp_path / name).write_text(f"{name}-of-a-test\n")
    return tmp_path


def session(file: Path) -> Any:
    return orm.new_session_factory(f"sqlite:///{file}")()


def test_groups_follow_the_courses_with_names_as_the_hub_writes_them() -> None:
    assert access.groups(SETTINGS) == {
        "course-data8": {"users": ["ada", "bob"]},
        "course-data8-instructors": {"users": ["prof"]},
        "course-open": {"users": []},
        "course-open-instructors": {"users": ["tia"]},
    }


def test_an_instructor_reaches_the_own_course_only(tmp_path: Path) -> None:
    db = session(tmp_path / "hub.sqlite")
    for role in access.roles(SETTINGS):
        create_role(db, {key: role[key] for key in ("name", "description", "scopes")})
    groups = {name: orm.Group(name=name) for name in access.groups(SETTINGS)}
    users = {name: orm.User(name=name) for name in ("prof", "ada", "zoe")}
    db.add_all([*groups.values(), *users.values()])
    groups["course-data8"].users.append(users["ada"])
    groups["course-open"].users.append(users["zoe"])
    groups["course-data8-instructors"].users.append(users["prof"])
    db.commit()
    for role in access.roles(SETTINGS):
        for name in role.get("groups", ()):
            grant_role(db, groups[name], rolename=role["name"])
    scopes = get_scopes_for(users["prof"])
    for work in ("access:servers", "admin:servers", "delete:servers", "list:users", "read:users:activity"):
        assert f"{work}!group=course-data8" in scopes
        assert work not in scopes
        assert f"{work}!group=course-open" not in scopes
    forbidden = {"groups", "admin:groups", "admin:users", "tokens", "admin:auth_state", "users", "shutdown"}
    assert not {scope.partition("!")[0] for scope in scopes} & forbidden


def test_no_service_has_more_than_its_work_needs() -> None:
    scopes = {role["name"]: set(role["scopes"]) for role in access.roles(SETTINGS)}
    assert scopes["metrics"] == {"read:metrics"}
    assert scopes["cull-idle"] == {"list:users", "read:users:activity", "read:servers", "delete:servers"}
    expanded = set().union(*(_expand_scope(scope) for scope in scopes["operator"]))
    assert {"start:servers", "delete:servers", "read:servers", "list:users"} <= expanded
    assert not expanded & {"access:servers", "admin:users", "admin:server_state", "tokens", "groups", "shutdown"}


def test_services_take_their_tokens_from_secrets_and_the_culler_its_times_from_settings(secrets: Path) -> None:
    culled = make_settings(culling={"idle_timeout_s": 1800, "cull_every_s": 60, "max_age_s": 86400})
    services = {service["name"]: service for service in access.services(culled)}
    assert services["metrics"]["api_token"] == "metrics_token-of-a-test"
    assert services["operator"]["api_token"] == "operator_token-of-a-test"
    assert {"--timeout=1800", "--cull-every=60", "--max-age=86400"} <= set(services["cull-idle"]["command"])


def members(file: Path) -> dict[str, set[str]]:
    db = session(file)
    found = {group.name: {user.name for user in group.users} for group in db.query(orm.Group)}
    db.close()
    return found


def test_whoever_is_taken_off_a_list_loses_the_group_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "hub.sqlite"
    db = session(file)
    memberships = {
        "course-data8": ["ada", "gone"],
        "course-data8-instructors": ["prof", "former"],
        "course-open": ["zoe", "tia", "admin"],
        "course-last-year": ["zoe"],
        "chess-club": ["zoe"],
    }
    users = {name: orm.User(name=name) for names in memberships.values() for name in names}
    for name, names in memberships.items():
        group = orm.Group(name=name)
        group.users = [users[user] for user in names]
        db.add(group)
    db.commit()
    db.close()
    dropped = access.drop_stale_memberships(file, SETTINGS)
    assert sorted(dropped) == [
        "admin@course-open",
        "former@course-data8-instructors",
        "gone@course-data8",
        "tia@course-open",
        "zoe@course-last-year",
    ]
    assert members(file) == {
        "course-data8": {"ada"},
        "course-data8-instructors": {"prof"},
        "course-open": {"zoe"},
        "course-last-year": set(),
        "chess-club": {"zoe"},
    }
    assert access.drop_stale_memberships(file, SETTINGS) == []


def test_a_hub_without_a_database_has_nothing_to_drop(tmp_path: Path) -> None:
    assert access.drop_stale_memberships(tmp_path / "none.sqlite", SETTINGS) == []
    (tmp_path / "empty.sqlite").touch()
    assert access.drop_stale_memberships(tmp_path / "empty.sqlite", SETTINGS) == []
