"""Where a class of synthetic students is sent: the hub's address, its certificate, the login, the machines to measure.

A load run starts dozens of servers, so it must never reach a hub by mistake: only addresses of this machine are
accepted, unless the caller says in so many words that the hub is theirs.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from operations.errors import UserError


@dataclass(frozen=True)
class Target:
    """One hub, and everything needed to send a class there."""

    name: str
    """What the run is called in tables and folders: the stack's name, or `naive`."""
    hub_url: str
    student_password: str
    ca_certificate: str = ""
    """PEM text of the root that signed the hub's certificate; empty means the system's own roots."""
    machines: tuple[str, ...] = ()
    """Docker names of the machine containers in which student servers, hub and proxy are measured."""
    short_names: tuple[tuple[str, str], ...] = ()
    """(docker name, name shown in tables) of the machines."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """The certificate check of the run: always on for https."""
        if urlsplit(self.hub_url).scheme != "https":
            return None
        return ssl.create_default_context(cadata=self.ca_certificate or None)

    def shown(self, machine: str) -> str:
        return dict(self.short_names).get(machine, machine)


def is_this_machine(host: str) -> bool:
    """True for loopback addresses, `localhost` and every name below it (RFC 6761 keeps `.localhost` on the machine)."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_foreign(hub_url: str, i_own_this_hub: bool = False) -> None:
    """Raise UserError unless `hub_url` is on this machine or the caller vouches for it."""
    parts = urlsplit(hub_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserError(f"hub_url: {hub_url!r} is not a web address; allowed: https://<host>[:port]")
    if i_own_this_hub or is_this_machine(parts.hostname):
        return
    raise UserError(
        f"hub_url: {hub_url} is not on this machine. A load run logs in dozens of students and starts their servers, "
        "so it only goes to loopback addresses and *.localhost. If the hub is yours and nobody is in class, "
        "add --i-own-this-hub."
    )
