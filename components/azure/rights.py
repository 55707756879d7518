"""Which identity gets which right (:mod:`components.azure.access`), for both orchestrators. The whole list on one page."""

from __future__ import annotations

from dataclasses import dataclass

from components.azure.access import Grant
from components.azure.blobs import Blobs
from components.azure.identities import Identities
from components.azure.network import Network
from components.azure.registry import Registry
from components.azure.vault import JOIN_TOKEN, OAUTH_SECRET, Vault


@dataclass(frozen=True)
class Rooms:
    """What there are rights on."""

    identities: Identities
    vault: Vault
    blobs: Blobs
    registry: Registry
    network: Network


def of_hub(rooms: Rooms) -> list[Grant]:
    """The hub VM: its bundle, its images, its own secrets, the backups. It writes one secret, the join token."""
    hub = rooms.identities.hub
    grants = [
        Grant("hub-pulls-images", hub, "pull images", rooms.registry.registry_id),
        Grant("hub-reads-bundle", hub, "read blobs", rooms.blobs.bundle_container_id),
        Grant("hub-writes-backups", hub, "write blobs", rooms.blobs.backups_container_id),
        Grant("hub-signs-for-backups", hub, "sign for blobs", rooms.blobs.backups_id),
    ]
    if JOIN_TOKEN in rooms.vault.secret_ids:
        grants.append(Grant("hub-writes-join-token", hub, "write secret", rooms.vault.secret_ids[JOIN_TOKEN]))
    if OAUTH_SECRET in rooms.vault.secret_ids:
        grants.append(Grant("hub-reads-oauth-secret", hub, "read secret", rooms.vault.secret_ids[OAUTH_SECRET]))
    return grants


def of_workers(rooms: Rooms) -> list[Grant]:
    """A Swarm worker: the join token, the list of images, the images."""
    nodes = rooms.identities.nodes
    return [
        Grant("nodes-pull-images", nodes, "pull images", rooms.registry.registry_id),
        Grant("nodes-read-join-token", nodes, "read secret", rooms.vault.secret_ids[JOIN_TOKEN]),
        Grant("nodes-read-bundle", nodes, "read blobs", rooms.blobs.bundle_container_id),
    ]


def of_cluster(rooms: Rooms) -> list[Grant]:
    """AKS: the kubelets pull images; the control plane joins its subnets and hands the kubelets their identity."""
    nodes, cluster = rooms.identities.nodes, rooms.identities.cluster
    if cluster is None:
        raise AssertionError("only Kubernetes has a control plane")
    return [
        Grant("kubelets-pull-images", nodes, "pull images", rooms.registry.registry_id),
        Grant("cluster-joins-nodes-subnet", cluster, "join subnet", rooms.network.subnets["nodes"]),
        Grant("cluster-joins-pods-subnet", cluster, "join subnet", rooms.network.subnets["pods"]),
        Grant("cluster-uses-kubelet-identity", cluster, "use identity", nodes.id),
    ]
