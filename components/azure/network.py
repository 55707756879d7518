"""The semester's network: one VNet, a public subnet for the hub VM, private subnets for nodes (and pods).

An Azure subnet spans all zones of its region, so a swarm's nodes get both private halves of the plan as one subnet; on
Kubernetes nodes have the first and pods the second (pods get addresses of the VNet: the hub's proxy reaches them).
Subnets are resources of their own and never part of the VNet: written in both places, each update of the VNet would
delete the subnets that it does not name. They are made one after the other, since a VNet takes one change at a time.
NSG rules live in their NSG alone, so a rule that somebody adds by hand is drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_azure_native import network as azure

from components.azure.site import Site
from components.cloud_nodes import HUB_API_PORT
from components.plan import SubnetPlan

NOTEBOOK_PORT = 8888
"""Of a student's pod."""
BASTION_PREFIX = 26
"""Azure Bastion wants at least a /26 of its own, named AzureBastionSubnet."""
_ANY = "*"


@dataclass(frozen=True)
class Rule:
    """One NSG rule; `ports` and addresses as Azure writes them."""

    name: str
    direction: str
    access: str
    protocol: str
    source: Sequence[str]
    destination: Sequence[str]
    ports: Sequence[str]

    def args(self, priority: int) -> azure.SecurityRuleArgs:
        # One value may be a service tag or *, several must be addresses: Azure has a property for each.
        def one(values: Sequence[str]) -> str | None:
            return values[0] if len(values) == 1 else None

        def several(values: Sequence[str]) -> list[pulumi.Input[str]] | None:
            return list(values) if len(values) > 1 else None

        return azure.SecurityRuleArgs(
            name=self.name,
            priority=priority,
            direction=self.direction,
            access=self.access,
            protocol=self.protocol,
            source_port_range=_ANY,
            source_address_prefix=one(self.source),
            source_address_prefixes=several(self.source),
            destination_address_prefix=one(self.destination),
            destination_address_prefixes=several(self.destination),
            destination_port_range=one(self.ports),
            destination_port_ranges=several(self.ports),
        )


def allow(name: str, source: Sequence[str], destination: str, ports: Sequence[str], protocol: str = "Tcp") -> Rule:
    """Inbound, allowed."""
    return Rule(name, "Inbound", "Allow", protocol, source, [destination], ports)


def deny_the_rest() -> Rule:
    """Azure's own last rules let the whole VNet in; this one stands before them."""
    return Rule("deny-the-rest", "Inbound", "Deny", _ANY, [_ANY], [_ANY], [_ANY])


@dataclass(frozen=True)
class NetworkArgs:
    site: Site
    group: pulumi.Input[str]
    cidr: IPv4Network
    subnets: SubnetPlan
    hub_ip: str
    orchestrator: str
    admin_cidrs: Sequence[IPv4Network] = ()
    """From here admins reach SSH on the hub VM; without any, nobody does from the internet."""
    bastion: bool = False
    """A managed SSH gateway for subscriptions whose admins have no network of their own."""

    @property
    def kubernetes(self) -> bool:
        return self.orchestrator == "kubernetes"

    @property
    def cidrs(self) -> dict[str, IPv4Network]:
        """Subnet -> addresses; they never overlap."""
        nodes, pods = self.subnets.private
        made = {"hub": self.subnets.public[0]}
        if self.kubernetes:
            made |= {"nodes": nodes, "pods": pods}
        else:
            made["nodes"] = nodes.supernet()
        if self.bastion:
            made["AzureBastionSubnet"] = bastion_cidr(self.subnets)
        return made


def bastion_cidr(subnets: SubnetPlan) -> IPv4Network:
    """The first /26 of the second public subnet. The stack file has seen to it that there is one."""
    public = subnets.public[1]
    return next(public.subnets(new_prefix=BASTION_PREFIX))


def hub_rules(args: NetworkArgs) -> list[Rule]:
    """Into the hub VM: the web from everywhere, SSH from admins, the cluster's own ports from the cluster."""
    hub, cidrs = f"{args.hub_ip}/32", args.cidrs
    inside = [str(cidrs[name]) for name in ("nodes", "pods") if name in cidrs]
    rules = [allow("web", ["Internet"], hub, ["80", "443"])]
    if args.admin_cidrs:
        rules.append(allow("ssh-from-admins", [str(cidr) for cidr in args.admin_cidrs], hub, ["22"]))
    if args.bastion:
        rules.append(allow("ssh-from-bastion", [str(cidrs["AzureBastionSubnet"])], hub, ["22"]))
    rules.append(allow("hub-api", inside, hub, [str(HUB_API_PORT)]))
    if not args.kubernetes:
        rules.append(allow("swarm", inside, hub, ["2377", "7946"]))
        rules.append(allow("swarm-gossip", inside, hub, ["7946"], "Udp"))
    return [*rules, deny_the_rest()]


