"""The hub VM (Swarm manager, image registry, no student server) and the JupyterHub that runs on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components import cloud_init, hub_bundle
from components.local import resources
from components.local.nodes import MIB_PER_GIB, node_config
from components.local.storage import Mount
from components.plan import Plan
from components.semester import Semester

PASSWORD_CHARS = {"admin": 40, "student": 14}
"""JupyterHub's shared-password authenticator wants at least 32 characters for the admin and 8 for students."""


@dataclass(frozen=True)
class HubMachineArgs:
    stack: str
    semester: Semester
    plan: Plan
    machine_image: pulumi.Input[str]
    network: pulumi.Input[str]
    mounts: Sequence[Mount]


def machine(args: HubMachineArgs, opts: pulumi.ResourceOptions) -> resources.Machine:
    """The hub VM, published on this machine at the semester's ports."""
    local, nodes = args.semester.local, args.semester.nodes
    return resources.Machine(
        "hub-vm",
        stack=args.stack,
        name="hub",
        image=args.machine_image,
        network=args.network,
        ip=str(args.plan.hub_ip),
        role="hub",
        user_data=cloud_init.user_data(node_config(args.plan, "hub")),
        memory_mib=round(nodes.hub_memory_gib * MIB_PER_GIB),
        cpus=float(nodes.hub_vcpus),
        mounts=args.mounts,
        ports=[
            {"host_ip": str(local.bind_address), "host_port": local.https_port, "container_port": 443},
            {"host_ip": "127.0.0.1", "host_port": local.registry_port, "container_port": args.plan.registry_port},
        ],
        images=[],
        drain_timeout_s=0,
        manager="",
        opts=opts,
    )


@dataclass(frozen=True)
class HubArgs:
    stack: str
    semester: Semester
    plan: Plan
    machine: resources.Machine
    images: Mapping[str, pulumi.Output[str]]


class Hub(pulumi.ComponentResource):
    """JupyterHub, its proxy and its edge. ``admin_password`` and ``student_password`` are secrets."""

    admin_password: pulumi.Output[str]
    student_password: pulumi.Output[str] | None
    ca_certificate: pulumi.Output[str]

    def __init__(self, name: str, args: HubArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:local:Hub", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        secrets: dict[str, pulumi.Output[str]] = {}
        kinds = ["admin"] + (["student"] if args.semester.authenticator.kind == "demo" else [])
        for kind in kinds:
            password = resources.Password(f"{kind}-password", length=PASSWORD_CHARS[kind], version=1, opts=child)
            secrets[f"{kind}_password"] = pulumi.Output.secret(password.value)
        if "oauth_client_secret" in hub_bundle.deployed_secrets(args.semester):
            # Nested in an object, so Pulumi decrypts the whole of it; a semester never holds its value.
            options = pulumi.Config("semesterhub").require_secret_object("authenticator")
            secrets["oauth_client_secret"] = options.apply(lambda values: values["client_secret"])
        texts = pulumi.Output.all(**args.images).apply(
            lambda images: hub_bundle.bundle(args.stack, args.semester, args.plan, images)
        )
        deployment = resources.HubDeployment(
            "hub",
            stack=args.stack,
            machine=args.machine.id,
            machine_id=args.machine.container_id,
            settings=texts.apply(lambda pair: pair[0]),
            bundle=texts.apply(lambda pair: pair[1]),
            secrets=secrets,
            opts=child,
        )
        self.admin_password = secrets["admin_password"]
        self.student_password = secrets.get("student_password")
        self.ca_certificate = deployment.ca_certificate
        self.register_outputs({"revision": deployment.revision})
