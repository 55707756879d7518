"""VPC, subnets, routes, gateways, endpoints, flow logs."""

from __future__ import annotations

import zlib
from typing import Any

from sandbox.aws.spec import ID, PROVIDER_DOCS, Call, In, Look, Spec, Update
from sandbox.aws.types.common import EC2_TAGS, ask, ec2_arn, ec2_tags, in_use


def _default_of_vpc(operation: str, path: str, **extra: Any) -> Any:
    def find(_shown: Any, scope: Any) -> Any:
        filters = [{"Name": "vpc-id", "Values": [scope.id]}, *({"Name": k, "Values": [v]} for k, v in extra.items())]
        return ask(scope, "ec2", operation, path, Filters=filters)

    return find


def _attribute(name: str) -> Look:
    return Look(
        Call("ec2", "describe_vpc_attribute", {"VpcId": ID, "Attribute": name}),
        f"{name[0].upper()}{name[1:]}.Value",
        under=name,
    )


def _set_attribute(name: str) -> Update:
    value = {"VpcId": ID, f"{name[0].upper()}{name[1:]}": lambda s: {"Value": bool(s.inputs.get(name))}}
    return Update(name, (Call("ec2", "modify_vpc_attribute", value),), create=True)


VPC = Spec(
    type="aws:ec2/vpc:Vpc",
    docs=PROVIDER_DOCS + "vpc",
    create=Call("ec2", "create_vpc", ec2_tags("vpc"), take="cidrBlock instanceTenancy"),
    id="Vpc.VpcId",
    looks=(
        Look(Call("ec2", "describe_vpcs", {"VpcIds": [ID]}, missing=("InvalidVpcID.NotFound",)), "Vpcs[0]"),
        _attribute("enableDnsSupport"),
        _attribute("enableDnsHostnames"),
    ),
    updates=(_set_attribute("enableDnsSupport"), _set_attribute("enableDnsHostnames")),
    delete=Call("ec2", "delete_vpc", {"VpcId": ID}),
    tagging=EC2_TAGS,
    force_new="cidrBlock instanceTenancy",
    outputs={
        "arn": ec2_arn("vpc"),
        "defaultSecurityGroupId": _default_of_vpc(
            "describe_security_groups", "SecurityGroups[0].GroupId", **{"group-name": "default"}
        ),
        "mainRouteTableId": _default_of_vpc(
            "describe_route_tables", "RouteTables[0].RouteTableId", **{"association.main": "true"}
        ),
        "defaultNetworkAclId": _default_of_vpc("describe_network_acls", "NetworkAcls[0].NetworkAclId", default="true"),
    },
    computed="instanceTenancy",
)

SUBNET = Spec(
    type="aws:ec2/subnet:Subnet",
    docs=PROVIDER_DOCS + "subnet",
    create=Call("ec2", "create_subnet", ec2_tags("subnet"), take="vpcId cidrBlock availabilityZone"),
    id="Subnet.SubnetId",
    looks=(Look(Call("ec2", "describe_subnets", {"SubnetIds": [ID]}), "Subnets[0]"),),
    updates=(
        Update(
            "mapPublicIpOnLaunch",
            (
                Call(
                    "ec2",
                    "modify_subnet_attribute",
                    {
                        "SubnetId": ID,
                        "MapPublicIpOnLaunch": lambda s: {"Value": bool(s.inputs.get("mapPublicIpOnLaunch"))},
                    },
                ),
            ),
            create=True,
        ),
    ),
    delete=Call("ec2", "delete_subnet", {"SubnetId": ID}),
    tagging=EC2_TAGS,
    force_new="vpcId cidrBlock availabilityZone",
    outputs={"arn": ec2_arn("subnet")},
    computed="availabilityZone availabilityZoneId",
    refuse_delete=(
        in_use(
            "subnet",
            lambda s: ask(
                s,
                "ec2",
                "describe_network_interfaces",
                "NetworkInterfaces[].NetworkInterfaceId",
                Filters=[{"Name": "subnet-id", "Values": [s.id]}],
            ),
        ),
        in_use(
            "subnet",
            lambda s: ask(
                s,
                "ec2",
                "describe_instances",
                "Reservations[].Instances[?State.Name!='terminated'][].InstanceId",
                Filters=[{"Name": "subnet-id", "Values": [s.id]}],
            ),
        ),
    ),
)


def _attached_vpc(scope: Any) -> Any:
    path = "InternetGateways[0].Attachments[0].VpcId"
    return ask(scope, "ec2", "describe_internet_gateways", path, InternetGatewayIds=[scope.id])


def _detach(scope: Any) -> None:
    if attached := _attached_vpc(scope):
        scope.api.call(
            "ec2", "detach_internet_gateway", {"InternetGatewayId": scope.id, "VpcId": attached}, scope.region
        )


