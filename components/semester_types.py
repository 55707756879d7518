"""The value types of a stack file: each parses one kind of value and refuses others with a sentence that teaches.

`key()` declares a field: what it means, what is allowed, an example, whether it may change after the first deployment.
The JSON schema, the reference page and the error messages all come from it.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time
from ipaddress import IPv4Network, ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from components.semester_errors import nearest, wrong

REQUIRED: Any = ...


class Keys(BaseModel):
    """Base of all parts of a semester: no unknown keys, no changes after reading, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=False)


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
    extra: dict[str, Any] = {"allowed": allowed}
    if unit:
        extra["unit"] = unit
    if immutable:
        extra |= {"immutable": True, "immutable_because": immutable}
    if example is None and default is not REQUIRED and isinstance(default, str | int | float):
        example = default
    examples = [] if example is None else [example]
    if callable(default):
        return Field(default_factory=default, description=meaning, examples=examples, json_schema_extra=extra, **constraints)
    return Field(default, description=meaning, examples=examples, json_schema_extra=extra, **constraints)


def number(
    meaning: str, unit: str, *, ge: float, le: float, default: Any = REQUIRED, example: Any = None, immutable: str = ""
) -> Any:
    """A number in one unit, from `ge` to `le`, which are both allowed."""
    return key(
        meaning, default=default, allowed=f"a number of {unit} from {ge:g} to {le:g}", unit=unit, example=example,
        immutable=immutable, ge=ge, le=le,
    )  # fmt: skip


def _text(value: object, allowed: str, remedy: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(allowed, remedy)
    return value


def _pattern(pattern: str, allowed: str, remedy: str) -> PlainValidator:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        text = _text(value, allowed, remedy)
        if not compiled.fullmatch(text):
            raise wrong(allowed, remedy)
        return text

    return PlainValidator(check)


def _string_schema(pattern: str = "", **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **({"pattern": f"^(?:{pattern})$"} if pattern else {}), **more})


_SLUG = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
_USER = r"[a-z0-9][a-z0-9._@+-]{0,62}"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"(?:{_LABEL}\.)*{_LABEL}"
_IMAGE_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_IMAGE_REF = r"[a-z0-9.-]+(?::\d+)?(?:/[a-z0-9._-]+)+(?::[\w.-]+)?@sha256:[0-9a-f]{64}"

Slug = Annotated[
    str,
    _pattern(_SLUG, "lower-case letters, digits and -, at most 40, such as data8", "write a short name such as `data8`"),
    _string_schema(_SLUG),
]
Title = Annotated[
    str,
    _pattern(
        r"[^\x00-\x1f]{1,120}", "text of 1 to 120 characters on one line", 'write it in quotes, such as "Data 8, Fall 2026"'
    ),
    _string_schema(minLength=1, maxLength=120),
]
Username = Annotated[
    str,
    _pattern(
        _USER,
        "a user name as people sign in with it, in lower case: letters, digits and . _ @ + -, at most 63",
        "write the sign-in name in lower case without spaces, such as `ada` or `ada@example.edu`",
    ),
    _string_schema(_USER),
]
HostName = Annotated[
    str,
    _pattern(
        _HOST, "a host name or address, without https://, port or path", "write only the name, such as `hub0.example.edu`"
    ),
    _string_schema(_HOST),
]
Plain = Annotated[
    str,
    _pattern(r"[^\x00-\x1f]{1,500}", "text on one line", "write a text; put numbers in quotes"),
    _string_schema(minLength=1, maxLength=500),
]


def _domain(value: object) -> str:
    allowed = "the host name people type, with at least one dot, without https://, port or path"
    remedy = "write only the name, such as `hub.example.edu` (or `demo.localhost` on this machine)"
    text = _text(value, allowed, remedy)
    if not re.fullmatch(_HOST, text) or "." not in text or len(text) > 253 or text.rsplit(".", 1)[1].isdigit():
        raise wrong(allowed, remedy)
    return text


Domain = Annotated[str, PlainValidator(_domain), _string_schema(rf"(?:{_LABEL}\.)+{_LABEL}")]


def _date(value: object) -> date:
    allowed, remedy = "a day as YYYY-MM-DD", "write it as year-month-day, such as `2026-08-26`"
    text = _text(value, allowed, remedy)
    # Pulumi reads an unquoted YAML day as a moment and hands on midnight UTC.
    if not (match := re.fullmatch(r"(\d{4}-\d{2}-\d{2})(?:T00:00:00Z)?", text)):
        raise wrong(allowed, remedy)
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        raise wrong(allowed, f"there is no such day in the calendar; {remedy}") from None


def _time(value: object) -> time:
    allowed, remedy = "a time of day as HH:MM, 00:00 to 23:59", 'write it in 24 hours and in quotes, such as `"14:10"`'
    text = _text(value, allowed, remedy)
    if not re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d", text):
        raise wrong(allowed, remedy)
    return time.fromisoformat(text)


def _moment(value: object) -> datetime:
    allowed = "a day and time as YYYY-MM-DD HH:MM, in the term's timezone"
    remedy = 'write it in quotes and without an offset, such as `"2026-12-10 08:00"`'
    text = _text(value, allowed, remedy)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}", text):
        raise wrong(allowed, remedy)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise wrong(allowed, f"there is no such moment; {remedy}") from None


