"""The sandbox's AWS with a hub VM as the program makes it, beside another stack's."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from components.semester import Semester, load_stack_file
from operations.paths import ROOT
from tests.sandbox.aws.conftest import ACCOUNT, REGION, start

IMAGE = "ami-12c6146b"
"""One that moto has from the beginning."""
STACK, ZONE, NAME = "fa16", "campus.edu", "hub.campus.edu"


def semester(**changes: Any) -> Semester:
    """fa16 in the emulator's account, its name in the emulator's zone."""
    read = load_stack_file(ROOT / "stacks" / "Pulumi.fa16.yaml")
    assert read.fallback is not None and read.fallback.dns is not None
    dns = read.fallback.dns.model_copy(update={"zone": ZONE})
    fallback = read.fallback.model_copy(update={"dns": dns})
    return read.model_copy(
        update={"account": ACCOUNT, "region": REGION, "domain": NAME, "fallback": fallback, **changes}
    )


@functools.cache
def clients(url: str) -> Callable[[str], Any]:
    """One client a service: making one costs more than a call. They repeat nothing by themselves, which would take longer
    than what is tested."""
    session = boto3.Session("sandbox", "sandbox", region_name=REGION)
    once = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    return functools.cache(lambda service: session.client(service, endpoint_url=url, config=once))


@dataclass
class Site:
    """What stands in the account. `hub`: the instance; `own`, `homes`: security groups; `closed`: the VPC's default one."""

    url: str
    hub: str
    own: str
    homes: str
    closed: str
    target: str

    def client(self, service: str) -> Any:
        return clients(self.url)(service)

    def state(self, machine: str = "") -> str:
        found = self.client("ec2").describe_instances(InstanceIds=[machine or self.hub])
        return found["Reservations"][0]["Instances"][0]["State"]["Name"]

    def groups(self) -> tuple[list[str], list[str]]:
        """Of the hub VM and of the homes."""
        found = self.client("ec2").describe_instances(InstanceIds=[self.hub])["Reservations"][0]["Instances"][0]
        homes = self.client("efs").describe_mount_target_security_groups(MountTargetId=self.target)
        return [g["GroupId"] for g in found["SecurityGroups"]], homes["SecurityGroups"]


def named(stack: str, part: str, kind: str) -> list[dict[str, Any]]:
    tags = {"semesterhub:stack": stack, "Name": f"semesterhub-{stack}-{part}"}
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]


def furnish(url: str, stack: str = STACK) -> Site:
    """A hub VM with its group and the homes with theirs, tagged as components/aws does it."""
    ec2, efs = clients(url)("ec2"), clients(url)("efs")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    closed = ec2.describe_security_groups(Filters=filters)["SecurityGroups"][0]
    if closed["IpPermissions"]:
        ec2.revoke_security_group_ingress(GroupId=closed["GroupId"], IpPermissions=closed["IpPermissions"])
    groups = {}
    for part, port in (("hub", 443), ("homes", 2049)):
        group = ec2.create_security_group(
            GroupName=f"{stack}-{part}",
            Description=part,
            VpcId=vpc,
            TagSpecifications=named(stack, part, "security-group"),
        )["GroupId"]
        ranges = [{"CidrIp": "0.0.0.0/0"}]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        groups[part] = group
    hub = instance(ec2, stack, subnet, groups["hub"])
    tags = [{"Key": "semesterhub:stack", "Value": stack}]
    files = efs.create_file_system(CreationToken=f"{stack}-homes", Tags=tags)["FileSystemId"]
    target = efs.create_mount_target(FileSystemId=files, SubnetId=subnet, SecurityGroups=[groups["homes"]])
    return Site(url, hub, groups["hub"], groups["homes"], closed["GroupId"], target["MountTargetId"])


def instance(ec2: Any, stack: str, subnet: str, group: str) -> str:
    made = ec2.run_instances(
        ImageId=IMAGE, InstanceType="m6i.large", MinCount=1, MaxCount=1, SubnetId=subnet, SecurityGroupIds=[group],
        TagSpecifications=named(stack, "hub", "instance"),
    )  # fmt: skip
    return made["Instances"][0]["InstanceId"]


@contextlib.contextmanager
def emulator(folder: Path, *faults: dict[str, Any]) -> Iterator[str]:
    """The sandbox's emulator of AWS; its address. `faults`: rules of sandbox/faults.py."""
    process, url = start(folder, json.dumps(list(faults)) if faults else "")
    try:
        yield url
    finally:
        process.stop()


class Between:
    """A boto3 client with somebody in between who answers some calls himself."""

    def __init__(self, client: Any, **answers: Any) -> None:
        self._client, self._answers = client, answers

    def __getattr__(self, name: str) -> Any:
        mine = self._answers.get(name)
        if mine is None:
            return getattr(self._client, name)
        return lambda **asked: mine(getattr(self._client, name), asked)


def replaced(it: Any, **changes: Any) -> Any:
    """A frozen dataclass with other values."""
    return dataclasses.replace(it, **changes)
