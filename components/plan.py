"""The plan of a semester: class size -> nodes, addresses, disk. Pure arithmetic: no Pulumi, no cloud, no clock.

`plan(semester)` raises `SemesterError` when the class does not fit what the stack file allows; the message names the
numbers and the key to change. Addresses of workers depend on their number only: worker-1 keeps its address when the
class grows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Network

from components.plan_nodes import (
    BRIDGE_PORTS_MAX,
    INSTANCE_TYPES,
    LOCAL_SIZE,
    MIB_PER_GIB,
    Demand,
    NodeCapacity,
    NodeSize,
    allocatable_mib,
    nodes_needed,
    overlays_needed,
    pods_max,
)
from components.semester import Course, Problem, Semester, SemesterError
from components.semester_errors import listing, nearest, show

__all__ = [
    "CoursePlan",
    "NodePoolPlan",
    "Plan",
    "SubnetPlan",
    "nodes_for",
    "nodes_wanted",
    "overlays_needed",
    "plan",
    "worker_name",
]

REGISTRY_PORT = 5000
"""Of the registry on the hub VM, inside the cluster."""
GATEWAY_OFFSET, HUB_OFFSET, FIRST_WORKER_OFFSET = 1, 2, 11
"""Local addresses: .1 the Docker network's gateway, .2 the hub VM, .11 worker-1, .12 worker-2, …"""
CLOUD_HUB_OFFSET = 10
"""AWS and Azure keep the first four and the last address of each subnet for themselves."""
CLOUD_RESERVED_PER_SUBNET = 5
SWARM_INGRESS = IPv4Network("10.0.0.0/24")
"""Swarm makes this network on every node (`docker swarm init` without a pool of its own)."""
SYSTEM_PODS_PER_NODE = 12
"""Kubernetes on AWS gives each pod an address of the subnet; the system's own pods need some too."""
CLOUD_VCPU_RESERVED = Fraction(1, 4)
"""Cores of a worker kept for dockerd or the kubelet."""
TARGET_NODES = 4
"""Without a named machine type the plan takes the smallest that needs at most this many workers: losing one of four
costs a quarter of the class a restart, and many small nodes waste memory at their edges."""


@dataclass(frozen=True)
class CoursePlan:
    """One course as the plan counts it."""

    id: str
    students: int
    peak_servers: int
    memory_guarantee_mib: int
    memory_limit_mib: int
    cpu_guarantee: float
    cpu_limit: float


@dataclass(frozen=True)
class NodePoolPlan:
    """The workers. `ips` are set on this machine only; clouds choose addresses themselves."""

    count: int
    instance_type: str
    vcpus: int
    memory_gib: float
    allocatable_memory_mib: int
    servers_per_node: int
    """The most servers of this semester that one worker holds at once."""
    pods_per_node: int
    """Kubernetes: the most pods of one worker, the system's included; what the node pool is to be told. Else 0."""
    ips: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """worker-1, worker-2, …"""
        return tuple(worker_name(number) for number in range(1, self.count + 1))


@dataclass(frozen=True)
class SubnetPlan:
    """Two public and two private subnets in two zones (clouds only)."""

    public: tuple[IPv4Network, IPv4Network]
    private: tuple[IPv4Network, IPv4Network]


@dataclass(frozen=True)
class Plan:
    """Everything the components need to know besides the semester itself."""

    cluster_cidr: IPv4Network
    bridge_cidr: IPv4Network
    gateway_ip: str
    hub_ip: str
    registry_port: int
    hub_vcpus: int
    hub_memory_gib: float
    workers: NodePoolPlan
    peak_servers: int
    homes_gib: int
    courses: tuple[CoursePlan, ...]
    subnets: SubnetPlan | None
    hub_url: str


def worker_name(number: int) -> str:
    """Of the worker with this number, counted from 1."""
    return f"worker-{number}"


