"""The value types of a stack file: each parses one kind of value and refuses others with a sentence that teaches.

`key()` declares a field: what it means, what is allowed, an example, whether it may change after the first deployment.
The JSON schema, the reference page and the error messages all come from it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from ipaddress import IPv4Network, ip_address
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from components.semester_errors import SECRET_TYPES, nearest, wrong

REQUIRED: Any = ...


class Keys(BaseModel):
    """Base of all parts of a semester: no unknown keys, no changes after reading, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=False
    )


def key(
    meaning: str,
    *,
    default: Any = REQUIRED,
    allowed: str = "",
    example: Any = None,
    unit: str = "",
    immutable: str = "",
    **constraints: Any,
) -> Any:
    """One key. `immutable` says why it cannot change on a running semester ("" when it can)."""
    extra: dict[str, Any] = {"allowed": allowed} if allowed else {}
    if unit:
        extra["unit"] = unit
    if immutable:
        extra |= {"immutable": True, "immutable_because": immutable}
    if example is None and default is not REQUIRED and isinstance(default, str | int | float):
        example = default
    examples = [] if example is None else [example]
    if callable(default):
        return Field(
            default_factory=default, description=meaning, examples=examples, json_schema_extra=extra, **constraints
        )
    return Field(default, description=meaning, examples=examples, json_schema_extra=extra, **constraints)


_NOUNS = {
    "port": "a port",
    "share": "a share (1 is everybody)",
    "s": "a whole number of seconds (s)",
    "GiB": "a number of GiB",
    "percent": "a percentage",
}


def number(
    meaning: str, unit: str, *, ge: float, le: float, default: Any = REQUIRED, example: Any = None, immutable: str = ""
) -> Any:
    """A number in one unit, from `ge` to `le`, which are both allowed."""
    return key(
        meaning,
        default=default,
        allowed=f"{_NOUNS.get(unit, 'a number of ' + unit)} from {ge:g} to {le:g}",
        unit=unit,
        example=example,
        immutable=immutable,
        ge=ge,
        le=le,
    )


@dataclass(frozen=True)
class Text:
    """Marks a type as read from one text by `read`, which raises `wrong(allowed, …)`; `write` gives the text back."""

    read: Callable[[object], Any]
    allowed: str
    pattern: str = ""
    write: Callable[[Any], str] = str

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        back = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.read, serialization=back)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        pattern = {"pattern": f"^(?:{self.pattern})$"} if self.pattern else {}
        return {"type": "string", **pattern, "allowed": self.allowed}


def _text(value: object, allowed: str, remedy: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(allowed, remedy)
    return value


def _matching(pattern: str, allowed: str, remedy: str) -> Text:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        text = _text(value, allowed, remedy)
        if not compiled.fullmatch(text):
            raise wrong(allowed, remedy)
        return text

    return Text(read, allowed, pattern)


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"(?:{_LABEL}\.)*{_LABEL}"
_IMAGE_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_IMAGE_REF = r"[a-z0-9.-]+(?::\d+)?(?:/[a-z0-9._-]+)+(?::[\w.-]+)?@sha256:[0-9a-f]{64}"

Slug = Annotated[
    str,
    _matching(
        r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?",
        "lower-case letters, digits and -, at most 40, such as data8",
        "write a short name such as `data8`",
    ),
]
Title = Annotated[
    str,
    _matching(
        r"[^\x00-\x1f]{1,120}",
        "text of 1 to 120 characters on one line",
        'write it in quotes, such as "Data 8, Fall 2026"',
    ),
]
Username = Annotated[
    str,
    _matching(
        r"[a-z0-9][a-z0-9._@+-]{0,62}",
        "a user name as people sign in with it, in lower case: letters, digits and . _ @ + -, at most 63",
        "write the sign-in name in lower case without spaces, such as `ada` or `ada@example.edu`",
    ),
]
HostName = Annotated[
    str,
    _matching(
        _HOST,
        "a host name or address in lower case, without https://, port or path",
        "write only the name, such as `hub0.example.edu`",
    ),
]
Plain = Annotated[str, _matching(r"[^\x00-\x1f]{1,500}", "text on one line", "write a text; put numbers in quotes")]
HostKey = Annotated[
    str,
    _matching(
        r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}(?: [^\x00-\x1f]*)?",
        "a public SSH host key, as a file /etc/ssh/ssh_host_*_key.pub has it",
        "copy the line of /etc/ssh/ssh_host_ed25519_key.pub on that machine",
    ),
]
UrlPath = Annotated[str, _matching(r"/\S{0,200}", "a path beginning with /, such as /lab", "write `default_url: /lab`")]

