"""The hub's settings file: the one thing that infrastructure hands to the hub.

`load_settings()` reads and checks it, `read_secret()` reads one secret from the folder beside it. Both raise
`SettingsError`, whose text is one message that names the key (or file), the value and what to do.
This module imports neither JupyterHub nor Docker, so whoever writes the file can check it with the same code.

    python -m hubconfig.settings schema          # JSON schema of the file
    python -m hubconfig.settings check FILE      # exit status 1 and one message when the file is wrong
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

DEFAULT_SETTINGS_PATH = "/etc/semesterhub/settings.json"
DEFAULT_SECRETS_DIR = "/run/semesterhub/secrets"

MIN_STUDENT_PASSWORD_CHARS = 8
"""JupyterHub's shared-password authenticator refuses shorter ones."""
MIN_ADMIN_PASSWORD_CHARS = 32
"""The same authenticator's minimum for the admin password."""

AuthenticatorKind = Literal["demo", "google", "github", "generic-oauth", "lti", "native"]

REQUIRED_OPTIONS: dict[str, dict[str, str]] = {
    "demo": {},
    "google": {"client_id": "the OAuth client's id from the Google Cloud console"},
    "github": {"client_id": "the OAuth app's client id from GitHub's developer settings"},
    "generic-oauth": {
        "client_id": "the client id your identity provider gave you",
        "authorize_url": "the provider's authorization endpoint",
        "token_url": "the provider's token endpoint",
        "userdata_url": "the provider's userinfo endpoint",
        "username_claim": "the userinfo field that becomes the user name, such as preferred_username",
    },
    "lti": {
        "client_id": "the client id your LMS shows for this tool",
        "issuer": "the LMS's issuer, such as https://canvas.instructure.com",
        "authorize_url": "the LMS's OIDC authorization endpoint",
        "jwks_endpoint": "the LMS's public key set",
    },
    "native": {},
}
OPTIONAL_OPTIONS: dict[str, frozenset[str]] = {
    "demo": frozenset(),
    "google": frozenset({"hosted_domain", "allowed_users", "allow_all", "login_service"}),
    "github": frozenset({"allowed_organizations", "allowed_users", "allow_all"}),
    "generic-oauth": frozenset({"login_service", "scope", "allowed_users", "allow_all"}),
    "lti": frozenset({"username_key"}),
    "native": frozenset(),
}
"""Names of options that may be left out. `hosted_domain`, `allowed_organizations` or `allowed_users` decide who may
enter; `allow_all: true` lets in everybody whom the provider knows."""


class SettingsError(ValueError):
    """A wrong settings file or a missing secret. Its text is the whole message for the admin."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


CourseId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
Username = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class CourseSettings(_Model):
    """One course: its image and what one student's server may use."""

    id: CourseId = Field(description="Short name; the hub's groups are course-<id> and course-<id>-instructors.")
    title: str = Field(min_length=1, max_length=120)
    image: str = Field(description="Image reference pinned by digest: registry/name@sha256:<64 hex digits>.")
    cpu_limit: float = Field(gt=0, le=128, description="CPU cores one server may use at most.")
    cpu_guarantee: float = Field(ge=0, le=128, description="CPU cores reserved for one server; 0 reserves none.")
    memory_limit_mib: int = Field(ge=64, description="Memory at which the kernel ends the server's processes, MiB.")
    memory_guarantee_mib: int = Field(ge=1, description="Memory reserved on the node for one server, MiB.")
    instructors: tuple[Username, ...] = ()
    default_url: str = Field(default="/lab", pattern=r"^/", description="Page that opens in the student's server.")
    students: tuple[Username, ...] = Field(default=(), description="Empty: everybody who can sign in is a student.")

    @field_validator("image")
    @classmethod
    def _pinned(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s@]+@sha256:[0-9a-f]{64}", value):
            raise ValueError(
                "an image must be pinned by digest (registry/name@sha256:<64 hex digits>): a tag can point to "
                "something else tomorrow. The deployment writes the digest; do not edit this by hand"
            )
        return value

    @model_validator(mode="after")
    def _limits_hold_guarantees(self) -> CourseSettings:
        if self.memory_guarantee_mib > self.memory_limit_mib:
            raise ValueError(
                f"memory_guarantee_mib ({self.memory_guarantee_mib}) is more than memory_limit_mib "
                f"({self.memory_limit_mib}): lower the guarantee or raise the limit"
            )
        if self.cpu_guarantee > self.cpu_limit:
            raise ValueError(
                f"cpu_guarantee ({self.cpu_guarantee:g}) is more than cpu_limit ({self.cpu_limit:g}): "
                "lower the guarantee or raise the limit"
            )
        return self

    @property
    def group(self) -> str:
        """Hub group of the course's students."""
        return f"course-{self.id}"

    @property
    def instructors_group(self) -> str:
        """Hub group of the course's instructors."""
        return f"course-{self.id}-instructors"