def plan(semester: Semester) -> Plan:
    """The plan of a semester. Raises `SemesterError` when the class does not fit."""
    courses = tuple(_course(course) for course in semester.courses)
    _addresses_are_free(semester)
    size, capacity, count = _workers(semester, courses)
    subnets = None if semester.cloud == "local" else _subnets(semester)
    ips = _local_ips(semester, count) if semester.cloud == "local" else ()
    peak = sum(course.peak_servers for course in courses)
    if subnets is not None:
        _fits_subnets(semester, subnets, count, peak)
    base = semester.network.cidr.network_address if subnets is None else subnets.public[0].network_address
    return Plan(
        cluster_cidr=semester.network.cidr,
        bridge_cidr=semester.network.bridge_cidr,
        gateway_ip=str(base + GATEWAY_OFFSET),
        hub_ip=str(base + (HUB_OFFSET if subnets is None else CLOUD_HUB_OFFSET)),
        registry_port=REGISTRY_PORT,
        hub_vcpus=semester.nodes.hub_vcpus,
        hub_memory_gib=semester.nodes.hub_memory_gib,
        workers=NodePoolPlan(
            count=count,
            instance_type=size.name,
            vcpus=size.vcpus,
            memory_gib=size.memory_gib,
            allocatable_memory_mib=capacity.memory_mib,
            servers_per_node=max(capacity.holds(demand) for demand in _demands(courses)),
            pods_per_node=pods_max(semester.cloud, size.name) if semester.orchestrator == "kubernetes" else 0,
            ips=ips,
        ),
        peak_servers=peak,
        homes_gib=math.ceil(sum(course.students for course in courses) * semester.homes.size_gib),
        courses=courses,
        subnets=subnets,
        hub_url=semester.hub_url,
    )


def _course(course: Course) -> CoursePlan:
    # A share such as 0.7 is not exact in binary: 0.7 * 10 would round up to 8 without the decimal reading.
    shares = [course.peak_concurrency, *(exam.peak_concurrency for exam in course.exams)]
    peak = math.ceil(course.students * Fraction(str(max(shares))))
    return CoursePlan(
        id=course.id,
        students=course.students,
        peak_servers=peak,
        memory_guarantee_mib=math.ceil(course.memory_guarantee_gib * MIB_PER_GIB),
        memory_limit_mib=math.ceil(course.memory_limit_gib * MIB_PER_GIB),
        cpu_guarantee=course.cpu_guarantee,
        cpu_limit=course.cpu_limit,
    )


def _demands(courses: tuple[CoursePlan, ...]) -> list[Demand]:
    return [
        Demand(course.peak_servers, course.memory_guarantee_mib, Fraction(str(course.cpu_guarantee)))
        for course in courses
    ]


def nodes_for(semester: Semester, planned: Plan, servers: Mapping[str, int]) -> int:
    """Workers for this many servers of each course (by its id), spare ones included: from nodes.min to nodes.max."""
    return min(nodes_wanted(semester, planned, servers), semester.nodes.max)


def nodes_wanted(semester: Semester, planned: Plan, servers: Mapping[str, int]) -> int:
    """The same without nodes.max."""
    size = NodeSize(planned.workers.instance_type, planned.workers.vcpus, planned.workers.memory_gib)
    demands = [
        Demand(servers.get(course.id, 0), course.memory_guarantee_mib, Fraction(str(course.cpu_guarantee)))
        for course in planned.courses
    ]
    return max(semester.nodes.min, nodes_needed(_capacity(semester, size), demands) + semester.nodes.spare)


def _refuse(key: str, value: object, allowed: str, remedy: str) -> SemesterError:
    problem = Problem(f"semesterhub:{key}", str(value), allowed, remedy)
    return SemesterError("the plan of this semester", [problem])


def _addresses_are_free(semester: Semester) -> None:
    if semester.orchestrator != "swarm":
        return
    for name, network in (("cidr", semester.network.cidr), ("bridge_cidr", semester.network.bridge_cidr)):
        if network.overlaps(SWARM_INGRESS):
            raise _refuse(
                f"network.{name}",
                network,
                f"a network that does not overlap {SWARM_INGRESS}, which Swarm makes on every node",
                "choose another one, such as `10.88.0.0/24`",
            )


