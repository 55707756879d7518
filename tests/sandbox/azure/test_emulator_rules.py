"""Rules of single resource types: a body that Azure takes, and that body broken in one place each."""

from __future__ import annotations

import base64
import copy
import re
from typing import Any

import pytest

from sandbox.azure.emulator.arm_types import CALLER
from sandbox.azure.emulator.errors import ArmError
from tests.sandbox.azure.world import (
    COMPUTE,
    FILES,
    GROUP,
    NET,
    PUBLIC_IP,
    STORAGE,
    STORAGE_ENDPOINT,
    SUBNET,
    SUBSCRIPTION,
    VNET,
    World,
    account,
    cluster,
    nic,
    pool,
    properties,
    rule,
    subnet,
    vault,
    vm,
    vmss,
    vnet,
    with_network,
)

pytestmark = pytest.mark.unit

NSG, IP, NAT, NIC = (
    f"{NET}/{part}"
    for part in ("networkSecurityGroups/nsg", "publicIPAddresses/ip", "natGateways/nat", "networkInterfaces/nic")
)
VM, VMSS, DISK = (
    f"{COMPUTE}/virtualMachines/hub",
    f"{COMPUTE}/virtualMachineScaleSets/workers",
    f"{COMPUTE}/disks/state",
)
PROVIDERS = f"{GROUP}/providers"
VAULT = f"{PROVIDERS}/Microsoft.KeyVault/vaults/kv-hub"
CLUSTER = f"{PROVIDERS}/Microsoft.ContainerService/managedClusters/hub"
IDENTITY = f"{PROVIDERS}/Microsoft.ManagedIdentity/userAssignedIdentities/hub"
AUTOSCALE = f"{PROVIDERS}/Microsoft.Insights/autoscaleSettings/calendar"
BUDGET = f"{GROUP}/providers/Microsoft.Consumption/budgets/month"
ZONE = f"{NET}/dnsZones/example.edu"
READER = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
GUID = "11111111-2222-4333-8444-555555555555"
ASSIGNMENT = f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/{GUID}"
ROLE = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{GUID}"
GONE: Any = object()


def autoscale(**capacity: str) -> dict[str, Any]:
    schedule = {"timeZone": "Pacific Standard Time", "days": ["Monday"], "hours": [9], "minutes": [30]}
    profile = {
        "name": "class",
        "capacity": {"minimum": "1", "maximum": "4", "default": "2", **capacity},
        "rules": [],
        "recurrence": {"frequency": "Week", "schedule": schedule},
    }
    return properties(targetResourceUri=VMSS, enabled=True, profiles=[profile])


def budget() -> dict[str, Any]:
    return {
        "properties": {
            "amount": 100,
            "category": "Cost",
            "timeGrain": "Monthly",
            "timePeriod": {"startDate": "2026-08-01T00:00:00Z", "endDate": "2027-01-01T00:00:00Z"},
            "notifications": {
                "most": {
                    "enabled": True,
                    "operator": "GreaterThan",
                    "threshold": 80,
                    "contactEmails": ["a@example.edu"],
                }
            },
        }
    }


def workflow() -> dict[str, Any]:
    definition = {
        "$schema": "https://schema.management.azure.com/x",
        "triggers": {},
        "actions": {"a": {"runAfter": {}}},
    }
    return properties(definition=definition)