def node_rules(args: NetworkArgs) -> list[Rule]:
    """Into the nodes: the hub VM (its proxy speaks to students' servers), each other, nobody else."""
    hub, cidrs = [f"{args.hub_ip}/32"], args.cidrs
    nodes = str(cidrs["nodes"])
    rules: list[Rule] = []
    if args.kubernetes:
        inside = [nodes, str(cidrs["pods"])]
        rules.append(allow("cluster", inside, nodes, [_ANY], _ANY))
        rules.append(allow("azure-probes", ["AzureLoadBalancer"], nodes, [_ANY], _ANY))
    else:
        rules.append(allow("servers-from-hub", hub, nodes, ["1024-65535"]))
        rules.append(allow("swarm-gossip", [nodes, *hub], nodes, ["7946"], _ANY))
        rules.append(allow("ssh-from-hub", hub, nodes, ["22"]))
    if args.bastion:
        rules.append(allow("ssh-from-bastion", [str(cidrs["AzureBastionSubnet"])], nodes, ["22"]))
    return [*rules, deny_the_rest()]


def pod_rules(args: NetworkArgs) -> list[Rule]:
    """Into the pods: the hub VM's proxy, and the cluster; which pod may speak to which is NetworkPolicy's."""
    cidrs = args.cidrs
    pods = str(cidrs["pods"])
    return [
        allow("notebooks-from-hub", [f"{args.hub_ip}/32"], pods, [str(NOTEBOOK_PORT)]),
        allow("cluster", [str(cidrs["nodes"]), pods], pods, [_ANY], _ANY),
        deny_the_rest(),
    ]


def bastion_rules(args: NetworkArgs) -> list[Rule]:
    """What Azure Bastion demands (learn.microsoft.com/azure/bastion/bastion-nsg)."""
    people = [str(cidr) for cidr in args.admin_cidrs] or ["Internet"]

    def out(name: str, destination: str, ports: Sequence[str], source: str = _ANY, protocol: str = "Tcp") -> Rule:
        return Rule(name, "Outbound", "Allow", protocol, [source], [destination], ports)

    return [
        allow("https-from-admins", people, _ANY, ["443"]),
        allow("gateway-manager", ["GatewayManager"], _ANY, ["443"]),
        allow("azure-probes", ["AzureLoadBalancer"], _ANY, ["443"]),
        allow("data-plane", ["VirtualNetwork"], "VirtualNetwork", ["8080", "5701"], _ANY),
        deny_the_rest(),
        out("ssh-to-machines", "VirtualNetwork", ["22"]),
        out("azure", "AzureCloud", ["443"]),
        out("data-plane-out", "VirtualNetwork", ["8080", "5701"], "VirtualNetwork", _ANY),
        out("sessions", "Internet", ["80"], protocol=_ANY),
        Rule("deny-the-rest-out", "Outbound", "Deny", _ANY, [_ANY], [_ANY], [_ANY]),
    ]


def priorities(rules: Sequence[Rule]) -> list[azure.SecurityRuleArgs]:
    """100, 110, … in each direction in the order of the list; what denies the rest is last (4096)."""
    counts: dict[str, int] = {}
    made: list[azure.SecurityRuleArgs] = []
    for rule in rules:
        last = rule.access == "Deny"
        made.append(rule.args(4096 if last else 100 + 10 * counts.get(rule.direction, 0)))
        counts[rule.direction] = counts.get(rule.direction, 0) + (not last)
    return made


