"""What outlives a machine: homes, the hub's state and secrets, the Swarm's, and the images in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.hub_bundle import HOMES_PATH, SECRETS_PATH, STATE_PATH
from components.local import resources

CLUSTER_PATH = "/var/lib/semesterhub/cluster"
"""The local cloud's secret store: the Swarm join token, readable by root of the machines alone."""

Mount = resources.MountArgs


@dataclass(frozen=True)
class StorageArgs:
    stack: str
    protect_homes: bool


class Storage(pulumi.ComponentResource):
    """Docker volumes. ``homes`` stays when the semester is destroyed; the others go with it.

    ``hub_mounts`` and ``worker_mounts`` are what each kind of machine mounts where.
    """

    homes: pulumi.Output[str]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:local:Storage", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Kept by the provider (retain), not by Pulumi's protect: protect would make every destroy of a demo fail.
        homes = resources.Volume(
            "homes", stack=args.stack, name="homes", retain=args.protect_homes, purpose="students' files", opts=child
        )
        self.homes = homes.id
        purposes: Mapping[str, tuple[str, str]] = {
            "hub-state": (STATE_PATH, "hub database, certificate authority"),
            "hub-secrets": (SECRETS_PATH, "secrets of the hub VM"),
            "hub-engine": ("/var/lib/docker", "Docker and Swarm state of the hub VM"),
            "registry": ("/var/lib/docker-registry", "images of the semester"),
        }
        cluster = resources.Volume("cluster", stack=args.stack, name="cluster", purpose="Swarm join token", opts=child)
        shared: list[Mount] = [{"volume": homes.id, "path": HOMES_PATH, "read_only": False}]
        self.hub_mounts: list[Mount] = [
            *shared,
            {"volume": cluster.id, "path": CLUSTER_PATH, "read_only": False},
            *(
                {
                    "volume": resources.Volume(volume, stack=args.stack, name=volume, purpose=purpose, opts=child).id,
                    "path": path,
                    "read_only": False,
                }
                for volume, (path, purpose) in purposes.items()
            ),
        ]
        self.worker_mounts: list[Mount] = [*shared, {"volume": cluster.id, "path": CLUSTER_PATH, "read_only": True}]
        self.register_outputs({"homes": self.homes})
