"""The semester's VPC: two public and two private subnets in two zones, ways out, and a log of all flows.

One NAT gateway, in the hub VM's zone: the hub has one fixed address in that zone anyway, so a second gateway would
double the price without making the class survive the loss of the zone (that is what the fallback is for).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, ec2, iam

from components.aws import policies
from components.aws.scope import Scope
from components.plan import SubnetPlan

FLOW_LOG_RETENTION_DAYS = 90
"""Long enough to look into an incident after a term's break."""
EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class NetworkArgs:
    scope: Scope
    cidr: str
    subnets: SubnetPlan
    zones: Sequence[str]
    """Two availability zones; the first one holds the hub VM and the NAT gateway."""
    key_arn: pulumi.Input[str]
    kubernetes: bool
    """Subnets carry the tags by which Kubernetes finds them."""


class Network(pulumi.ComponentResource):
    """`vpc_id`, `public_subnet_ids`, `private_subnet_ids`, `route_table_ids` (public first) and `zones`."""

    vpc_id: pulumi.Output[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]
    route_table_ids: list[pulumi.Output[str]]
    routes_out: list[pulumi.Resource]
    """What must be there before a machine can reach the internet, and go only after it."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Network", name, None, opts)
        self._scope, self._child = args.scope, pulumi.ResourceOptions(parent=self)
        vpc = ec2.Vpc(
            "vpc",
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,  # EFS and the interface endpoints are found by name
            tags=args.scope.tagged("vpc"),
            opts=self._child,
        )
        self.vpc_id = vpc.id
        # Nothing uses the VPC's own group; adopted without any rule, it cannot be used by mistake either.
        ec2.DefaultSecurityGroup("default", vpc_id=vpc.id, tags=args.scope.tagged("default-unused"), opts=self._child)
        gateway = ec2.InternetGateway("internet", vpc_id=vpc.id, tags=args.scope.tagged("internet"), opts=self._child)
        public = self._subnets(args, "public", args.subnets.public)
        private = self._subnets(args, "private", args.subnets.private)
        self.public_subnet_ids = [subnet.id for subnet in public]
        self.private_subnet_ids = [subnet.id for subnet in private]
        to_internet = self._routes("public", public)
        out = ec2.Route(
            "public-out",
            route_table_id=to_internet.id,
            destination_cidr_block=EVERYWHERE,
            gateway_id=gateway.id,
            opts=self._child,
        )
        address = ec2.Eip(
            "nat",
            domain="vpc",
            tags=args.scope.tagged("nat"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway]),
        )
        nat = ec2.NatGateway(
            "nat",
            allocation_id=address.allocation_id,
            subnet_id=public[0].id,
            tags=args.scope.tagged("nat"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway]),
        )
        inside = self._routes("private", private)
        nat_out = ec2.Route(
            "private-out",
            route_table_id=inside.id,
            destination_cidr_block=EVERYWHERE,
            nat_gateway_id=nat.id,
            opts=self._child,
        )
        self.route_table_ids = [to_internet.id, inside.id]
        self.routes_out = [out, nat_out]
        self._flow_log(args)
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
            }
        )

    def _subnets(self, args: NetworkArgs, kind: str, cidrs: Sequence[object]) -> list[ec2.Subnet]:
        balancers = "kubernetes.io/role/elb" if kind == "public" else "kubernetes.io/role/internal-elb"
        return [
            ec2.Subnet(
                f"{kind}-{number}",
                vpc_id=self.vpc_id,
                cidr_block=str(cidr),
                availability_zone=zone,
                map_public_ip_on_launch=False,  # the hub VM has an address of its own; nothing else is public
                tags={**args.scope.tagged(f"{kind}-{number}"), **({balancers: "1"} if args.kubernetes else {})},
                opts=self._child,
            )
            for number, (cidr, zone) in enumerate(zip(cidrs, args.zones, strict=True), start=1)
        ]

    def _routes(self, kind: str, subnets: Sequence[ec2.Subnet]) -> ec2.RouteTable:
        table = ec2.RouteTable(kind, vpc_id=self.vpc_id, tags=self._scope.tagged(kind), opts=self._child)
        for number, subnet in enumerate(subnets, start=1):
            ec2.RouteTableAssociation(
                f"{kind}-{number}", route_table_id=table.id, subnet_id=subnet.id, opts=self._child
            )
        return table

    def _flow_log(self, args: NetworkArgs) -> None:
        scope = args.scope
        group = cloudwatch.LogGroup(
            "flow",
            name=f"{scope.parameters}/flow",
            retention_in_days=FLOW_LOG_RETENTION_DAYS,
            kms_key_id=args.key_arn,
            tags=scope.tagged("flow"),
            opts=self._child,
        )
        role = iam.Role(
            "flow",
            name=scope.name("flow-logs"),
            description="Writes the VPC's flow log",
            assume_role_policy=pulumi.Output.json_dumps(
                policies.assumed_by("vpc-flow-logs.amazonaws.com", policies.own_account(scope))
            ),
            tags=scope.tagged("flow-logs"),
            opts=self._child,
        )
        rights = iam.RolePolicy(
            "flow",
            name="write",
            role=role.name,
            policy=pulumi.Output.json_dumps(policies.flow_logs(group.arn)),
            opts=self._child,
        )
        ec2.FlowLog(
            "flow",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,
            tags=scope.tagged("flow"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
        )
