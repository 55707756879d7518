"""A container registry of a cloud: signing in as the admin, and what it has. ECR and ACR, and any registry in tests."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

import requests

from operations.errors import UserError
from operations.preflight.aws import Clients
from operations.preflight.questions import NotKnownError

TIMEOUT_S = 30
MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


@dataclass(frozen=True)
class Registry:
    """A registry that one is signed in to. `authorization` gives the header's value for a repository ("" for none)."""

    host: str
    username: str
    password: str
    authorization: Callable[[str], str]
    scheme: str = "https"

    def digest_of(self, repository: str, reference: str) -> str | None:
        """The digest of an image by its tag or digest; None when it is not there. Raises NotKnownError."""
        headers = {"Accept": MANIFESTS}
        if value := self.authorization(repository):
            headers["Authorization"] = value
        try:
            answer = requests.head(
                f"{self.scheme}://{self.host}/v2/{repository}/manifests/{reference}", headers=headers, timeout=TIMEOUT_S
            )
        except requests.RequestException as error:
            raise NotKnownError(f"{self.host} does not answer: {error}") from None
        if answer.status_code == requests.codes.not_found:
            return None
        if not answer.ok:
            raise NotKnownError(f"{self.host} answers {answer.status_code} {answer.reason}")
        return answer.headers.get("Docker-Content-Digest")


def ecr(clients: Clients) -> Registry:
    """The registry of the account that one is signed in to. Raises UserError when there is no way in."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        given = clients("ecr").get_authorization_token()["authorizationData"][0]
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"ECR lets nobody in: {error}\n  Sign in, for instance with `aws sso login`.") from None
    username, _, password = base64.b64decode(given["authorizationToken"]).decode("ascii").partition(":")
    host = str(given["proxyEndpoint"]).removeprefix("https://")
    return Registry(host, username, password, lambda _repository: f"Basic {given['authorizationToken']}")


def acr(server: str) -> Registry:
    """An Azure container registry, entered as whoever is signed in. Raises UserError when there is no way in."""
    from operations.preflight import arm

    token = arm.signed_in()

    def authorization(repository: str) -> str:
        try:
            return f"Bearer {arm.registry_access(server, repository, token)}"
        except arm.ArmError as error:
            raise NotKnownError(str(error)) from None

    try:
        password = arm.registry_token(server, token)
    except arm.ArmError as error:
        raise UserError(
            f"{server} lets nobody in: {error}\n  Sign in with `az login` as somebody with the role AcrPush."
        ) from None
    return Registry(server, arm.REGISTRY_USER, password, authorization)
