"""Where a stack lands: the semester's account and region, whatever the environment says; addresses that never overlap."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.aws.machine_image import NAME, OWNERS
from components.aws.scope import Scope
from components.plan import plan
from components.semester import SemesterError
from tests.components.aws import program as programs

pytestmark = pytest.mark.unit


def test_without_an_account_in_the_stack_file_the_credentials_own_one_is_used() -> None:
    data = {key: value for key, value in programs.data().items() if key != "account"}
    made = programs.run(programs.from_mapping(data, source="test"))
    assert made["s3.Bucket/bucket"]["bucket"] == "semesterhub-fa26-999999999999"
    [cloud] = [entry for entry in made.resources.values() if entry.type == "pulumi:providers:aws"]
    assert "allowedAccountIds" not in cloud.inputs


def test_with_an_account_in_the_stack_file_nobody_is_asked_for_one() -> None:
    tokens = [token for token, _, _ in programs.swarm().asked]
    assert not [token for token in tokens if "getCallerIdentity" in token]


def test_the_zones_need_no_opt_in_and_the_image_is_canonicals_dated_build() -> None:
    asked = {token.rpartition(":")[2]: args for token, args, _ in programs.swarm().asked}
    assert asked["getAvailabilityZones"] == {
        "state": "available", "filters": [{"name": "opt-in-status", "values": ["opt-in-not-required"]}],
    }  # fmt: skip
    image = asked["getAmi"]
    assert image["owners"] == ["099720109477"] and image["filters"] == [{"name": "name", "values": [NAME]}]
    assert NAME.rpartition("-")[2].isdigit() and "*" not in NAME, "never whatever is newest today"


def test_the_order_of_zones_in_the_answer_changes_nothing() -> None:
    shuffled = programs.run(programs.semester(), zones=["us-west-2d", "us-west-2b", "us-west-2a"])
    zones = {subnet["availabilityZone"] for subnet in shuffled.of_type("ec2.Subnet").values()}
    assert zones == {"us-west-2a", "us-west-2b"}


def test_a_region_in_the_providers_own_configuration_must_be_the_semesters() -> None:
    with pytest.raises(SemesterError, match=r"(?s)aws:region.*eu-west-1.*us-west-2"):
        programs.run(programs.semester(), config={"aws:region": "eu-west-1"})


def test_ways_to_sign_in_and_endpoints_reach_the_explicit_provider() -> None:
    config = {
        "aws:profile": "campus",
        "aws:skipCredentialsValidation": "true",
        "aws:s3UsePathStyle": "true",
        "aws:endpoints": json.dumps([{"ec2": "http://127.0.0.1:5000"}]),
    }
    made = programs.run(programs.semester(), config=config)
    [cloud] = [entry.inputs for entry in made.resources.values() if entry.type == "pulumi:providers:aws"]
    assert (
        cloud["profile"] == "campus"
        and cloud["skipCredentialsValidation"] == "true"
        and cloud["s3UsePathStyle"] == "true"
    )
    assert json.loads(cloud["endpoints"]) == [{"ec2": "http://127.0.0.1:5000"}]
    assert json.loads(cloud["defaultTags"])["tags"]["semesterhub:stack"] == "fa26"


@pytest.mark.parametrize(
    ("region", "partition", "registry", "policy"),
    [
        ("us-west-2", "aws", "1.dkr.ecr.us-west-2.amazonaws.com", "arn:aws:iam::aws:policy/P"),
        ("us-gov-west-1", "aws-us-gov", "1.dkr.ecr.us-gov-west-1.amazonaws.com", "arn:aws-us-gov:iam::aws:policy/P"),
        ("cn-north-1", "aws-cn", "1.dkr.ecr.cn-north-1.amazonaws.com.cn", "arn:aws-cn:iam::aws:policy/P"),
    ],
)
def test_arns_are_those_of_the_regions_partition(region: str, partition: str, registry: str, policy: str) -> None:
    scope = Scope(stack="s", region=region, account="1", tags={})
    assert (scope.partition, scope.registry, scope.managed_policy("P")) == (partition, registry, policy)
    assert partition in OWNERS


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    prefix=st.integers(16, 22),
    block=st.integers(0, 255),
    students=st.integers(1, 400),
    orchestrator=st.sampled_from(["swarm", "kubernetes"]),
)
def test_no_two_addresses_of_any_semester_overlap(prefix: int, block: int, students: int, orchestrator: str) -> None:
    cidr = IPv4Network((int(IPv4Network(f"10.{block}.0.0/16").network_address), prefix))
    if cidr.overlaps(IPv4Network("10.0.0.0/24")):
        return  # Swarm's own; refused by the plan
    courses: list[dict[str, Any]] = [{"id": "c", "title": "C", "students": students}]
    chosen = programs.semester(
        network={"cidr": str(cidr)}, orchestrator=orchestrator, courses=courses, nodes={"max": 500}
    )
    try:
        plan(chosen)
    except SemesterError:
        return  # too large for the network: said before anything is made
    made = programs.run(chosen)
    subnets = {name: IPv4Network(subnet["cidrBlock"]) for name, subnet in made.of_type("ec2.Subnet").items()}
    vpc = IPv4Network(made["ec2.Vpc/vpc"]["cidrBlock"])
    assert len(subnets) == 4 and all(subnet.subnet_of(vpc) for subnet in subnets.values())
    assert not [pair for pair in combinations(subnets.values(), 2) if pair[0].overlaps(pair[1])]
    assert not vpc.overlaps(made.semester.network.bridge_cidr)
    hub = IPv4Address(made["ec2.Instance/hub"]["privateIp"])
    # AWS keeps the first four and the last address of each subnet.
    assert (
        hub in subnets["public-1"]
        and 4 <= int(hub) - int(subnets["public-1"].network_address) < subnets["public-1"].num_addresses - 1
    )


IMPORTS = """
import importlib, importlib.abc, sys
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden}:
            raise AssertionError("imports " + name)
sys.meta_path.insert(0, Guard())
{code}
print(sorted({{m.split(".")[0] for m in sys.modules}} & {forbidden}))
"""
PROGRAM = """
from tests.components.aws import program
program.{what}()
"""


@pytest.mark.parametrize("what", ["swarm", "kubernetes"])
def test_a_program_for_aws_imports_nothing_of_azure_and_no_sandbox(what: str) -> None:
    forbidden = {"pulumi_azure_native", "azure", "msrest", "sandbox", "boto3", "botocore", "moto"}
    code = IMPORTS.format(forbidden=forbidden, code=PROGRAM.format(what=what))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_guard_of_the_import_test_does_catch_an_import() -> None:
    code = IMPORTS.format(forbidden={"sandbox"}, code="import sandbox")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "imports sandbox" in done.stderr


def test_a_program_for_azure_imports_nothing_of_aws_and_no_sandbox() -> None:
    forbidden = {"pulumi_aws", "boto3", "botocore", "moto", "sandbox"}
    code = IMPORTS.format(forbidden=forbidden, code="import components.azure")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr
