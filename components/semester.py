"""A semester: everything a stack file (`stacks/Pulumi.<name>.yaml`, namespace `semesterhub:`) says, checked and typed.

    semester = load_stack_file(Path("stacks/Pulumi.demo.yaml"))   # tasks, tests: no Pulumi needed
    semester = from_pulumi_config()                               # inside `pulumi up`: the same values, the same model

Both raise `SemesterError`, whose text is one message that names each wrong key, its value, what is allowed and what
to do. Secrets are checked to be encrypted but are never part of a `Semester`; `secret_paths()` names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ValidationError, model_validator

from components.semester_access import Authenticator, DemoAuthenticator, Fallback, authenticator_options
from components.semester_changes import Change, fixed, immutable_changes, moved
from components.semester_course import Content, Course, Exam, Meeting, Term
from components.semester_errors import NAMESPACE, Loc, Problem, SemesterError, key_path, problems_of, show, wrong
from components.semester_parts import Budget, Homes, HubOptions, Local, Network, Nodes
from components.semester_types import Domain, Keys, Plain, Secret, Title, Username, key
from components.semester_yaml import read_stack_file

__all__ = [
    "Change",
    "Content",
    "Course",
    "Exam",
    "Meeting",
    "Nodes",
    "Problem",
    "Semester",
    "SemesterError",
    "authenticator_options",
    "fixed",
    "from_mapping",
    "from_pulumi_config",
    "immutable_changes",
    "load_stack_file",
    "moved",
    "secret_paths",
]

_REGION_FORMS = {
    "aws": (r"[a-z]{2}(?:-[a-z]+)+-\d", "an AWS region such as us-west-2", "us-west-2"),
    "azure": (r"[a-z]{5,30}\d?", "an Azure location such as westus2", "westus2"),
}
_ACCOUNT_FORMS = {
    "aws": (r"\d{12}", "the 12 digits of an AWS account, in quotes"),
    "azure": (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "the id of an Azure subscription (a UUID in lower case)"),
}
_PRIVATE_SUFFIXES = (".localhost", ".local", ".test", ".invalid", ".internal")
_TAG_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,62}")
_TAG_VALUE = re.compile(r"[\w .:/=+\-@]*")
_MOVE = "homes and logins live there; make a new stack with `./hub semester.new` and move the class"


class Semester(Keys):
    """One semester on one cloud: what `pulumi up` builds."""

    cloud: Literal["aws", "azure", "local"] = key(
        "Where it runs: aws, azure, or local (this machine).",
        example="local",
        immutable=_MOVE,
        allowed="aws, azure or local",
    )
    orchestrator: Literal["swarm", "kubernetes"] = key(
        "What starts students' servers on the nodes.", default="swarm", immutable=_MOVE, allowed="swarm or kubernetes"
    )
    region: Plain | None = key(
        "The cloud's region; not for cloud: local.",
        default=None,
        example="us-west-2",
        immutable=_MOVE,
        allowed="a region of the cloud",
    )
    account: Plain | None = key(
        "The cloud account this stack belongs to; `preflight` refuses credentials of another one.",
        default=None,
        example='"123456789012"',
        immutable=_MOVE,
        allowed="an AWS account or an Azure subscription",
    )
    title: Title = key("Name of the hub on its sign-in page.", example="Data 8, Fall 2026", allowed="text on one line")
    term: Term = key(
        "When the semester runs.",
        allowed="a mapping with starts, ends, timezone",
        example={"starts": "2026-08-26", "ends": "2026-12-18", "timezone": "America/Los_Angeles"},
    )
    domain: Domain = key(
        "Host name of the hub.", example="hub.example.edu", allowed="a host name with at least one dot"
    )
    courses: tuple[Course, ...] = key(
        "The courses.",
        allowed="a list of at least one course",
        min_length=1,
        example=[{"id": "data8", "title": "Foundations of Data Science", "students": 480}],
    )
    admins: tuple[Username, ...] = key(
        "Who administers the hub; the first one gets the generated admin password.",
        default=("admin",),
        allowed="a list of at least one user name",
        example=["admin"],
        min_length=1,
    )
    authenticator: Authenticator = key(
        "How people sign in.",
        default=lambda: DemoAuthenticator(kind="demo"),
        allowed="a mapping with kind: demo, google, github, generic-oauth, lti or native",
        example={"kind": "demo"},
    )
    hub: HubOptions = key(
        "How servers start and end.", default=HubOptions, allowed="a mapping", example={"idle_timeout_s": 3600}
    )
    nodes: Nodes = key("The machines for students' servers.", default=Nodes, allowed="a mapping", example={"max": 20})
    network: Network = key("Addresses.", allowed="a mapping with cidr", example={"cidr": "10.88.0.0/24"})
    homes: Homes = key("Students' files.", default=Homes, allowed="a mapping", example={"size_gib": 2})
    fallback: Fallback | None = key(
        "The bare-metal machine that takes over when the cloud fails.",
        default=None,
        allowed="a mapping with host and ssh_key",
        example={"host": "hub0.example.edu", "ssh_key": "~/.ssh/id_ed25519"},
    )
    budget: Budget | None = key(
        "What a month may cost.", default=None, allowed="a mapping with monthly_usd", example={"monthly_usd": 2500}
    )
    tags: dict[str, str] = key(
        "Tags on every cloud resource, besides the semester's own.",
        default=dict,
        allowed="a mapping of text to text (put numbers in quotes)",
        example={"cost-centre": '"4711"'},
    )
    local: Local = key(
        "This machine's ports (cloud: local).", default=Local, allowed="a mapping", example={"https_port": 8443}
    )

    @model_validator(mode="after")
    def _cloud_and_region(self) -> Self:
        if self.cloud == "local":
            for name in ("region", "account"):
                if getattr(self, name) is not None:
                    raise wrong("nothing with cloud: local", f"remove `{NAMESPACE}:{name}`", at=name)
            if self.orchestrator == "kubernetes":
                raise wrong("swarm with cloud: local", "write `semesterhub:orchestrator: swarm`", at="orchestrator")
            return self
        form, allowed, example = _REGION_FORMS[self.cloud]
        if self.region is None or not re.fullmatch(form, self.region):
            raise wrong(
                allowed,
                f"write `{NAMESPACE}:region: {example}`, or the region nearest to your campus",
                at="region",
                value=show(self.region) if self.region else "missing",
            )
        form, allowed = _ACCOUNT_FORMS[self.cloud]
        if self.account is not None and not re.fullmatch(form, self.account):
            raise wrong(allowed, "copy it from the cloud's console", at="account")
        if self.domain.endswith(_PRIVATE_SUFFIXES):
            raise wrong(
                "a public domain: students reach a cloud hub through the internet",
                "write a name such as `hub.example.edu`",
                at="domain",
            )
        if self.nodes.vcpus is not None or self.nodes.memory_gib is not None:
            name = "vcpus" if self.nodes.vcpus is not None else "memory_gib"
            raise wrong(
                "only with cloud: local",
                "in the cloud a node's size comes from `nodes.instance_type`; remove this key",
                at=f"nodes.{name}",
                value=f"{getattr(self.nodes, name):g}",
            )
        return self

    @model_validator(mode="after")
    def _bastion_only_on_azure(self) -> Self:
        if self.network.bastion and self.cloud != "azure":
            raise wrong(
                "only with cloud: azure",
                "remove the key: on AWS admins use Session Manager, this machine has `docker exec`",
                at="network.bastion",
                value="true",
            )
        return self

    @model_validator(mode="after")
    def _instance_type_only_in_clouds(self) -> Self:
        if self.cloud == "local" and self.nodes.instance_type is not None:
            raise wrong(
                "only with cloud: aws or azure",
                "on this machine a node's size is `nodes.vcpus` and `nodes.memory_gib`",
                at="nodes.instance_type",
                value=show(self.nodes.instance_type),
            )
        return self

    @model_validator(mode="after")
    def _courses_are_distinct(self) -> Self:
        seen: dict[str, int] = {}
        for index, course in enumerate(self.courses):
            # The hub makes two groups of each course: course-<id> and course-<id>-instructors.
            for group in (course.id, f"{course.id}-instructors"):
                if group in seen:
                    raise wrong(
                        f"an id of its own (courses[{seen[group]}] has it or a group of that name)",
                        "give one of the two courses another id",
                        at=f"courses[{index}].id",
                        value=show(course.id),
                    )
                seen[group] = index
            for number, exam in enumerate(course.exams):
                if not self.term.starts <= exam.starts.date() <= self.term.ends:
                    raise wrong(
                        f"a day of the term ({self.term.starts} to {self.term.ends})",
                        "correct the exam or the term",
                        at=f"courses[{index}].exams[{number}].starts",
                        value=str(exam.starts),
                    )
        return self

    @model_validator(mode="after")
    def _fallback_is_elsewhere(self) -> Self:
        if self.fallback is None:
            return self
        if self.fallback.host == self.domain:
            raise wrong(
                "another machine than the hub: its own name, not the one that is switched",
                "write the fallback's own host name",
                at="fallback.host",
                value=show(self.fallback.host),
            )
        if self.fallback.alone and self.cloud != "local":
            raise wrong(
                "true only with cloud: local: a semester of a cloud falls back to the machine, it does not run on it alone",
                "remove the key, or write `semesterhub:cloud: local`",
                at="fallback.alone",
                value="true",
            )
        if self.fallback.alone and self.authenticator.kind == "demo" and not self.domain.endswith(_PRIVATE_SUFFIXES):
            raise wrong(
                "google, github, generic-oauth or lti under a public name: one password for all is no door to the internet",
                "write an `authenticator` with one of these kinds",
                at="authenticator.kind",
                value='"demo"',
            )
        dns = self.fallback.dns
        if dns is not None and self.domain != dns.zone and not self.domain.endswith(f".{dns.zone}"):
            raise wrong(
                f"a zone that holds semesterhub:domain ({self.domain})",
                f"write `zone: {self.domain.split('.', 1)[1]}`",
                at="fallback.dns.zone",
                value=show(dns.zone),
            )
        return self

    @model_validator(mode="after")
    def _demo_password_stays_at_home(self) -> Self:
        if self.cloud != "local" and self.authenticator.kind == "demo":
            raise wrong(
                "google, github, generic-oauth or lti in a cloud: one password for all is no door to the internet",
                "write an `authenticator` with one of these kinds",
                at="authenticator.kind",
                value='"demo"',
            )
        return self

    @model_validator(mode="after")
    def _tags_fit_every_cloud(self) -> Self:
        for name, value in self.tags.items():
            if not _TAG_KEY.fullmatch(name) or name.lower().startswith(
                ("aws:", "azure", "microsoft", "windows", "semesterhub")
            ):
                raise wrong(
                    "tag names of letters, digits and _ . : -, not beginning with aws:, azure, microsoft, windows or semesterhub",
                    "choose another name",
                    at=f"tags.{name}",
                    value=show(value),
                )
            if len(value) > 256:
                raise wrong("a tag value of at most 256 characters", "shorten it", at=f"tags.{name}", value=show(value))
            if not _TAG_VALUE.fullmatch(value):
                raise wrong(
                    "a tag value of letters, digits, spaces and _ . : / = + - @: IAM and S3 refuse others",
                    "remove the other characters",
                    at=f"tags.{name}",
                    value=show(value),
                )
        return self

    @property
    def alone(self) -> bool:
        """Whether it runs on one bare-metal machine and nowhere else."""
        return self.fallback is not None and self.fallback.alone

    @property
    def hub_url(self) -> str:
        """Where people reach the hub."""
        local_port = self.local.https_port if self.cloud == "local" else 443
        return f"https://{self.domain}" + ("" if local_port == 443 else f":{local_port}")


def load_stack_file(path: str | Path) -> Semester:
    """The semester of a stack file. Raises `SemesterError`."""
    stack = read_stack_file(Path(path))
    return from_mapping(stack.data, source=stack.source, lines=stack.lines)


def from_mapping(data: Mapping[str, object], *, source: str, lines: Mapping[Loc, int] | None = None) -> Semester:
    """The semester of plain data (keys without the namespace). Raises `SemesterError`."""
    try:
        # JSON mode: lists become tuples and text becomes days, while numbers in quotes stay refused.
        return Semester.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise SemesterError(source, problems_of(error, Semester, dict(data), lines)) from None


def from_pulumi_config() -> Semester:
    """The semester of the running Pulumi program's stack: the same model, read from Pulumi's configuration.

    Pulumi hands over text: objects as JSON, secrets decrypted. A value is taken as secret when Pulumi says that its
    key holds one. Raises `SemesterError`.
    """
    import pulumi
    from pulumi.runtime import config as runtime

    values = {**runtime.get_config_env(), **runtime.CONFIG.get()}
    secret_keys = runtime.get_config_secret_keys_env()
    data: dict[str, object] = {}
    for full_name, text in values.items():
        namespace, _, name = full_name.partition(":")
        if namespace != NAMESPACE:
            continue
        value = _from_text(name, text)
        data[name] = _seal(value) if full_name in secret_keys or runtime.is_config_secret(full_name) else value
    return from_mapping(data, source=f"configuration of stack {pulumi.get_stack()}")


def _from_text(name: str, text: Any) -> object:
    if text == "":
        return None  # what Pulumi makes of a key without a value
    info = Semester.model_fields.get(name)
    if not isinstance(text, str) or info is None or not _holds_objects(info.annotation):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _holds_objects(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    if getattr(annotation, "__origin__", None) in (tuple, dict):
        return True
    return any(_holds_objects(argument) for argument in get_args(annotation))


def _seal(value: object) -> object:
    """Puts the decrypted values of secret keys back into the form of the file, so that they never enter a semester."""
    if isinstance(value, dict):
        return {
            name: {"secure": "-"} if name in SECRET_NAMES and isinstance(item, str) and item else _seal(item)
            for name, item in value.items()
        }
    return [_seal(item) for item in value] if isinstance(value, list) else value


def _secret_names(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        if info.annotation is Secret or Secret in get_args(info.annotation):
            yield name
        for inner in _models(info.annotation):
            yield from _secret_names(inner)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


SECRET_NAMES = frozenset(_secret_names(Semester))
"""Names of keys whose values must be encrypted."""


def secret_paths(semester: Semester) -> tuple[str, ...]:
    """Where the stack's secrets are: `("authenticator.client_secret",)`; read them with `pulumi.Config("semesterhub")`."""
    return tuple(key_path(loc).partition(":")[2] for loc, value in _leaves(semester, ()) if isinstance(value, Secret))


def _leaves(value: object, loc: Loc) -> Iterator[tuple[Loc, object]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*loc, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*loc, index))
    else:
        yield loc, value
