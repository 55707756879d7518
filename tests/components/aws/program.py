"""The AWS program under Pulumi's mocks: everything it registers, with inputs, parents, dependencies and options.

The mocks check nothing (they would take `cidr_block=12345`); what a service refuses is the sandbox's to find. They
show what the program asks for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.sync_await import _sync_await

from components.plan import Plan, plan
from components.semester import Semester, from_mapping
from components.semester_yaml import read_stack_file

STACK = "fa26"
CA_DATA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").decode()
SECRET = "client-secret-of-the-provider"
AMI = "ami-0123456789abcdef0"
ACCOUNT, REGION = "123456789012", "us-west-2"
CLOUD = Path(__file__).parent.parent / "stacks" / "cloud.yaml"


def data() -> dict[str, Any]:
    """The cloud stack file of the tests as plain data."""
    return dict(read_stack_file(CLOUD).data)


def semester(**changes: Any) -> Semester:
    """The cloud stack file of the tests with some keys changed."""
    return from_mapping({**data(), **changes}, source="test")


def in_class(**changes: Any) -> Semester:
    """The same with a weekly meeting and a midterm."""
    courses = [dict(course) for course in read_stack_file(CLOUD).data["courses"]]  # type: ignore[attr-defined]
    courses[0] |= {
        "meetings": [{"days": ["mon", "wed", "fri"], "starts": "10:00", "ends": "11:00"}],
        "exams": [{"title": "Midterm", "starts": "2026-10-16 19:00", "ends": "2026-10-16 21:00"}],
    }
    return semester(courses=courses, **changes)


@dataclass(frozen=True)
class Registered:
    """One resource as the engine would get it; input names as on the wire (camel case)."""

    type: str
    name: str
    inputs: dict[str, Any]
    urn: str
    parent: str
    protect: bool
    retain: bool
    needs: frozenset[str]
    """URNs it waits for, through inputs or `depends_on`."""
    provider: str
    request: Any = field(repr=False, compare=False)

    @property
    def key(self) -> str:
        """`ec2.Vpc/vpc`."""
        return short(self.type) + "/" + self.name


def short(token: str) -> str:
    """`aws:ec2/vpc:Vpc` -> `ec2.Vpc`; a component's token stays."""
    package, _, rest = token.partition(":")
    module, _, kind = rest.partition(":")
    return f"{module.partition('/')[0]}.{kind}" if package == "aws" else token


class Recorder(mocks.MockMonitor):
    """Pulumi's mock monitor, which also remembers what each registration said."""

    def __init__(self, zones: list[str]) -> None:
        super().__init__(_Cloud(zones))
        self.registered: dict[str, Registered] = {}
        self.outputs_registered: dict[str, list[str]] = {}

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return answer
        inputs = mocks.rpc.deserialize_properties(request.object)
        entry = Registered(
            type=request.type,
            name=request.name,
            inputs=dict(inputs),
            urn=answer.urn,
            parent=request.parent,
            protect=request.protect,
            retain=request.retainOnDelete,
            needs=frozenset(request.dependencies),
            provider=request.provider,
            request=request,
        )
        assert entry.key not in self.registered, f"{entry.key} is registered twice"
        self.registered[entry.key] = entry
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.outputs_registered[request.urn] = list(request.outputs)
        return super().RegisterResourceOutputs(request)


