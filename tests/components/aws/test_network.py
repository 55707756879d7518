"""The network of a semester on AWS: addresses, ways in and out, and who may open a connection to whom."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from tests.components.aws import program as programs
from tests.components.aws.program import Program

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])


def rules(program: Program) -> set[tuple[str, str, str, str, int, int]]:
    """(direction, group, peer, protocol, first port, last port) of every rule."""
    found = set()
    for direction in ("Ingress", "Egress"):
        for rule in program.of_type(f"vpc.SecurityGroup{direction}Rule").values():
            peer = rule.get("cidrIpv4") or rule["referencedSecurityGroupId"]
            ports = (int(rule.get("fromPort", -1)), int(rule.get("toPort", -1)))
            found.add((direction, rule["securityGroupId"], peer, rule["ipProtocol"], *ports))
    return found


@BOTH
def test_two_public_and_two_private_subnets_lie_in_the_first_two_zones_by_name(program: Any) -> None:
    made = program()
    assert made["ec2.Vpc/vpc"]["cidrBlock"] == "10.20.0.0/16"
    subnets = {name: (s["cidrBlock"], s["availabilityZone"]) for name, s in made.of_type("ec2.Subnet").items()}
    assert subnets == {
        "public-1": ("10.20.0.0/19", "us-west-2a"),
        "public-2": ("10.20.32.0/19", "us-west-2b"),
        "private-1": ("10.20.128.0/18", "us-west-2a"),
        "private-2": ("10.20.192.0/18", "us-west-2b"),
    }
    assert all(not s["mapPublicIpOnLaunch"] and s["vpcId"] == "Vpc:vpc" for s in made.of_type("ec2.Subnet").values())


@BOTH
def test_private_subnets_go_out_through_the_nat_and_public_ones_through_the_gateway(program: Any) -> None:
    made = program()
    routes = made.of_type("ec2.Route")
    assert {name: (r["routeTableId"], r.get("gatewayId"), r.get("natGatewayId")) for name, r in routes.items()} == {
        "public-out": ("RouteTable:public", "InternetGateway:internet", None),
        "private-out": ("RouteTable:private", None, "NatGateway:nat"),
    }
    joined = {(a["subnetId"], a["routeTableId"]) for a in made.of_type("ec2.RouteTableAssociation").values()}
    assert joined == {(f"Subnet:{kind}-{n}", f"RouteTable:{kind}") for kind in ("public", "private") for n in (1, 2)}
    assert made["ec2.NatGateway/nat"]["subnetId"] == "Subnet:public-1", "beside the hub VM"
    assert "ec2.InternetGateway/internet" in made.waits_for("ec2.NatGateway/nat")


def test_swarm_opens_exactly_these_ports() -> None:
    hub, nodes, homes, endpoints = (f"SecurityGroup:{name}" for name in ("hub", "nodes", "homes", "endpoints"))
    assert rules(programs.swarm()) == {
        ("Ingress", hub, "0.0.0.0/0", "tcp", 80, 80),
        ("Ingress", hub, "0.0.0.0/0", "tcp", 443, 443),
        ("Ingress", hub, "192.0.2.0/24", "tcp", 22, 22),
        ("Ingress", hub, nodes, "tcp", 8081, 8081),
        ("Ingress", hub, nodes, "tcp", 2377, 2377),
        ("Ingress", hub, nodes, "tcp", 7946, 7946),
        ("Ingress", hub, nodes, "udp", 7946, 7946),
        ("Ingress", nodes, hub, "tcp", 7946, 7946),
        ("Ingress", nodes, hub, "udp", 7946, 7946),
        ("Ingress", nodes, nodes, "tcp", 7946, 7946),
        ("Ingress", nodes, nodes, "udp", 7946, 7946),
        ("Ingress", nodes, hub, "tcp", 10240, 65535),
        ("Ingress", homes, hub, "tcp", 2049, 2049),
        ("Ingress", homes, nodes, "tcp", 2049, 2049),
        ("Ingress", endpoints, hub, "tcp", 443, 443),
        ("Ingress", endpoints, nodes, "tcp", 443, 443),
        ("Egress", hub, "0.0.0.0/0", "tcp", 0, 65535),
        ("Egress", hub, "0.0.0.0/0", "udp", 0, 65535),
        ("Egress", nodes, "0.0.0.0/0", "tcp", 0, 65535),
        ("Egress", nodes, "0.0.0.0/0", "udp", 0, 65535),
    }


def test_published_ports_are_those_that_the_node_agent_lets_docker_use() -> None:
    from components.aws.firewall import PUBLISHED_PORTS
    from components.node_agent.boot import SYSCTLS

    assert SYSCTLS["net.ipv4.ip_local_port_range"].split() == [str(port) for port in PUBLISHED_PORTS]


def test_without_admin_networks_nobody_reaches_ssh() -> None:
    closed = programs.run(programs.semester(network={"cidr": "10.20.0.0/16"}))
    assert not [rule for rule in rules(closed) if rule[0] == "Ingress" and rule[4] <= 22 <= rule[5]]


@BOTH
def test_nothing_but_the_web_is_open_to_the_world(program: Any) -> None:
    open_to_all = {rule for rule in rules(program()) if rule[0] == "Ingress" and rule[2].endswith("/0")}
    assert {(group, first, last) for _, group, _, _, first, last in open_to_all} == {
        ("SecurityGroup:hub", 80, 80), ("SecurityGroup:hub", 443, 443),
    }  # fmt: skip


@BOTH
def test_groups_hold_no_rules_of_their_own_and_the_vpcs_default_group_holds_none(program: Any) -> None:
    made = program()
    for group in made.of_type("ec2.SecurityGroup").values():
        assert not {"ingress", "egress"} & set(group) and group["vpcId"] == "Vpc:vpc" and group["description"]
    assert set(made["ec2.DefaultSecurityGroup/default"]) == {"vpcId", "tags"}


@BOTH
def test_the_services_that_machines_talk_to_are_reached_inside_the_vpc(program: Any) -> None:
    made = program()
    endpoints = made.of_type("ec2.VpcEndpoint")
    own = {"swarm": {"autoscaling"}, "kubernetes": {"sts"}}[made.semester.orchestrator]
    assert set(endpoints) == {"s3", "ssm", "ssmmessages", "ecr.api", "ecr.dkr", *own}
    assert endpoints["s3"]["vpcEndpointType"] == "Gateway"
    assert set(endpoints["s3"]["routeTableIds"]) == {"RouteTable:public", "RouteTable:private"}
    for name, endpoint in endpoints.items():
        assert endpoint["serviceName"] == f"com.amazonaws.us-west-2.{name}" and endpoint["vpcId"] == "Vpc:vpc"
        if name != "s3":
            assert endpoint["vpcEndpointType"] == "Interface" and endpoint["privateDnsEnabled"] is True
            assert endpoint["subnetIds"] == ["Subnet:private-1", "Subnet:private-2"]
            assert endpoint["securityGroupIds"] == ["SecurityGroup:endpoints"]


@BOTH
def test_every_flow_is_logged_into_an_encrypted_group_by_a_role_that_can_do_nothing_else(program: Any) -> None:
    made = program()
    flow = made["ec2.FlowLog/flow"]
    assert (flow["vpcId"], flow["trafficType"], flow["logDestination"]) == ("Vpc:vpc", "ALL", "arn:LogGroup:flow")
    group = made["cloudwatch.LogGroup/flow"]
    assert (
        group["name"] == "/semesterhub/fa26/flow"
        and group["kmsKeyId"] == "arn:Key:key"
        and group["retentionInDays"] == 90
    )
    assert programs.statements(made["iam.RolePolicy/flow"]["policy"]) == {
        "WriteFlowLogs": (
            {"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"}, {"arn:LogGroup:flow:*"},
        )
    }  # fmt: skip
    assert "iam.RolePolicy/flow" in made.waits_for("ec2.FlowLog/flow")


@BOTH
def test_only_kubernetes_marks_the_subnets_for_load_balancers(program: Any) -> None:
    made = program()
    marked = {
        name for name, s in made.of_type("ec2.Subnet").items() if any("kubernetes.io" in key for key in s["tags"])
    }
    assert marked == (set(made.of_type("ec2.Subnet")) if made.semester.orchestrator == "kubernetes" else set())


def test_the_subnets_are_the_plans() -> None:
    made = programs.swarm()
    assert made.plan.subnets is not None
    cidrs = {IPv4Network(s["cidrBlock"]) for s in made.of_type("ec2.Subnet").values()}
    assert cidrs == {*made.plan.subnets.public, *made.plan.subnets.private}