INTERNET_GATEWAY = Spec(
    type="aws:ec2/internetGateway:InternetGateway",
    docs=PROVIDER_DOCS + "internet_gateway",
    create=Call("ec2", "create_internet_gateway", ec2_tags("internet-gateway")),
    id="InternetGateway.InternetGatewayId",
    looks=(Look(Call("ec2", "describe_internet_gateways", {"InternetGatewayIds": [ID]}), "InternetGateways[0]"),),
    updates=(
        Update(
            "vpcId",
            (
                _detach,
                Call("ec2", "attach_internet_gateway", {"InternetGatewayId": ID, "VpcId": In("vpcId")}, when="vpcId"),
            ),
            create=True,
        ),
    ),
    before_delete=(_detach,),
    delete=Call("ec2", "delete_internet_gateway", {"InternetGatewayId": ID}),
    tagging=EC2_TAGS,
    seen={"vpcId": "Attachments[0].VpcId"},
    outputs={"arn": ec2_arn("internet-gateway")},
)


ROUTE_TABLE = Spec(
    type="aws:ec2/routeTable:RouteTable",
    docs=PROVIDER_DOCS + "route_table",
    create=Call("ec2", "create_route_table", ec2_tags("route-table"), take="vpcId"),
    id="RouteTable.RouteTableId",
    looks=(Look(Call("ec2", "describe_route_tables", {"RouteTableIds": [ID]}), "RouteTables[0]"),),
    delete=Call("ec2", "delete_route_table", {"RouteTableId": ID}),
    tagging=EC2_TAGS,
    force_new="vpcId",
    outputs={"arn": ec2_arn("route-table")},
)

_ROUTE_TARGETS = "gatewayId natGatewayId networkInterfaceId transitGatewayId vpcEndpointId"


def _route(answer: Any, scope: Any) -> Any:
    wanted = scope.inputs.get("destinationCidrBlock") or scope.state.get("destinationCidrBlock")
    return next(
        (r for t in answer["RouteTables"] for r in t["Routes"] if r.get("DestinationCidrBlock") == wanted), None
    )


def _route_id(_answer: Any, scope: Any) -> str:
    checksum = zlib.crc32(scope.inputs["destinationCidrBlock"].encode())
    return f"r-{scope.inputs['routeTableId']}{checksum}"


ROUTE = Spec(
    type="aws:ec2/route:Route",
    docs=PROVIDER_DOCS + "route",
    create=Call("ec2", "create_route", take=f"routeTableId destinationCidrBlock {_ROUTE_TARGETS}"),
    # As the official provider: the table and a checksum of the destination.
    id=_route_id,
    looks=(Look(Call("ec2", "describe_route_tables", {"RouteTableIds": [In("routeTableId")]}), _route),),
    updates=(
        Update(
            _ROUTE_TARGETS, (Call("ec2", "replace_route", take=f"routeTableId destinationCidrBlock {_ROUTE_TARGETS}"),)
        ),
    ),
    delete=Call(
        "ec2",
        "delete_route",
        take="routeTableId destinationCidrBlock",
        missing=("InvalidRoute.NotFound", "InvalidRouteTableID.NotFound"),
    ),
    force_new="routeTableId destinationCidrBlock",
    outputs={"state": "State", "origin": "Origin"},
)


def _association(answer: Any, scope: Any) -> Any:
    for table in answer["RouteTables"]:
        for made in table["Associations"]:
            if made["RouteTableAssociationId"] == scope.id:
                return {**made, "RouteTableId": table["RouteTableId"]}
    return None


ROUTE_TABLE_ASSOCIATION = Spec(
    type="aws:ec2/routeTableAssociation:RouteTableAssociation",
    docs=PROVIDER_DOCS + "route_table_association",
    create=Call("ec2", "associate_route_table", take="routeTableId subnetId gatewayId"),
    id="AssociationId",
    looks=(
        Look(
            Call(
                "ec2",
                "describe_route_tables",
                {"Filters": [{"Name": "association.route-table-association-id", "Values": [ID]}]},
            ),
            _association,
        ),
    ),
    delete=Call("ec2", "disassociate_route_table", {"AssociationId": ID}),
    # The official one replaces the table in place and so gets another id; here that is a replacement.
    force_new="routeTableId subnetId gatewayId",
)

EIP = Spec(
    type="aws:ec2/eip:Eip",
    docs=PROVIDER_DOCS + "eip",
    create=Call("ec2", "allocate_address", ec2_tags("elastic-ip"), take="domain"),
    id="AllocationId",
    looks=(Look(Call("ec2", "describe_addresses", {"AllocationIds": [ID]}), "Addresses[0]"),),
    delete=Call("ec2", "release_address", {"AllocationId": ID}),
    tagging=EC2_TAGS,
    force_new="domain",
    outputs={
        "arn": ec2_arn("elastic-ip"),
        "allocationId": "{id}",
        "publicDns": lambda a: f"ec2-{a['PublicIp'].replace('.', '-')}.compute.amazonaws.com",
    },
)

