"""Microsoft.ContainerService and Microsoft.ContainerRegistry.

Rules: https://learn.microsoft.com/azure/aks/quotas-skus-regions, .../aks/use-system-pools, .../aks/create-node-pools,
https://learn.microsoft.com/azure/container-registry/container-registry-skus.
"""

from __future__ import annotations

import base64
import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import ids, paths
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of
from sandbox.azure.emulator.kinds.access import IDENTITY
from sandbox.azure.emulator.kinds.compute import SIZE
from sandbox.azure.emulator.kinds.network import SUBNET
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

CLUSTER = "Microsoft.ContainerService/managedClusters"
POOL = f"{CLUSTER}/agentPools"
REGISTRY = "Microsoft.ContainerRegistry/registries"
VERSIONS = ("1.32", "1.33", "1.34", "1.35", "1.36")
"""Kubernetes versions of AKS (https://learn.microsoft.com/azure/aks/supported-kubernetes-versions, the calendar up to 2026)."""


def _check_version(text: Any) -> None:
    if text is not None and ".".join(str(text).split(".")[:2]) not in VERSIONS:
        raise bad(
            f"Kubernetes version {text} is not supported; AKS has {', '.join(VERSIONS)}.", code="K8sVersionNotSupported"
        )


def _check_cluster(call: Call) -> None:
    pools = [pool for _, pool in paths.values_at(call.body, "properties.agentPoolProfiles[]")]
    if not any(str(pool.get("mode", "User")).lower() == "system" for pool in pools):
        raise bad(
            "There has to be at least one system agent pool.", code="InvalidParameter", target="agentPoolProfiles"
        )
    for pool in pools:
        check_pool(call, str(pool.get("name", "")), pool)
    if not re.fullmatch(
        r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,52}[A-Za-z0-9])?", str(paths.get(call.body, "properties.dnsPrefix") or "")
    ):
        raise bad("dnsPrefix must be 1 to 54 letters, digits and hyphens.", target="dnsPrefix")
    _check_version(paths.get(call.body, "properties.kubernetesVersion"))
    if not paths.get(call.body, "identity") and not paths.get(call.body, "properties.servicePrincipalProfile"):
        raise bad(f"Cluster '{call.id.name}' has neither an identity nor a service principal.", code="BadRequest")
    if paths.get(call.body, "properties.securityProfile.workloadIdentity.enabled") and not paths.get(
        call.body, "properties.oidcIssuerProfile.enabled"
    ):
        raise bad("Workload identity needs the OIDC issuer.", code="OIDCIssuerRequired")
    if paths.get(call.old.body if call.old else {}, "properties.oidcIssuerProfile.enabled") and not paths.get(
        call.body, "properties.oidcIssuerProfile.enabled"
    ):
        raise bad("The OIDC issuer cannot be turned off.", code="OIDCIssuerFeatureCannotBeDisabled")
    _check_ranges(call, pools)


def _check_ranges(call: Call, pools: list[Any]) -> None:
    profile = "properties.networkProfile"
    one_of(call, f"{profile}.networkPlugin", ("azure", "kubenet", "none"))
    service = IPv4Network(paths.get(call.body, f"{profile}.serviceCidr", "10.0.0.0/16"))
    dns = paths.get(call.body, f"{profile}.dnsServiceIP")
    if dns and IPv4Network(f"{dns}/32").network_address not in service:
        raise bad(f"dnsServiceIP {dns} is not within serviceCidr {service}.", code="ServiceCidrDnsServiceIpMismatch")
    for pool in pools:
        for name in ("vnetSubnetID", "podSubnetID"):
            if not pool.get(name):
                continue
            vnet = call.arm.need(ids.parse(pool[name]).parent)
            for _, space in paths.values_at(vnet.body, "properties.addressSpace.addressPrefixes[]"):
                if IPv4Network(space).overlaps(service):
                    raise bad(
                        f"The specified service CIDR {service} is conflicted with an existing subnet CIDR {space}.",
                        code="ServiceCidrOverlapExistingSubnetsCidr",
                    )


