"""Microsoft.Network: what has addresses in a virtual network or outside: public addresses, interfaces, gateways.

Rules: https://learn.microsoft.com/azure/virtual-network/ip-services/public-ip-addresses (SKUs),
https://learn.microsoft.com/azure/virtual-network/ip-services/private-ip-addresses,
https://learn.microsoft.com/azure/nat-gateway/nat-overview, https://learn.microsoft.com/azure/bastion/configuration-settings.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sandbox.azure.emulator import ids, paths
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of
from sandbox.azure.emulator.kinds.network import NET, NIC, NSG, PUBLIC_IP, SUBNET, addresses, prefixes
from sandbox.azure.emulator.store import Resource

_NAME = r"[A-Za-z0-9](?:[\w.\-]{0,78}\w)?"
_SAYS = "1 to 80 letters, digits, _ - . , beginning with a letter or digit, ending with one or _"
RESERVED_PER_SUBNET = 5
PUBLIC_POOL = IPv4Network("203.0.113.0/24")
"""Addresses for examples (RFC 5737): nothing real is there."""


def _check_public_ip(call: Call) -> None:
    sku = one_of(call, "sku.name", ("Basic", "Standard", "StandardV2")) or "Basic"
    if sku == "Basic":
        raise bad(
            "Basic public IP addresses cannot be made any more (retired September 2025); use sku Standard.",
            code="BasicSkuNotAllowed",
        )
    if one_of(call, "properties.publicIPAllocationMethod", ("Static", "Dynamic")) != "Static":
        raise bad(
            f"Standard public IP '{call.id.name}' must have publicIPAllocationMethod Static.",
            code="StandardSkuPublicIPAddressesMustBeStatic",
        )
    between(call, "properties.idleTimeoutInMinutes", 4, 30)
    label = paths.get(call.body, "properties.dnsSettings.domainNameLabel")
    for other in call.arm.store.of_type(PUBLIC_IP):
        if label and other.key != call.id.key and other.at("properties.dnsSettings.domainNameLabel") == label:
            raise bad(f"DNS record {label} is already used by another public IP.", code="DnsRecordInUse")


def _fill_public_ip(call: Call, body: dict[str, Any]) -> None:
    taken = {r.at("properties.ipAddress") for r in call.arm.store.of_type(PUBLIC_IP) if r.key != call.id.key}
    old = call.old.at("properties.ipAddress") if call.old else None
    free = (str(a) for a in PUBLIC_POOL.hosts() if str(a) not in taken)
    body["properties"]["ipAddress"] = old or next(free, "")
    if not body["properties"]["ipAddress"]:
        raise ArmError(400, "PublicIPCountLimitReached", "Cannot create more public IP addresses in this subscription.")
    settings = body["properties"].get("dnsSettings")
    if settings and settings.get("domainNameLabel"):
        settings["fqdn"] = f"{settings['domainNameLabel']}.{body['location']}.cloudapp.azure.com"


def _check_nat(call: Call) -> None:
    one_of(call, "sku.name", ("Standard", "StandardV2"), required=True)
    between(call, "properties.idleTimeoutInMinutes", 4, 120)
    if len(paths.get(call.body, "zones") or []) > 1:
        raise bad(f"NAT gateway '{call.id.name}' can be in one zone or none.", code="NatGatewayMultipleZones")


def _check_nic(call: Call) -> None:
    seen: set[str] = set()
    for _, config in paths.values_at(call.body, "properties.ipConfigurations[]"):
        if not config.get("name"):
            raise bad(f"An IP configuration of '{call.id.name}' has no name.", code="InvalidRequestFormat")
        subnet = call.arm.need(str(paths.get(config, "properties.subnet.id")))
        address = paths.get(config, "properties.privateIPAddress")
        static = str(paths.get(config, "properties.privateIPAllocationMethod", "Dynamic")).lower() == "static"
        if static and not address:
            raise bad(f"'{call.id.name}' asks for a static address and names none.", code="IPv4AddressRequired")
        if not address or not static:
            continue
        wanted = IPv4Address(address)
        if not any(wanted in prefix for prefix in prefixes(subnet.body)):
            raise bad(
                f"Private static IP address {address} does not belong to the range of subnet '{subnet.name}'.",
                code="PrivateIPAddressNotInSubnet",
            )
        if not any(prefix[3] < wanted < prefix[-1] for prefix in prefixes(subnet.body)):
            raise bad(
                f"{address} is one of the {RESERVED_PER_SUBNET} addresses that Azure reserves in subnet '{subnet.name}'.",
                code="PrivateIPAddressInReservedRange",
            )
        others = [a for nic in call.arm.store.of_type(NIC) if nic.key != call.id.key for a in _of_nic(nic, subnet.id)]
        if address in others or address in seen:
            raise bad(
                f"IP address {address} is already allocated in subnet '{subnet.name}'.",
                code="PrivateIPAddressIsAllocated",
            )
        seen.add(address)


def _of_nic(nic: Resource, subnet: str) -> list[str]:
    return [
        str(paths.get(config, "properties.privateIPAddress"))
        for _, config in paths.values_at(nic.body, "properties.ipConfigurations[]")
        if str(paths.get(config, "properties.subnet.id")).lower() == subnet.lower()
    ]


def _fill_nic(call: Call, body: dict[str, Any]) -> None:
    for _, config in paths.values_at(body, "properties.ipConfigurations[]"):
        properties = config.setdefault("properties", {})
        properties.setdefault("privateIPAllocationMethod", "Dynamic")
        if properties["privateIPAllocationMethod"] == "Dynamic":
            subnet = call.arm.need(str(paths.get(config, "properties.subnet.id")))
            old = _of_nic(call.old, subnet.id) if call.old else []
            taken = {str(a) for a in addresses(call.arm, subnet.id)}
            free = (str(p[i]) for p in prefixes(subnet.body) for i in range(4, p.num_addresses - 1))
            properties["privateIPAddress"] = old[0] if old else next((a for a in free if a not in taken), None)
            if properties["privateIPAddress"] is None:
                raise bad(f"Subnet '{subnet.name}' is full.", code="SubnetIsFull")


def _one_address_one_use(call: Call) -> None:
    """A public address serves one interface, NAT gateway, load balancer or bastion."""
    for path in _USES_ADDRESS:
        for _, address in paths.values_at(call.body, path):
            for other in call.arm.store.all():
                if other.key == call.id.key or not other.key.startswith("/subscriptions/"):
                    continue
                for theirs in (v for p in _USES_ADDRESS for _, v in paths.values_at(other.body, p)):
                    if theirs.lower() == address.lower() and other.type.startswith(NET):
                        raise bad(
                            f"Public IP address '{address}' is already used by '{other.id}'.",
                            code="PublicIPAddressInUse",
                        )


_USES_ADDRESS = (
    "properties.ipConfigurations[].properties.publicIPAddress.id",
    "properties.frontendIPConfigurations[].properties.publicIPAddress.id",
    "properties.publicIpAddresses[].id",
)


def _nic(call: Call) -> None:
    _check_nic(call)
    _one_address_one_use(call)


def _nat(call: Call) -> None:
    _check_nat(call)
    _one_address_one_use(call)


def _bastion(call: Call) -> None:
    for _, subnet in paths.values_at(call.body, "properties.ipConfigurations[].properties.subnet.id"):
        if ids.parse(subnet).name.lower() != "azurebastionsubnet":
            raise bad("Azure Bastion must be in a subnet named AzureBastionSubnet.", code="BastionSubnetNameInvalid")
    _one_address_one_use(call)


_CONFIG = "properties.ipConfigurations[].properties"
KINDS = (
    Kind(
        PUBLIC_IP,
        _NAME,
        _SAYS,
        fixed=("sku.name", "zones", "properties.publicIPAddressVersion"),
        slow=True,
        slow_delete=True,
        check=_check_public_ip,
        fill=_fill_public_ip,
    ),
    Kind(
        f"{NET}/natGateways",
        _NAME,
        _SAYS,
        references=(
            Reference(
                "properties.publicIpAddresses[].id", PUBLIC_IP, here=True, in_use="PublicIPAddressCannotBeDeleted"
            ),
        ),
        fixed=("zones",),
        slow=True,
        slow_delete=True,
        check=_nat,
    ),
    Kind(
        NIC,
        _NAME,
        _SAYS,
        required=("properties.ipConfigurations",),
        references=(
            Reference(f"{_CONFIG}.subnet.id", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference(f"{_CONFIG}.publicIPAddress.id", PUBLIC_IP, here=True, in_use="PublicIPAddressCannotBeDeleted"),
            Reference(
                "properties.networkSecurityGroup.id", NSG, here=True, in_use="InUseNetworkSecurityGroupCannotBeDeleted"
            ),
            Reference(f"{_CONFIG}.loadBalancerBackendAddressPools[].id", f"{NET}/loadBalancers/backendAddressPools"),
        ),
        sub_ids=("ipConfigurations",),
        slow=True,
        slow_delete=True,
        check=_nic,
        fill=_fill_nic,
    ),
    Kind(
        f"{NET}/loadBalancers",
        _NAME,
        _SAYS,
        references=(
            Reference("properties.frontendIPConfigurations[].properties.publicIPAddress.id", PUBLIC_IP, here=True),
            Reference("properties.frontendIPConfigurations[].properties.subnet.id", SUBNET),
        ),
        sub_ids=("frontendIPConfigurations", "backendAddressPools", "probes", "loadBalancingRules", "outboundRules"),
        fixed=("sku.name",),
        slow=True,
        slow_delete=True,
        check=_one_address_one_use,
    ),
    Kind(
        f"{NET}/bastionHosts",
        _NAME,
        _SAYS,
        required=("properties.ipConfigurations",),
        references=(
            Reference(f"{_CONFIG}.subnet.id", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference(f"{_CONFIG}.publicIPAddress.id", PUBLIC_IP, here=True, in_use="PublicIPAddressCannotBeDeleted"),
        ),
        slow=True,
        slow_delete=True,
        check=_bastion,
    ),
    Kind(
        f"{NET}/privateEndpoints",
        _NAME,
        _SAYS,
        required=("properties.subnet.id",),
        references=(
            Reference("properties.subnet.id", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference("properties.privateLinkServiceConnections[].properties.privateLinkServiceId", holds=False),
        ),
        slow=True,
        slow_delete=True,
    ),
    Kind(
        f"{NET}/privateEndpoints/privateDnsZoneGroups",
        _NAME,
        _SAYS,
        location=False,
        references=(
            Reference("properties.privateDnsZoneConfigs[].properties.privateDnsZoneId", f"{NET}/privateDnsZones"),
        ),
    ),
)