class Network(pulumi.ComponentResource):
    """``subnets``: name -> subnet id (hub, nodes, and pods on Kubernetes). ``vnet_id``, ``outbound_ip``."""

    vnet_id: pulumi.Output[str]
    subnets: dict[str, pulumi.Output[str]]
    outbound_ip: pulumi.Output[str]
    """The address from which nodes reach the internet."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Network", name, None, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)
        vnet = azure.VirtualNetwork(
            "vnet",
            virtual_network_name=args.site.name("net"),
            resource_group_name=args.group,
            location=args.site.region,
            address_space=azure.AddressSpaceArgs(address_prefixes=[str(args.cidr)]),
            tags=args.site.tags,
            opts=child,
        )
        self.vnet_id = vnet.id
        address = public_ip("nat-ip", args.site, args.group, "nat", child)
        self.outbound_ip = address.ip_address.apply(lambda ip: ip or "")
        gateway = azure.NatGateway(
            "nat",
            nat_gateway_name=args.site.name("nat"),
            resource_group_name=args.group,
            location=args.site.region,
            sku=azure.NatGatewaySkuArgs(name="Standard"),
            public_ip_addresses=[azure.SubResourceArgs(id=address.id)],
            idle_timeout_in_minutes=10,
            tags=args.site.tags,
            opts=child,
        )
        made: dict[str, azure.Subnet] = {}
        rules = {"hub": hub_rules, "nodes": node_rules, "pods": pod_rules, "AzureBastionSubnet": bastion_rules}
        for subnet, cidr in args.cidrs.items():
            made[subnet] = self._subnet(
                vnet, subnet, cidr, rules[subnet](args), gateway, list(made.values())[-1:], child
            )
        self.subnets = {subnet: resource.id for subnet, resource in made.items()}
        if args.bastion:
            self._bastion(made["AzureBastionSubnet"], child)
        self.register_outputs({"vnet_id": self.vnet_id, "subnets": self.subnets, "outbound_ip": self.outbound_ip})

    def _subnet(
        self,
        vnet: azure.VirtualNetwork,
        subnet: str,
        cidr: IPv4Network,
        rules: Sequence[Rule],
        gateway: azure.NatGateway,
        after: Sequence[azure.Subnet],
        child: pulumi.ResourceOptions,
    ) -> azure.Subnet:
        args = self._args
        label = "bastion" if subnet == "AzureBastionSubnet" else subnet
        guard = azure.NetworkSecurityGroup(
            f"{label}-nsg",
            network_security_group_name=args.site.name(label),
            resource_group_name=args.group,
            location=args.site.region,
            security_rules=priorities(rules),
            tags=args.site.tags,
            opts=child,
        )
        # AKS claims the pods' subnet at its first start; written here, that is no drift.
        delegations = (
            [azure.DelegationArgs(name="aks", service_name="Microsoft.ContainerService/managedClusters")]
            if subnet == "pods"
            else []
        )
        # The nearest way to the homes, backups and secrets, and the only one that their firewalls let in.
        services = ["Microsoft.Storage", "Microsoft.KeyVault"] if subnet in {"hub", "nodes"} else []
        return azure.Subnet(
            f"{label}-subnet",
            subnet_name=subnet,
            resource_group_name=args.group,
            virtual_network_name=vnet.name,
            address_prefix=str(cidr),
            network_security_group=azure.NetworkSecurityGroupArgs(id=guard.id),
            nat_gateway=azure.SubResourceArgs(id=gateway.id) if subnet in {"nodes", "pods"} else None,
            # Without this Azure gives machines an address of its own choosing to leave through.
            default_outbound_access=None if subnet == "AzureBastionSubnet" else False,
            service_endpoints=[azure.ServiceEndpointPropertiesFormatArgs(service=service) for service in services],
            delegations=delegations,
            private_endpoint_network_policies="Enabled",
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(after))),
        )

    def _bastion(self, subnet: azure.Subnet, child: pulumi.ResourceOptions) -> None:
        args = self._args
        address = public_ip("bastion-ip", args.site, args.group, "bastion", child)
        azure.BastionHost(
            "bastion",
            bastion_host_name=args.site.name("bastion"),
            resource_group_name=args.group,
            location=args.site.region,
            # Standard: the only one through which `az network bastion ssh` works from a terminal.
            sku=azure.SkuArgs(name="Standard"),
            scale_units=2,
            enable_tunneling=True,
            ip_configurations=[
                azure.BastionHostIPConfigurationArgs(
                    name="public",
                    subnet=azure.SubResourceArgs(id=subnet.id),
                    public_ip_address=azure.SubResourceArgs(id=address.id),
                )
            ],
            tags=args.site.tags,
            opts=child,
        )


def public_ip(
    resource_name: str, site: Site, group: pulumi.Input[str], what: str, opts: pulumi.ResourceOptions
) -> azure.PublicIPAddress:
    """A fixed public address, in all zones of the region."""
    return azure.PublicIPAddress(
        resource_name,
        public_ip_address_name=site.name(what),
        resource_group_name=group,
        location=site.region,
        sku=azure.PublicIPAddressSkuArgs(name="Standard", tier="Regional"),
        public_ip_allocation_method="Static",
        public_ip_address_version="IPv4",
        zones=list(site.zones) or None,
        tags=site.tags,
        opts=opts,
    )
