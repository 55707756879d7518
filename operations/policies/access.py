"""Who may reach what from outside: SSH, machines, buckets, control planes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from operations.planned import UNKNOWN, Planned
from operations.policies.facts import Facts, Findings, as_bool, at, is_world, items

ADMIN_PORTS: Final = {
    22: "SSH",
    3389: "remote desktop",
    2375: "Docker",
    2376: "Docker",
    2377: "Swarm",
    6443: "Kubernetes",
}
_SSH_REMEDY: Final = "Name the admins' own networks (semesterhub:network.admin_cidrs), or leave it out and use Session Manager or Bastion."
_NODES: Final = "Students' machines live in private subnets and leave through NAT; the hub alone has a public address."


def open_ssh(facts: Facts, found: Findings) -> None:
    """No administration port is open to the whole internet."""
    for resource, ports, sources in _openings(facts):
        if ports is None:
            found.unknown(resource, "ports")
            continue
        first, last = ports
        reached = sorted({name for port, name in ADMIN_PORTS.items() if first <= port <= last})
        for source in sources:
            if reached and is_world(source):
                where = (
                    "all ports" if (first, last) == (0, 65535) else str(first) if first == last else f"{first}-{last}"
                )
                found.add(resource, f"source of port {where} ({', '.join(reached)})", source, _SSH_REMEDY)
            elif reached and source is UNKNOWN:
                found.unknown(resource, "source")


_Ports = tuple[int, int] | None


def _openings(facts: Facts) -> Iterator[tuple[Planned, _Ports, list[Any]]]:
    """Every allowed way in: the resource, its port range (None: not known), its sources."""
    for r in facts.planned("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"):
        for rule in items(r.inputs.get("ingress")):
            yield r, _aws_ports(rule), [*items(rule.get("cidrBlocks")), *items(rule.get("ipv6CidrBlocks"))]
    for r in facts.planned("aws:ec2/securityGroupRule:SecurityGroupRule"):
        if r.inputs.get("type") != "egress":
            yield r, _aws_ports(r.inputs), [*items(r.inputs.get("cidrBlocks")), *items(r.inputs.get("ipv6CidrBlocks"))]
    for r in facts.planned("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"):
        yield r, _aws_ports(r.inputs), [r.inputs.get("cidrIpv4"), r.inputs.get("cidrIpv6")]
    for r in facts.planned("azure-native:network:NetworkSecurityGroup"):
        for rule in items(r.inputs.get("securityRules")):
            yield from _azure_openings(r, rule)
    for r in facts.planned("azure-native:network:SecurityRule"):
        yield from _azure_openings(r, r.inputs)


def _aws_ports(rule: Any) -> _Ports:
    protocol = rule.get("protocol", rule.get("ipProtocol"))
    if str(protocol) in {"-1", "all"}:
        return 0, 65535
    if str(protocol) in {"udp", "17", "icmp", "1", "icmpv6", "58"}:
        return -1, -1  # none of the ports that matter here
    first, last = rule.get("fromPort"), rule.get("toPort")
    if first is UNKNOWN or last is UNKNOWN:
        return None
    return int(first or 0), int(last if last is not None else 65535)


def _azure_openings(r: Planned, rule: Any) -> Iterator[tuple[Planned, _Ports, list[Any]]]:
    if (
        rule.get("access") != "Allow"
        or rule.get("direction") != "Inbound"
        or str(rule.get("protocol")).lower() in {"udp", "icmp"}
    ):
        return
    sources = [rule.get("sourceAddressPrefix"), *items(rule.get("sourceAddressPrefixes"))]
    for text in [*items(rule.get("destinationPortRange")), *items(rule.get("destinationPortRanges"))]:
        if text == "*":
            yield r, (0, 65535), sources
            continue
        first, _, last = str(text).partition("-")
        yield r, (int(first), int(last or first)) if first.isdigit() else None, sources


def public_nodes(facts: Facts, found: Findings) -> None:
    """No machine but the hub has, or can get, a public address."""
    (_aws_nodes if facts.cloud == "aws" else _azure_nodes)(facts, found)


def _aws_nodes(facts: Facts, found: Findings) -> None:
    for r in facts.planned("aws:ec2/subnet:Subnet"):
        if as_bool(r.inputs.get("mapPublicIpOnLaunch")) is True:
            found.add(r, "mapPublicIpOnLaunch", True, "Set it to false: the hub has its elastic address. " + _NODES)
    for r in facts.planned("aws:ec2/launchTemplate:LaunchTemplate"):
        for place, interface in enumerate(items(r.inputs.get("networkInterfaces"))):
            value = interface.get("associatePublicIpAddress")
            if as_bool(value) is True:
                found.add(r, f"networkInterfaces[{place}].associatePublicIpAddress", value, _NODES)
    for r in facts.planned("aws:eks/nodeGroup:NodeGroup"):
        if r.inputs.get("remoteAccess") and not items(at(r.inputs, "remoteAccess.sourceSecurityGroupIds")):
            found.add(r, "remoteAccess", r.inputs["remoteAccess"], "EKS opens SSH to the world for it. Leave it out.")


def _azure_nodes(facts: Facts, found: Findings) -> None:
    for r in facts.planned("azure-native:compute:VirtualMachineScaleSet"):
        profile = at(r.inputs, "virtualMachineProfile.networkProfile.networkInterfaceConfigurations")
        for interface in items(profile):
            for address in items(interface.get("ipConfigurations")):
                public = address.get("publicIPAddressConfiguration")
                if public:
                    found.add(r, "publicIPAddressConfiguration", public, "Leave it out. " + _NODES)
    for r in facts.planned("azure-native:containerservice:AgentPool"):
        if r.inputs.get("enableNodePublicIP"):
            found.add(r, "enableNodePublicIP", True, "Set it to false. " + _NODES)
    for r in facts.planned("azure-native:containerservice:ManagedCluster"):
        for pool in items(r.inputs.get("agentPoolProfiles")):
            if pool.get("enableNodePublicIP"):
                found.add(
                    r, f"agentPoolProfiles {pool.get('name')}: enableNodePublicIP", True, "Set it to false. " + _NODES
                )


_BLOCKS: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def public_data(facts: Facts, found: Findings) -> None:
    """No bucket, blob container, registry or control plane is there for everybody."""
    (_aws_data if facts.cloud == "aws" else _azure_data)(facts, found)


def _aws_data(facts: Facts, found: Findings) -> None:
    blocks = list(facts.planned("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"))
    for r in blocks:
        for name in _BLOCKS:
            found.want(r, name, True, "Set all four blocks to true; nothing of a semester is served from a bucket.")
    buckets = list(facts.planned("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2"))
    for r in without_partner(buckets, blocks, "bucket"):
        found.add(r, "BucketPublicAccessBlock", None, "Add one for this bucket, all four blocks true.")
    for r in facts.planned("aws:eks/cluster:Cluster"):
        config = at(r.inputs, "vpcConfig") or {}
        cidrs = items(at(config, "publicAccessCidrs")) or ["0.0.0.0/0"]  # EKS's own default
        if as_bool(at(config, "endpointPublicAccess")) is not False and any(map(is_world, cidrs)):
            found.add(
                r,
                "vpcConfig.publicAccessCidrs",
                cidrs,
                "Switch endpointPublicAccess off, or name the admins' networks.",
            )


def _azure_data(facts: Facts, found: Findings) -> None:
    for r in facts.planned("azure-native:storage:StorageAccount"):
        found.want(
            r, "allowBlobPublicAccess", False, "Set it to false: Azure's own default lets a container be public."
        )
    for r in facts.planned("azure-native:storage:BlobContainer"):
        value = r.inputs.get("publicAccess")
        if value not in {None, "None"}:
            found.add(r, "publicAccess", value, "Set it to None.")
    for r in facts.planned("azure-native:containerregistry:Registry"):
        for name in ("adminUserEnabled", "anonymousPullEnabled"):
            if r.inputs.get(name):
                found.add(r, name, True, "Set it to false: nodes pull with their own identity.")
    for r in facts.planned("azure-native:containerservice:ManagedCluster"):
        profile = r.inputs.get("apiServerAccessProfile") or {}
        ranges = items(at(profile, "authorizedIPRanges"))
        private = at(profile, "enablePrivateCluster") is True
        if not private and (not ranges or any(map(is_world, ranges))):
            found.add(
                r,
                "apiServerAccessProfile.authorizedIPRanges",
                ranges or None,
                "Make the cluster private, or name the admins' networks.",
            )


def without_partner(things: list[Planned], partners: list[Planned], key: str) -> Iterator[Planned]:
    """Those of `things` that no partner names by `key`. A name that is not known yet may be anyone's: it counts for one
    thing that nobody names."""
    named = {p.inputs.get(key) for p in partners if p.inputs.get(key) is not UNKNOWN}
    open_ends = sum(1 for p in partners if p.inputs.get(key) is UNKNOWN)
    for thing in things:
        if {thing.inputs.get(key), thing.old_id} & (named - {None, ""}):
            continue
        if open_ends:
            open_ends -= 1
            continue
        yield thing
