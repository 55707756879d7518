"""Where each resource type of the SDK is in ARM. Exactly the types that components/azure uses, and a few beside them.

Paths: the REST reference of each service, https://learn.microsoft.com/rest/api/azure. Which inputs are names in the path
and which are ARM's `properties` cannot be read from the Python SDK, so it stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# fmt: off
ENVELOPE = frozenset(
    {
        "id", "name", "type", "etag", "eTag", "location", "tags", "sku", "kind", "identity", "zones", "plan",
        "extendedLocation", "managedBy", "placement",
    }
)
# fmt: on
"""Top-level properties of ARM documents; all others are within `properties`."""


@dataclass(frozen=True)
class ArmType:
    """One type. `names`: the inputs that name it and its parents, outermost first.

    `scope`: what the path begins with: the input `resourceGroupName`, the subscription, or a resource given by an input.
    `within`: inputs that look like envelope but are in `properties`, or (with `envelope`) the other way round.
    `children`: inputs that are lists of children; left out by a program, they are read and sent back on an update.
    `singleton`: exists with its parent and cannot be deleted; the body that puts it back to its defaults.
    `wire`: inputs whose ARM name differs. `unread`: inputs that a GET never returns.
    """

    type: str
    names: tuple[str, ...]
    scope: Literal["group", "subscription", "scope", "resourceId", "resourceUri"] = "group"
    within: frozenset[str] = frozenset()
    envelope: frozenset[str] = frozenset()
    children: tuple[str, ...] = ()
    singleton: Mapping[str, Any] | None = None
    wire: Mapping[str, str] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    autoname: Literal["random", "uuid", "copy"] = "random"
    api_version: str = ""
    """Only where the SDK's documentation names none."""

    @property
    def in_path(self) -> frozenset[str]:
        """Inputs that are in the path and not in the body."""
        scope = {"group": {"resourceGroupName"}, "subscription": set[str]()}.get(self.scope, {self.scope})
        kinds = {"recordType"} if "{recordType}" in self.type else set[str]()
        return frozenset({*self.names, *scope, *kinds})


_EXPLICIT = frozenset({"properties"})
"""For types whose SDK class takes ARM's `properties` as one input."""
_RECORDS = {
    "ttl": "TTL",
    "aRecords": "ARecords",
    "aaaaRecords": "AAAARecords",
    "cnameRecord": "CNAMERecord",
    "txtRecords": "TXTRecords",
    "mxRecords": "MXRecords",
}
_STORAGE = {
    "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
    "enableNfsV3": "isNfsV3Enabled",
    "networkRuleSet": "networkAcls",
}
_TYPE = frozenset({"type"})
_OF_ACCOUNT = ("accountName",)

