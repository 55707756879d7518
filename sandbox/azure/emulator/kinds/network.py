"""Microsoft.Network: virtual networks and what stands in them.

Rules: https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq (subnets, reserved addresses, smallest size),
https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview (priorities),
https://learn.microsoft.com/azure/bastion/configuration-settings#subnet, .../nat-gateway/nat-overview.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import ids, paths
from sandbox.azure.emulator.errors import bad, conflict
from sandbox.azure.emulator.kind import Call, Inline, Kind, Reference, one_of
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

NET = "Microsoft.Network"
SUBNET, VNET, NSG = f"{NET}/virtualNetworks/subnets", f"{NET}/virtualNetworks", f"{NET}/networkSecurityGroups"
PUBLIC_IP, NIC = f"{NET}/publicIPAddresses", f"{NET}/networkInterfaces"
_NAME = r"[A-Za-z0-9](?:[\w.\-]{0,78}\w)?"
_SAYS = "1 to 80 letters, digits, _ - . , beginning with a letter or digit, ending with one or _"
SMALLEST_SUBNET = {"azurebastionsubnet": 26, "gatewaysubnet": 29, "azurefirewallsubnet": 26}


def _network(text: Any, code: str, at: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except (ValueError, TypeError):
        raise bad(
            f"'{text}' in '{at}' is not a valid CIDR: addresses and a prefix, no host bits.", code=code, target=at
        ) from None


def prefixes(body: dict[str, Any]) -> list[IPv4Network]:
    """The addresses of a subnet's body."""
    texts = [value for _, value in paths.values_at(body, "properties.addressPrefixes[]")]
    single = paths.get(body, "properties.addressPrefix")
    texts = texts or ([single] if single else [])
    return [_network(text, "InvalidAddressPrefixFormat", "addressPrefix") for text in texts]


def _check_vnet(call: Call) -> None:
    spaces = [
        _network(value, "InvalidCIDRNotation", at)
        for at, value in paths.values_at(call.body, "properties.addressSpace.addressPrefixes[]")
    ]
    for index, space in enumerate(spaces):
        if any(space.overlaps(other) for other in spaces[:index]):
            raise bad(f"The address space of '{call.id.name}' overlaps itself at {space}.", code="AddressSpacesOverlap")
    for _, item in paths.values_at(call.body, "properties.subnets[]"):
        _within(call.id.name, spaces, str(item.get("name", "")), prefixes(item))


def _within(vnet: str, spaces: list[IPv4Network], name: str, wanted: list[IPv4Network]) -> None:
    for prefix in wanted:
        if not any(prefix.subnet_of(space) for space in spaces):
            raise bad(
                f"Subnet '{name}' ({prefix}) is not within the address space of virtual network '{vnet}' "
                f"({', '.join(map(str, spaces))}).",
                code="NetcfgInvalidSubnet",
            )


def _check_subnet(call: Call) -> None:
    wanted = prefixes(call.body)
    if not wanted:
        raise bad(f"Subnet '{call.id.name}' has no address prefix.", code="NoAddressPrefixOrPoolProvided")
    smallest = SMALLEST_SUBNET.get(call.id.name.lower(), 29)
    for prefix in wanted:
        if not prefix.prefixlen <= smallest:
            raise bad(
                f"Subnet '{call.id.name}' ({prefix}) is too small: at least /{smallest}.", code="InvalidCIDRNotation"
            )
    vnet = call.arm.need(call.id.parent)
    spaces = [IPv4Network(v) for _, v in paths.values_at(vnet.body, "properties.addressSpace.addressPrefixes[]")]
    _within(vnet.name, spaces, call.id.name, wanted)
    for other in call.arm.store.children(vnet.id, SUBNET):
        if other.key == call.id.key:
            continue
        for theirs in prefixes(other.body):
            if any(prefix.overlaps(theirs) for prefix in wanted):
                raise bad(
                    f"Subnet '{call.id.name}' is not valid because its IP address range overlaps with that of an "
                    f"existing subnet in virtual network '{vnet.name}': '{other.name}' ({theirs}).",
                    code="NetcfgSubnetRangesOverlap",
                )
    inside = [a for a in addresses(call.arm, call.id.text) if not any(a in prefix for prefix in wanted)]
    if inside:
        raise conflict(
            f"Subnet '{call.id.name}' is in use by {inside[0]} and cannot be given a prefix without it.",
            code="InUsePrefixCannotBeDeleted",
        )


def addresses(arm: Arm, subnet: str) -> Iterator[IPv4Address]:
    """Addresses that network interfaces have in a subnet."""
    for nic in arm.store.of_type(NIC):
        for _, config in paths.values_at(nic.body, "properties.ipConfigurations[]"):
            address = paths.get(config, "properties.privateIPAddress")
            if address and str(paths.get(config, "properties.subnet.id")).lower() == subnet.lower():
                yield IPv4Address(address)


_PORTS_MAX = 65535