class _Cloud(pulumi.runtime.Mocks):
    """Gives each resource what its provider would: an id that tells what it is, ARNs, addresses."""

    def __init__(self, zones: list[str]) -> None:
        self.zones = zones

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        kind = short(args.typ).rpartition(".")[2]
        ident = f"{kind}:{args.name}"
        made: dict[str, Any] = {
            "FileSystem": {"dnsName": f"fs-0.efs.{REGION}.amazonaws.com"},
            "Eip": {"publicIp": "192.0.2.200", "allocationId": f"eipalloc:{args.name}"},
            "Parameter": {"version": 3},
            "Key": {"keyId": "key-id"},
            "Repository": {"repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{args.inputs.get('name')}"},
            "LaunchTemplate": {"latestVersion": 7},
            "Zone": {"zoneId": "Z1", "nameServers": ["ns-1.example.net"]},
            "Cluster": {
                "endpoint": "https://eks.example.net",
                "certificateAuthority": {"data": CA_DATA},
                "vpcConfig": {**(args.inputs.get("vpcConfig") or {}), "clusterSecurityGroupId": "sg-cluster"},
                "identities": [{"oidcs": [{"issuer": "https://oidc.example.net/id/1"}]}],
            },
            "NodeGroup": {
                "nodeGroupName": f"{args.name}-1",
                "resources": [{"autoscalingGroups": [{"name": f"eks-{args.name}"}]}],
            },
        }.get(kind, {})
        return ident, {"arn": f"arn:{ident}", **args.inputs, **made}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        answers: Mapping[str, Any] = {
            "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": self.zones, "zoneIds": []},
            "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": "999999999999"},
            "aws:ec2/getAmi:getAmi": {"id": AMI, "imageId": AMI, "name": "pinned"},
            "aws:route53/getZone:getZone": {"zoneId": "ZCAMPUS", "id": "ZCAMPUS", "name": "example.edu"},
        }
        self.asked = [*getattr(self, "asked", []), (args.token, dict(args.args), args.provider)]
        return answers[args.token]


@dataclass(frozen=True)
class Program:
    """One run of the program to its end."""

    semester: Semester
    plan: Plan
    resources: dict[str, Registered]
    outputs: dict[str, Any]
    secret_outputs: frozenset[str]
    registered_outputs: dict[str, list[str]]
    asked: list[tuple[str, dict[str, Any], str]]

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Inputs of one resource, such as `program["ec2.Vpc/vpc"]`."""
        return self.resources[key].inputs

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """`of_type("ec2.Subnet")`: name -> inputs."""
        return {entry.name: entry.inputs for entry in self.cloud() if short(entry.type) == kind}

    def cloud(self) -> Iterator[Registered]:
        """The resources of AWS, without components and provider."""
        return (entry for entry in self.resources.values() if entry.type.startswith("aws:"))

    def waits_for(self, key: str) -> set[str]:
        """Keys of the resources that this one needs, directly."""
        urns = {entry.urn: entry.key for entry in self.resources.values()}
        return {urns[urn] for urn in self.resources[key].needs if urn in urns}


def run(
    given: Semester, *, stack: str = STACK, zones: list[str] | None = None, config: Mapping[str, str] | None = None
) -> Program:
    """The program's registrations for a semester."""
    from components import aws

    recorder = Recorder(zones or [f"{REGION}b", f"{REGION}a", f"{REGION}c"])
    mocks.set_mocks(recorder.mocks, project="semesterhub", stack=stack, preview=False, monitor=recorder)
    pulumi.runtime.set_all_config(
        {"semesterhub:authenticator": json.dumps({"client_secret": SECRET}), **(config or {})}, []
    )
    resolved: dict[str, Any] = {}
    secret: set[str] = set()
    planned = plan(given)

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        outputs = aws.build(stack, given, planned)
        made = {name: value for name, value in outputs.items() if isinstance(value, pulumi.Output)}
        secret.update(name for name, value in made.items() if _sync_await(value.is_secret()))
        return pulumi.Output.all(**outputs).apply(resolved.update)

    program()
    return Program(
        given,
        planned,
        recorder.registered,
        resolved,
        frozenset(secret),
        recorder.outputs_registered,
        getattr(recorder.mocks, "asked", []),
    )


@cache
def swarm() -> Program:
    """The tests' semester on Swarm."""
    return run(semester())


@cache
def kubernetes() -> Program:
    """The tests' semester on Kubernetes."""
    return run(semester(orchestrator="kubernetes"))


def is_secret(value: Any) -> bool:
    """Whether an input reaches the engine marked as a secret."""
    return isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig


def plain(value: Any) -> Any:
    """A secret input's value."""
    assert is_secret(value)
    return value["value"]


def statements(policy: str) -> dict[str, tuple[set[str], set[str]]]:
    """Of a policy's text: sid -> (actions, resources)."""
    return {
        statement["Sid"]: (set(_listed(statement["Action"])), set(_listed(statement["Resource"])))
        for statement in json.loads(policy)["Statement"]
    }


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
