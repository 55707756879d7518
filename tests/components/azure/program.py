"""The Azure program under Pulumi's mocks: everything it registers, with inputs, parents, dependencies and options.

The mocks check nothing; what a service refuses is the sandbox's to find. They show what the program asks for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.sync_await import _sync_await

from components.plan import Plan, plan
from components.semester import Semester, from_mapping
from components.semester_yaml import read_stack_file

STACKS = Path("stacks")
SUBSCRIPTION = "00000000-0000-4000-8000-000000000016"
TENANT = "00000000-0000-4000-8000-00000000aaaa"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nof the cluster\n-----END CERTIFICATE-----\n"
KUBECONFIG = f"""\
apiVersion: v1
clusters:
- name: aks
  cluster:
    server: https://aks.private.westus2.azmk8s.io:443
    certificate-authority-data: {base64.b64encode(AUTHORITY.encode()).decode()}
"""


def semester(stack: str = "sp16", **changes: Any) -> Semester:
    """The semester of a stack file with some keys changed."""
    return from_mapping({**read_stack_file(STACKS / f"Pulumi.{stack}.yaml").data, **changes}, source="test")


@dataclass(frozen=True)
class Registered:
    """One resource as the engine would get it; input names as on the wire (camel case)."""

    type: str
    name: str
    inputs: dict[str, Any]
    urn: str
    parent: str
    needs: frozenset[str]
    """URNs it waits for, through inputs or `depends_on`."""
    request: Any = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """`azure-native:network:Subnet` -> `network.Subnet`; a component's token stays."""
        return self.type.removeprefix("azure-native:").replace(":", ".") if self.is_azure else self.type

    @property
    def is_azure(self) -> bool:
        return self.type.startswith("azure-native:")

    @property
    def protected(self) -> bool:
        return self.request.protect

    @property
    def retained(self) -> bool:
        return self.request.retainOnDelete


class Recorder(mocks.MockMonitor):
    """Pulumi's mock monitor, which also remembers what each registration said."""

    def __init__(self) -> None:
        super().__init__(_Azure())
        self.registered: dict[str, Registered] = {}
        self.outputs_registered: dict[str, list[str]] = {}

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return answer
        inputs = mocks.rpc.deserialize_properties(request.object)
        assert request.name not in self.registered, f"{request.name} is registered twice"
        self.registered[request.name] = Registered(
            type=request.type,
            name=request.name,
            inputs=dict(inputs),
            urn=answer.urn,
            parent=request.parent,
            needs=frozenset(request.dependencies),
            request=request,
        )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.outputs_registered[request.urn] = list(request.outputs)
        return super().RegisterResourceOutputs(request)


