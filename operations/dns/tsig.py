"""The TSIG key of a campus DNS server: from the server's own key file, or encrypted in the stack file.

The value never leaves this process: it is in no argument, log, error or `repr`.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from operations.dns.model import DnsError

if TYPE_CHECKING:
    from components.semester_access import Rfc2136Dns

_KEY = re.compile(r'key\s+"?(?P<name>[\w.-]+)"?\s*\{(?P<body>[^}]*)\}\s*;', re.DOTALL)
_FIELD = re.compile(r'(?P<name>algorithm|secret)\s+"?(?P<value>[\w.+/=-]+)"?\s*;')
_COMMENT = re.compile(r"(?m)(//|#).*$|/\*.*?\*/")


@dataclass(frozen=True)
class TsigKey:
    """Name, algorithm and bytes of a key."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)


def tsig_key(dns: Rfc2136Dns, stack: str) -> TsigKey:
    """The key that the stack file names. Raises DnsError."""
    if dns.key_file is not None:
        return from_file(Path(dns.key_file).expanduser(), dns.key_name, dns.key_algorithm)
    return TsigKey(dns.key_name, dns.key_algorithm, _bytes(_from_stack(stack), "semesterhub:fallback.dns.key_secret"))


def from_file(path: Path, name: str, algorithm: str) -> TsigKey:
    """The key of that name in a file as `tsig-keygen` writes it, which only its owner may read. Raises DnsError."""
    if not path.is_absolute():
        from operations.paths import ROOT

        path = ROOT / path
    try:
        mode = path.stat().st_mode
        text = _COMMENT.sub("", path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise DnsError(
            f"semesterhub:fallback.dns.key_file: {path}: {reason}. Put the key there as `tsig-keygen {name}` on the DNS server "
            "writes it"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise DnsError(
            f"{path} may be read by others than its owner (mode {stat.S_IMODE(mode):04o}), and whoever has this key can move the "
            f"hub's name: chmod 600 {path}"
        )
    keys = {found["name"].rstrip(".").lower(): found["body"] for found in _KEY.finditer(text)}
    if name.rstrip(".").lower() not in keys:
        there = f"holds {', '.join(sorted(keys))}" if keys else "holds no key"
        raise DnsError(
            f"{path} {there}, not {name}: correct semesterhub:fallback.dns.key_name, or put the key there as `tsig-keygen {name}` "
            "writes it"
        )
    fields = {found["name"]: found["value"] for found in _FIELD.finditer(keys[name.rstrip(".").lower()])}
    if fields.get("algorithm", "").rstrip(".").lower() != algorithm:
        raise DnsError(
            f"the key {name} in {path} is for {fields.get('algorithm', 'no algorithm')}, the stack file says {algorithm}: write what "
            "the file says as semesterhub:fallback.dns.key_algorithm"
        )
    return TsigKey(name, algorithm, _bytes(fields.get("secret", ""), str(path)))


def _bytes(text: str, where: str) -> bytes:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value:
        raise DnsError(f"{where} holds no TSIG key: it is base64, as `tsig-keygen` writes it after `secret`")
    return value


def _from_stack(stack: str) -> str:
    """The decrypted value. Needs what decrypts the stack's secrets, and of other backends than file:// the backend."""
    from operations import setup
    from operations.engine import Pulumi
    from operations.errors import UserError

    try:
        return Pulumi(stack, setup.pulumi().folder).secret("semesterhub:fallback.dns.key_secret")
    except UserError as error:
        raise DnsError(
            f"semesterhub:fallback.dns.key_secret cannot be decrypted: {error}. With `key_file` instead the name can be switched "
            "without Pulumi"
        ) from None
