"""Doors to AWS services inside the VPC: secrets, images and the hub's bundle never cross the internet.

The S3 gateway is free. Each interface endpoint costs about 7 USD a month and zone, so only those are made that the
machines really talk to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from components.aws.scope import Scope
from components.cloud_sizes import aws_endpoints


@dataclass(frozen=True)
class EndpointsArgs:
    scope: Scope
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    route_table_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    orchestrator: str


class Endpoints(pulumi.ComponentResource):
    """`ids`: service -> endpoint."""

    ids: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Endpoints", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        prefix = "cn.com.amazonaws" if scope.partition == "aws-cn" else "com.amazonaws"
        gateway = ec2.VpcEndpoint(
            "s3",
            vpc_id=args.vpc_id,
            service_name=f"com.amazonaws.{scope.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=args.route_table_ids,
            tags=scope.tagged("s3"),
            opts=child,
        )
        self.ids = {"s3": gateway.id}
        for service in aws_endpoints(args.orchestrator):
            self.ids[service] = ec2.VpcEndpoint(
                service,
                vpc_id=args.vpc_id,
                service_name=f"{prefix}.{scope.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=args.subnet_ids,
                security_group_ids=[args.security_group_id],
                tags=scope.tagged(service),
                opts=child,
            ).id
        self.register_outputs({"ids": self.ids})