TYPES: dict[str, ArmType] = {
    "resources:ResourceGroup": ArmType("Microsoft.Resources/resourceGroups", ("resourceGroupName",), "subscription"),
    "network:VirtualNetwork": ArmType(
        "Microsoft.Network/virtualNetworks", ("virtualNetworkName",), children=("subnets",)
    ),
    "network:Subnet": ArmType(
        "Microsoft.Network/virtualNetworks/subnets", ("virtualNetworkName", "subnetName"), autoname="copy"
    ),
    "network:NetworkSecurityGroup": ArmType(
        "Microsoft.Network/networkSecurityGroups", ("networkSecurityGroupName",), children=("securityRules",)
    ),
    "network:SecurityRule": ArmType(
        "Microsoft.Network/networkSecurityGroups/securityRules",
        ("networkSecurityGroupName", "securityRuleName"),
        autoname="copy",
    ),
    "network:RouteTable": ArmType("Microsoft.Network/routeTables", ("routeTableName",), children=("routes",)),
    "network:PublicIPAddress": ArmType("Microsoft.Network/publicIPAddresses", ("publicIpAddressName",)),
    "network:NatGateway": ArmType("Microsoft.Network/natGateways", ("natGatewayName",)),
    "network:NetworkInterface": ArmType("Microsoft.Network/networkInterfaces", ("networkInterfaceName",)),
    "network:LoadBalancer": ArmType("Microsoft.Network/loadBalancers", ("loadBalancerName",)),
    "network:BastionHost": ArmType("Microsoft.Network/bastionHosts", ("bastionHostName",)),
    "network:FlowLog": ArmType(
        "Microsoft.Network/networkWatchers/flowLogs", ("networkWatcherName", "flowLogName"), autoname="copy"
    ),
    "network:PrivateEndpoint": ArmType("Microsoft.Network/privateEndpoints", ("privateEndpointName",)),
    "network:PrivateDnsZoneGroup": ArmType(
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        ("privateEndpointName", "privateDnsZoneGroupName"),
        autoname="copy",
    ),
    "privatedns:PrivateZone": ArmType("Microsoft.Network/privateDnsZones", ("privateZoneName",)),
    "privatedns:VirtualNetworkLink": ArmType(
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        ("privateZoneName", "virtualNetworkLinkName"),
        autoname="copy",
    ),
    "privatedns:PrivateRecordSet": ArmType(
        "Microsoft.Network/privateDnsZones/{recordType}",
        ("privateZoneName", "relativeRecordSetName"),
        wire={"ttl": "TTL"},
        autoname="copy",
    ),
    "dns:Zone": ArmType("Microsoft.Network/dnsZones", ("zoneName",)),
    "dns:RecordSet": ArmType(
        "Microsoft.Network/dnsZones/{recordType}", ("zoneName", "relativeRecordSetName"), wire=_RECORDS, autoname="copy"
    ),
    "storage:StorageAccount": ArmType("Microsoft.Storage/storageAccounts", _OF_ACCOUNT, wire=_STORAGE),
    "storage:BlobServiceProperties": ArmType(
        "Microsoft.Storage/storageAccounts/blobServices",
        (*_OF_ACCOUNT, "blobServicesName"),
        singleton={"properties": {}},
        autoname="copy",
    ),
    "storage:FileServiceProperties": ArmType(
        "Microsoft.Storage/storageAccounts/fileServices",
        (*_OF_ACCOUNT, "fileServicesName"),
        singleton={"properties": {}},
        autoname="copy",
    ),
    "storage:BlobContainer": ArmType(
        "Microsoft.Storage/storageAccounts/blobServices/containers",
        (*_OF_ACCOUNT, "=default", "containerName"),
        autoname="copy",
    ),
    "storage:FileShare": ArmType(
        "Microsoft.Storage/storageAccounts/fileServices/shares",
        (*_OF_ACCOUNT, "=default", "shareName"),
        autoname="copy",
    ),
    "storage:ManagementPolicy": ArmType(
        "Microsoft.Storage/storageAccounts/managementPolicies", (*_OF_ACCOUNT, "managementPolicyName"), autoname="copy"
    ),
    "authorization:RoleAssignment": ArmType(
        "Microsoft.Authorization/roleAssignments", ("roleAssignmentName",), "scope", autoname="uuid"
    ),
    "authorization:RoleDefinition": ArmType(
        "Microsoft.Authorization/roleDefinitions",
        ("roleDefinitionId",),
        "scope",
        wire={"roleType": "type"},
        autoname="uuid",
    ),
    "authorization:ManagementLockByScope": ArmType("Microsoft.Authorization/locks", ("lockName",), "scope"),
    "managedidentity:UserAssignedIdentity": ArmType(
        "Microsoft.ManagedIdentity/userAssignedIdentities", ("resourceName",)
    ),
    "managedidentity:FederatedIdentityCredential": ArmType(
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        ("resourceName", "federatedIdentityCredentialResourceName"),
        autoname="copy",
    ),
    "keyvault:Vault": ArmType("Microsoft.KeyVault/vaults", ("vaultName",), envelope=_EXPLICIT),
    "keyvault:Secret": ArmType(
        "Microsoft.KeyVault/vaults/secrets", ("vaultName", "secretName"), envelope=_EXPLICIT, autoname="copy"
    ),
    "compute:VirtualMachine": ArmType("Microsoft.Compute/virtualMachines", ("vmName",), unread=frozenset({"userData"})),
    "compute:VirtualMachineExtension": ArmType(
        "Microsoft.Compute/virtualMachines/extensions",
        ("vmName", "vmExtensionName"),
        within=_TYPE,
        unread=frozenset({"protectedSettings"}),
        autoname="copy",
    ),
    "compute:VirtualMachineScaleSet": ArmType("Microsoft.Compute/virtualMachineScaleSets", ("vmScaleSetName",)),
    "compute:VirtualMachineScaleSetExtension": ArmType(
        "Microsoft.Compute/virtualMachineScaleSets/extensions",
        ("vmScaleSetName", "vmssExtensionName"),
        within=_TYPE,
        unread=frozenset({"protectedSettings"}),
        autoname="copy",
    ),
    "compute:Disk": ArmType("Microsoft.Compute/disks", ("diskName",)),
    "containerservice:ManagedCluster": ArmType("Microsoft.ContainerService/managedClusters", ("resourceName",)),
    "containerservice:AgentPool": ArmType(
        "Microsoft.ContainerService/managedClusters/agentPools",
        ("resourceName", "agentPoolName"),
        within=_TYPE,
        autoname="copy",
    ),
    "containerservice:MaintenanceConfiguration": ArmType(
        "Microsoft.ContainerService/managedClusters/maintenanceConfigurations",
        ("resourceName", "configName"),
        autoname="copy",
    ),
    "containerregistry:Registry": ArmType("Microsoft.ContainerRegistry/registries", ("registryName",)),
    "monitor:AutoscaleSetting": ArmType("Microsoft.Insights/autoscaleSettings", ("autoscaleSettingName",)),
    "monitor:ActionGroup": ArmType("Microsoft.Insights/actionGroups", ("actionGroupName",)),
    "monitor:MetricAlert": ArmType("Microsoft.Insights/metricAlerts", ("ruleName",)),
    "monitor:ActivityLogAlert": ArmType("Microsoft.Insights/activityLogAlerts", ("activityLogAlertName",)),
    "monitor:DiagnosticSetting": ArmType("Microsoft.Insights/diagnosticSettings", ("name",), "resourceUri"),
    "monitor:ScheduledQueryRule": ArmType("Microsoft.Insights/scheduledQueryRules", ("ruleName",)),
    "monitor:DataCollectionRule": ArmType("Microsoft.Insights/dataCollectionRules", ("dataCollectionRuleName",)),
    "operationalinsights:Workspace": ArmType(
        "Microsoft.OperationalInsights/workspaces", ("workspaceName",), within=frozenset({"sku"})
    ),
    "logic:Workflow": ArmType("Microsoft.Logic/workflows", ("workflowName",)),
    "dataprotection:BackupVault": ArmType("Microsoft.DataProtection/backupVaults", ("vaultName",), envelope=_EXPLICIT),
    "dataprotection:BackupPolicy": ArmType(
        "Microsoft.DataProtection/backupVaults/backupPolicies",
        ("vaultName", "backupPolicyName"),
        envelope=_EXPLICIT,
        autoname="copy",
    ),
    "dataprotection:BackupInstance": ArmType(
        "Microsoft.DataProtection/backupVaults/backupInstances",
        ("vaultName", "backupInstanceName"),
        envelope=_EXPLICIT,
        autoname="copy",
    ),
    "consumption:Budget": ArmType("Microsoft.Consumption/budgets", ("budgetName",), "scope"),
}
"""By token without `azure-native:`. A name that begins with `=` is a fixed part of the path."""

