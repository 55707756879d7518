"""Signing in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from hubconfig.authenticators import DemoAuthenticator, configure
from hubconfig.settings import SettingsError
from tests.hubconfig.fakes import course, make_settings

pytestmark = pytest.mark.unit

STUDENT = "student-password"
ADMIN = "an-admin-password-of-thirty-two-characters"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMESTERHUB_SECRETS_DIR", str(tmp_path))
    (tmp_path / "student_password").write_text(STUDENT + "\n")
    (tmp_path / "admin_password").write_text(ADMIN + "\n")
    return tmp_path


def demo(secrets: Path) -> DemoAuthenticator:
    c = Config()
    configure(c, make_settings(admins=["Admin"], courses=[course(instructors=["Prof"])]))
    return DemoAuthenticator(config=c)


@pytest.mark.parametrize(
    ("name", "password", "enters", "admin"),
    [
        ("ada", STUDENT, True, False),
        ("ada", "wrong", False, False),
        ("ada", ADMIN, False, False),
        ("ada", "pässwort", False, False),
        ("admin", ADMIN, True, True),
        ("ADMIN", ADMIN, True, True),
        ("admin", STUDENT, False, False),
        ("prof", ADMIN, True, False),
        ("prof", STUDENT, False, False),
        ("Prof", STUDENT, False, False),
        ("prof", "pässwort", False, False),
    ],
)
async def test_students_share_one_password_and_staff_have_another(
    secrets: Path, name: str, password: str, enters: bool, admin: bool
) -> None:
    answer = await demo(secrets).authenticate(None, {"username": name, "password": password})
    assert (answer is not None) == enters
    if answer:
        assert answer["admin"] is admin
        assert answer["name"] == name.lower()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("student_password", "short", "at least 8"),
        ("admin_password", "short-admin", "at least 32"),
        ("student_password", ADMIN, "must differ"),
        ("student_password", "", "missing or empty"),
    ],
)
def test_weak_passwords_stop_the_hub_with_a_sentence(secrets: Path, name: str, value: str, words: str) -> None:
    (secrets / name).write_text(value)
    with pytest.raises(SettingsError, match=words):
        demo(secrets)


def configured(secrets: Path, kind: str, options: dict[str, Any], **changes: Any) -> Config:
    (secrets / "oauth_client_secret").write_text("the-secret")
    c = Config()
    configure(c, make_settings(authenticator={"kind": kind, "options": options}, **changes))
    return c


def test_google_lets_in_a_domain(secrets: Path) -> None:
    c = configured(
        secrets, "google", {"client_id": "id", "hosted_domain": "example.edu"}, courses=[course(instructors=[])]
    )
    assert c.JupyterHub.authenticator_class == "google"
    assert c.GoogleOAuthenticator.hosted_domain == ["example.edu"]
    assert c.GoogleOAuthenticator.client_secret == "the-secret"
    assert c.GoogleOAuthenticator.oauth_callback_url == "https://demo.localhost:8443/hub/oauth_callback"


def test_the_lists_of_the_courses_decide_who_enters(secrets: Path) -> None:
    c = configured(secrets, "github", {"client_id": "id"}, courses=[course(students=["Ada"], instructors=["prof"])])
    assert c.GitHubOAuthenticator.allowed_users == {"ada", "prof"}
    assert "allow_all" not in c.GitHubOAuthenticator


def test_a_hub_that_nobody_could_enter_is_refused(secrets: Path) -> None:
    with pytest.raises(SettingsError, match="would let nobody in"):
        configured(secrets, "github", {"client_id": "id"}, courses=[course(instructors=[])], admins=[])


def test_every_kind_names_a_class_that_exists_and_options_it_has(secrets: Path) -> None:
    from ltiauthenticator.lti13.auth import LTI13Authenticator
    from oauthenticator.generic import GenericOAuthenticator
    from oauthenticator.github import GitHubOAuthenticator
    from oauthenticator.google import GoogleOAuthenticator

    url = "https://idp.example.edu"
    generic = {
        "client_id": "id",
        "authorize_url": f"{url}/a",
        "token_url": f"{url}/t",
        "userdata_url": f"{url}/u",
        "username_claim": "preferred_username",
        "allow_all": True,
    }
    lti = {"client_id": "id", "issuer": url, "authorize_url": f"{url}/a", "jwks_endpoint": f"{url}/k"}
    cases: list[tuple[str, dict[str, Any], type]] = [
        ("google", {"client_id": "id", "hosted_domain": "example.edu"}, GoogleOAuthenticator),
        ("github", {"client_id": "id", "allowed_organizations": ["uni"]}, GitHubOAuthenticator),
        ("generic-oauth", generic, GenericOAuthenticator),
        ("lti", lti, LTI13Authenticator),
    ]
    for kind, options, cls in cases:
        section = configured(secrets, kind, options)[cls.__name__]
        assert set(section) <= set(cls.class_traits(config=True)), kind
        cls(config=Config({cls.__name__: section}))