class AdmissionSettings(_Model):
    """How many servers start at once; everybody else waits in the queue and sees their place."""

    concurrent_starts: int = Field(default=0, ge=0, description="Starts at once; 0: per node, times ready workers.")
    concurrent_starts_per_node: int = Field(default=4, ge=1, le=64)
    start_timeout_s: int = Field(default=300, ge=10, description="From leaving the queue to a server that answers, s.")
    queue_timeout_s: int = Field(default=3600, ge=10, description="Longest wait in the queue, s.")


class CullingSettings(_Model):
    """When unused servers are stopped. Files stay."""

    idle_timeout_s: int = Field(default=3600, ge=60, description="A server without activity for this long is stopped.")
    cull_every_s: int = Field(default=300, ge=5, description="How often the culler looks, s.")
    max_age_s: int = Field(default=0, ge=0, description="Stop servers older than this even if used, s; 0: never.")


class AuthenticatorSettings(_Model):
    """How people sign in. Secrets of the provider are files in the secrets folder, never options."""

    kind: AuthenticatorKind = "demo"
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> AuthenticatorSettings:
        if self.kind == "native":
            raise ValueError(
                "kind 'native' does not work with JupyterHub 6: NativeAuthenticator 1.3.0 answers every sign-in with "
                "an error. Use 'demo', 'google', 'github', 'generic-oauth' or 'lti'"
            )
        required, optional = REQUIRED_OPTIONS[self.kind], OPTIONAL_OPTIONS[self.kind]
        for name, meaning in required.items():
            value = self.options.get(name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"kind '{self.kind}' needs options.{name}: {meaning}")
        unknown = sorted(set(self.options) - set(required) - optional)
        if unknown:
            allowed = ", ".join(sorted(set(required) | optional)) or "none"
            if any("secret" in name or "password" in name for name in unknown):
                raise ValueError(
                    f"options.{unknown[0]} looks like a secret: put it into the stack's secrets (the hub reads the "
                    f"file oauth_client_secret), not into settings. Options of kind '{self.kind}': {allowed}"
                )
            raise ValueError(f"options.{unknown[0]} is not known to kind '{self.kind}'. Its options: {allowed}")
        return self


KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]


class PodVolumeSettings(_Model):
    """The homes as a volume of a storage driver (CSI), one folder a student."""

    driver: str = Field(min_length=1, description="Such as efs.csi.aws.com or file.csi.azure.com.")
    volume_handle: str = Field(min_length=1, description="The driver's name of the volume.")
    attributes: dict[str, str] = Field(default_factory=dict, description="The driver's volume attributes.")
    mount_options: tuple[str, ...] = ()


class NodeStep(_Model):
    """From this moment on this many nodes shall stand."""

    at: AwareDatetime
    nodes: int = Field(ge=0, le=1000)


class KubernetesSettings(_Model):
    """The cluster that students' servers run in, and how the hub comes in: with its machine's own identity."""

    cloud: Literal["aws", "azure"] = Field(description="Whose identity service gives the token.")
    api_url: str = Field(pattern=r"^https?://\S+$", description="Of the cluster's API server.")
    ca_certificate: str = Field(
        min_length=1, description="The API server's certificate authority: PEM, or base64 of it as EKS gives."
    )
    cluster_name: str = Field(min_length=1, description="EKS wants it in the token.")
    region: str = Field(default="", description="AWS region of the cluster.")
    identity_client_id: str = Field(default="", description="Azure: of the machine's identity, where it has several.")
    namespace: KubernetesName = "students"
    homes: PodVolumeSettings
    cluster_cidr: str = Field(description="Addresses that students must not reach.")
    node_labels: dict[str, str] = Field(default_factory=dict, description="Of the nodes that take students' pods.")
    node_taints: dict[str, str] = Field(default_factory=dict, description="Those nodes' taints (NoSchedule).")
    pods_max: int = Field(default=2000, ge=1, description="Fuse: no more pods than this in the namespace.")
    calendar: tuple[NodeStep, ...] = Field(
        default=(),
        description="Nodes that placeholder pods bring before a class; empty where the cloud has a calendar.",
    )

    @property
    def certificate_pem(self) -> str:
        """The authority as PEM. Raises SettingsError when it is none."""
        begin = "-----BEGIN CERTIFICATE-----"
        value = self.ca_certificate
        if begin not in value:
            try:
                value = base64.b64decode(value, validate=True).decode()
            except ValueError:
                value = ""
        if begin not in value:
            raise SettingsError("kubernetes.ca_certificate: neither PEM nor base64 of it. Run the deployment again")
        return value

    @field_validator("cluster_cidr")
    @classmethod
    def _network(cls, value: str) -> str:
        try:
            return str(ipaddress.ip_network(value))
        except ValueError:
            raise ValueError("must be a network, such as 10.26.0.0/16") from None

    @model_validator(mode="after")
    def _eks_has_a_region(self) -> KubernetesSettings:
        if self.cloud == "aws" and not self.region:
            raise ValueError("region: missing. On AWS the token is made for a region, such as us-west-2")
        return self


