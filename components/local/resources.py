"""The resource types of the provider `localcloud` (providers/localcloud), as Pulumi classes.

Thin: checking, defaults and messages are the provider's. Units are in the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions


class MountArgs(TypedDict):
    """A volume in a machine."""

    volume: Input[str]
    path: Input[str]
    read_only: Input[bool]


class PortArgs(TypedDict):
    """A port of a machine, published on this host."""

    host_ip: Input[str]
    host_port: Input[int]
    container_port: Input[int]


class _LocalResource(pulumi.CustomResource):
    """Registers `token` with the given inputs and declares the outputs."""

    def __init__(
        self, token: str, name: str, inputs: Mapping[str, Any], outputs: Sequence[str], opts: ResourceOptions | None
    ) -> None:
        super().__init__(token, name, {**inputs, **dict.fromkeys(outputs)}, opts)


class Network(_LocalResource):
    """A Docker bridge network. Its id is its Docker name."""

    cidr: Output[str]
    docker_id: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        stack: Input[str],
        name: Input[str],
        cidr: Input[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            "localcloud:index:Network",
            resource_name,
            {"stack": stack, "name": name, "cidr": cidr},
            ("docker_id",),
            opts,
        )


class Volume(_LocalResource):
    """A Docker volume. Its id is its Docker name. `retain`: kept when the stack is destroyed, adopted when it comes back."""

    retain: Output[bool]
    purpose: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        stack: Input[str],
        name: Input[str],
        retain: Input[bool] = False,
        purpose: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            "localcloud:index:Volume",
            resource_name,
            {"stack": stack, "name": name, "retain": retain, "purpose": purpose},
            (),
            opts,
        )


class Password(_LocalResource):
    """A random password without signs that look alike. Another `version` is another value."""

    value: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        length: Input[int] = 20,
        version: Input[int] = 1,
        opts: ResourceOptions | None = None,
    ) -> None:
        # Also declared here: until the engine has asked the provider (preview of a creation) nothing else marks it.
        secret = ResourceOptions.merge(opts, ResourceOptions(additional_secret_outputs=["value"]))
        super().__init__(
            "localcloud:index:Password", resource_name, {"length": length, "version": version}, ("value",), secret
        )


class Image(_LocalResource):
    """An image of hubconfig/images, built on this host. `content_hash` from operations.images. Its id is `tag`."""

    tag: Output[str]
    image_id: Output[str]
    size_mib: Output[int]
    build_s: Output[float]

    def __init__(
        self, resource_name: str, *, name: Input[str], content_hash: Input[str], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__(
            "localcloud:index:Image",
            resource_name,
            {"name": name, "content_hash": content_hash},
            ("tag", "image_id", "size_mib", "build_s"),
            opts,
        )


class RegistryImage(_LocalResource):
    """An image in the semester's registry; `ref` is how the machines pull it, by digest.

    `machine_id`: the container id of the machine with the registry, so that a new machine gets the image as well.
    """

    digest: Output[str]
    ref: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        stack: Input[str],
        name: Input[str],
        tag: Input[str],
        image_id: Input[str],
        push_address: Input[str],
        pull_address: Input[str],
        repository: Input[str],
        machine_id: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "stack": stack,
            "name": name,
            "tag": tag,
            "image_id": image_id,
            "push_address": push_address,
            "pull_address": pull_address,
            "repository": repository,
            "machine_id": machine_id,
        }
        super().__init__("localcloud:index:RegistryImage", resource_name, inputs, ("digest", "ref"), opts)


class Machine(_LocalResource):
    """A node: a container with its own Docker, booted by cloud-init. Its id is its Docker name.

    `image`: tag on this host. `network`, `mounts[].volume`, `manager`: Docker names (the ids of those resources).
    `images`: pulled inside once it is ready. In place: images, memory_mib, cpus, drain_timeout_s; all else replaces.
    """

    ip: Output[str]
    container_id: Output[str]
    boot_s: Output[float]

    def __init__(
        self,
        resource_name: str,
        *,
        stack: Input[str],
        name: Input[str],
        image: Input[str],
        network: Input[str],
        ip: Input[str],
        role: Input[str],
        user_data: Input[str],
        memory_mib: Input[int],
        cpus: Input[float],
        mounts: Input[Sequence[Input[MountArgs]]] = (),
        ports: Input[Sequence[Input[PortArgs]]] = (),
        images: Input[Sequence[Input[str]]] = (),
        drain_timeout_s: Input[int] = 300,
        manager: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "stack": stack,
            "name": name,
            "image": image,
            "network": network,
            "ip": ip,
            "role": role,
            "user_data": user_data,
            "memory_mib": memory_mib,
            "cpus": cpus,
            "mounts": mounts,
            "ports": ports,
            "images": images,
            "drain_timeout_s": drain_timeout_s,
            "manager": manager,
        }
        super().__init__("localcloud:index:Machine", resource_name, inputs, ("container_id", "boot_s"), opts)


class HubDeployment(_LocalResource):
    """The hub on the hub VM: settings, secret files and containers, applied by the VM's agent.

    `settings`, `bundle`: JSON texts. `secrets`: file name -> content. `machine_id`: the hub VM's container id, so that a
    new machine is deployed to as well.
    """

    revision: Output[str]
    ca_certificate: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        stack: Input[str],
        machine: Input[str],
        settings: Input[str],
        bundle: Input[str],
        secrets: Input[Mapping[str, Input[str]]],
        machine_id: Input[str] = "",
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "stack": stack,
            "machine": machine,
            "settings": settings,
            "bundle": bundle,
            "secrets": Output.secret(secrets),
            "machine_id": machine_id,
        }
        super().__init__("localcloud:index:HubDeployment", resource_name, inputs, ("revision", "ca_certificate"), opts)
