"""Security groups: who may open a connection to whom. Every rule is a resource of its own, so a change shows as one line.

The machines' own packet filters (:mod:`components.node_agent.firewall`) say the same again from inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, vpc

from components.aws.scope import Scope
from components.cloud_nodes import HUB_API_PORT, SSH_PORT

EVERYWHERE = "0.0.0.0/0"
NOTEBOOK_PORT = 8888
"""Where a student's pod listens (Kubernetes)."""
PUBLISHED_PORTS = (10240, 65535)
"""Where a student's container is published on its node (Swarm): the agent's net.ipv4.ip_local_port_range."""
NFS_PORT = 2049


@dataclass(frozen=True)
class FirewallArgs:
    scope: Scope
    vpc_id: pulumi.Input[str]
    orchestrator: str
    admin_cidrs: Sequence[str]
    """Networks that may open SSH to the hub VM; without any, only SSM Session Manager leads there."""


class Firewall(pulumi.ComponentResource):
    """`hub`, `nodes`, `homes` and `endpoints`: ids of the groups. Machines depend on `rules`."""

    hub: pulumi.Output[str]
    nodes: pulumi.Output[str]
    homes: pulumi.Output[str]
    endpoints: pulumi.Output[str]
    rules: list[pulumi.Resource]

    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Firewall", name, None, opts)
        self._args, self.rules = args, []
        self.hub = self._group("hub", "Hub VM")
        self.nodes = self._group("nodes", "Machines of students' servers")
        self.homes = self._group("homes", "Mount targets of the homes")
        self.endpoints = self._group("endpoints", "Interface endpoints of AWS services")
        for port, what in ((80, "HTTP, answered with a redirect"), (443, "HTTPS")):
            self._in(f"hub-{port}", self.hub, what, "tcp", (port, port), cidr=EVERYWHERE)
        for cidr in args.admin_cidrs:
            self._in(
                f"hub-ssh-{cidr.replace('/', '-')}", self.hub, "SSH of admins", "tcp", (SSH_PORT, SSH_PORT), cidr=cidr
            )
        self._in("hub-api", self.hub, "Hub API", "tcp", (HUB_API_PORT, HUB_API_PORT), source=self.nodes)
        if args.orchestrator == "swarm":
            self._swarm()
        else:
            notebook = (NOTEBOOK_PORT, NOTEBOOK_PORT)
            self._in("nodes-notebooks", self.nodes, "Students' servers", "tcp", notebook, source=self.hub)
        for source_name, source in (("hub", self.hub), ("nodes", self.nodes)):
            self._in(
                f"homes-{source_name}", self.homes, f"NFS of {source_name}", "tcp", (NFS_PORT, NFS_PORT), source=source
            )
            self._in(
                f"endpoints-{source_name}", self.endpoints, f"HTTPS of {source_name}", "tcp", (443, 443), source=source
            )
            # Not one rule for every protocol: that is the rule EC2 gives each new group and the provider takes away. When taking
            # it away fails, the provider never tries again, and an equal rule of ours would be refused as a duplicate for good.
            for protocol in ("tcp", "udp"):
                self.rules.append(
                    vpc.SecurityGroupEgressRule(
                        f"{source_name}-out-{protocol}",
                        security_group_id=source,
                        description="Packages, git, web pages, names and time",
                        ip_protocol=protocol,
                        from_port=0,
                        to_port=65535,
                        cidr_ipv4=EVERYWHERE,
                        tags=args.scope.tagged(f"{source_name}-out-{protocol}"),
                        opts=pulumi.ResourceOptions(parent=self),
                    )
                )
        self.register_outputs({"hub": self.hub, "nodes": self.nodes, "homes": self.homes, "endpoints": self.endpoints})

    def _swarm(self) -> None:
        self._in("hub-swarm", self.hub, "Swarm manager", "tcp", (2377, 2377), source=self.nodes)
        for protocol in ("tcp", "udp"):
            gossip = (7946, 7946)
            self._in(f"hub-gossip-{protocol}", self.hub, "Swarm gossip", protocol, gossip, source=self.nodes)
            for name, source in (("hub", self.hub), ("nodes", self.nodes)):
                self._in(f"nodes-gossip-{protocol}-{name}", self.nodes, "Swarm gossip", protocol, gossip, source=source)
        self._in("nodes-notebooks", self.nodes, "Students' servers", "tcp", PUBLISHED_PORTS, source=self.hub)

    def _group(self, part: str, description: str) -> pulumi.Output[str]:
        # A prefix, not a name: a group that must be replaced exists beside its successor for a moment.
        return ec2.SecurityGroup(
            part,
            name_prefix=f"{self._args.scope.name(part)}-",
            description=description,
            vpc_id=self._args.vpc_id,
            tags=self._args.scope.tagged(part),
            opts=pulumi.ResourceOptions(parent=self),
        ).id

    def _in(
        self,
        name: str,
        group: pulumi.Output[str],
        what: str,
        protocol: str,
        ports: tuple[int, int],
        *,
        cidr: str | None = None,
        source: pulumi.Output[str] | None = None,
    ) -> None:
        self.rules.append(
            vpc.SecurityGroupIngressRule(
                name,
                security_group_id=group,
                description=what,
                ip_protocol=protocol,
                from_port=ports[0],
                to_port=ports[1],
                cidr_ipv4=cidr,
                referenced_security_group_id=source,
                tags=self._args.scope.tagged(name),
                opts=pulumi.ResourceOptions(parent=self),
            )
        )
