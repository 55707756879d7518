"""AKS: a private cluster whose pods have addresses of the VNet, so that the hub VM's proxy reaches them.

- The API has no public address; admins ask it through the hub VM or `az aks command invoke`.
- Only Entra ID identities come in (no local accounts), each with Azure roles on this cluster. The hub's role is of our own
  making: what a hub does in a cluster and nothing else (`HUB_DATA_ACTIONS`).
- Nodes in one subnet, pods in another (Azure CNI with dynamic addresses), rules between pods by Cilium.
- Two pools: `system` for the cluster's own pods, `students` for everybody else's, sized by the cluster's autoscaler between
  nodes.min and nodes.max. Azure's calendar profiles cannot move an AKS pool: the hub brings nodes before a class with
  placeholder pods.
- Upgrades (patches of Kubernetes, node images) wait for Sunday night in the term's time zone.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from ipaddress import IPv4Network
from typing import Any

import pulumi
import yaml
from pulumi_azure_native import authorization
from pulumi_azure_native import containerservice as azure

from components.azure.identities import Identity
from components.azure.site import Site
from components.cloud_nodes import STUDENT_LABEL, STUDENT_TAINT
from components.cloud_sizes import SYSTEM_NODE_SIZE, SYSTEM_NODES, WORKER_DISK_GIB
from components.plan import Plan
from components.semester import Semester

VERSION = "1.35"
"""Minor version; AKS supports three at a time (learn.microsoft.com/azure/aks/supported-kubernetes-versions)."""
SYSTEM_PODS_MAX = 60
SERVICE_CIDRS = tuple(IPv4Network(space) for space in ("172.31.0.0/20", "192.168.240.0/20", "10.250.0.0/20"))
"""Addresses of the cluster's own services; they exist inside the cluster only."""
_K8S = "Microsoft.ContainerService/managedClusters"
HUB_DATA_ACTIONS = tuple(
    f"{_K8S}/{what}"
    for what in (
        "namespaces/read",
        "namespaces/write",
        "nodes/read",
        "events/read",
        "events.k8s.io/events/read",
        "pods/read",
        "pods/write",
        "pods/delete",
        "persistentvolumes/read",
        "persistentvolumes/write",
        "persistentvolumeclaims/read",
        "persistentvolumeclaims/write",
        "resourcequotas/read",
        "resourcequotas/write",
        "networking.k8s.io/networkpolicies/read",
        "networking.k8s.io/networkpolicies/write",
        "scheduling.k8s.io/priorityclasses/read",
        "scheduling.k8s.io/priorityclasses/write",
    )
)
"""Students' servers as pods, and what hubconfig/kube_manifests.py puts around them. No secrets, no shells, no rights."""


@dataclass(frozen=True)
class ClusterArgs:
    site: Site
    group: pulumi.Input[str]
    group_id: pulumi.Input[str]
    semester: Semester
    plan: Plan
    nodes_subnet: pulumi.Input[str]
    pods_subnet: pulumi.Input[str]
    control_plane: Identity
    kubelet: Identity
    tenant_id: pulumi.Input[str]
    base_nodes: int
    after: Sequence[pulumi.Resource]
    """The control plane's rights on subnets and kubelet identity."""


def cluster_name(site: Site) -> str:
    """Known before the cluster is."""
    return site.name("aks")


def service_cidr(semester: Semester) -> IPv4Network:
    """The first of SERVICE_CIDRS that overlaps neither the VNet nor the containers' network of the hub VM."""
    taken = (semester.network.cidr, semester.network.bridge_cidr)
    return next(space for space in SERVICE_CIDRS if not any(space.overlaps(one) for one in taken))