def _places(semester: Semester, size: NodeSize) -> int:
    """Servers of one node, however small they are: ports of its bridge, or pods."""
    if semester.orchestrator == "kubernetes":
        return pods_max(semester.cloud, size.name) - SYSTEM_PODS_PER_NODE
    return _bridge_ports(semester)


def _bridge_ports(semester: Semester) -> int:
    # Network, gateway (docker0 itself) and broadcast addresses are no servers.
    return min(BRIDGE_PORTS_MAX, semester.network.bridge_cidr.num_addresses - 3)


def _capacity(semester: Semester, size: NodeSize) -> NodeCapacity:
    reserved = Fraction(0) if semester.cloud == "local" else CLOUD_VCPU_RESERVED
    return NodeCapacity(
        allocatable_mib(size, semester.nodes.system_reserved_gib), size.vcpus - reserved, _places(semester, size)
    )


def _workers(semester: Semester, courses: tuple[CoursePlan, ...]) -> tuple[NodeSize, NodeCapacity, int]:
    if _bridge_ports(semester) < 1:
        raise _refuse(
            "network.bridge_cidr",
            semester.network.bridge_cidr,
            "a network of at least /29",
            "write `bridge_cidr: 172.30.0.0/22`",
        )
    demands = _demands(courses)
    candidates = list(_candidate_sizes(semester))
    for position, size in enumerate(candidates):
        capacity = _capacity(semester, size)
        last = position == len(candidates) - 1
        if not last and any(capacity.holds(demand) == 0 for demand in demands):
            continue
        _every_course_fits_a_node(semester, courses, size, capacity)
        count = max(semester.nodes.min, nodes_needed(capacity, demands) + semester.nodes.spare)
        if last or count <= min(TARGET_NODES + semester.nodes.spare, semester.nodes.max):
            _not_too_many(semester, size, count)
            return size, capacity, count
    raise AssertionError("there is always a last candidate")


def _candidate_sizes(semester: Semester) -> Iterator[NodeSize]:
    nodes = semester.nodes
    if semester.cloud == "local":
        yield NodeSize("", nodes.vcpus or LOCAL_SIZE.vcpus, nodes.memory_gib or LOCAL_SIZE.memory_gib)
        return
    table = INSTANCE_TYPES[semester.cloud]
    if nodes.instance_type is None:
        yield from table
        return
    named = next((size for size in table if size.name == nodes.instance_type), None)
    if named is None:
        names = [size.name for size in table]
        meant = nearest(nodes.instance_type, names)
        remedy = (
            f"did you mean `instance_type: {meant}`?"
            if meant
            else "write one of them, or remove the key to let the plan choose"
        )
        raise _refuse("nodes.instance_type", show(nodes.instance_type), listing(names), remedy)
    yield named


def _key_of_size(semester: Semester, local_key: str) -> str:
    return f"nodes.{local_key}" if semester.cloud == "local" else "nodes.instance_type"


def _every_course_fits_a_node(
    semester: Semester, courses: tuple[CoursePlan, ...], size: NodeSize, capacity: NodeCapacity
) -> None:
    if capacity.memory_mib <= 0:
        raise _refuse(
            "nodes.system_reserved_gib",
            f"{semester.nodes.system_reserved_gib:g}",
            f"less than the node's memory ({size.memory_gib:g} GiB)",
            "lower it or choose larger nodes",
        )
    for index, course in enumerate(courses):
        given = semester.courses[index]
        if course.memory_guarantee_mib > capacity.memory_mib:
            raise _refuse(
                f"courses[{index}].memory_guarantee_gib",
                f"{given.memory_guarantee_gib:g}",
                f"at most {capacity.memory_mib / MIB_PER_GIB:g}, what a worker of {size.memory_gib:g} GiB has for servers",
                f"lower it or raise semesterhub:{_key_of_size(semester, 'memory_gib')}",
            )
        if course.memory_limit_mib > capacity.memory_mib:
            raise _refuse(
                f"courses[{index}].memory_limit_gib",
                f"{given.memory_limit_gib:g}",
                f"at most {capacity.memory_mib / MIB_PER_GIB:g}, what a worker of {size.memory_gib:g} GiB has for servers",
                f"lower it or raise semesterhub:{_key_of_size(semester, 'memory_gib')}",
            )
        for name in ("cpu_guarantee", "cpu_limit"):
            cores = getattr(given, name)
            most = capacity.cpu if name == "cpu_guarantee" else Fraction(size.vcpus)
            if Fraction(str(cores)) > most:
                raise _refuse(
                    f"courses[{index}].{name}",
                    f"{cores:g}",
                    f"at most {float(most):g}, the cores of a worker for servers",
                    f"lower it or raise semesterhub:{_key_of_size(semester, 'vcpus')}",
                )


