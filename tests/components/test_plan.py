"""The plan: enough seats for every class, addresses that never collide, and workers that keep theirs."""

from __future__ import annotations

import math
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.plan import Plan, nodes_for, overlays_needed, plan
from components.plan_nodes import BRIDGE_PORTS_MAX, Demand, NodeCapacity, nodes_needed
from components.semester import Semester, SemesterError, from_mapping, load_stack_file

pytestmark = pytest.mark.unit


def semester(**changes: Any) -> Semester:
    """A local semester with one course of 40; `course` changes the course."""
    course = {"id": "data8", "title": "Data 8", "students": 40, **changes.pop("course", {})}
    data = {
        "cloud": "local",
        "title": "Test",
        "domain": "test.localhost",
        "term": {"starts": "2026-08-26", "ends": "2026-12-18", "timezone": "America/Los_Angeles"},
        "courses": [course],
        "nodes": {"max": 500},
        "network": {"cidr": "10.88.0.0/16"},
    }
    return from_mapping({**data, **changes}, source="test")


def cloud(name: str, **changes: Any) -> Semester:
    """The same on AWS or Azure."""
    login = {"kind": "github", "client_id": "x", "client_secret": {"secure": "v1:x"}, "allow_all": True}
    region = {"aws": "us-west-2", "azure": "westus2"}[name]
    return semester(**{"cloud": name, "region": region, "domain": "hub.example.edu", "authenticator": login, **changes})