NAT_GATEWAY = Spec(
    type="aws:ec2/natGateway:NatGateway",
    docs=PROVIDER_DOCS + "nat_gateway",
    create=Call("ec2", "create_nat_gateway", ec2_tags("natgateway"), take="allocationId subnetId connectivityType"),
    id="NatGateway.NatGatewayId",
    looks=(Look(Call("ec2", "describe_nat_gateways", {"NatGatewayIds": [ID]}), "NatGateways[0]"),),
    delete=Call("ec2", "delete_nat_gateway", {"NatGatewayId": ID}),
    tagging=EC2_TAGS,
    force_new="allocationId subnetId connectivityType privateIp",
    seen={"allocationId": "NatGatewayAddresses[0].AllocationId"},
    outputs={
        "associationId": "NatGatewayAddresses[0].AssociationId",
        "networkInterfaceId": "NatGatewayAddresses[0].NetworkInterfaceId",
        "publicIp": "NatGatewayAddresses[0].PublicIp",
        "privateIp": "NatGatewayAddresses[0].PrivateIp",
    },
    computed="connectivityType privateIp",
    gone=lambda n: n.get("State") in {"deleted", "deleting"},
)


def _modify_endpoint(scope: Any) -> None:
    """Adds and takes away what differs: the API knows no "set"."""
    path = "VpcEndpoints[0].{routeTableIds: RouteTableIds, subnetIds: SubnetIds, securityGroupIds: Groups[].GroupId}"
    now = ask(scope, "ec2", "describe_vpc_endpoints", path, VpcEndpointIds=[scope.id])
    parameters: dict[str, Any] = {"VpcEndpointId": scope.id}
    for name, end in (
        ("routeTableIds", "RouteTableIds"),
        ("subnetIds", "SubnetIds"),
        ("securityGroupIds", "SecurityGroupIds"),
    ):
        wanted, have = set(scope.inputs.get(name) or []), set(now.get(name) or [])
        parameters |= {f"Add{end}": sorted(wanted - have)} if wanted - have else {}
        parameters |= {f"Remove{end}": sorted(have - wanted)} if have - wanted else {}
    if len(parameters) > 1:
        scope.api.call("ec2", "modify_vpc_endpoint", parameters, scope.region)


VPC_ENDPOINT = Spec(
    type="aws:ec2/vpcEndpoint:VpcEndpoint",
    docs=PROVIDER_DOCS + "vpc_endpoint",
    create=Call(
        "ec2",
        "create_vpc_endpoint",
        ec2_tags("vpc-endpoint"),
        take="vpcId serviceName vpcEndpointType privateDnsEnabled routeTableIds subnetIds securityGroupIds policy=PolicyDocument",
    ),
    id="VpcEndpoint.VpcEndpointId",
    looks=(
        Look(
            Call("ec2", "describe_vpc_endpoints", {"VpcEndpointIds": [ID]}, missing=("InvalidVpcEndpointId.NotFound",)),
            "VpcEndpoints[0]",
        ),
    ),
    updates=(
        Update(
            "privateDnsEnabled policy",
            (
                Call(
                    "ec2", "modify_vpc_endpoint", {"VpcEndpointId": ID}, take="privateDnsEnabled policy=PolicyDocument"
                ),
            ),
        ),
        Update("routeTableIds subnetIds securityGroupIds", (_modify_endpoint,)),
    ),
    delete=Call("ec2", "delete_vpc_endpoints", {"VpcEndpointIds": [ID]}),
    tagging=EC2_TAGS,
    force_new="vpcId serviceName vpcEndpointType",
    seen={"securityGroupIds": "Groups[].GroupId || SecurityGroupIds", "policy": "PolicyDocument"},
    outputs={
        "arn": ec2_arn("vpc-endpoint"),
        "dnsEntries": lambda e: [
            {"dnsName": d.get("DnsName"), "hostedZoneId": d.get("HostedZoneId")} for d in e.get("DnsEntries") or []
        ],
    },
    computed="vpcEndpointType",
    gone=lambda e: e.get("State") == "deleted",
)

FLOW_LOG = Spec(
    type="aws:ec2/flowLog:FlowLog",
    docs=PROVIDER_DOCS + "flow_log",
    create=Call(
        "ec2",
        "create_flow_logs",
        ec2_tags("vpc-flow-log")
        | {"ResourceIds": [In("vpcId")], "ResourceType": "VPC", "DeliverLogsPermissionArn": In("iamRoleArn")},
        take="trafficType logDestinationType logDestination maxAggregationInterval logFormat",
    ),
    id="FlowLogIds[0]",
    looks=(Look(Call("ec2", "describe_flow_logs", {"FlowLogIds": [ID]}), "FlowLogs[0]"),),
    delete=Call("ec2", "delete_flow_logs", {"FlowLogIds": [ID]}),
    tagging=EC2_TAGS,
    force_new="vpcId trafficType logDestinationType logDestination iamRoleArn maxAggregationInterval logFormat",
    seen={"vpcId": "ResourceId", "iamRoleArn": "DeliverLogsPermissionArn", "logDestination": None},
    outputs={"arn": ec2_arn("vpc-flow-log")},
)

SPECS = (
    VPC,
    SUBNET,
    INTERNET_GATEWAY,
    ROUTE_TABLE,
    ROUTE,
    ROUTE_TABLE_ASSOCIATION,
    EIP,
    NAT_GATEWAY,
    VPC_ENDPOINT,
    FLOW_LOG,
)