def check_pool(call: Call, name: str, pool: dict[str, Any]) -> None:
    """The rules of an agent pool, in a cluster's body or on its own."""
    if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", name):
        raise bad(
            f"Agent pool name '{name}' is not valid: 1 to 12 small letters and digits, beginning with a letter.",
            target="agentPoolProfile.name",
        )
    if not SIZE.fullmatch(str(pool.get("vmSize"))):
        raise bad(f"The VM size '{pool.get('vmSize')}' of pool '{name}' is not valid.", target="vmSize")
    mode = str(pool.get("mode", "User"))
    low, high, count = (pool.get(key) for key in ("minCount", "maxCount", "count"))
    if pool.get("enableAutoScaling"):
        if low is None or high is None or not (0 if mode == "User" else 1) <= low <= high <= 1000:
            raise bad(
                f"Pool '{name}': minCount {low} and maxCount {high} must be whole numbers with minCount <= maxCount.",
                target="minCount",
            )
        if count is not None and not low <= count <= high:
            raise bad(
                f"Pool '{name}': count {count} is not between minCount {low} and maxCount {high}.", target="count"
            )
    elif low is not None or high is not None:
        raise bad(f"Pool '{name}' has minCount or maxCount without enableAutoScaling.", target="minCount")
    if mode == "System" and (count == 0 or pool.get("scaleSetPriority") == "Spot"):
        raise bad(f"System pool '{name}' needs nodes, and none of them Spot.", target="count")
    if pool.get("maxPods") is not None and not 10 <= pool["maxPods"] <= 250:
        raise bad(f"Pool '{name}': maxPods must be from 10 to 250.", target="maxPods")
    if pool.get("osDiskSizeGB") and not 30 <= pool["osDiskSizeGB"] <= 2048:
        raise bad(f"Pool '{name}': osDiskSizeGB must be from 30 to 2048.", target="osDiskSizeGB")
    for taint in pool.get("nodeTaints") or []:
        if not re.fullmatch(r"[\w./-]+(?:=[\w.-]*)?:(?:NoSchedule|PreferNoSchedule|NoExecute)", str(taint)):
            raise bad(f"Pool '{name}': '{taint}' is no taint.", target="nodeTaints")
    _check_version(pool.get("orchestratorVersion"))


_POOL_FIXED = (
    "vmSize",
    "osDiskSizeGB",
    "osDiskType",
    "vnetSubnetID",
    "podSubnetID",
    "availabilityZones",
    "maxPods",
    "osType",
    "scaleSetPriority",
)


def _check_agent_pool(call: Call) -> None:
    check_pool(call, call.id.name, call.body.get("properties") or {})
    if call.old and call.old.at("properties.mode") == "System" and paths.get(call.body, "properties.mode") != "System":
        _another_system_pool(call.arm, call.old)


def _another_system_pool(arm: Arm, pool: Resource) -> None:
    others = [p for p in arm.store.children(ids.parse(pool.id).parent, POOL) if p.key != pool.key]
    if not any(p.at("properties.mode") == "System" for p in others):
        raise bad(
            f"There has to be at least one system agent pool; '{pool.name}' is the last one.",
            code="OperationNotAllowed",
        )


def _before_pool_goes(arm: Arm, pool: Resource) -> None:
    cluster = arm.store.get(ids.parse(pool.id).parent)
    if (
        pool.at("properties.mode") == "System"
        and cluster
        and cluster.state != "Deleting"
        and not arm.deleting_whole(pool)
    ):
        _another_system_pool(arm, pool)