# fmt: off
NESTED: dict[str, frozenset[str]] = {
    "network": frozenset(
        {
            "ApplicationGatewayBackendAddressPool", "ApplicationGatewayIPConfiguration",
            "ApplicationSecurityGroup", "BackendAddressPool", "BastionHostIPConfiguration", "Delegation",
            "FrontendIPConfiguration", "IPConfigurationProfile", "InboundNatPool", "InboundNatRule",
            "LoadBalancerBackendAddress", "LoadBalancingRule", "NatGateway", "NetworkInterfaceIPConfiguration",
            "NetworkSecurityGroup", "OutboundRule", "PrivateDnsZoneConfig", "PrivateEndpointIPConfiguration",
            "PrivateLinkService", "PrivateLinkServiceConnection", "PrivateLinkServiceIpConfiguration", "Probe",
            "PublicIPAddress", "ResourceNavigationLink", "Route", "RouteTable", "SecurityRule",
            "ServiceAssociationLink", "ServiceEndpointPolicy", "ServiceEndpointPolicyDefinition", "Subnet",
            "VirtualNetworkPeering", "VirtualNetworkTap",
        }
    ),
    "compute": frozenset(
        {
            "NetworkInterfaceReference", "VirtualMachineNetworkInterfaceConfiguration",
            "VirtualMachineNetworkInterfaceIPConfiguration", "VirtualMachinePublicIPAddressConfiguration",
            "VirtualMachineScaleSetExtension", "VirtualMachineScaleSetIPConfiguration",
            "VirtualMachineScaleSetNetworkConfiguration", "VirtualMachineScaleSetPublicIPAddressConfiguration",
        }
    ),
}
# fmt: on
"""Objects inside a body that have `properties` of their own in ARM and none in the SDK (tests compare with azure-mgmt-*)."""

