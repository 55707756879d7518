"""A semester in an Azure subscription: VNet, homes on Azure Files, hub VM, and nodes for Swarm or Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components import clock, cost, history, hub_bundle, images_lock
from components.azure.access import Access, AccessArgs, Grant
from components.azure.autoscale import Autoscale, AutoscaleArgs
from components.azure.blobs import BACKUPS_ACCOUNT, BACKUPS_CONTAINER, Blobs, BlobsArgs
from components.azure.bundle import Bundle, BundleArgs
from components.azure.copies import Copies, CopiesArgs, check
from components.azure.dns import Name, NameArgs
from components.azure.flow_logs import FlowLogs, FlowLogsArgs
from components.azure.groups import Groups, GroupsArgs
from components.azure.hub import Hub, HubArgs
from components.azure.identities import Identities, IdentitiesArgs
from components.azure.kubernetes import Cluster, ClusterArgs, cluster_name
from components.azure.lock import Lock, LockArgs
from components.azure.network import Network, NetworkArgs
from components.azure.nodes import NodeGroup, NodeGroupArgs
from components.azure.provider import provider
from components.azure.registry import Registry, RegistryArgs
from components.azure.rights import Rooms, of_cluster, of_hub, of_workers
from components.azure.site import Site, site
from components.azure.storage import SHARE, Storage, StorageArgs
from components.azure.vault import Vault, VaultArgs
from components.azure.watch import Watch, WatchArgs, admin_emails
from components.cloud_sizes import hub_size
from components.plan import Plan
from components.schedule import Schedule, schedule
from components.schedule_profiles import profiles
from components.semester import Semester, secret_paths
from components.semester_access import AzureDns


@dataclass(frozen=True)
class _Ground:
    """What everything else stands on."""

    site: Site
    semester: Semester
    plan: Plan
    schedule: Schedule
    opts: pulumi.ResourceOptions
    groups: Groups
    homes: Storage
    rooms: Rooms
    images: Mapping[str, str]

    @property
    def protect(self) -> bool:
        return self.semester.homes.protect


def build(stack: str, semester: Semester, plan: Plan) -> dict[str, Any]:
    """Declare the semester's resources; the stack's outputs. SemesterError before anything is declared."""
    ground = _ground(stack, semester, plan)
    kubernetes = semester.orchestrator == "kubernetes"
    cluster = _cluster(ground) if kubernetes else None
    grants = of_hub(ground.rooms)
    if cluster is not None:
        hub_identity = ground.rooms.identities.hub
        grants += [
            Grant("hub-uses-cluster", hub_identity, cluster.hub_role_id, cluster.cluster_id),
            Grant("hub-finds-cluster", hub_identity, "find cluster", cluster.cluster_id),
        ]
    rights = Access("hub-access", AccessArgs(ground.site, grants), ground.opts)
    if ground.protect:
        blobs = ground.rooms.blobs
        Lock("lock", LockArgs(ground.site, blobs.backups_id, [blobs, rights]), ground.opts)
    bundle = Bundle(
        "hub-bundle",
        BundleArgs(
            group=ground.groups.main,
            account=ground.rooms.blobs.operations_account,
            container=ground.rooms.blobs.bundle_container,
            text=_bundle(ground, cluster),
        ),
        ground.opts,
    )
    hub = _hub(ground, [rights, bundle])
    node_group = cluster.pool_name if cluster is not None else _workers(ground, hub)
    _watch(ground, hub)
    _copies(ground, hub)
    outputs: dict[str, Any] = {
        "hub_url": semester.hub_url,
        "hub_host": semester.domain,
        "hub_address": hub.public_ip,
        "admin_user": semester.admins[0],
        "node_group": node_group,
        "nodes": {
            "min": semester.nodes.min,
            "desired": ground.schedule.base_nodes,
            "max": semester.nodes.max,
        },
        "homes": pulumi.Output.concat(ground.homes.account, "/", ground.homes.share),
        "backups": ground.rooms.blobs.backups_account,
        "images": {name: reference.rpartition("@")[2] for name, reference in ground.images.items()},
        "registry": ground.site.registry_server,
        "resource_groups": [ground.groups.main, ground.groups.data],
        "monthly_cost_usd": cost.exported(cost.monthly_cost(semester, plan)),
    }
    if cluster is not None:
        outputs["cluster"] = cluster.cluster_name
    if semester.fallback is not None and semester.fallback.domain is not None:
        outputs["fallback_url"] = f"https://{semester.fallback.domain}"
    return outputs


def _ground(stack: str, semester: Semester, plan: Plan) -> _Ground:
    if plan.subnets is None:
        raise AssertionError("a plan for a cloud has subnets")
    place = site(stack, semester)
    check(semester.homes.snapshots)
    names = (*hub_bundle.HUB_IMAGES, *hub_bundle.course_images(semester))
    images = images_lock.references(semester, place.registry_server, names)
    calendar = schedule(semester, plan)
    opts = pulumi.ResourceOptions(providers=[provider(place)])
    protect, orchestrator = semester.homes.protect, semester.orchestrator
    groups = Groups("groups", GroupsArgs(site=place, protect=protect), opts)
    wire = Network(
        "network",
        NetworkArgs(
            site=place,
            group=groups.main,
            cidr=plan.cluster_cidr,
            subnets=plan.subnets,
            hub_ip=plan.hub_ip,
            orchestrator=orchestrator,
            admin_cidrs=semester.network.admin_cidrs,
            bastion=semester.network.bastion,
        ),
        opts,
    )
    machines = [wire.subnets["hub"], wire.subnets["nodes"]]
    homes = Storage(
        "storage",
        StorageArgs(
            site=place,
            group=groups.data,
            subnets=machines,
            size_gib=plan.homes_gib,
            protect=protect,
        ),
        opts,
    )
    blobs = Blobs(
        "blobs",
        BlobsArgs(
            site=place, group=groups.main, data_group=groups.data, subnets=[wire.subnets["hub"]], protect=protect
        ),
        opts,
    )
    FlowLogs("flow-logs", FlowLogsArgs(site=place, vnet_id=wire.vnet_id, storage_id=blobs.operations_id), opts)
    identities = Identities(
        "identities", IdentitiesArgs(site=place, group=groups.main, orchestrator=orchestrator), opts
    )
    vault = Vault(
        "secrets",
        VaultArgs(
            site=place,
            group=groups.data,
            tenant_id=identities.tenant_id,
            subnets=machines,
            orchestrator=orchestrator,
            oauth_client_secret=client_secret(semester),
            protect=protect,
        ),
        opts,
    )
    registry = Registry("images", RegistryArgs(site=place, group=groups.main), opts)
    rooms = Rooms(identities=identities, vault=vault, blobs=blobs, registry=registry, network=wire)
    return _Ground(place, semester, plan, calendar, opts, groups, homes, rooms, images)


def client_secret(semester: Semester) -> pulumi.Output[str] | None:
    """The OAuth client's secret of the stack's configuration, if there is one. Stays a secret in Pulumi's state."""
    if "authenticator.client_secret" not in secret_paths(semester):
        return None
    authenticator = pulumi.Config("semesterhub").require_secret_object("authenticator")
    return authenticator.apply(lambda value: str(value["client_secret"]))