_DOMAIN_ALLOWED = "the host name people type, in lower case, with at least one dot, without https://, port or path"
_DAY_ALLOWED = "a day as YYYY-MM-DD"
_TIME_ALLOWED = "a time of day as HH:MM, 00:00 to 23:59"
_MOMENT_ALLOWED = "a day and time as YYYY-MM-DD HH:MM, in the term's timezone"
_ZONE_ALLOWED = "a name from the IANA time zone database, such as America/Los_Angeles"
_CIDR_ALLOWED = "an IPv4 network in CIDR form whose host bits are zero, such as 10.88.0.0/24"
_ADDRESS_ALLOWED = "an IP address, such as 127.0.0.1"
_URL_ALLOWED = "an https:// URL without user name or password"
_REPO_ALLOWED = "the https:// (or git@host:path) address of a git repository, without user name, password or token"
_PATH_ALLOWED = "a relative path without .. that does not begin with /"
_IMAGE_ALLOWED = "a name in hubconfig/images, such as student, or a full reference by digest (…@sha256:<64 hex digits>)"


def _domain(value: object) -> str:
    remedy = "write only the name, such as `hub.example.edu` (or `demo.localhost` on this machine)"
    text = _text(value, _DOMAIN_ALLOWED, remedy)
    if not re.fullmatch(_HOST, text) or "." not in text or len(text) > 253 or text.rsplit(".", 1)[1].isdigit():
        raise wrong(_DOMAIN_ALLOWED, remedy)
    return text


def _day(value: object) -> date:
    remedy = "write it as year-month-day, such as `2026-08-26`"
    text = _text(value, _DAY_ALLOWED, remedy)
    # Pulumi 3.250 reads an unquoted YAML day as a moment: it hands on, and `pulumi config set` even writes back into
    # the file, Go's "2026-08-26 00:00:00 +0000 UTC".
    if not (match := re.fullmatch(r"(\d{4}-\d{2}-\d{2})(?:T00:00:00Z| 00:00:00 \+0000 UTC)?", text)):
        raise wrong(_DAY_ALLOWED, remedy)
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        raise wrong(_DAY_ALLOWED, f"there is no such day in the calendar; {remedy}") from None


def _time(value: object) -> time:
    remedy = 'write it in 24 hours and in quotes, such as `"14:10"`'
    text = _text(value, _TIME_ALLOWED, remedy)
    if not re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d", text):
        raise wrong(_TIME_ALLOWED, remedy)
    return time.fromisoformat(text)


def _moment(value: object) -> datetime:
    remedy = 'write it in quotes and without an offset, such as `"2026-12-10 08:00"`'
    text = _text(value, _MOMENT_ALLOWED, remedy)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}", text):
        raise wrong(_MOMENT_ALLOWED, remedy)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise wrong(_MOMENT_ALLOWED, f"there is no such moment; {remedy}") from None


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # walks a folder tree: 40 ms


def _timezone(value: object) -> ZoneInfo:
    remedy = "write it as Area/City, such as `America/Los_Angeles`"
    text = _text(value, _ZONE_ALLOWED, remedy)
    zones = _zones()
    if text not in zones:
        meant = nearest(text, sorted(zones))
        raise wrong(_ZONE_ALLOWED, f"did you mean `timezone: {meant}`?" if meant else remedy)
    return ZoneInfo(text)


def _network(value: object) -> IPv4Network:
    remedy = "write it as address/prefix, such as `10.88.0.0/24`"
    text = _text(value, _CIDR_ALLOWED, remedy)
    if not re.fullmatch(r"[0-9.]+/\d+", text):
        raise wrong(_CIDR_ALLOWED, remedy)
    try:
        meant = IPv4Network(text, strict=False)
    except ValueError:
        raise wrong(_CIDR_ALLOWED, f"each part of the address is 0 to 255, the prefix 0 to 32; {remedy}") from None
    if str(meant) != text:
        raise wrong(_CIDR_ALLOWED, f"the address has bits beyond /{meant.prefixlen}; write `{meant}` if that is meant")
    return meant


def _address(value: object) -> str:
    remedy = "write an address such as `127.0.0.1`"
    text = _text(value, _ADDRESS_ALLOWED, remedy)
    try:
        return str(ip_address(text))
    except ValueError:
        raise wrong(_ADDRESS_ALLOWED, remedy) from None