SHARE = f"{STORAGE}/homes1/fileServices/default/shares/homes"
CONTAINER = f"{STORAGE}/blobs1/blobServices/default/containers/bundle"
P = "properties"
PROFILE = f"{P}.virtualMachineProfile"
RULES: dict[str, tuple[dict[str, Any], dict[str, tuple[str, Any, str]]]] = {
    VNET: (
        vnet("10.20.0.0/16", subnets=[{"name": "nodes", **subnet("10.20.64.0/18", serviceEndpoints=STORAGE_ENDPOINT)}]),
        {
            "no addresses": (f"{P}.addressSpace.addressPrefixes", [], "InvalidParameter"),
            "host bits": (f"{P}.addressSpace.addressPrefixes", ["10.20.0.1/16"], "InvalidCIDRNotation"),
            "overlaps itself": (
                f"{P}.addressSpace.addressPrefixes",
                ["10.20.0.0/16", "10.20.1.0/24"],
                "AddressSpacesOverlap",
            ),
            "too small for its subnets": (f"{P}.addressSpace.addressPrefixes", ["10.20.0.0/18"], "NetcfgInvalidSubnet"),
        },
    ),
    f"{VNET}/subnets/more": (
        subnet("10.20.0.0/24"),
        {
            "outside": (f"{P}.addressPrefix", "10.21.0.0/24", "NetcfgInvalidSubnet"),
            "overlaps a neighbour": (f"{P}.addressPrefix", "10.20.64.0/24", "NetcfgSubnetRangesOverlap"),
            "host bits": (f"{P}.addressPrefix", "10.20.0.1/24", "InvalidAddressPrefixFormat"),
            "too small": (f"{P}.addressPrefix", "10.20.0.0/30", "InvalidCIDRNotation"),
            "none": (f"{P}.addressPrefix", GONE, "NoAddressPrefixOrPoolProvided"),
            "guard that is not there": (f"{P}.networkSecurityGroup", {"id": NSG + "x"}, "NotFound"),
        },
    ),
    f"{VNET}/subnets/AzureBastionSubnet": (
        subnet("10.20.1.0/26"),
        {"too small for a bastion": (f"{P}.addressPrefix", "10.20.1.0/27", "InvalidCIDRNotation")},
    ),
    f"{NSG}/securityRules/web": (
        rule(100),
        {
            "priority below": (f"{P}.priority", 99, "SecurityRuleInvalidPriority"),
            "priority above": (f"{P}.priority", 4097, "SecurityRuleInvalidPriority"),
            "priority of a neighbour": (f"{P}.priority", 200, "SecurityRuleConflict"),
            "port above": (f"{P}.destinationPortRange", "65536", "SecurityRuleParameterContainsUnsupportedValue"),
            "range turned round": (
                f"{P}.destinationPortRange",
                "20-10",
                "SecurityRuleParameterContainsUnsupportedValue",
            ),
            "no port": (f"{P}.destinationPortRange", GONE, "SecurityRuleParameterContainsUnsupportedValue"),
            "no address": (f"{P}.sourceAddressPrefix", "10.0.0.300/8", "SecurityRuleParameterContainsUnsupportedValue"),
            "both forms": (f"{P}.sourceAddressPrefixes", ["10.0.0.0/8"], "SecurityRuleParameterConflict"),
            "direction": (f"{P}.direction", "Sideways", "InvalidParameterValue"),
            "protocol": (f"{P}.protocol", GONE, "InvalidParameter"),
        },
    ),
    f"{IP}2": (
        PUBLIC_IP,
        {
            "basic": ("sku.name", "Basic", "BasicSkuNotAllowed"),
            "standard and dynamic": (
                f"{P}.publicIPAllocationMethod",
                "Dynamic",
                "StandardSkuPublicIPAddressesMustBeStatic",
            ),
            "idle": (f"{P}.idleTimeoutInMinutes", 31, "InvalidParameterValue"),
        },
    ),
    NAT: (
        {"location": "westus2", "sku": {"name": "Standard"}, P: {"publicIpAddresses": [{"id": IP}]}},
        {
            "two zones": ("zones", ["1", "2"], "NatGatewayMultipleZones"),
            "sku": ("sku.name", "Basic", "InvalidParameterValue"),
            "address of another": (
                f"{P}.publicIpAddresses",
                [{"id": f"{NET}/publicIPAddresses/used"}],
                "PublicIPAddressInUse",
            ),
        },
    ),
    NIC: (
        nic(address="10.20.64.10"),
        {
            "none": (f"{P}.ipConfigurations", [], "InvalidParameter"),
            "address elsewhere": (
                f"{P}.ipConfigurations",
                nic(address="10.20.0.10")[P]["ipConfigurations"],
                "PrivateIPAddressNotInSubnet",
            ),
            "reserved": (
                f"{P}.ipConfigurations",
                nic(address="10.20.64.3")[P]["ipConfigurations"],
                "PrivateIPAddressInReservedRange",
            ),
            "taken": (
                f"{P}.ipConfigurations",
                nic(address="10.20.64.5")[P]["ipConfigurations"],
                "PrivateIPAddressIsAllocated",
            ),
        },
    ),
    VM: (
        vm(),
        {
            "size": (f"{P}.hardwareProfile.vmSize", "m5.large", "InvalidParameter"),
            "admin name": (f"{P}.osProfile.adminUsername", "admin", "InvalidParameter"),
            "no way in": (f"{P}.osProfile.linuxConfiguration", {}, "InvalidParameter"),
            "custom data": (f"{P}.osProfile.customData", "#cloud-config", "InvalidParameter"),
            "custom data too long": (
                f"{P}.osProfile.customData",
                base64.b64encode(b"x" * 65600).decode(),
                "InvalidParameter",
            ),
            "image": (f"{P}.storageProfile.imageReference", {"publisher": "Debian"}, "InvalidParameter"),
            "interface of another": (
                f"{P}.networkProfile.networkInterfaces",
                [{"id": f"{NET}/networkInterfaces/other"}],
                "NicInUse",
            ),
            "eviction without spot": (f"{P}.evictionPolicy", "Delete", "InvalidParameter"),
        },
    ),
    f"{VMSS}2": (
        vmss(),
        {
            "size": ("sku.name", "Standard", "InvalidParameter"),
            "no size": ("sku", GONE, "InvalidParameter"),
            "too many": ("sku.capacity", 1001, "InvalidParameterValue"),
            "no upgrade policy": (f"{P}.upgradePolicy", GONE, "InvalidParameter"),
            "prefix": (f"{PROFILE}.osProfile.computerNamePrefix", "under_score", "InvalidParameter"),
            "no storage": (f"{PROFILE}.storageProfile", GONE, "InvalidParameter"),
            "repairs without health": (f"{P}.automaticRepairsPolicy", {"enabled": True}, "BadRequest"),
            "no primary interface": (
                f"{PROFILE}.networkProfile.networkInterfaceConfigurations",
                [{"name": "n", P: {"primary": False}}],
                "InvalidRequestFormat",
            ),
        },
    ),
    DISK: (
        properties(creationData={"createOption": "Empty"}, diskSizeGB=32),
        {
            "no size": (f"{P}.diskSizeGB", GONE, "InvalidParameter"),
            "no origin": (f"{P}.creationData", GONE, "InvalidParameter"),
            "sku": ("sku", {"name": "Fast"}, "InvalidParameterValue"),
            "zone-redundant in a zone": ("", {"sku": {"name": "Premium_ZRS"}, "zones": ["1"]}, "BadRequest"),
        },
    ),
    f"{STORAGE}/homes2": (
        FILES,
        {
            "standard files": ("sku.name", "Standard_LRS", "InvalidSkuForKind"),
            "sku": ("sku.name", "Gold", "InvalidParameterValue"),
            "tier": (f"{P}.accessTier", "Hot", "AccessTierNotSupported"),
            "subnet without endpoint": (
                f"{P}.networkAcls.virtualNetworkRules",
                [{"id": f"{VNET}/subnets/plain"}],
                "NetworkAclsValidationFailure",
            ),
        },
    ),
    SHARE: (
        {P: {"enabledProtocols": "NFS", "rootSquash": "NoRootSquash", "shareQuota": 100}},
        {
            "too small": (f"{P}.shareQuota", 99, "InvalidParameterValue"),
            "squash without NFS": (f"{P}.enabledProtocols", "SMB", "InvalidRequestPropertyValue"),
            "tier": (f"{P}.accessTier", "Hot", "InvalidParameterValue"),
        },
    ),
    f"{STORAGE}/blobs1/fileServices/default/shares/homes": (
        {P: {"shareQuota": 5}},
        {"NFS in a standard account": (f"{P}.enabledProtocols", "NFS", "NfsNotSupportedForAccountKind")},
    ),
    CONTAINER: ({P: {"publicAccess": "None"}}, {"public": (f"{P}.publicAccess", "Blob", "PublicAccessNotPermitted")}),
    VAULT: (
        vault(enablePurgeProtection=True, softDeleteRetentionInDays=7),
        {
            "retention": (f"{P}.softDeleteRetentionInDays", 6, "InvalidParameterValue"),
            "no soft delete": (f"{P}.enableSoftDelete", False, "BadRequest"),
            "protection off": (f"{P}.enablePurgeProtection", False, "BadRequest"),
            "no tenant": (f"{P}.tenantId", GONE, "BadRequest"),
            "nobody may": (f"{P}.enableRbacAuthorization", False, "BadRequest"),
        },
    ),
    ASSIGNMENT: (
        {P: {"roleDefinitionId": READER, "principalId": CALLER, "principalType": "User"}},
        {
            "nobody": (f"{P}.principalId", GUID, "PrincipalNotFound"),
            "role that is not there": (f"{P}.roleDefinitionId", READER[:-1] + "8", "RoleDefinitionDoesNotExist"),
            "no role": (f"{P}.roleDefinitionId", "Reader", "BadRequestFormat"),
            "principal type": (f"{P}.principalType", "Robot", "InvalidParameterValue"),
        },
    ),
    ROLE: (
        {P: {"roleName": "snapshots", "permissions": [{"actions": ["*/read"]}], "assignableScopes": [GROUP]}},
        {
            "no permissions": (f"{P}.permissions", [], "RoleDefinitionPermissionsMissing"),
            "no scope": (f"{P}.assignableScopes", [], "MissingAssignableScopes"),
            "scope that is not there": (f"{P}.assignableScopes", [GROUP + "x"], "LinkedInvalidPropertyId"),
        },
    ),
    f"{IDENTITY}/federatedIdentityCredentials/hub": (
        {P: {"issuer": "https://issuer.example/", "subject": "system:serviceaccount:a:b", "audiences": ["api://x"]}},
        {
            "no subject": (f"{P}.subject", "", "BadRequest"),
            "the same twice": (f"{P}.subject", "system:serviceaccount:other:b", "Conflict"),
        },
    ),
    CLUSTER: (
        cluster(),
        {
            "no system pool": (f"{P}.agentPoolProfiles", [{"name": "u", **pool(mode="User")}], "InvalidParameter"),
            "version": (f"{P}.kubernetesVersion", "1.20.0", "K8sVersionNotSupported"),
            "no identity": ("identity", GONE, "BadRequest"),
            "services within the network": (
                f"{P}.networkProfile.serviceCidr",
                "10.20.0.0/24",
                "ServiceCidrOverlapExistingSubnetsCidr",
            ),
            "DNS outside": (f"{P}.networkProfile.dnsServiceIP", "10.1.0.10", "ServiceCidrDnsServiceIpMismatch"),
            "workload identity without issuer": (
                f"{P}.securityProfile",
                {"workloadIdentity": {"enabled": True}},
                "OIDCIssuerRequired",
            ),
            "prefix": (f"{P}.dnsPrefix", "-", "InvalidParameter"),
        },
    ),
    f"{PROVIDERS}/Microsoft.ContainerRegistry/registries/hubimages": (
        {"location": "westus2", "sku": {"name": "Basic"}},
        {
            "sku": ("sku.name", "Free", "InvalidParameterValue"),
            "rules": (f"{P}.networkRuleSet", {"defaultAction": "Deny"}, "SkuNotSupported"),
            "closed": (f"{P}.publicNetworkAccess", "Disabled", "SkuNotSupported"),
        },
    ),
    AUTOSCALE: (
        autoscale(),
        {
            "default outside": (f"{P}.profiles", autoscale(default="9")[P]["profiles"], "BadRequest"),
            "no number": (f"{P}.profiles", autoscale(minimum="one")[P]["profiles"], "BadRequest"),
            "too many": (
                f"{P}.profiles",
                [{**autoscale()[P]["profiles"][0], "name": str(i)} for i in range(21)],
                "BadRequest",
            ),
            "none": (f"{P}.profiles", [], "BadRequest"),
            "one name twice": (f"{P}.profiles", autoscale()[P]["profiles"] * 2, "BadRequest"),
            "target that is not there": (f"{P}.targetResourceUri", VMSS + "x", "NotFound"),
        },
    ),
    BUDGET: (
        budget(),
        {
            "nothing": (f"{P}.amount", 0, "400"),
            "in the middle of a month": (f"{P}.timePeriod.startDate", "2026-08-15", "400"),
            "ends first": (f"{P}.timePeriod.endDate", "2026-07-01", "400"),
            "reaches nobody": (f"{P}.notifications", {"most": {"threshold": 80}}, "400"),
            "grain": (f"{P}.timeGrain", "Daily", "InvalidParameterValue"),
        },
    ),
    f"{ZONE}/A/hub": (
        {P: {"TTL": 60, "ARecords": [{"ipv4Address": "203.0.113.1"}]}},
        {
            "no TTL": (f"{P}.TTL", GONE, "BadRequest"),
            "no records": (f"{P}.ARecords", [], "BadRequest"),
            "no address": (f"{P}.ARecords", [{"ipv4Address": "hub"}], "BadRequest"),
        },
    ),
    f"{PROVIDERS}/Microsoft.Logic/workflows/snapshots": (
        workflow(),
        {
            "no actions": (f"{P}.definition.actions", GONE, "InvalidTemplate"),
            "after nothing": (f"{P}.definition.actions", {"a": {"runAfter": {"b": ["Succeeded"]}}}, "InvalidTemplate"),
        },
    ),
}


