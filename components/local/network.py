"""The semester's network on this machine: one Docker bridge network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi

from components.local import resources


@dataclass(frozen=True)
class NetworkArgs:
    stack: str
    cidr: IPv4Network


class Network(pulumi.ComponentResource):
    """``network_name``: the Docker network that every machine of the semester is in."""

    network_name: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:local:Network", name, None, opts)
        network = resources.Network(
            "network", stack=args.stack, name="net", cidr=str(args.cidr), opts=pulumi.ResourceOptions(parent=self)
        )
        self.network_name = network.id
        self.register_outputs({"network_name": self.network_name})
