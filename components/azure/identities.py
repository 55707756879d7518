"""Who the machines are: user-assigned identities, so that rights exist before the machines do and outlive them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import managedidentity as azure

from components.azure.site import Site

HUB, NODES, CLUSTER = "hub", "nodes", "cluster"


@dataclass(frozen=True)
class IdentitiesArgs:
    site: Site
    group: pulumi.Input[str]
    orchestrator: str


@dataclass(frozen=True)
class Identity:
    """`id`: the resource; `client_id`: what a machine asks for; `principal_id`: whom a role is given to."""

    id: pulumi.Output[str]
    client_id: pulumi.Output[str]
    principal_id: pulumi.Output[str]


class Identities(pulumi.ComponentResource):
    """``hub`` and ``nodes``; on Kubernetes also ``cluster`` (its control plane). ``tenant_id``: of all of them."""

    hub: Identity
    nodes: Identity
    cluster: Identity | None
    tenant_id: pulumi.Output[str]

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Identities", name, None, opts)
        whose = [HUB, NODES, *([CLUSTER] if args.orchestrator == "kubernetes" else [])]
        made = {
            who: azure.UserAssignedIdentity(
                f"{who}-identity",
                resource_name_=args.site.name(who),
                resource_group_name=args.group,
                location=args.site.region,
                tags=args.site.tags,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for who in whose
        }
        known = {who: Identity(one.id, one.client_id, one.principal_id) for who, one in made.items()}
        self.hub, self.nodes, self.cluster = known[HUB], known[NODES], known.get(CLUSTER)
        self.tenant_id = made[HUB].tenant_id
        self.register_outputs({"hub": self.hub.client_id, "nodes": self.nodes.client_id})
