"""Signing in: from the settings' `authenticator` to JupyterHub's authenticator and its configuration."""

from __future__ import annotations

from secrets import compare_digest
from typing import Any

from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from traitlets import Set, Unicode
from traitlets.config import Config

from .settings import (
    MIN_ADMIN_PASSWORD_CHARS,
    MIN_STUDENT_PASSWORD_CHARS,
    HubSettings,
    SettingsError,
    read_secret,
)

OAUTH_CLASSES = {
    "google": ("google", "GoogleOAuthenticator"),
    "github": ("github", "GitHubOAuthenticator"),
    "generic-oauth": ("generic-oauth", "GenericOAuthenticator"),
}


class DemoAuthenticator(SharedPasswordAuthenticator):
    """One password for all students, another for staff.

    JupyterHub's own class asks only admins for the second password; with it anybody could sign in under an
    instructor's name and open the servers of the course.
    """

    instructors = Set(Unicode(), help="Names that need the admin password without being admins.").tag(config=True)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """The user model, or None when name and password do not fit."""
        username = self.normalize_username(data["username"])
        if username in self.instructors and username not in self.admin_users:
            if self.admin_password and compare_digest(data["password"].encode(), self.admin_password.encode()):
                return {"name": username, "admin": False, "groups": []}
            return None
        try:
            return await super().authenticate(handler, data)
        except TypeError:
            # compare_digest refuses text beyond ASCII; such a password is simply wrong
            return None


def configure(c: Config, settings: HubSettings) -> None:
    """Writes the authenticator's part of the configuration. Raises SettingsError."""
    kind = settings.authenticator.kind
    c.Authenticator.admin_users = {name.lower() for name in settings.admins}
    if kind == "demo":
        _configure_demo(c, settings)
    elif kind == "lti":
        _configure_lti(c, settings)
    else:
        _configure_oauth(c, settings)


def _configure_demo(c: Config, settings: HubSettings) -> None:
    c.JupyterHub.authenticator_class = DemoAuthenticator
    c.DemoAuthenticator.allow_all = True
    c.DemoAuthenticator.user_password = _password("student_password", MIN_STUDENT_PASSWORD_CHARS)
    c.DemoAuthenticator.admin_password = _password("admin_password", MIN_ADMIN_PASSWORD_CHARS)
    c.DemoAuthenticator.instructors = {name.lower() for course in settings.courses for name in course.instructors}
    if c.DemoAuthenticator.user_password == c.DemoAuthenticator.admin_password:
        raise SettingsError("the secrets student_password and admin_password are equal: they must differ")


def _password(name: str, min_chars: int) -> str:
    value = read_secret(name)
    if len(value) < min_chars or not value.isascii():
        raise SettingsError(
            f"the secret '{name}' has {len(value)} characters: JupyterHub needs at least {min_chars}, ASCII only"
        )
    return value


def _configure_oauth(c: Config, settings: HubSettings) -> None:
    kind, options = settings.authenticator.kind, settings.authenticator.options
    entry_point, class_name = OAUTH_CLASSES[kind]
    c.JupyterHub.authenticator_class = entry_point
    section = c[class_name]
    section.client_id = options["client_id"]
    section.client_secret = read_secret("oauth_client_secret")
    section.oauth_callback_url = f"{settings.hub_url}/hub/oauth_callback"
    allowed = {str(name).lower() for name in options.get("allowed_users", ())}
    on_the_lists = {
        name.lower() for course in settings.courses for name in (*course.students, *course.instructors)
    } | allowed
    if options.get("allow_all"):
        section.allow_all = True
    elif on_the_lists:
        section.allowed_users = on_the_lists
    if kind == "google" and options.get("hosted_domain"):
        domains = options["hosted_domain"]
        section.hosted_domain = [domains] if isinstance(domains, str) else list(domains)
        section.allow_all = not on_the_lists or bool(options.get("allow_all"))
    if kind == "github" and options.get("allowed_organizations"):
        section.allowed_organizations = set(options["allowed_organizations"])
        section.scope = ["read:org"]
    if kind == "generic-oauth":
        section.authorize_url = options["authorize_url"]
        section.token_url = options["token_url"]
        section.userdata_url = options["userdata_url"]
        section.username_claim = options["username_claim"]
        section.login_service = options.get("login_service", "your university account")
        section.scope = list(options.get("scope", ["openid"]))
    somebody = (
        options.get("allow_all") or on_the_lists or options.get("hosted_domain") or options.get("allowed_organizations")
    )
    if not somebody and not settings.admins:
        raise SettingsError(
            f"authenticator kind '{kind}' would let nobody in: list students in the courses, or set "
            "options.allowed_users, or options.allow_all: true if everybody with an account there may enter"
        )


def _configure_lti(c: Config, settings: HubSettings) -> None:
    options = settings.authenticator.options
    c.JupyterHub.authenticator_class = "ltiauthenticator.lti13.auth.LTI13Authenticator"
    section = c.LTI13Authenticator
    section.issuer = options["issuer"]
    section.authorize_url = options["authorize_url"]
    section.jwks_endpoint = options["jwks_endpoint"]
    section.client_id = {options["client_id"]}
    section.username_key = options.get("username_key", "email")
    # the LMS decides who is enrolled: whoever it sends may enter
    section.allow_all = True
    # the hub is opened inside the LMS's page, on another site
    c.JupyterHub.tornado_settings.update({"cookie_options": {"SameSite": "None", "Secure": True}})