def _split_url(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return parts if parts.scheme == "https" and parts.hostname and not re.search(r"\s", text) else None


def _https_url(value: object) -> str:
    remedy = "write the provider's address, beginning with https://"
    text = _text(value, _URL_ALLOWED, remedy)
    parts = _split_url(text)
    if parts is None or parts.username is not None:
        raise wrong(_URL_ALLOWED, remedy)
    return text


def _repo(value: object) -> str:
    remedy = "write it as for `git clone`, such as `https://github.com/data-8/materials-fa26`"
    text = _text(value, _REPO_ALLOWED, remedy)
    if re.fullmatch(r"git@[a-z0-9.-]+:[\w./~-]+", text):
        return text
    parts = _split_url(text)
    if parts is not None and parts.username is not None:
        raise wrong(_REPO_ALLOWED, "take the credentials out of the URL: every student's server would see them")
    if parts is None or not parts.path.strip("/"):
        raise wrong(_REPO_ALLOWED, remedy)
    return text


def _relative_path(value: object) -> str:
    remedy = "write a path such as `data8`"
    text = _text(value, _PATH_ALLOWED, remedy)
    if text.startswith(("/", "~")) or ".." in text.split("/") or re.search(r"[\x00-\x1f\\]", text):
        raise wrong(_PATH_ALLOWED, remedy)
    return text.rstrip("/")


def _image(value: object) -> str:
    text = _text(value, _IMAGE_ALLOWED, "write `image: student`")
    if re.fullmatch(f"{_IMAGE_NAME}|{_IMAGE_REF}", text):
        return text
    if "@" in text:
        raise wrong(_IMAGE_ALLOWED, "write the registry's host, the path and all 64 hexadecimal digits of the digest")
    if ":" in text or "/" in text:
        name = re.sub(r":[\w.-]+$", "", text)
        raise wrong(
            _IMAGE_ALLOWED,
            f"a tag can point to something else tomorrow: pin the image by digest, `{name}@sha256:…` "
            "(`docker buildx imagetools inspect` and the registry's page show it)",
        )
    raise wrong(_IMAGE_ALLOWED, "write `image: student`")


Domain = Annotated[str, Text(_domain, _DOMAIN_ALLOWED, rf"(?:{_LABEL}\.)+{_LABEL}")]
Day = Annotated[date, Text(_day, _DAY_ALLOWED, r"\d{4}-\d{2}-\d{2}")]
TimeOfDay = Annotated[
    time, Text(_time, _TIME_ALLOWED, r"(?:[01]\d|2[0-3]):[0-5]\d", lambda value: value.strftime("%H:%M"))
]
Moment = Annotated[
    datetime,
    Text(
        _moment,
        _MOMENT_ALLOWED,
        r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}",
        lambda value: value.strftime("%Y-%m-%d %H:%M"),
    ),
]
Timezone = Annotated[ZoneInfo, Text(_timezone, _ZONE_ALLOWED, "", lambda zone: zone.key)]
Cidr = Annotated[IPv4Network, Text(_network, _CIDR_ALLOWED, r"[0-9.]+/\d{1,2}")]
Address = Annotated[str, Text(_address, _ADDRESS_ALLOWED)]
HttpsUrl = Annotated[str, Text(_https_url, _URL_ALLOWED, r"https://\S+")]
GitRepo = Annotated[str, Text(_repo, _REPO_ALLOWED)]
RelativePath = Annotated[str, Text(_relative_path, _PATH_ALLOWED)]
Image = Annotated[str, Text(_image, _IMAGE_ALLOWED, f"{_IMAGE_NAME}|{_IMAGE_REF}")]


class Secret:
    """That a secret is there. Its value is never part of a semester: components read it from Pulumi's configuration."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret)

    def __hash__(self) -> int:
        return hash(Secret)

    def __repr__(self) -> str:
        return "Secret(set)"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._check, serialization=core_schema.plain_serializer_function_ser_schema(lambda _value: "[secret]")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "object",
            "properties": {"secure": {"type": "string", "minLength": 1}},
            "required": ["secure"],
            "additionalProperties": False,
        }

    @classmethod
    def _check(cls, value: object) -> Secret:
        if (
            isinstance(value, dict)
            and set(value) == {"secure"}
            and isinstance(value["secure"], str)
            and value["secure"]
        ):
            return cls()
        raise wrong(
            "a secret encrypted by Pulumi (`secure: …`)",
            "store it with `./hub pulumi config set --stack NAME --secret --path '{key}'`; "
            "if it stood in the file in the open, make a new one at the provider",
            value="not encrypted" if value else "empty",
        )


SECRET_TYPES.append(Secret)
