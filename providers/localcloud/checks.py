"""Checks of single inputs that several resource types share. Each returns what is wrong and what to do, or None."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def name(value: str) -> str | None:
    """A part of a Docker object's name, and a machine's hostname."""
    if _NAME.fullmatch(value) and not value.endswith("-"):
        return None
    return (
        f"{value!r} is not a name: use at most 40 small letters, digits and hyphens, "
        "beginning with a letter and not ending with a hyphen."
    )


def cidr(value: str) -> str | None:
    """A private IPv4 network that a Docker bridge can have."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        return f"{value!r} is not an IPv4 network in CIDR notation ({error}); write for example 10.88.0.0/24."
    if not network.is_private or network.is_loopback or network.is_link_local:
        return f"{value} is not a private network; take one inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
    if not 16 <= network.prefixlen <= 28:
        return f"{value} has {network.num_addresses} addresses; take a prefix from /16 to /28."
    return None


def ip(value: str) -> str | None:
    """One IPv4 address."""
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return f"{value!r} is not an IPv4 address; write for example 10.88.0.10."
    return None


def port(value: int) -> str | None:
    """A TCP port."""
    return None if 1 <= value <= 65535 else f"{value} is not a TCP port; allowed are 1 to 65535."


def at_least(minimum: float, unit: str) -> Callable[[float], str | None]:
    """A check for a lower bound."""

    def check(value: float) -> str | None:
        return None if value >= minimum else f"{value:g} {unit} is too little; at least {minimum:g} {unit}."

    return check


def absolute_path(value: str) -> str | None:
    """A path inside a machine."""
    if value.startswith("/") and value != "/" and ".." not in value.split("/"):
        return None
    return f"{value!r} must be an absolute path inside the machine, such as /srv/semesterhub/homes."