class _Azure(pulumi.runtime.Mocks):
    """Gives each resource what its provider would: an id that tells what it is, names, addresses."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        own_name = next((value for key, value in args.inputs.items() if _is_own_name(kind, key)), args.name)
        made: dict[str, Any] = {
            "PublicIPAddress": {"ipAddress": f"192.0.2.{len(args.name)}"},
            "UserAssignedIdentity": {
                "principalId": f"principal-{args.name}",
                "clientId": f"client-{args.name}",
                "tenantId": TENANT,
            },
            "RecordSet": {"fqdn": f"{args.inputs.get('relativeRecordSetName')}.example.edu."},
            "Blob": {"url": f"https://blobs.example.net/{args.inputs.get('blobName')}"},
            "BackupVault": {
                "identity": {"type": "SystemAssigned", "principalId": "principal-copies", "tenantId": TENANT}
            },
            "VirtualMachine": {"vmId": f"vm-{args.name}"},
            "ManagedCluster": {
                "privateFQDN": "aks.private.westus2.azmk8s.io",
                "fqdn": "aks.westus2.azmk8s.io",
                "nodeResourceGroup": "MC_nodes",
                "oidcIssuerProfile": {"enabled": True, "issuerURL": "https://oidc.example.net/1"},
            },
        }.get(kind, {})
        outputs = {**args.inputs, "name": own_name, **made}
        identity = outputs.get("identity")
        if isinstance(identity, dict) and "userAssignedIdentities" in identity:
            # The one place where what goes in as a list comes out as a mapping.
            outputs["identity"] = {
                **identity,
                "userAssignedIdentities": {i: {} for i in identity["userAssignedIdentities"]},
            }
        return f"/id/{args.name}", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        if args.token == "azure-native:containerservice:listManagedClusterUserCredentials":
            value = base64.b64encode(KUBECONFIG.encode()).decode()
            return {"kubeconfigs": [{"name": "clusterUser", "value": value}]}
        raise AssertionError(f"the program called {args.token}")


def _is_own_name(kind: str, key: str) -> bool:
    if kind in {"ManagedCluster", "UserAssignedIdentity"}:
        return key == "resourceName"
    return key.endswith("Name") and key.lower().removesuffix("name") in {
        kind.lower(),
        kind.lower().removeprefix("storage"),
        kind.lower().removeprefix("blob"),
        kind.lower().removeprefix("file"),
    }


@dataclass(frozen=True)
class Program:
    """One run of the program to its end."""

    semester: Semester
    plan: Plan
    resources: dict[str, Registered]
    outputs: dict[str, Any]
    secret_outputs: frozenset[str]
    registered_outputs: dict[str, list[str]]

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Inputs of one resource."""
        return self.resources[name].inputs

    def of_kind(self, kind: str) -> dict[str, dict[str, Any]]:
        """`of_kind("network.Subnet")`: name -> inputs."""
        return {entry.name: entry.inputs for entry in self.azure() if entry.kind == kind}

    def azure(self) -> Iterator[Registered]:
        """The resources of Azure, without components and provider."""
        return (entry for entry in self.resources.values() if entry.is_azure)

    def components(self) -> dict[str, Registered]:
        """The project's own components, by name."""
        return {n: e for n, e in self.resources.items() if e.type.startswith("semesterhub:")}

    def waits_for(self, name: str) -> set[str]:
        """Names of the resources that this one needs, directly."""
        urns = {entry.urn: entry.name for entry in self.resources.values()}
        return {urns[urn] for urn in self.resources[name].needs if urn in urns}

    def waits_at_last_for(self, name: str) -> set[str]:
        """Names of the resources that this one needs, directly or through others."""
        found: set[str] = set()
        todo = [name]
        while todo:
            for needed in self.waits_for(todo.pop()) - found:
                found.add(needed)
                todo.append(needed)
        return found


def run(
    given: Semester, *, stack: str = "sp16", config: Mapping[str, str] | None = None, secrets: Sequence[str] = ()
) -> Program:
    """The program's registrations for a semester."""
    from components import azure

    recorder = Recorder()
    mocks.set_mocks(recorder.mocks, project="semesterhub", stack=stack, preview=False, monitor=recorder)
    pulumi.runtime.set_all_config(dict(config or {}), list(secrets))
    resolved: dict[str, Any] = {}
    secret: set[str] = set()
    planned = plan(given)

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        outputs = azure.build(stack, given, planned)
        made = {name: value for name, value in outputs.items() if isinstance(value, pulumi.Output)}
        secret.update(name for name, value in made.items() if _sync_await(value.is_secret()))
        return pulumi.Output.all(**outputs).apply(resolved.update)

    program()
    return Program(given, planned, recorder.registered, resolved, frozenset(secret), recorder.outputs_registered)


@cache
def swarm() -> Program:
    """The stack sp16."""
    return run(semester())


@cache
def kubernetes() -> Program:
    """The stack fa26-azure."""
    return run(semester("fa26-azure"), stack="fa26-azure")


BOTH = ("swarm", "kubernetes")


def program(orchestrator: str) -> Program:
    """One of the two, by its orchestrator."""
    return {"swarm": swarm, "kubernetes": kubernetes}[orchestrator]()
