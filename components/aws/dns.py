"""The hub's name, and a look at it from outside.

The zone is the one of `fallback.dns` when that is Route 53. Without a `fallback.dns` the stack has a zone of its own for
the hub's name, whose `name_servers` the campus delegates to once. With another provider the name is made there.

Where the name can be switched (`fallback.dns`), `up` makes the record and never changes it: each `up` looks first at what is
really there, and would lead the class away from the fallback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import route53

from components.aws.scope import Scope
from components.semester import Semester

TTL_S = 60
"""How long a resolver may send students to a hub that has moved."""
HEALTH_PATH = "/hub/health"
INTERVAL_S, FAILURES = 30, 3


@dataclass(frozen=True)
class DnsArgs:
    scope: Scope
    semester: Semester
    public_ip: pulumi.Input[str]
    ask: pulumi.InvokeOptions


class Dns(pulumi.ComponentResource):
    """`health_check_id`; `name_servers` of a zone of the stack's own, else None."""

    health_check_id: pulumi.Output[str]
    name_servers: pulumi.Output[Sequence[str]] | None

    def __init__(self, name: str, args: DnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Dns", name, None, opts)
        scope, semester, child = args.scope, args.semester, pulumi.ResourceOptions(parent=self)
        self.name_servers = None
        elsewhere = semester.fallback.dns if semester.fallback else None
        zone_id: pulumi.Input[str] | None = None
        ttl_s, switched = TTL_S, child
        if elsewhere is None:
            zone = route53.Zone(
                "zone",
                name=semester.domain,
                comment=f"The hub of {scope.name('*')}",
                tags=scope.tagged("zone"),
                opts=child,
            )
            zone_id, self.name_servers = zone.zone_id, zone.name_servers
        elif elsewhere.provider == "route53":
            zone_id = route53.get_zone(name=elsewhere.zone, opts=args.ask).zone_id
            ttl_s = elsewhere.ttl_s
            switched = pulumi.ResourceOptions(parent=self, ignore_changes=["records", "ttl"])
        if zone_id is not None:
            route53.Record(
                "hub",
                zone_id=zone_id,
                name=semester.domain,
                type="A",
                ttl=ttl_s,
                records=[args.public_ip],
                opts=switched,
            )
        self.health_check_id = route53.HealthCheck(
            "hub",
            type="HTTPS",
            fqdn=semester.domain,
            port=443,
            resource_path=HEALTH_PATH,
            enable_sni=True,
            request_interval=INTERVAL_S,
            failure_threshold=FAILURES,
            tags=scope.tagged("hub"),
            opts=child,
        ).id
        self.register_outputs({"health_check_id": self.health_check_id})