def furnished() -> World:
    """What the bodies above refer to."""
    world = with_network(World())
    world.put(f"{VNET}/subnets/plain", subnet("10.20.128.0/24"))
    world.put(NSG, properties(securityRules=[{"name": "other", **rule(200)}]))
    world.put(IP, PUBLIC_IP)
    world.put(f"{NET}/publicIPAddresses/used", PUBLIC_IP)
    world.put(NIC, nic())
    world.put(f"{NET}/networkInterfaces/other", nic(public=f"{NET}/publicIPAddresses/used"))
    world.put(f"{COMPUTE}/virtualMachines/other", vm(f"{NET}/networkInterfaces/other"))
    world.put(VMSS, vmss())
    world.put(f"{STORAGE}/homes1", FILES)
    world.put(f"{STORAGE}/blobs1", account())
    world.put(IDENTITY, {"location": "westus2"})
    other = {P: {"issuer": "https://issuer.example/", "subject": "system:serviceaccount:other:b", "audiences": ["a"]}}
    world.put(f"{IDENTITY}/federatedIdentityCredentials/other", other)
    world.put(ZONE, {"location": "global"})
    return world


def broken(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at `path`; the empty path merges."""
    result = copy.deepcopy(body)
    if not path:
        return {**result, **value}
    *heads, last = path.split(".")
    place = result
    for head in heads:
        place = place.setdefault(head, {})
    if value is GONE:
        place.pop(last)
    else:
        place[last] = value
    return result


@pytest.mark.parametrize("id", RULES)
def test_what_azure_takes_is_taken(id: str) -> None:
    furnished().put(id, RULES[id][0])


@pytest.mark.parametrize(("id", "fault"), [(id, fault) for id, (_, faults) in RULES.items() for fault in faults])
def test_what_azure_refuses_is_refused(id: str, fault: str) -> None:
    body, faults = RULES[id]
    path, value, code = faults[fault]
    world = furnished()
    with pytest.raises(ArmError) as refused:
        world.put(id, broken(body, path, value))
    assert refused.value.code == code, str(refused.value)
    assert re.search(r"\w", str(refused.value))


# --- what may not change


@pytest.mark.parametrize(
    ("id", "path", "value"),
    [
        (VMSS, "zones", ["2"]),
        (VMSS, f"{PROFILE}.osProfile.adminUsername", "other"),
        (f"{STORAGE}/blobs1", "kind", "BlobStorage"),
        (VM, f"{P}.storageProfile.imageReference", {"publisher": "a", "offer": "b", "sku": "c", "version": "d"}),
    ],
)
def test_what_is_fixed_stays(id: str, path: str, value: Any) -> None:
    world = furnished()
    body = {VMSS: {**vmss(), "zones": ["1"]}, VM: vm()}.get(id, account())
    if id == VMSS:
        world.delete(VMSS)
    if id != f"{STORAGE}/blobs1":
        world.put(id, body)
    with pytest.raises(ArmError) as fixed:
        world.put(id, broken(body, path, value))
    assert (fixed.value.status, fixed.value.code) == (409, "PropertyChangeNotAllowed")


def test_a_disk_grows_and_never_shrinks() -> None:
    world = furnished()
    for size in (32, 64):
        world.put(DISK, properties(creationData={"createOption": "Empty"}, diskSizeGB=size))
    with pytest.raises(ArmError, match="smaller"):
        world.put(DISK, properties(creationData={"createOption": "Empty"}, diskSizeGB=32))


# --- subnets in two places, the classic


def test_a_network_written_without_its_subnets_loses_those_nobody_uses() -> None:
    world = with_network(World())
    world.put(VNET, vnet())
    assert not world.exists(SUBNET)


def test_a_network_written_without_its_subnets_is_refused_when_one_is_in_use() -> None:
    world = furnished()
    with pytest.raises(ArmError) as used:
        world.put(VNET, vnet())
    assert (used.value.status, used.value.code) == (409, "InUseSubnetCannotBeDeleted")
    assert world.exists(SUBNET) and world.exists(f"{VNET}/subnets/plain")


def test_subnets_written_in_the_network_are_resources_too() -> None:
    world = with_network(World())
    world.put(VNET, vnet(subnets=[{"name": "a", **subnet("10.20.0.0/24")}, {"name": "b", **subnet("10.20.1.0/24")}]))
    assert world.exists(f"{VNET}/subnets/a") and not world.exists(SUBNET)
    with pytest.raises(ArmError) as overlap:
        world.put(
            VNET, vnet(subnets=[{"name": "a", **subnet("10.20.0.0/24")}, {"name": "b", **subnet("10.20.0.128/25")}])
        )
    assert overlap.value.code == "NetcfgSubnetRangesOverlap"
    assert world.get(f"{VNET}/subnets/b")["properties"]["addressPrefix"] == "10.20.1.0/24"


def test_a_subnet_in_use_keeps_its_addresses() -> None:
    world = furnished()
    with pytest.raises(ArmError) as used:
        world.put(SUBNET, subnet("10.20.0.0/24"))
    assert used.value.code == "InUsePrefixCannotBeDeleted"


# --- vaults


def test_a_deleted_vault_keeps_its_name_until_it_is_purged_or_recovered() -> None:
    world = with_network(World())
    deleted = f"{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/westus2/deletedVaults/kv-hub"
    world.put(VAULT, vault())
    world.put(f"{VAULT}/secrets/token", {P: {"value": "secret"}})
    world.delete(VAULT)
    with pytest.raises(ArmError) as taken:
        world.put(VAULT, vault())
    assert (taken.value.status, taken.value.code) == (409, "ConflictError")
    world.put(VAULT, vault(createMode="recover"))
    assert world.exists(f"{VAULT}/secrets/token")
    world.delete(VAULT)
    world.post(f"{deleted}/purge")
    world.put(VAULT, vault())
    assert not world.exists(f"{VAULT}/secrets/token")


def test_purge_protection_means_it() -> None:
    world = with_network(World())
    world.put(VAULT, vault(enablePurgeProtection=True))
    world.put(VAULT, vault())
    assert world.get(VAULT)[P]["enablePurgeProtection"] is True
    world.delete(GROUP)
    with pytest.raises(ArmError) as kept:
        world.post(f"{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/westus2/deletedVaults/kv-hub/purge")
    assert kept.value.status == 403


def test_values_that_are_only_written_are_never_shown() -> None:
    world = furnished()
    world.put(VAULT, vault())
    shown = [
        world.put(f"{VAULT}/secrets/token", {P: {"value": "tell-nobody"}}),
        world.put(VM, vm(osProfile={**vm()[P]["osProfile"], "customData": base64.b64encode(b"tell-nobody").decode()})),
    ]
    assert not any(word in str(answer) for answer in shown for word in ("tell-nobody", "dGVsbC1ub2JvZHk"))
    with pytest.raises(ArmError) as refused:
        world.delete(f"{VAULT}/secrets/token")
    assert refused.value.status == 405


# --- clusters and access


def test_the_last_system_pool_stays() -> None:
    world = with_network(World())
    world.put(CLUSTER, cluster())
    with pytest.raises(ArmError) as last:
        world.delete(f"{CLUSTER}/agentPools/system")
    assert last.value.code == "OperationNotAllowed"
    world.put(f"{CLUSTER}/agentPools/more", {P: pool()})
    assert world.delete(f"{CLUSTER}/agentPools/system") == 202
    assert world.delete(CLUSTER) == 202


def test_the_clusters_issuer_serves_workload_identity() -> None:
    world = with_network(World())
    made = world.put(CLUSTER, cluster(oidcIssuerProfile={"enabled": True}))
    again = world.put(CLUSTER, cluster(oidcIssuerProfile={"enabled": True}))
    assert made[P]["oidcIssuerProfile"]["issuerURL"] == again[P]["oidcIssuerProfile"]["issuerURL"]
    with pytest.raises(ArmError) as off:
        world.put(CLUSTER, cluster())
    assert off.value.code == "OIDCIssuerFeatureCannotBeDisabled"


def test_an_assignment_is_made_once_and_never_edited() -> None:
    world = furnished()
    body = {P: {"roleDefinitionId": READER, "principalId": CALLER}}
    world.put(ASSIGNMENT, body)
    world.put(ASSIGNMENT, body)
    with pytest.raises(ArmError) as twice:
        world.put(ASSIGNMENT[:-1] + "6", body)
    assert (twice.value.status, twice.value.code) == (409, "RoleAssignmentExists")
    principal = world.get(IDENTITY)[P]["principalId"]
    with pytest.raises(ArmError) as edited:
        world.put(ASSIGNMENT, {P: {"roleDefinitionId": READER, "principalId": principal}})
    assert edited.value.code == "RoleAssignmentUpdateNotPermitted"


def test_a_role_in_use_stays() -> None:
    world = furnished()
    world.put(ROLE, RULES[ROLE][0])
    world.put(ASSIGNMENT, {P: {"roleDefinitionId": ROLE, "principalId": CALLER}})
    with pytest.raises(ArmError) as used:
        world.delete(ROLE)
    assert used.value.code == "RoleDefinitionHasAssignments"


def test_keys_of_an_account_that_allows_none() -> None:
    world = furnished()
    assert len(world.post(f"{STORAGE}/blobs1/listKeys")["keys"]) == 2
    world.put(f"{STORAGE}/blobs1", account(properties={"allowSharedKeyAccess": False}))
    with pytest.raises(ArmError) as refused:
        world.post(f"{STORAGE}/blobs1/listKeys")
    assert refused.value.code == "KeyBasedAuthenticationNotPermitted"


def test_one_scale_set_has_one_autoscale_setting() -> None:
    world = furnished()
    world.put(AUTOSCALE, autoscale())
    with pytest.raises(ArmError) as second:
        world.put(AUTOSCALE + "2", autoscale())
    assert second.value.status == 409


def test_machine_identities_are_principals() -> None:
    world = furnished()
    made = world.put(
        VM, {**vm(), "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}}
    )
    assert made["identity"]["userAssignedIdentities"][IDENTITY]["clientId"] == world.get(IDENTITY)[P]["clientId"]
    world.put(ASSIGNMENT, {P: {"roleDefinitionId": READER, "principalId": made["identity"]["principalId"]}})
    with pytest.raises(ArmError) as unknown:
        world.put(VM, {**vm(), "identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY + "x": {}}}})
    assert unknown.value.status == 404