def _bundle(ground: _Ground, cluster: Cluster | None) -> pulumi.Output[str]:
    """What the machines follow; with Kubernetes, where its API answers and where the homes are."""
    place, version = ground.site, ground.rooms.vault.oauth_version
    own = ground.rooms.identities.hub.client_id.apply(
        lambda client_id: history.OwnPlace(f"azure:{BACKUPS_CONTAINER}:/", place.account(BACKUPS_ACCOUNT), client_id)
    )
    if cluster is None:
        return pulumi.Output.all(version, own).apply(
            lambda made: hub_bundle.current(
                place.stack, ground.semester, ground.plan, ground.images, secrets_revision=made[0], own_backups=made[1]
            )
        )
    found = pulumi.Output.all(
        revision=version,
        own=own,
        api_url=cluster.api_url,
        ca_certificate=cluster.ca_certificate,
        identity_client_id=ground.rooms.identities.hub.client_id,
    )
    return found.apply(
        lambda made: hub_bundle.current(
            place.stack,
            ground.semester,
            ground.plan,
            ground.images,
            kubernetes={
                "api_url": made["api_url"],
                "ca_certificate": made["ca_certificate"],
                "cluster_name": cluster_name(place),
                "identity_client_id": made["identity_client_id"],
                "homes": ground.homes.pod_volume,
            },
            secrets_revision=made["revision"],
            own_backups=made["own"],
        )
    )