class Cluster(pulumi.ComponentResource):
    """``api_url``, ``ca_certificate`` (PEM), ``cluster_name``, ``cluster_id``, ``hub_role_id``, ``pool_name``, ``issuer``."""

    cluster_id: pulumi.Output[str]
    cluster_name: pulumi.Output[str]
    api_url: pulumi.Output[str]
    ca_certificate: pulumi.Output[str]
    hub_role_id: pulumi.Output[str]
    pool_name: pulumi.Output[str]
    issuer: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Cluster", name, None, opts)
        self._args = args
        cluster = self._cluster()
        students = self._students(cluster)
        for label, config in (
            ("upgrades", "aksManagedAutoUpgradeSchedule"),
            ("images", "aksManagedNodeOSUpgradeSchedule"),
        ):
            azure.MaintenanceConfiguration(
                f"quiet-hours-{label}",
                config_name=config,
                resource_name_=cluster.name,
                resource_group_name=args.group,
                maintenance_window=self._sunday_night(),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[students]),
            )
        role = authorization.RoleDefinition(
            "hub-role",
            role_definition_id=args.site.guid("hub-role"),
            role_name=args.site.name("hub"),
            role_type="CustomRole",
            description=f"What the hub of semester {args.site.stack} does in its cluster",
            scope=args.group_id,
            assignable_scopes=[args.group_id],
            permissions=[authorization.PermissionArgs(actions=[], data_actions=list(HUB_DATA_ACTIONS))],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.cluster_id, self.cluster_name, self.pool_name = cluster.id, cluster.name, students.name
        self.hub_role_id = role.id
        self.api_url = cluster.private_fqdn.apply(lambda host: f"https://{host}:443")
        self.issuer = cluster.oidc_issuer_profile.apply(lambda profile: profile.issuer_url if profile else "")
        found = azure.list_managed_cluster_user_credentials_output(
            resource_group_name=args.group,
            resource_name=cluster.name,
            format="exec",
            opts=pulumi.InvokeOutputOptions(parent=self, depends_on=[cluster]),
        )
        # The file names a cluster and its authority; who asks is decided by Entra ID, so there is no secret in it.
        self.ca_certificate = pulumi.Output.unsecret(found.kubeconfigs.apply(lambda files: authority(files[0].value)))
        self.register_outputs({"cluster_id": self.cluster_id, "api_url": self.api_url, "pool": self.pool_name})

    def _cluster(self) -> azure.ManagedCluster:
        args = self._args
        site, services = args.site, service_cidr(args.semester)
        return azure.ManagedCluster(
            "cluster",
            resource_name_=cluster_name(site),
            resource_group_name=args.group,
            location=site.region,
            node_resource_group=site.name("aks-nodes"),
            dns_prefix=site.prefix,
            kubernetes_version=VERSION,
            # Standard: the API's uptime is promised, and it serves more than 10 nodes.
            sku=azure.ManagedClusterSKUArgs(name="Base", tier="Standard"),
            support_plan="KubernetesOfficial",
            identity=azure.ManagedClusterIdentityArgs(
                type=azure.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[args.control_plane.id]
            ),
            identity_profile={
                "kubeletidentity": azure.UserAssignedIdentityArgs(
                    resource_id=args.kubelet.id,
                    client_id=args.kubelet.client_id,
                    object_id=args.kubelet.principal_id,
                )
            },
            enable_rbac=True,
            disable_local_accounts=True,
            aad_profile=azure.ManagedClusterAADProfileArgs(
                managed=True, enable_azure_rbac=True, tenant_id=args.tenant_id
            ),
            api_server_access_profile=azure.ManagedClusterAPIServerAccessProfileArgs(
                enable_private_cluster=True,
                enable_private_cluster_public_fqdn=False,
                private_dns_zone="system",
                disable_run_command=False,
            ),
            oidc_issuer_profile=azure.ManagedClusterOIDCIssuerProfileArgs(enabled=True),
            security_profile=azure.ManagedClusterSecurityProfileArgs(
                workload_identity=azure.ManagedClusterSecurityProfileWorkloadIdentityArgs(enabled=True),
                image_cleaner=azure.ManagedClusterSecurityProfileImageCleanerArgs(enabled=True, interval_hours=168),
            ),
            network_profile=azure.ContainerServiceNetworkProfileArgs(
                network_plugin="azure",
                network_dataplane="cilium",
                network_policy="cilium",
                load_balancer_sku="standard",
                outbound_type="userAssignedNATGateway",
                service_cidr=str(services),
                dns_service_ip=str(services.network_address + 10),
            ),
            agent_pool_profiles=[self._system_pool()],
            auto_scaler_profile=azure.ManagedClusterPropertiesAutoScalerProfileArgs(
                expander="least-waste",
                scale_down_unneeded_time="20m",
                scale_down_delay_after_add="20m",
                max_graceful_termination_sec=str(args.semester.nodes.drain_timeout_s),
                skip_nodes_with_local_storage="false",
                skip_nodes_with_system_pods="true",
            ),
            auto_upgrade_profile=azure.ManagedClusterAutoUpgradeProfileArgs(
                upgrade_channel="patch", node_os_upgrade_channel="NodeImage"
            ),
            storage_profile=azure.ManagedClusterStorageProfileArgs(
                file_csi_driver=azure.ManagedClusterStorageProfileFileCSIDriverArgs(enabled=True),
                disk_csi_driver=azure.ManagedClusterStorageProfileDiskCSIDriverArgs(enabled=True),
                blob_csi_driver=azure.ManagedClusterStorageProfileBlobCSIDriverArgs(enabled=False),
                snapshot_controller=azure.ManagedClusterStorageProfileSnapshotControllerArgs(enabled=False),
            ),
            tags=site.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                # Another address space or name is another cluster.
                replace_on_changes=["dnsPrefix", "networkProfile.serviceCidr", "nodeResourceGroup"],
                delete_before_replace=True,
            ),
        )

    def _system_pool(self) -> azure.ManagedClusterAgentPoolProfileArgs:
        args = self._args
        return azure.ManagedClusterAgentPoolProfileArgs(
            name="system",
            mode="System",
            type="VirtualMachineScaleSets",
            count=SYSTEM_NODES,
            enable_auto_scaling=False,
            vm_size=SYSTEM_NODE_SIZE["azure"],
            os_type="Linux",
            os_sku="Ubuntu",
            os_disk_type="Managed",
            os_disk_size_gb=WORKER_DISK_GIB,
            max_pods=SYSTEM_PODS_MAX,
            vnet_subnet_id=args.nodes_subnet,
            pod_subnet_id=args.pods_subnet,
            availability_zones=list(args.site.zones) or None,
            enable_node_public_ip=False,
            enable_encryption_at_host=True,
            node_taints=["CriticalAddonsOnly=true:NoSchedule"],
            upgrade_settings=azure.AgentPoolUpgradeSettingsArgs(max_surge="1"),
            tags=args.site.tags,
        )

    def _students(self, cluster: azure.ManagedCluster) -> azure.AgentPool:
        args = self._args
        nodes = args.semester.nodes
        return azure.AgentPool(
            "students",
            agent_pool_name="students",
            resource_name_=cluster.name,
            resource_group_name=args.group,
            mode="User",
            type="VirtualMachineScaleSets",
            enable_auto_scaling=True,
            min_count=nodes.min,
            max_count=nodes.max,
            count=max(args.base_nodes, nodes.min),
            vm_size=args.plan.workers.instance_type,
            os_type="Linux",
            os_sku="Ubuntu",
            os_disk_type="Managed",
            os_disk_size_gb=WORKER_DISK_GIB,
            max_pods=args.plan.workers.pods_per_node,
            vnet_subnet_id=args.nodes_subnet,
            pod_subnet_id=args.pods_subnet,
            availability_zones=list(args.site.zones) or None,
            enable_node_public_ip=False,
            enable_encryption_at_host=True,
            scale_down_mode="Delete",
            node_labels=dict([STUDENT_LABEL]),
            node_taints=[f"{STUDENT_TAINT[0]}={STUDENT_TAINT[1]}:NoSchedule"],
            upgrade_settings=azure.AgentPoolUpgradeSettingsArgs(
                max_surge="1", drain_timeout_in_minutes=max(1, -(-nodes.drain_timeout_s // 60))
            ),
            tags=args.site.tags,
            # How many there are is the autoscaler's word.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["count"]),
        )

    def _sunday_night(self) -> azure.MaintenanceWindowArgs:
        term = self._args.semester.term
        offset = datetime.combine(term.starts, time(12), term.timezone).strftime("%z")
        return azure.MaintenanceWindowArgs(
            schedule=azure.ScheduleArgs(
                weekly=azure.WeeklyScheduleArgs(day_of_week=azure.WeekDay.SUNDAY, interval_weeks=1)
            ),
            start_time="02:00",
            duration_hours=4,
            utc_offset=f"{offset[:3]}:{offset[3:5]}",
        )


def authority(kubeconfig: str) -> str:
    """The certificate authority (PEM) of a cluster's credentials file, base64 as Azure sends it."""
    document: Any = yaml.safe_load(base64.b64decode(kubeconfig))
    data = document["clusters"][0]["cluster"]["certificate-authority-data"]
    return base64.b64decode(data).decode()