def _check_rule(call: Call) -> None:
    for path, allowed in (
        ("properties.direction", ("Inbound", "Outbound")),
        ("properties.access", ("Allow", "Deny")),
        ("properties.protocol", ("Tcp", "Udp", "Icmp", "Esp", "Ah", "*")),
    ):
        one_of(call, path, allowed, required=True)
    priority = paths.get(call.body, "properties.priority")
    if not isinstance(priority, int) or not 100 <= priority <= 4096:
        raise bad(
            f"Security rule '{call.id.name}' has priority {priority}: it must be a whole number from 100 to 4096.",
            code="SecurityRuleInvalidPriority",
        )
    direction = paths.get(call.body, "properties.direction")
    for other in call.arm.store.children(call.id.parent, f"{NSG}/securityRules"):
        same = other.at("properties.direction") == direction and other.at("properties.priority") == priority
        if same and other.key != call.id.key:
            raise bad(
                f"Security rules '{call.id.name}' and '{other.name}' have the same priority {priority} and direction.",
                code="SecurityRuleConflict",
            )
    for end in ("source", "destination"):
        for what, many in (("AddressPrefix", "AddressPrefixes"), ("PortRange", "PortRanges")):
            one, several = (paths.get(call.body, f"properties.{end}{name}") for name in (what, many))
            groups = paths.get(call.body, f"properties.{end}ApplicationSecurityGroups")
            if not one and not several and not (what == "AddressPrefix" and groups):
                raise bad(
                    f"Security rule '{call.id.name}' has no {end}{what}.",
                    code="SecurityRuleParameterContainsUnsupportedValue",
                )
            if one and several:
                raise bad(
                    f"Security rule '{call.id.name}' has both {end}{what} and {end}{many}.",
                    code="SecurityRuleParameterConflict",
                )
            for value in several or [one] if (several or one) else []:
                _rule_value(call.id.name, f"{end}{what}", str(value), several=bool(several))


def _rule_value(rule: str, name: str, value: str, *, several: bool) -> None:
    if name.endswith("PortRange"):
        low, _, high = value.partition("-")
        ends = [low, high or low]
        fine = value == "*" or (
            all(p.isdigit() and int(p) <= _PORTS_MAX for p in ends) and int(ends[0]) <= int(ends[1])
        )
    elif value[:1].isdigit():
        try:
            ip_network(value, strict=True)
            fine = True
        except ValueError:
            fine = False
    else:
        # One service tag or *; in a list only addresses.
        fine = value == "*" or (value.replace(".", "").isalnum() and not several)
    if not fine:
        raise bad(
            f"Security rule '{rule}' has invalid {name} '{value}'.",
            code="SecurityRuleParameterContainsUnsupportedValue",
        )


def _watcher_after_vnet(arm: Arm, vnet: Resource) -> None:
    """Azure makes a network watcher for each region in use (https://learn.microsoft.com/azure/network-watcher/network-watcher-create)."""
    location = vnet.body["location"]
    group = f"/subscriptions/{ids.parse(vnet.id).subscription}/resourceGroups/NetworkWatcherRG"
    if arm.store.get(group) is None:
        arm.store.put(Resource(group, ids.GROUPS, {"location": location}, by_azure=True))
    watcher = f"{group}/providers/{NET}/networkWatchers/NetworkWatcher_{location}"
    if arm.store.get(watcher) is None:
        arm.store.put(Resource(watcher, f"{NET}/networkWatchers", {"location": location}, by_azure=True))


KINDS = (
    Kind(
        VNET,
        r"[A-Za-z0-9](?:[\w.\-]{0,62}\w)?",
        "2 to 64 letters, digits, _ - .",
        required=("properties.addressSpace.addressPrefixes",),
        inline=(Inline("properties.subnets", SUBNET),),
        slow=True,
        slow_delete=True,
        check=_check_vnet,
        after_put=_watcher_after_vnet,
    ),
    Kind(
        SUBNET,
        _NAME,
        _SAYS,
        location=False,
        references=(
            Reference("properties.networkSecurityGroup.id", NSG, in_use="InUseNetworkSecurityGroupCannotBeDeleted"),
            Reference("properties.natGateway.id", f"{NET}/natGateways", in_use="InUseNatGatewayCannotBeDeleted"),
            Reference("properties.routeTable.id", f"{NET}/routeTables", in_use="InUseRouteTableCannotBeDeleted"),
        ),
        slow=True,
        slow_delete=True,
        check=_check_subnet,
    ),
    Kind(
        NSG,
        _NAME,
        _SAYS,
        inline=(Inline("properties.securityRules", f"{NSG}/securityRules"),),
        slow=True,
        slow_delete=True,
    ),
    Kind(f"{NSG}/securityRules", _NAME, _SAYS, location=False, slow=True, slow_delete=True, check=_check_rule),
    Kind(
        f"{NET}/routeTables",
        _NAME,
        _SAYS,
        inline=(Inline("properties.routes", f"{NET}/routeTables/routes"),),
        slow=True,
    ),
    Kind(f"{NET}/routeTables/routes", _NAME, _SAYS, location=False, required=("properties.nextHopType",)),
    Kind(f"{NET}/networkWatchers", _NAME, _SAYS),
    Kind(
        f"{NET}/networkWatchers/flowLogs",
        _NAME,
        _SAYS,
        required=("properties.targetResourceId", "properties.storageId"),
        references=(
            Reference("properties.targetResourceId", here=True, holds=False),
            Reference("properties.storageId", "Microsoft.Storage/storageAccounts", here=True, holds=False),
        ),
        slow=True,
        slow_delete=True,
    ),
)