NESTED_WITHIN: dict[str, frozenset[str]] = {"VirtualMachineScaleSetExtension": _TYPE}
"""As `ArmType.within`, for those."""


def _hyphens(names: str) -> dict[str, str]:
    """`scanInterval` is `scan-interval`."""
    return {name: re.sub(r"(?=[A-Z])", "-", name).lower() for name in names.split()}


NESTED_WIRE: dict[str, dict[str, dict[str, str]]] = {
    "storage": {
        "VirtualNetworkRule": {"virtualNetworkResourceId": "id"},
        "IPRule": {"iPAddressOrRange": "value"},
        "Encryption": {"encryptionIdentity": "identity", "keyVaultProperties": "keyvaultproperties"},
        "EncryptionIdentity": {
            "encryptionUserAssignedIdentity": "userAssignedIdentity",
            "encryptionFederatedIdentityClientId": "federatedIdentityClientId",
        },
        "KeyVaultProperties": {"keyName": "keyname", "keyVaultUri": "keyvaulturi", "keyVersion": "keyversion"},
    },
    "containerservice": {
        "ManagedClusterPropertiesAutoScalerProfile": _hyphens(
            "balanceSimilarNodeGroups daemonsetEvictionForEmptyNodes daemonsetEvictionForOccupiedNodes "
            "ignoreDaemonsetsUtilization maxEmptyBulkDelete maxGracefulTerminationSec maxNodeProvisionTime "
            "maxTotalUnreadyPercentage newPodScaleUpDelay okTotalUnreadyCount scaleDownDelayAfterAdd "
            "scaleDownDelayAfterDelete scaleDownDelayAfterFailure scaleDownUnneededTime scaleDownUnreadyTime "
            "scaleDownUtilizationThreshold scanInterval skipNodesWithLocalStorage skipNodesWithSystemPods"
        )
    },
    "containerregistry": {"IPRule": {"iPAddressOrRange": "value"}},
    "keyvault": {"SecretAttributes": {"expires": "exp", "notBefore": "nbf"}},
}
"""Properties inside objects whose ARM name differs."""


def find(token: str) -> ArmType | None:
    """The row of `azure-native:network:Subnet`."""
    return TYPES.get(token.removeprefix("azure-native:"))