def _cluster(ground: _Ground) -> Cluster:
    rooms = ground.rooms
    identities, subnets = rooms.identities, rooms.network.subnets
    if identities.cluster is None:
        raise AssertionError("a cluster has an identity")
    access = Access("cluster-access", AccessArgs(ground.site, of_cluster(rooms)), ground.opts)
    return Cluster(
        "cluster-room",
        ClusterArgs(
            site=ground.site,
            group=ground.groups.main,
            group_id=ground.groups.main_id,
            semester=ground.semester,
            plan=ground.plan,
            nodes_subnet=subnets["nodes"],
            pods_subnet=subnets["pods"],
            control_plane=identities.cluster,
            kubelet=identities.nodes,
            tenant_id=identities.tenant_id,
            base_nodes=ground.schedule.base_nodes,
            after=[access],
        ),
        ground.opts,
    )


def _hub(ground: _Ground, after: list[pulumi.Resource]) -> Hub:
    return Hub(
        "hub",
        HubArgs(
            site=ground.site,
            group=ground.groups.main,
            data_group=ground.groups.data,
            semester=ground.semester,
            plan=ground.plan,
            subnet=ground.rooms.network.subnets["hub"],
            identity=ground.rooms.identities.hub,
            secret_store=f"keyvault:{ground.site.vault_url}",
            homes=ground.homes.homes,
            bundle=ground.rooms.blobs.bundle_url,
            registry=ground.site.registry_server,
            protect=ground.protect,
            after=[ground.homes, *after],
        ),
        ground.opts,
    )


def _workers(ground: _Ground, hub: Hub) -> pulumi.Output[str]:
    """The scale set and its calendar; the set's name."""
    semester, plan = ground.semester, ground.plan
    rights = Access("nodes-access", AccessArgs(ground.site, of_workers(ground.rooms)), ground.opts)
    nodes = NodeGroup(
        "nodes",
        NodeGroupArgs(
            site=ground.site,
            group=ground.groups.main,
            semester=semester,
            plan=plan,
            subnet=ground.rooms.network.subnets["nodes"],
            identity=ground.rooms.identities.nodes,
            secret_store=f"keyvault:{ground.site.vault_url}",
            homes=ground.homes.homes,
            bundle=ground.rooms.blobs.bundle_url,
            registry=ground.site.registry_server,
            base_nodes=ground.schedule.base_nodes,
            after=[rights, hub],
        ),
        ground.opts,
    )
    Autoscale(
        "autoscale",
        AutoscaleArgs(
            site=ground.site,
            group=ground.groups.main,
            scale_set_id=nodes.scale_set_id,
            profiles=profiles(ground.schedule, semester, now=clock.now()),
            most=semester.nodes.max,
            node_memory_gib=plan.workers.memory_gib,
            admin_emails=admin_emails(semester),
        ),
        ground.opts,
    )
    return nodes.scale_set_name


def _copies(ground: _Ground, hub: Hub) -> None:
    Copies(
        "copies-room",
        CopiesArgs(
            site=ground.site,
            group=ground.groups.main,
            data_group=ground.groups.data,
            data_group_id=ground.groups.data_id,
            disk_id=hub.disk_id,
            homes_account_id=ground.homes.account_id,
            share=SHARE,
            snapshots=ground.semester.homes.snapshots,
            protect=ground.protect,
        ),
        ground.opts,
    )


def _watch(ground: _Ground, hub: Hub) -> None:
    semester = ground.semester
    dns = semester.fallback.dns if semester.fallback is not None else None
    if isinstance(dns, AzureDns):
        Name("name", NameArgs(domain=semester.domain, dns=dns, address=hub.public_ip), ground.opts)
    Watch(
        "watch",
        WatchArgs(
            site=ground.site,
            group=ground.groups.main,
            semester=semester,
            hub_vm_id=hub.vm_id,
            hub_memory_gib=hub_size(semester).memory_gib,
            homes_account_id=ground.homes.account_id,
            homes_gib=ground.plan.homes_gib,
            today=clock.now().date(),
        ),
        ground.opts,
    )