def _fill_cluster(call: Call, body: dict[str, Any]) -> None:
    properties, name = body["properties"], call.id.name
    old = call.old.body["properties"] if call.old else {}
    mark = old.get("fqdn", "").split(".")[0] or f"{properties['dnsPrefix']}-{call.arm.new_uuid(call.id.key)[:8]}"
    properties.setdefault("kubernetesVersion", old.get("kubernetesVersion", VERSIONS[-2]))
    properties["currentKubernetesVersion"] = properties["kubernetesVersion"]
    properties["fqdn"] = f"{mark}.hcp.{body['location']}.azmk8s.io"
    if paths.get(properties, "apiServerAccessProfile.enablePrivateCluster"):
        zone = call.arm.new_uuid(f"{call.id.key}/zone")
        properties["privateFQDN"] = old.get("privateFQDN") or f"{mark}.{zone}.privatelink.{body['location']}.azmk8s.io"
        properties["azurePortalFQDN"] = f"{mark}-priv.portal.hcp.{body['location']}.azmk8s.io"
    properties.setdefault("nodeResourceGroup", f"MC_{call.id.group}_{name}_{body['location']}")
    if paths.get(properties, "oidcIssuerProfile.enabled"):
        from sandbox.azure.emulator.arm_types import TENANT

        properties["oidcIssuerProfile"]["issuerURL"] = (
            f"https://{body['location']}.oic.prod-aks.azure.com/{TENANT}/{mark}/"
        )
    # Pools are resources of their own as well; the cluster's body shows those it named.
    for pool in properties.get("agentPoolProfiles") or []:
        pool.setdefault("count", pool.get("minCount") or 1)
        pool.setdefault("osType", "Linux")


def _cluster_made(arm: Arm, cluster: Resource) -> None:
    """The group of the nodes, the kubelet's identity, and the pools as resources."""
    properties = cluster.body["properties"]
    group = f"/subscriptions/{ids.parse(cluster.id).subscription}/resourceGroups/{properties['nodeResourceGroup']}"
    if arm.store.get(group) is None:
        arm.store.put(
            Resource(
                group,
                ids.GROUPS,
                {"location": cluster.body["location"], "managedBy": cluster.id},
                by_azure=True,
                owner=cluster.key,
            )
        )
    if not paths.get(properties, "identityProfile.kubeletidentity"):
        identity = f"{group}/providers/{IDENTITY}/{cluster.name}-agentpool"
        made = arm.store.get(identity) or Resource(
            identity,
            IDENTITY,
            {
                "location": cluster.body["location"],
                "properties": {n: arm.new_uuid(f"{identity}/{n}") for n in ("principalId", "clientId")},
            },
            by_azure=True,
            owner=cluster.key,
        )
        arm.store.put(made)
        properties["identityProfile"] = {
            "kubeletidentity": {
                "resourceId": identity,
                "clientId": made.at("properties.clientId"),
                "objectId": made.at("properties.principalId"),
            }
        }
    for profile in properties.get("agentPoolProfiles") or []:
        body = {key: value for key, value in profile.items() if key != "name"}
        id = f"{cluster.id}/agentPools/{profile['name']}"
        arm.store.put(Resource(id, POOL, {"properties": body}))


def _kubeconfig(arm: Arm, cluster: Resource, body: dict[str, Any]) -> dict[str, Any]:
    server = f"https://{cluster.at('properties.fqdn')}:443"
    text = (
        "apiVersion: v1\nkind: Config\nclusters:\n"
        f"- name: {cluster.name}\n  cluster:\n    server: {server}\n"
        f"    certificate-authority-data: {base64.b64encode(b'sandbox authority').decode()}\n"
        f"contexts:\n- name: {cluster.name}\n  context: {{cluster: {cluster.name}, user: sandbox}}\n"
        f"current-context: {cluster.name}\nusers:\n- name: sandbox\n  user: {{token: sandbox}}\n"
    )
    return {"kubeconfigs": [{"name": "clusterAdmin", "value": base64.b64encode(text.encode()).decode()}]}


def _check_maintenance(call: Call) -> None:
    """https://learn.microsoft.com/azure/aks/planned-maintenance: a window lasts at least four hours."""
    window = paths.get(call.body, "properties.maintenanceWindow")
    if call.id.name != "default" and window is None:
        raise bad(f"Maintenance configuration '{call.id.name}' needs a maintenanceWindow.", code="InvalidParameter")
    between(call, "properties.maintenanceWindow.durationHours", 4, 24)
    schedule = paths.get(call.body, "properties.maintenanceWindow.schedule") or {}
    if window is not None and len([kind for kind in schedule.values() if kind]) != 1:
        raise bad(f"Maintenance configuration '{call.id.name}' needs exactly one schedule.", code="InvalidParameter")