Day = Annotated[date, PlainValidator(_date), PlainSerializer(str), _string_schema(format="date")]
TimeOfDay = Annotated[
    time, PlainValidator(_time), PlainSerializer(lambda value: value.strftime("%H:%M")), _string_schema(r"[0-2]\d:[0-5]\d")
]
Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda value: value.strftime("%Y-%m-%d %H:%M")),
    _string_schema(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}"),
]


def _timezone(value: object) -> ZoneInfo:
    allowed = "a name from the IANA time zone database"
    remedy = "write it as Area/City, such as `America/Los_Angeles`"
    text = _text(value, allowed, remedy)
    zones = available_timezones()
    if text not in zones:
        meant = nearest(text, zones)
        raise wrong(allowed, f"did you mean `timezone: {meant}`? Else {remedy}" if meant else remedy)
    return ZoneInfo(text)


Timezone = Annotated[ZoneInfo, PlainValidator(_timezone), PlainSerializer(lambda zone: zone.key), _string_schema()]


def _network(value: object) -> IPv4Network:
    allowed = "an IPv4 network in CIDR form whose host bits are zero, such as 10.88.0.0/24"
    text = _text(value, allowed, "write it as address/prefix, such as `10.88.0.0/24`")
    if not re.fullmatch(r"[0-9.]+/\d+", text):
        raise wrong(allowed, "write it as address/prefix, such as `10.88.0.0/24`")
    try:
        return IPv4Network(text)
    except ValueError:
        pass
    try:
        meant = IPv4Network(text, strict=False)
    except ValueError:
        raise wrong(allowed, "each part of the address is 0 to 255 and the prefix 0 to 32, such as `10.88.0.0/24`") from None
    raise wrong(allowed, f"the address has bits set beyond /{meant.prefixlen}; write `{meant}` if that network is meant")


Cidr = Annotated[IPv4Network, PlainValidator(_network), PlainSerializer(str), _string_schema(r"[0-9.]+/\d{1,2}")]


def _address(value: object) -> str:
    allowed, remedy = "an IPv4 address", "write an address such as `127.0.0.1`"
    text = _text(value, allowed, remedy)
    try:
        return str(ip_address(text))
    except ValueError:
        raise wrong(allowed, remedy) from None


Address = Annotated[str, PlainValidator(_address), _string_schema()]


def _https_url(value: object) -> str:
    allowed, remedy = "an https:// URL without user name or password", "write the provider's address, beginning with https://"
    text = _text(value, allowed, remedy)
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and not re.search(r"\s", text)
    except ValueError:
        good = False
    if not good:
        raise wrong(allowed, remedy)
    return text


HttpsUrl = Annotated[str, PlainValidator(_https_url), _string_schema(r"https://\S+")]


def _repo(value: object) -> str:
    allowed = "the https:// (or git@host:path) address of a git repository, without user name, password or token in it"
    remedy = "write it as for `git clone`, such as `https://github.com/data-8/materials-fa26`"
    text = _text(value, allowed, remedy)
    if re.fullmatch(r"git@[a-z0-9.-]+:[\w./~-]+", text):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        raise wrong(allowed, remedy) from None
    if parts.username is not None or parts.password is not None:
        raise wrong(allowed, "take the credentials out of the URL: every student's server would see them")
    if parts.scheme != "https" or not parts.hostname or not parts.path.strip("/") or re.search(r"\s", text):
        raise wrong(allowed, remedy)
    return text


GitRepo = Annotated[str, PlainValidator(_repo), _string_schema()]


def _relative_path(value: object) -> str:
    allowed, remedy = "a path below the home folder, without .. and not beginning with /", "write a folder such as `data8`"
    text = _text(value, allowed, remedy)
    if text.startswith(("/", "~")) or ".." in text.split("/") or re.search(r"[\x00-\x1f\\]", text):
        raise wrong(allowed, remedy)
    return text.rstrip("/")


RelativePath = Annotated[str, PlainValidator(_relative_path), _string_schema()]


def _image(value: object) -> str:
    allowed = "a name in hubconfig/images, such as student, or a full reference pinned by digest (…@sha256:<64 hex digits>)"
    text = _text(value, allowed, "write `image: student`")
    if re.fullmatch(_IMAGE_NAME, text) or re.fullmatch(_IMAGE_REF, text):
        return text
    if "@" not in text and (":" in text or "/" in text):
        raise wrong(
            allowed,
            "a tag can point to something else tomorrow: pin the image by its digest, "
            f"`{text.split(':latest', maxsplit=1)[0]}@sha256:…` (`docker buildx imagetools inspect` or the registry's page shows it)",
        )
    if "@" in text:
        raise wrong(allowed, "write the registry's host, the path and all 64 hexadecimal digits of the digest")
    raise wrong(allowed, "write `image: student`")


Image = Annotated[str, PlainValidator(_image), _string_schema(f"{_IMAGE_NAME}|{_IMAGE_REF}")]


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
        if isinstance(value, dict) and set(value) == {"secure"} and isinstance(value["secure"], str) and value["secure"]:
            return cls()
        raise wrong(
            "a secret encrypted by Pulumi (`secure: …`)",
            "store it with `./hub pulumi config set --stack NAME --secret --path '{key}'`; "
            "if it stood in the file in the open, make a new one at the provider",
            value="not encrypted" if value else "empty",
        )