@pytest.fixture
def demo(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.demo.yaml")


def with_students(semester: Semester, students: int) -> Semester:
    course = semester.courses[0].model_copy(update={"students": students})
    return semester.model_copy(update={"courses": (course,)})


def test_the_demo_plans_to_two_workers(demo: Semester) -> None:
    planned = plan(demo)
    assert planned.workers.count == 2
    assert planned.peak_servers == 40
    assert planned.hub_ip == "10.88.0.2"
    assert planned.workers.ips == ("10.88.0.11", "10.88.0.12")
    assert planned.workers.names == ("worker-1", "worker-2")
    assert (planned.workers.allocatable_memory_mib, planned.workers.servers_per_node) == (5376, 21)
    assert (planned.cluster_cidr, planned.bridge_cidr) == (IPv4Network("10.88.0.0/24"), IPv4Network("172.30.0.0/22"))
    assert (planned.homes_gib, planned.registry_port, planned.hub_url) == (80, 5000, "https://demo.localhost:8443")


@pytest.mark.parametrize(
    ("students", "workers"), [(1, 1), (21, 1), (22, 2), (42, 2), (43, 3), (60, 3), (63, 3), (64, 4)]
)
def test_the_demo_grows_by_one_worker_for_each_21_students(demo: Semester, students: int, workers: int) -> None:
    assert plan(with_students(demo, students)).workers.count == workers


def test_workers_keep_their_addresses_when_the_class_grows(demo: Semester) -> None:
    small, large = plan(demo), plan(with_students(demo, 200))
    assert large.workers.ips[: small.workers.count] == small.workers.ips
    assert large.hub_ip == small.hub_ip


def test_three_demo_workers_and_the_hub_fit_24_gib(demo: Semester) -> None:
    planned = plan(with_students(demo, 60))
    assert planned.workers.count * planned.workers.memory_gib + planned.hub_memory_gib <= 24


def test_fewest_nodes_and_spare_ones_are_kept() -> None:
    assert plan(semester(nodes={"min": 4, "max": 5})).workers.count == 4
    assert plan(semester(nodes={"spare": 2})).workers.count == 4


def test_seven_tenths_of_ten_students_are_seven() -> None:
    assert plan(semester(course={"students": 10, "peak_concurrency": 0.7})).peak_servers == 7


def test_a_cpu_guarantee_can_need_more_nodes_than_memory() -> None:
    assert plan(semester(course={"cpu_guarantee": 0.5})).workers.count == 10


def test_a_node_never_gets_more_servers_than_its_bridge_has_ports() -> None:
    huge = {"vcpus": 448, "memory_gib": 4096, "max": 500}
    course = {"students": 5000, "cpu_guarantee": 0}
    planned = plan(semester(course=course, nodes=huge))
    assert planned.workers.servers_per_node == BRIDGE_PORTS_MAX
    assert planned.workers.count == 5
    small_bridge = {"cidr": "10.88.0.0/16", "bridge_cidr": "172.30.0.0/25"}
    assert plan(semester(course=course, nodes=huge, network=small_bridge)).workers.servers_per_node == 125


def test_a_class_too_large_for_the_nodes_names_the_numbers() -> None:
    with pytest.raises(
        SemesterError, match=r"(?s)semesterhub:nodes.max is 3.*1000 students .* need 48 workers.*`max: 48`"
    ):
        plan(semester(course={"students": 1000}, nodes={"max": 3}))


def test_a_class_too_large_for_the_network_names_one_that_fits() -> None:
    too_small = {"cidr": "10.88.0.0/26"}
    with pytest.raises(
        SemesterError, match=r"(?s)semesterhub:network.cidr is 10.88.0.0/26.*58 workers.*for 52.*/25"
    ) as refused:
        plan(semester(course={"students": 1200}, network=too_small))
    assert "`10.88.0.0/25`" in str(refused.value)
    assert plan(semester(course={"students": 1200}, network={"cidr": "10.88.0.0/25"})).workers.count == 58


@pytest.mark.parametrize(("name", "machine"), [("aws", "r6i.2xlarge"), ("azure", "Standard_E8as_v5")])
def test_a_cloud_class_of_480_gets_machines_from_the_table(name: str, machine: str) -> None:
    planned = plan(
        cloud(
            name,
            course={"students": 480, "memory_guarantee_gib": 0.5, "memory_limit_gib": 2},
            network={"cidr": "10.20.0.0/16"},
        )
    )
    assert (planned.workers.instance_type, planned.workers.count, planned.workers.ips) == (machine, 4, ())


def test_a_named_machine_type_is_used() -> None:
    planned = plan(
        cloud("aws", nodes={"instance_type": "r6i.xlarge"}, course={"students": 480}, network={"cidr": "10.20.0.0/16"})
    )
    assert (planned.workers.instance_type, planned.workers.memory_gib, planned.workers.count) == ("r6i.xlarge", 32, 7)


def test_kubernetes_pods_need_addresses_of_the_subnet_on_aws_only() -> None:
    changes = {"orchestrator": "kubernetes", "course": {"students": 1500}, "network": {"cidr": "10.20.0.0/21"}}
    with pytest.raises(
        SemesterError, match=r"(?s)network.cidr is 10.20.0.0/21.*workers and 1500 servers.*`10.20.0.0/20`"
    ):
        plan(cloud("aws", **changes))
    plan(cloud("azure", **changes))
    plan(cloud("aws", **{**changes, "network": {"cidr": "10.20.0.0/20"}}))


@pytest.mark.parametrize(
    ("servers", "nodes", "dnsrr_overlays"),
    [(40, 2, 1), (250, 2, 1), (251, 2, 1), (252, 2, 2), (480, 8, 2), (1500, 12, 7)],
)
def test_overlays_are_counted_in_256_addresses(servers: int, nodes: int, dnsrr_overlays: int) -> None:
    assert overlays_needed(servers, nodes) == dnsrr_overlays


def test_an_overlay_without_room_for_servers_is_said() -> None:
    with pytest.raises(ValueError, match="253 nodes leave no address"):
        overlays_needed(10, 253)


courses = st.lists(
    st.fixed_dictionaries(
        {
            "students": st.integers(1, 1500),
            "memory_guarantee_gib": st.sampled_from([0.0625, 0.1, 0.25, 0.3, 0.5, 1.0, 2.0, 3.7]),
            "cpu_guarantee": st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 1.0]),
            "peak_concurrency": st.sampled_from([0.05, 0.33, 0.7, 1.0]),
        }
    ),
    min_size=1,
    max_size=4,
)


def classes(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"c{index}", "title": "T", "memory_limit_gib": 4.0, "cpu_limit": 2, **course}
        for index, course in enumerate(drawn)
    ]


def planned_or_assumed_away(semester: Semester) -> Plan:
    try:
        return plan(semester)
    except SemesterError:
        assume(False)
        raise


@settings(max_examples=150)
@given(courses, st.sampled_from([6.0, 8.0, 16.0, 64.0]), st.integers(0, 3), st.integers(16, 26))
def test_a_local_plan_has_a_seat_and_an_address_for_everybody(
    drawn: list[dict[str, Any]], memory_gib: float, spare: int, prefix: int
) -> None:
    nodes = {"max": 500, "memory_gib": memory_gib, "vcpus": 8, "spare": spare}
    network = IPv4Network(f"10.64.0.0/{prefix}")
    planned = planned_or_assumed_away(semester(courses=classes(drawn), nodes=nodes, network={"cidr": str(network)}))
    ips = [IPv4Address(ip) for ip in (*planned.workers.ips, planned.hub_ip, planned.gateway_ip)]
    assert len(set(ips)) == len(ips) == planned.workers.count + 2
    assert all(ip in network and ip not in (network.network_address, network.broadcast_address) for ip in ips)
    assert not planned.bridge_cidr.overlaps(planned.cluster_cidr)
    assert planned.workers.servers_per_node <= min(BRIDGE_PORTS_MAX, planned.bridge_cidr.num_addresses - 3)
    assert planned.workers.count * planned.workers.servers_per_node >= planned.peak_servers
    assert planned.peak_servers == sum(math.ceil(c["students"] * Fraction(str(c["peak_concurrency"]))) for c in drawn)
    promised = sum(course.peak_servers * course.memory_guarantee_mib for course in planned.courses)
    assert promised <= planned.workers.count * planned.workers.allocatable_memory_mib
    assert planned.workers.allocatable_memory_mib < memory_gib * 1024