def _check_registry(call: Call) -> None:
    sku = one_of(call, "sku.name", ("Basic", "Standard", "Premium"), required=True)
    if sku != "Premium":
        for name in ("networkRuleSet", "encryption", "zoneRedundancy"):
            value = paths.get(call.body, f"properties.{name}")
            if value and value != "Disabled" and not (isinstance(value, dict) and value.get("status") == "disabled"):
                raise bad(f"Registry '{call.id.name}': {name} needs sku Premium, not {sku}.", code="SkuNotSupported")
        if paths.get(call.body, "properties.publicNetworkAccess") == "Disabled":
            raise bad(
                f"Registry '{call.id.name}': publicNetworkAccess Disabled needs sku Premium, not {sku}.",
                code="SkuNotSupported",
            )


def _fill_registry(call: Call, body: dict[str, Any]) -> None:
    body["properties"]["loginServer"] = f"{call.id.name.lower()}.azurecr.io"
    body["sku"]["tier"] = body["sku"]["name"]


def _registry_credentials(arm: Arm, registry: Resource, body: dict[str, Any]) -> dict[str, Any]:
    if not registry.at("properties.adminUserEnabled"):
        raise ArmError(
            400, "UnAuthorizedForCredentialOperations", f"The admin user of registry '{registry.name}' is not enabled."
        )
    return {"username": registry.name, "passwords": [{"name": "password", "value": "sandbox"}]}


_POOLS = "properties.agentPoolProfiles[]"
KINDS = (
    Kind(
        CLUSTER,
        r"[A-Za-z0-9](?:[\w-]{0,61}[A-Za-z0-9])?",
        "1 to 63 letters, digits, _ -",
        references=(
            Reference(f"{_POOLS}.vnetSubnetID", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference(f"{_POOLS}.podSubnetID", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference("properties.identityProfile.kubeletidentity.resourceId", IDENTITY, holds=False),
        ),
        fixed=(
            "properties.dnsPrefix",
            "properties.nodeResourceGroup",
            "properties.networkProfile.networkPlugin",
            "properties.networkProfile.serviceCidr",
            "properties.networkProfile.dnsServiceIP",
            "properties.networkProfile.podCidr",
            "properties.apiServerAccessProfile.enablePrivateCluster",
        ),
        slow=True,
        slow_delete=True,
        check=_check_cluster,
        fill=_fill_cluster,
        after_put=_cluster_made,
        actions={"listClusterUserCredential": _kubeconfig, "listClusterAdminCredential": _kubeconfig},
    ),
    Kind(
        POOL,
        r"[a-z][a-z0-9]{0,11}",
        "1 to 12 small letters and digits, beginning with a letter",
        location=False,
        references=(
            Reference("properties.vnetSubnetID", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
            Reference("properties.podSubnetID", SUBNET, in_use="InUseSubnetCannotBeDeleted"),
        ),
        fixed=tuple(f"properties.{name}" for name in _POOL_FIXED),
        slow=True,
        slow_delete=True,
        check=_check_agent_pool,
        before_delete=_before_pool_goes,
    ),
    Kind(
        f"{CLUSTER}/maintenanceConfigurations",
        r"default|aksManagedAutoUpgradeSchedule|aksManagedNodeOSUpgradeSchedule",
        "default, aksManagedAutoUpgradeSchedule or aksManagedNodeOSUpgradeSchedule",
        location=False,
        check=_check_maintenance,
    ),
    Kind(
        REGISTRY,
        r"[A-Za-z0-9]{5,50}",
        "5 to 50 letters and digits",
        global_name="AlreadyInUse",
        slow=True,
        slow_delete=True,
        check=_check_registry,
        fill=_fill_registry,
        actions={"listCredentials": _registry_credentials},
    ),
)
