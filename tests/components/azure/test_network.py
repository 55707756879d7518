"""The semester's network on Azure: subnets, who may speak to whom, the way out."""

from __future__ import annotations

import base64
import gzip
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations, pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.azure.network import (
    NetworkArgs,
    bastion_rules,
    hub_rules,
    node_rules,
    pod_rules,
    priorities,
)
from components.azure.site import Site
from components.plan import CLOUD_HUB_OFFSET, SubnetPlan
from components.semester import SemesterError
from tests.components.azure.arm_bodies import problems
from tests.components.azure.program import BOTH, program, run, semester

pytestmark = pytest.mark.unit

SITE = Site("sp16", "00000000-0000-4000-8000-000000000016", "westus2", {})


def arguments(
    cidr: str = "10.16.0.0/16", orchestrator: str = "swarm", *, bastion: bool = False, admins: str = ""
) -> NetworkArgs:
    network = IPv4Network(cidr)
    eighths, quarters = list(network.subnets(3)), list(network.subnets(2))
    return NetworkArgs(
        site=SITE,
        group="group",
        cidr=network,
        subnets=SubnetPlan((eighths[0], eighths[1]), (quarters[2], quarters[3])),
        hub_ip=str(network.network_address + CLOUD_HUB_OFFSET),
        orchestrator=orchestrator,
        admin_cidrs=[IPv4Network(admins)] if admins else [],
        bastion=bastion,
    )


NETWORKS = st.builds(
    lambda third, prefix: IPv4Network((f"10.{third}.0.0", prefix), strict=False),
    st.integers(0, 255),
    st.integers(16, 23),
)


@given(network=NETWORKS, orchestrator=st.sampled_from(BOTH), bastion=st.booleans())
def test_subnets_never_overlap_and_lie_in_the_network(network: IPv4Network, orchestrator: str, bastion: bool) -> None:
    args = arguments(str(network), orchestrator, bastion=bastion)
    cidrs = args.cidrs
    assert not any(one.overlaps(other) for one, other in combinations(cidrs.values(), 2))
    assert all(cidr.subnet_of(network) for cidr in cidrs.values())
    assert IPv4Address(args.hub_ip) in cidrs["hub"]
    assert ("pods" in cidrs) == (orchestrator == "kubernetes")
    if bastion:
        assert cidrs["AzureBastionSubnet"].prefixlen == 26


def test_a_network_too_small_for_a_bastion_is_refused_by_the_stack_file() -> None:
    with pytest.raises(SemesterError, match=r"network.cidr is 10.0.0.0/24(?s:.)*/23 or larger"):
        semester(network={"cidr": "10.0.0.0/24", "bastion": True})
    assert semester(network={"cidr": "10.0.0.0/23", "bastion": True}).network.bastion


def test_a_bastion_reaches_ssh_and_nobody_else_does() -> None:
    made = run(semester(network={"cidr": "10.16.0.0/16", "bastion": True}))
    gateway = {made["bastion-subnet"]["addressPrefix"]}
    assert made["bastion-subnet"]["subnetName"] == "AzureBastionSubnet" and gateway == {"10.16.32.0/26"}
    assert allowed(made["hub-nsg"]["securityRules"], 22) == gateway
    assert allowed(made["nodes-nsg"]["securityRules"], 22) == {"10.16.0.10/32", *gateway}
    assert made["bastion"]["sku"]["name"] == "Standard" and made["bastion"]["enableTunneling"] is True
    [place] = made["bastion"]["ipConfigurations"]
    assert place["subnet"] == {"id": "/id/bastion-subnet"} and place["publicIPAddress"] == {"id": "/id/bastion-ip"}
    assert not [line for kind in ("network.BastionHost",) for line in problems(kind, made["bastion"])]
    text = yaml.safe_load(gzip.decompress(base64.b64decode(made["hub-vm"]["osProfile"]["customData"])))
    assert any('"open_ports": [\n  22,' in file["content"] for file in text["write_files"])
    assert made.outputs["monthly_cost_usd"]["total"] - program("swarm").outputs["monthly_cost_usd"]["total"] > 200
    assert "bastion" not in program("swarm").resources