@settings(max_examples=100)
@given(courses, st.sampled_from(["aws", "azure"]), st.sampled_from(["swarm", "kubernetes"]), st.integers(16, 24))
def test_cloud_subnets_are_inside_the_network_and_apart(
    drawn: list[dict[str, Any]], name: str, orchestrator: str, prefix: int
) -> None:
    network = IPv4Network(f"10.64.0.0/{prefix}")
    planned = planned_or_assumed_away(
        cloud(name, orchestrator=orchestrator, courses=classes(drawn), network={"cidr": str(network)})
    )
    assert planned.subnets is not None
    subnets = [*planned.subnets.public, *planned.subnets.private, planned.bridge_cidr]
    assert all(subnet.subnet_of(network) for subnet in subnets[:-1])
    assert not any(a.overlaps(b) for index, a in enumerate(subnets) for b in subnets[index + 1 :])
    assert IPv4Address(planned.hub_ip) in planned.subnets.public[0]
    assert planned.workers.count * planned.workers.servers_per_node >= planned.peak_servers


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 25), st.integers(64, 2000), st.integers(0, 20)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_everybody_finds_a_place_in_any_order_on_the_emptiest_node(
    kinds: list[tuple[int, int, int]], random: Any
) -> None:
    """Swarm and Kubernetes spread: each server goes to the emptiest node, which strands the most memory."""
    capacity = NodeCapacity(memory_mib=4096, cpu=Fraction(2), ports=30)
    demands = [Demand(servers, mib, Fraction(cpu, 20)) for servers, mib, cpu in kinds]
    arrivals = [demand for demand in demands for _ in range(demand.servers)]
    random.shuffle(arrivals)
    nodes = [[capacity.memory_mib, capacity.cpu, capacity.ports] for _ in range(nodes_needed(capacity, demands))]
    for server in arrivals:
        fits = [n for n in nodes if n[0] >= server.memory_mib and n[1] >= server.cpu and n[2] >= 1]
        assert fits, f"no place for {server} on {len(nodes)} nodes"
        chosen = max(fits, key=lambda node: (node[2], node[0]))
        chosen[0] -= server.memory_mib
        chosen[1] -= server.cpu
        chosen[2] -= 1


@settings(max_examples=60)
@given(st.integers(1, 1500), st.integers(1, 1500))
def test_a_larger_class_never_gets_fewer_workers(one: int, other: int) -> None:
    few, many = (plan(semester(course={"students": n})) for n in sorted((one, other)))
    assert few.workers.count <= many.workers.count
    assert many.workers.ips[: few.workers.count] == few.workers.ips


def test_an_exam_of_everybody_counts_even_when_lectures_see_less() -> None:
    exam = {"title": "Final", "starts": "2026-12-15 08:00", "ends": "2026-12-15 11:00"}
    assert plan(semester(course={"peak_concurrency": 0.5})).peak_servers == 20
    assert plan(semester(course={"peak_concurrency": 0.5, "exams": [exam]})).peak_servers == 40


def test_a_kubernetes_node_holds_no_more_servers_than_pods() -> None:
    course = {"students": 1000, "memory_guarantee_gib": 0.0625, "memory_limit_gib": 1, "cpu_guarantee": 0}
    nodes = {"max": 500, "instance_type": "r6i.2xlarge"}
    workers = plan(cloud("aws", course=course, nodes=nodes, orchestrator="kubernetes")).workers
    assert (workers.pods_per_node, workers.servers_per_node) == (58, 46)
    assert workers.count == math.ceil(1000 / 46)
    assert plan(cloud("aws", course=course, nodes=nodes)).workers.servers_per_node == BRIDGE_PORTS_MAX


def test_nodes_for_part_of_a_class_stay_between_min_and_max() -> None:
    course = {"students": 480, "memory_guarantee_gib": 0.5}
    nodes = {"min": 2, "max": 5, "spare": 1, "instance_type": "r6i.2xlarge"}
    whole = cloud("aws", course=course, nodes=nodes)
    servers = (0, 100, 200, 480, 2000)
    assert [nodes_for(whole, plan(whole), {"data8": count}) for count in servers] == [2, 2, 3, 5, 5]
