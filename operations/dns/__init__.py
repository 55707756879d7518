"""The hub's name at the provider that the stack file names: looked at, switched and read back.

    open_dns(semester, "fa16").switch(["192.0.2.10"], ttl_s=60)

Nothing here needs Pulumi or the cloud that the hub was on: a failover switches the name when both are away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.dns.model import Dns, DnsError, Seen, Switched

if TYPE_CHECKING:
    from components.semester import Semester

__all__ = ["Dns", "DnsError", "Seen", "Switched", "open_dns"]


def open_dns(semester: Semester, stack: str, *, endpoint: str = "") -> Dns:
    """The name `domain` at the provider of `fallback.dns`. `endpoint`: an emulator of the provider instead.

    Nobody is asked yet. Raises DnsError when the stack file names no provider.
    """
    settings = semester.fallback.dns if semester.fallback else None
    if settings is None:
        raise DnsError(
            f"stack '{stack}' names no provider for {semester.domain}: write semesterhub:fallback.dns, or switch the name by hand"
        )
    # Only the chosen provider's library: boto3 alone costs a third of a second.
    if settings.provider == "rfc2136":
        from operations.dns.rfc2136 import Rfc2136
        from operations.dns.tsig import tsig_key
        from operations.dns.wire import Server

        server = Server(settings.server, settings.port)
        return Rfc2136(semester.domain, settings.zone, server, lambda: tsig_key(settings, stack))
    if settings.provider == "route53":
        from operations.dns.route53 import Route53

        return Route53.of(semester, settings, endpoint)
    from operations.dns.azure import AzureZone

    return AzureZone.of(semester, settings, endpoint)