@pytest.mark.parametrize("orchestrator", BOTH)
def test_subnets_are_children_made_in_turn_and_never_part_of_the_vnet(orchestrator: str) -> None:
    made = program(orchestrator)
    assert "subnets" not in made["vnet"]
    names = ["hub-subnet", "nodes-subnet", *(["pods-subnet"] if orchestrator == "kubernetes" else [])]
    assert list(made.of_kind("network.Subnet")) == names
    for before, after in pairwise(names):
        assert before in made.waits_for(after)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_private_subnets_leave_through_the_nat_gateway_and_nobody_by_azures_own_way(orchestrator: str) -> None:
    made = program(orchestrator)
    for name, subnet in made.of_kind("network.Subnet").items():
        assert subnet["defaultOutboundAccess"] is False
        assert ("natGateway" in subnet) == (name != "hub-subnet")
        assert subnet["networkSecurityGroup"] == {"id": f"/id/{name.replace('subnet', 'nsg')}"}
    assert made["nat"]["publicIpAddresses"] == [{"id": "/id/nat-ip"}]
    assert made["nat-ip"]["sku"]["name"] == "Standard" and made["nat-ip"]["zones"] == ["1", "2", "3"]


def test_pods_have_a_subnet_that_aks_may_claim() -> None:
    [delegation] = program("kubernetes")["pods-subnet"]["delegations"]
    assert delegation["serviceName"] == "Microsoft.ContainerService/managedClusters"


@pytest.mark.parametrize("orchestrator", BOTH)
def test_homes_and_secrets_are_reached_by_service_endpoints(orchestrator: str) -> None:
    for name in ("hub-subnet", "nodes-subnet"):
        services = {entry["service"] for entry in program(orchestrator)[name]["serviceEndpoints"]}
        assert services == {"Microsoft.Storage", "Microsoft.KeyVault"}


def allowed(rules: list[Any], port: int) -> set[str]:
    """Sources that reach a TCP port, by the rules as Azure gets them (this reader knows single ports and ranges)."""
    found: set[str] = set()
    for rule in rules:
        if rule["direction"] != "Inbound" or rule["access"] != "Allow" or rule["protocol"] == "Udp":
            continue
        for ports in rule.get("destinationPortRanges") or [rule["destinationPortRange"]]:
            low, _, high = ("0-65535" if ports == "*" else ports).partition("-")
            if int(low) <= port <= int(high or low):
                found |= set(rule.get("sourceAddressPrefixes") or [rule["sourceAddressPrefix"]])
    return found


def test_only_the_web_is_open_to_the_world_and_ssh_to_the_admins_alone() -> None:
    rules = program("swarm")["hub-nsg"]["securityRules"]
    assert allowed(rules, 443) == allowed(rules, 80) == {"Internet"}
    assert allowed(rules, 22) == {"192.0.2.0/24"}
    assert allowed(rules, 8081) == allowed(rules, 2377) == {"10.16.128.0/17"}
    assert allowed(rules, 5000) == allowed(rules, 8000) == set()


def test_without_admin_networks_nobody_reaches_ssh_from_outside() -> None:
    made = run(semester(network={"cidr": "10.16.0.0/16"}))
    assert allowed(made["hub-nsg"]["securityRules"], 22) == set()


def test_nodes_take_students_traffic_from_the_hub_alone() -> None:
    rules = program("swarm")["nodes-nsg"]["securityRules"]
    assert allowed(rules, 32768) == allowed(rules, 22) == {"10.16.0.10/32"}
    assert allowed(rules, 7946) == {"10.16.0.10/32", "10.16.128.0/17"}


def test_pods_take_notebook_traffic_from_the_hub_and_the_cluster_only() -> None:
    made = program("kubernetes")
    inside = {"10.27.128.0/18", "10.27.192.0/18"}
    assert allowed(made["pods-nsg"]["securityRules"], 8888) == {"10.27.0.10/32", *inside}
    assert allowed(made["pods-nsg"]["securityRules"], 22) == inside
    assert allowed(made["nodes-nsg"]["securityRules"], 10250) == {"AzureLoadBalancer", *inside}
    assert allowed(made["hub-nsg"]["securityRules"], 8081) == inside
    assert allowed(made["hub-nsg"]["securityRules"], 2377) == set()


@pytest.mark.parametrize("rules", [hub_rules, node_rules, pod_rules, bastion_rules])
def test_every_nsg_ends_with_a_denial_and_has_each_priority_once(rules: Any) -> None:
    made = priorities(rules(arguments(orchestrator="kubernetes", bastion=True, admins="192.0.2.0/24")))
    for direction in {rule.direction for rule in made}:
        own = [rule for rule in made if rule.direction == direction]
        numbers = [rule.priority for rule in own]
        assert len(set(numbers)) == len(numbers) and all(100 <= n <= 4096 for n in numbers)
        [last] = [rule for rule in own if rule.priority == max(numbers)]
        assert (last.access, last.source_address_prefix, last.priority) == ("Deny", "*", 4096)
    names = [rule.name for rule in made]
    assert len(set(names)) == len(names)
