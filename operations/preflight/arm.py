"""Azure Resource Manager and container registries over plain HTTPS: the few questions and changes that operations have.

The SDKs that could ask them are a hundred megabytes; azure-identity alone signs in, as `az login`, a managed identity or
the environment say.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import requests

MANAGEMENT = "https://management.azure.com"
TIMEOUT_S = 30
_MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


class ArmError(Exception):
    """Azure's refusal. `status` is the HTTP status, 0 when it did not answer; `code` its own word; `after_s`: when it wants
    to be asked again, if it says so."""

    def __init__(self, status: int, code: str, message: str, after_s: float = 0.0) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.status, self.code, self.after_s = status, code, after_s

    @property
    def passing(self) -> bool:
        """Whether the same may be answered in a moment: no answer, too many requests, Azure's own trouble."""
        return self.status in (0, 408, 429) or self.status >= 500


Token = Callable[[str], str]
"""An access token for a scope such as `https://management.azure.com/.default`."""


def signed_in() -> Token:
    """Tokens of whoever is signed in here. The token raises ArmError with what to do when nobody is."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import CredentialUnavailableError, DefaultAzureCredential

    credential = DefaultAzureCredential()

    def token(scope: str) -> str:
        try:
            return credential.get_token(scope).token
        except (ClientAuthenticationError, CredentialUnavailableError) as error:
            raise ArmError(401, "", str(error).splitlines()[0]) from None

    return token


class Arm:
    """Azure Resource Manager as one signed-in person reads and changes it."""

    def __init__(self, token: Token, endpoint: str = MANAGEMENT) -> None:
        self._token, self._endpoint = token, endpoint.rstrip("/")

    def get(self, path: str, version: str, **parameters: str) -> dict[str, Any]:
        """One resource, or a list's first page. Raises ArmError."""
        return self._read(f"{self._endpoint}{path}", {"api-version": version, **parameters})

    def all(self, path: str, version: str, **parameters: str) -> list[Any]:
        """A whole list. Raises ArmError."""
        page = self.get(path, version, **parameters)
        found = list(page.get("value", ()))
        while following := page.get("nextLink"):
            page = self._read(str(following), {})
            found += page.get("value", ())
        return found

    def change(
        self, method: str, path: str, version: str, body: Any = None, *, match: str = "", **parameters: str
    ) -> dict[str, Any]:
        """PUT, PATCH, POST or DELETE; what Azure answers at once. Slow work is not waited for: look at the resource.
        `match`: only if the resource still has this etag; `-`: only if there is none. Raises ArmError (412 when not)."""
        conditions = {} if not match else {"If-None-Match": "*"} if match == "-" else {"If-Match": match}
        return self._ask(method, f"{self._endpoint}{path}", {"api-version": version, **parameters}, body, conditions)

    def who(self) -> str:
        """Name, application or object id of who is signed in. Raises ArmError."""
        claims = self._token(f"{MANAGEMENT}/.default").split(".")[1:2]
        try:
            read = json.loads(base64.urlsafe_b64decode(claims[0] + "=" * (-len(claims[0]) % 4))) if claims else {}
        except ValueError:
            read = {}
        return str(read.get("upn") or read.get("appid") or read.get("oid") or "somebody")

    def _read(self, url: str, parameters: dict[str, str]) -> dict[str, Any]:
        return self._ask("GET", url, parameters, None, {})

    def _ask(
        self, method: str, url: str, parameters: dict[str, str], body: Any, conditions: dict[str, str]
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token(f'{MANAGEMENT}/.default')}", **conditions}
        try:
            answer = requests.request(method, url, params=parameters, headers=headers, json=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise ArmError(0, "", f"Azure does not answer: {error}") from None
        try:
            read = answer.json()
        except ValueError:
            read = {}
        if not answer.ok:
            said = read.get("error") or {} if isinstance(read, dict) else {}
            after = answer.headers.get("Retry-After", "")
            raise ArmError(
                answer.status_code,
                str(said.get("code", "")),
                str(said.get("message", answer.reason)),
                float(after) if after.isdigit() else 0.0,
            )
        return read if isinstance(read, dict) else {}


REGISTRY_USER = "00000000-0000-0000-0000-000000000000"
"""Whom Azure's registries want as user name beside a token."""


def registry_token(server: str, token: Token, scheme: str = "https") -> str:
    """A container registry's own token ("refresh token") for whoever is signed in; as the password of `REGISTRY_USER` it
    is a `docker login`. Raises ArmError."""
    form = {
        "grant_type": "access_token",
        "service": server,
        "access_token": token(f"{MANAGEMENT}/.default"),
    }
    return _posted(f"{scheme}://{server}/oauth2/exchange", form)["refresh_token"]


def registry_access(server: str, repository: str, token: Token, scheme: str = "https") -> str:
    """A token that reads one repository. Raises ArmError."""
    form = {
        "grant_type": "refresh_token",
        "service": server,
        "scope": f"repository:{repository}:pull",
        "refresh_token": registry_token(server, token, scheme),
    }
    return _posted(f"{scheme}://{server}/oauth2/token", form)["access_token"]


def registry_has(server: str, repository: str, digest: str, token: Token, scheme: str = "https") -> bool:
    """Whether a container registry on Azure has an image. Raises ArmError."""
    access = registry_access(server, repository, token, scheme)
    try:
        answer = requests.head(
            f"{scheme}://{server}/v2/{repository}/manifests/{digest}",
            headers={"Authorization": f"Bearer {access}", "Accept": _MANIFESTS},
            timeout=TIMEOUT_S,
        )
    except requests.RequestException as error:
        raise ArmError(0, "", f"{server} does not answer: {error}") from None
    if answer.status_code == requests.codes.not_found:
        return False
    if not answer.ok:
        raise ArmError(answer.status_code, "", f"{server} answers {answer.status_code} {answer.reason}")
    return True


def _posted(url: str, form: dict[str, str]) -> dict[str, str]:
    try:
        answer = requests.post(url, data=form, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise ArmError(0, "", f"{url} does not answer: {error}") from None
    if not answer.ok:
        raise ArmError(answer.status_code, "", f"{url} answers {answer.status_code} {answer.reason}")
    return answer.json()