class HubSettings(_Model):
    """Everything the hub needs to know about the semester."""

    schema_version: Literal[1] = 1
    semester: str = Field(min_length=1, max_length=60)
    title: str = Field(min_length=1, max_length=120, description="Shown on the sign-in page.")
    hub_url: str = Field(description="Where people reach the hub, such as https://hub.example.edu.")
    hub_ip: str = Field(description="The hub VM's address inside the cluster; student servers call it.")
    hub_api_port: int = Field(default=8081, ge=1, le=65535)
    orchestrator: Literal["swarm", "kubernetes"] = "swarm"
    server_role: Literal["worker", "manager"] = Field(
        default="worker",
        description="Swarm nodes of this role run students' servers; manager where there is one machine.",
    )
    kubernetes: KubernetesSettings | None = None
    courses: tuple[CourseSettings, ...] = Field(min_length=1)
    admission: AdmissionSettings = AdmissionSettings()
    culling: CullingSettings = CullingSettings()
    authenticator: AuthenticatorSettings = AuthenticatorSettings()
    admins: tuple[Username, ...] = ()
    homes_path: str = Field(default="/srv/semesterhub/homes", pattern=r"^/.")

    @field_validator("hub_url")
    @classmethod
    def _https_url_without_path(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            port_is_fine = parts.port is None or parts.port > 0
        except ValueError:
            port_is_fine = False
        if parts.scheme != "https" or not parts.hostname or not port_is_fine or parts.path.rstrip("/") or parts.query:
            raise ValueError("must be https://host or https://host:port without a path: sign-in cookies need TLS")
        return value.rstrip("/")

    @field_validator("hub_ip")
    @classmethod
    def _one_usable_address(cls, value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("must be an IP address, such as 10.88.0.10") from None
        if address.is_unspecified or address.is_multicast:
            raise ValueError("must be the address of the hub VM that student servers can call, such as 10.88.0.10")
        return value

    @field_validator("homes_path")
    @classmethod
    def _plain_absolute_path(cls, value: str) -> str:
        if ".." in Path(value).parts:
            raise ValueError("must be an absolute path without '..', such as /srv/semesterhub/homes")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _cluster_where_there_is_one(self) -> HubSettings:
        if (self.orchestrator == "kubernetes") != (self.kubernetes is not None):
            raise ValueError("kubernetes: this section belongs to orchestrator 'kubernetes', and to no other")
        return self

    @model_validator(mode="after")
    def _courses_are_distinct(self) -> HubSettings:
        groups: set[str] = set()
        for course in self.courses:
            for group in (course.group, course.instructors_group):
                if group in groups:
                    raise ValueError(
                        f"courses: two courses would share the hub group '{group}'; rename course '{course.id}'"
                    )
                groups.add(group)
        return self

    def course(self, course_id: str) -> CourseSettings | None:
        """The course of that id, or None."""
        return next((course for course in self.courses if course.id == course_id), None)


def load_settings(path: str | os.PathLike[str] | None = None) -> HubSettings:
    """Reads and checks the settings file (default: $SEMESTERHUB_SETTINGS, else /etc/semesterhub/settings.json)."""
    file = Path(path or os.environ.get("SEMESTERHUB_SETTINGS") or DEFAULT_SETTINGS_PATH)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"{file}: there is no such file. The deployment writes it; run the deployment again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{file}: not JSON (line {error.lineno}, column {error.colno}: {error.msg}). Run the deployment again"
        ) from None
    return parse_settings(data, source=str(file))


def parse_settings(data: object, source: str = "settings") -> HubSettings:
    """Checks settings that are already in memory; `source` begins the message of an error."""
    try:
        return HubSettings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(_one_message(error, source)) from None


def _one_message(error: ValidationError, source: str) -> str:
    lines: list[str] = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = item["msg"].removeprefix("Value error, ")
        value = item["input"]
        if item["type"] == "missing":
            lines.append(f"{key}: missing. Add it; see `python -m hubconfig.settings schema`")
        elif item["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such key. Remove it or correct its spelling")
        elif isinstance(value, dict | list | tuple | BaseModel):
            lines.append(f"{key}: {message}")
        else:
            lines.append(f"{key} = {value!r}: {message}")
    return f"{source}: " + "; ".join(lines)


def secrets_dir() -> Path:
    """The folder with one file a secret."""
    return Path(os.environ.get("SEMESTERHUB_SECRETS_DIR") or DEFAULT_SECRETS_DIR)


def read_secret(name: str, *, optional: bool = False) -> str:
    """One secret, without the line end. A missing or empty file is an error (or '' when optional)."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SettingsError(f"secret name {name!r}: only lower-case letters, digits and _")
    file = secrets_dir() / name
    try:
        value = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        value = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: the secret '{name}' cannot be read: {error}") from None
    if not value and not optional:
        raise SettingsError(f"{file}: the secret '{name}' is missing or empty. The deployment writes it; run it again")
    return value


def json_schema() -> dict[str, Any]:
    """JSON schema of the settings file."""
    return HubSettings.model_json_schema()


def main(arguments: list[str]) -> int:
    """The command line named in the module's description."""
    if arguments == ["schema"]:
        print(json.dumps(json_schema(), indent=2, sort_keys=True))
        return 0
    if len(arguments) == 2 and arguments[0] == "check":
        try:
            load_settings(arguments[1])
        except SettingsError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    print("usage: python -m hubconfig.settings schema | check FILE", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