def _not_too_many(semester: Semester, size: NodeSize, count: int) -> None:
    if count <= semester.nodes.max:
        return
    students = sum(course.students for course in semester.courses)
    kind = f"{size.name or 'this size'} ({size.vcpus} cores, {size.memory_gib:g} GiB)"
    raise _refuse(
        "nodes.max",
        semester.nodes.max,
        f"at least {count}: {students} students at their peak need {count} workers of {kind}",
        f"write `max: {count}`, choose larger nodes (semesterhub:{_key_of_size(semester, 'memory_gib')}), "
        "or lower courses[].memory_guarantee_gib or peak_concurrency",
    )


def _local_ips(semester: Semester, count: int) -> tuple[str, ...]:
    network = semester.network.cidr
    # The last address is the broadcast address.
    room = max(0, network.num_addresses - 1 - FIRST_WORKER_OFFSET)
    if count > room:
        prefix = 32 - math.ceil(math.log2(count + FIRST_WORKER_OFFSET + 1))
        raise _refuse(
            "network.cidr",
            network,
            f"a network of /{prefix} or larger: the class needs {count} workers, and this one has addresses for {room}",
            f"write a network such as `10.88.0.0/{prefix}`",
        )
    return tuple(str(network.network_address + FIRST_WORKER_OFFSET + index) for index in range(count))


def _subnets(semester: Semester) -> SubnetPlan:
    """Public subnets in the first two eighths of the network, private ones (the nodes) in its last two quarters.

    The second quarter stays free: a third zone or another pool fits without moving anything.
    """
    network = semester.network.cidr
    if not 16 <= network.prefixlen <= 24:
        raise _refuse(
            "network.cidr",
            network,
            "in a cloud a network from /16 (65,536 addresses) to /24",
            "write a network such as `10.20.0.0/16`",
        )
    eighths, quarters = list(network.subnets(prefixlen_diff=3)), list(network.subnets(prefixlen_diff=2))
    return SubnetPlan(public=(eighths[0], eighths[1]), private=(quarters[2], quarters[3]))


def _fits_subnets(semester: Semester, subnets: SubnetPlan, count: int, peak: int) -> None:
    pods_have_addresses = semester.cloud == "aws" and semester.orchestrator == "kubernetes"
    per_zone = math.ceil(count / 2)
    needed = per_zone + (math.ceil(peak / 2) + per_zone * SYSTEM_PODS_PER_NODE if pods_have_addresses else 0)
    room = subnets.private[0].num_addresses - CLOUD_RESERVED_PER_SUBNET
    if needed > room:
        prefix = 30 - math.ceil(math.log2(needed + CLOUD_RESERVED_PER_SUBNET))
        what = f"{count} workers and {peak} servers" if pods_have_addresses else f"{count} workers"
        raise _refuse(
            "network.cidr",
            semester.network.cidr,
            f"a network of /{prefix} or larger: {what} need {needed} addresses in each zone, "
            f"and a private subnet of this one has {room}",
            f"write a network such as `10.20.0.0/{prefix}`"
            if prefix >= 16
            else "divide the courses between two semesters: a cloud network has at most /16",
        )
