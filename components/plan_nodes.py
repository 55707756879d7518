"""Sizes of machines, and how many of them a class needs. Pure arithmetic on whole MiB and fractions of a node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

BRIDGE_PORTS_MAX = 1000
"""Servers on one node. A Linux bridge has 1,024 ports (BR_MAX_PORTS in net/bridge/br_private.h); 24 stay free."""
OVERLAY_ADDRESSES = 256
"""Addresses of a /24 overlay network, the size that Swarm gives by default and Docker recommends as the largest."""
MIB_PER_GIB = 1024


@dataclass(frozen=True)
class NodeSize:
    """A kind of machine. `name` is the cloud's machine type ("" on this machine)."""

    name: str
    vcpus: int
    memory_gib: float


# Machines of 4 to 8 GiB a core: notebooks need memory rather than CPU. Sizes from the clouds' public instance pages
# (aws.amazon.com/ec2/instance-types/r6i and /m6i, learn.microsoft.com "Easv5" and "Dasv5" series), as of 2024-11.
INSTANCE_TYPES: dict[str, tuple[NodeSize, ...]] = {
    "aws": (
        NodeSize("m6i.large", 2, 8),
        NodeSize("r6i.large", 2, 16),
        NodeSize("m6i.xlarge", 4, 16),
        NodeSize("r6i.xlarge", 4, 32),
        NodeSize("m6i.2xlarge", 8, 32),
        NodeSize("r6i.2xlarge", 8, 64),
        NodeSize("m6i.4xlarge", 16, 64),
        NodeSize("r6i.4xlarge", 16, 128),
        NodeSize("r6i.8xlarge", 32, 256),
    ),
    "azure": (
        NodeSize("Standard_D2as_v5", 2, 8),
        NodeSize("Standard_E2as_v5", 2, 16),
        NodeSize("Standard_D4as_v5", 4, 16),
        NodeSize("Standard_E4as_v5", 4, 32),
        NodeSize("Standard_D8as_v5", 8, 32),
        NodeSize("Standard_E8as_v5", 8, 64),
        NodeSize("Standard_D16as_v5", 16, 64),
        NodeSize("Standard_E16as_v5", 16, 128),
        NodeSize("Standard_E32as_v5", 32, 256),
    ),
}
_AWS_PODS = {"large": 29, "xlarge": 58, "2xlarge": 58, "4xlarge": 234, "8xlarge": 234}
_AZURE_PODS = 250


def pods_max(cloud: str, size_name: str) -> int:
    """Most pods of a Kubernetes node, the system's included, each with an address of the cloud's network.

    AWS: network interfaces x (addresses of each - 1) + 2 of the m6i and r6i sizes (docs.aws.amazon.com/ec2, "Maximum IP
    addresses per network interface"; eni-max-pods.txt of the EKS AMI). Azure CNI: 250 (learn.microsoft.com, AKS quotas).
    """
    return _AWS_PODS[size_name.rpartition(".")[2]] if cloud == "aws" else _AZURE_PODS


LOCAL_SIZE = NodeSize("", 2, 6)
"""A worker on this machine when the stack names no size: three of them and the hub VM fit a laptop of 24 GiB."""


@dataclass(frozen=True)
class Demand:
    """Servers of one size that may run at the same moment."""

    servers: int
    memory_mib: int
    cpu: Fraction


@dataclass(frozen=True)
class NodeCapacity:
    """What students' servers may use of one node, and how many of them its bridge can hold."""

    memory_mib: int
    cpu: Fraction
    ports: int

    def holds(self, demand: Demand) -> int:
        """Servers of this one size that fit; 0 when not even one does."""
        by_memory = self.memory_mib // demand.memory_mib
        by_cpu = int(self.cpu / demand.cpu) if demand.cpu else by_memory
        return max(0, min(by_memory, by_cpu, self.ports))

    def share(self, demand: Demand) -> Fraction:
        """The part of the node that one server of this size takes, by the resource that runs out first."""
        shares = [Fraction(demand.memory_mib, self.memory_mib), Fraction(1, self.ports)]
        return max(*shares, demand.cpu / self.cpu if demand.cpu else Fraction(0))


def allocatable_mib(size: NodeSize, system_reserved_gib: float) -> int:
    """Memory of a node that is left for students' servers, MiB."""
    return math.floor((size.memory_gib - system_reserved_gib) * MIB_PER_GIB)


def nodes_needed(capacity: NodeCapacity, demands: Sequence[Demand]) -> int:
    """Fewest nodes on which every server finds a place, in whatever order students arrive and however they are spread.

    With one size this is servers / servers per node. With several sizes a spreading scheduler leaves gaps that are too
    small for the larger servers: a server that takes the share w finds no place only when every node is filled to more
    than 1 - w, so N nodes are enough for it when N (1 - w) >= (all shares) - w.
    """
    demands = [demand for demand in demands if demand.servers > 0]
    if not demands:
        return 0
    sizes = {(demand.memory_mib, demand.cpu) for demand in demands}
    if len(sizes) == 1:
        return math.ceil(Fraction(sum(demand.servers for demand in demands), capacity.holds(demands[0])))
    total = sum((demand.servers * capacity.share(demand) for demand in demands), Fraction(0))
    needed = math.ceil(total)
    for demand in demands:
        share = capacity.share(demand)
        # A server that takes a whole node alone: in the worst case the others keep one node each from being empty.
        others = sum(other.servers for other in demands) - demand.servers
        needed = max(needed, demand.servers + others if share == 1 else math.ceil((total - share) / (1 - share)))
    return min(needed, _one_node_a_kind(capacity, demands))


def _one_node_a_kind(capacity: NodeCapacity, demands: Sequence[Demand]) -> int:
    """Never more than if every server were as large as the largest in every respect."""
    largest = Demand(
        sum(demand.servers for demand in demands),
        max(demand.memory_mib for demand in demands),
        max(demand.cpu for demand in demands),
    )
    held = capacity.holds(largest)
    return math.ceil(Fraction(largest.servers, held)) if held else largest.servers


def overlays_needed(servers: int, nodes: int) -> int:
    """Overlay networks of /24 that a class would need if its servers were on overlays.

    A /24 has 256 addresses; the network, the gateway and the broadcast address take 3, and each node that takes part
    takes one for its load balancer sandbox. With `endpoint_mode: dnsrr` a server takes one address, without it two.
    Semesterhub's own servers are not on overlays (they publish a port of their node), so its limit is per node.
    """
    per_overlay = OVERLAY_ADDRESSES - 3 - nodes
    if per_overlay <= 0:
        raise ValueError(f"{nodes} nodes leave no address for servers on a /24 overlay: use larger overlays")
    return math.ceil(servers / per_overlay)
