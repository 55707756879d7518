"""EKS: cluster, node groups, add-ons, access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAG_KEYS, TAG_MAP, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import ask, known

_MISSING = ("ResourceNotFoundException",)


def _tagging(path: str = "tags") -> Tagging:
    of = {"resourceArn": lambda s: s.state["arn"]}
    return Tagging(
        set=Call("eks", "tag_resource", {**of, "tags": TAG_MAP}),
        unset=Call("eks", "untag_resource", {**of, "tagKeys": TAG_KEYS}),
        path=path,
    )


def _vpc_config(shown: Mapping[str, Any]) -> dict[str, Any]:
    seen = shown.get("resourcesVpcConfig") or {}
    names = (
        "subnetIds",
        "securityGroupIds",
        "clusterSecurityGroupId",
        "endpointPrivateAccess",
        "endpointPublicAccess",
        "publicAccessCidrs",
        "vpcId",
    )
    return {name: seen[name] for name in names if seen.get(name) is not None}


def _logging(scope: Any) -> Any:
    types = scope.inputs.get("enabledClusterLogTypes")
    return {"clusterLogging": [{"types": types, "enabled": True}]} if types else None


def _encryption(scope: Any) -> Any:
    given = scope.inputs.get("encryptionConfig")
    return [{"resources": given["resources"], "provider": {"keyArn": given["provider"]["keyArn"]}}] if given else None


def _node_groups(scope: Any, _inputs: Mapping[str, Any]) -> str | None:
    found = ask(scope, "eks", "list_nodegroups", "nodegroups", clusterName=scope.id)
    return f"ResourceInUseException: the cluster {scope.id} has node groups: {', '.join(found)}" if found else None


def _version_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = values["version"].split(".") if known(values, "version") else ["1", "0"]
    return (
        []
        if len(parts) == 2 and all(p.isdigit() for p in parts)
        else [("version", f"{values['version']!r} is no version such as 1.35")]
    )


CLUSTER = Spec(
    type="aws:eks/cluster:Cluster",
    docs=PROVIDER_DOCS + "eks_cluster",
    create=Call(
        "eks",
        "create_cluster",
        {"tags": TAG_MAP, "logging": _logging, "encryptionConfig": _encryption},
        take=(
            "name version roleArn vpcConfig=resourcesVpcConfig accessConfig bootstrapSelfManagedAddons upgradePolicy "
            "kubernetesNetworkConfig"
        ),
    ),
    id="cluster.name",
    looks=(Look(Call("eks", "describe_cluster", {"name": ID}, missing=_MISSING), "cluster"),),
    updates=(
        Update(
            "vpcConfig",
            (
                Call(
                    "eks",
                    "update_cluster_config",
                    {
                        "name": ID,
                        "resourcesVpcConfig": lambda s: {
                            k: v
                            for k, v in s.inputs["vpcConfig"].items()
                            if k in {"endpointPrivateAccess", "endpointPublicAccess", "publicAccessCidrs"}
                        },
                    },
                ),
            ),
        ),
        Update("enabledClusterLogTypes", (Call("eks", "update_cluster_config", {"name": ID, "logging": _logging}),)),
        Update(
            "accessConfig",
            (
                Call(
                    "eks",
                    "update_cluster_config",
                    {
                        "name": ID,
                        "accessConfig": lambda s: {
                            "authenticationMode": s.inputs["accessConfig"]["authenticationMode"]
                        },
                    },
                ),
            ),
        ),
        Update("upgradePolicy", (Call("eks", "update_cluster_config", {"name": ID}, take="upgradePolicy"),)),
        Update("version", (Call("eks", "update_cluster_version", {"name": ID}, take="version"),)),
    ),
    delete=Call("eks", "delete_cluster", {"name": ID}),
    tagging=_tagging(),
    force_new=(
        "name roleArn vpcConfig.subnetIds encryptionConfig bootstrapSelfManagedAddons kubernetesNetworkConfig "
        "accessConfig.bootstrapClusterCreatorAdminPermissions"
    ),
    seen={
        "vpcConfig": _vpc_config,
        "encryptionConfig": None,
        "accessConfig": None,
        "bootstrapSelfManagedAddons": None,
        "upgradePolicy": None,
        "enabledClusterLogTypes": lambda c: [
            t for e in (c.get("logging") or {}).get("clusterLogging", []) if e["enabled"] for t in e["types"]
        ],
        "kubernetesNetworkConfig": None,
    },
    outputs={
        "arn": "arn",
        "clusterId": None,
        "certificateAuthority": "certificateAuthority.{data: data}",
        "identities": lambda c: [{"oidcs": [{"issuer": ((c.get("identity") or {}).get("oidc") or {}).get("issuer")}]}],
        "vpcConfig": _vpc_config,
        "createdAt": None,
    },
    computed="version vpcConfig",
    kept="enabledClusterLogTypes encryptionConfig",
    autoname="name",
    autoname_max=100,
    check=_version_check,
    refuse_delete=(_node_groups,),
)


def _template(shown: Mapping[str, Any]) -> Any:
    given = shown.get("launchTemplate")
    return {k: str(v) for k, v in given.items()} if given else None


def _sizes(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = values.get("scalingConfig")
    if not isinstance(given, Mapping) or UNKNOWN in given.values():
        return []
    if not given["minSize"] <= given["desiredSize"] <= given["maxSize"]:
        return [
            (
                "scalingConfig.desiredSize",
                f"{given['desiredSize']} is not between {given['minSize']} and {given['maxSize']}",
            )
        ]
    return []


_TAINTS = {"taints.effect": "effect"}
_OF = {"clusterName": In("clusterName"), "nodegroupName": In("nodeGroupName")}

NODE_GROUP = Spec(
    type="aws:eks/nodeGroup:NodeGroup",
    docs=PROVIDER_DOCS + "eks_node_group",
    create=Call(
        "eks",
        "create_nodegroup",
        {
            "nodegroupName": In("nodeGroupName"),
            "nodeRole": In("nodeRoleArn"),
            "subnets": In("subnetIds"),
            "tags": TAG_MAP,
        },
        take=(
            "clusterName amiType instanceTypes launchTemplate scalingConfig updateConfig nodeRepairConfig labels taints "
            "capacityType diskSize version releaseVersion"
        ),
    ),
    id="{clusterName}:{nodeGroupName}",
    looks=(Look(Call("eks", "describe_nodegroup", _OF, missing=_MISSING), "nodegroup"),),
    updates=(
        Update(
            "scalingConfig labels taints updateConfig nodeRepairConfig",
            (
                Call(
                    "eks",
                    "update_nodegroup_config",
                    _OF
                    | {
                        "labels": lambda s: (
                            {"addOrUpdateLabels": s.inputs["labels"]} if s.inputs.get("labels") else None
                        ),
                        "taints": lambda s: (
                            {"addOrUpdateTaints": s.inputs["taints"]} if s.inputs.get("taints") else None
                        ),
                    },
                    take="scalingConfig updateConfig nodeRepairConfig",
                ),
            ),
        ),
        Update(
            "launchTemplate version releaseVersion",
            (Call("eks", "update_nodegroup_version", _OF, take="launchTemplate version releaseVersion"),),
        ),
    ),
    delete=Call("eks", "delete_nodegroup", _OF, missing=_MISSING),
    tagging=_tagging(),
    force_new=(
        "clusterName nodeGroupName nodeGroupNamePrefix nodeRoleArn subnetIds amiType instanceTypes capacityType diskSize "
        "launchTemplate.id launchTemplate.name"
    ),
    seen={
        "nodeGroupName": "nodegroupName",
        "nodeRoleArn": "nodeRole",
        "subnetIds": "subnets",
        "launchTemplate": _template,
        "updateConfig": None,
        "nodeRepairConfig": None,
    },
    outputs={
        "arn": "nodegroupArn",
        "status": "status",
        "resources": lambda g: [
            {
                "autoscalingGroups": [
                    {"name": a["name"]} for a in (g.get("resources") or {}).get("autoScalingGroups") or []
                ],
                "remoteAccessSecurityGroupId": "",
            }
        ],
    },
    computed="version releaseVersion capacityType",
    kept="nodeGroupNamePrefix forceUpdateVersion labels taints",
    autoname="nodeGroupName",
    autoname_max=63,
    check=_sizes,
)

_ADDON = {"clusterName": In("clusterName"), "addonName": In("addonName")}
_ADDON_INPUTS = "addonVersion serviceAccountRoleArn configurationValues podIdentityAssociations"

ADDON = Spec(
    type="aws:eks/addon:Addon",
    docs=PROVIDER_DOCS + "eks_addon",
    create=Call(
        "eks",
        "create_addon",
        _ADDON | {"resolveConflicts": In("resolveConflictsOnCreate"), "tags": TAG_MAP},
        take=_ADDON_INPUTS,
    ),
    id="{clusterName}:{addonName}",
    looks=(Look(Call("eks", "describe_addon", _ADDON, missing=_MISSING), "addon"),),
    updates=(
        Update(
            _ADDON_INPUTS,
            (
                Call(
                    "eks",
                    "update_addon",
                    _ADDON | {"resolveConflicts": In("resolveConflictsOnUpdate")},
                    take=_ADDON_INPUTS,
                ),
            ),
        ),
    ),
    delete=Call("eks", "delete_addon", _ADDON, missing=_MISSING),
    tagging=_tagging(),
    force_new="clusterName addonName",
    outputs={"arn": "addonArn", "createdAt": None, "modifiedAt": None},
    computed="addonVersion",
    kept="preserve",
)

_ENTRY = {"clusterName": In("clusterName"), "principalArn": In("principalArn")}

ACCESS_ENTRY = Spec(
    type="aws:eks/accessEntry:AccessEntry",
    docs=PROVIDER_DOCS + "eks_access_entry",
    create=Call(
        "eks", "create_access_entry", _ENTRY | {"tags": TAG_MAP}, take="type userName=username kubernetesGroups"
    ),
    id="{clusterName}:{principalArn}",
    looks=(Look(Call("eks", "describe_access_entry", _ENTRY, missing=_MISSING), "accessEntry"),),
    updates=(
        Update(
            "userName kubernetesGroups",
            (Call("eks", "update_access_entry", _ENTRY, take="userName=username kubernetesGroups"),),
        ),
    ),
    delete=Call("eks", "delete_access_entry", _ENTRY, missing=_MISSING),
    tagging=_tagging(),
    force_new="clusterName principalArn type",
    seen={"userName": "username"},
    outputs={"accessEntryArn": "accessEntryArn", "createdAt": None, "modifiedAt": None},
    computed="userName",
)

_POLICY = {**_ENTRY, "policyArn": In("policyArn")}


def _associated(answer: Any, scope: Any) -> Any:
    return next(
        (p for p in answer["associatedAccessPolicies"] if p["policyArn"] == scope.inputs.get("policyArn")), None
    )


ACCESS_POLICY = Spec(
    type="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    docs=PROVIDER_DOCS + "eks_access_policy_association",
    create=Call("eks", "associate_access_policy", _POLICY, take="accessScope"),
    id="{clusterName}#{principalArn}#{policyArn}",
    looks=(Look(Call("eks", "list_associated_access_policies", _ENTRY, missing=_MISSING), _associated),),
    delete=Call("eks", "disassociate_access_policy", _POLICY, missing=_MISSING),
    force_new="clusterName principalArn policyArn accessScope",
    seen={"clusterName": None, "principalArn": None},
    outputs={"associatedAt": None, "modifiedAt": None},
)

POD_IDENTITY = Spec(
    type="aws:eks/podIdentityAssociation:PodIdentityAssociation",
    docs=PROVIDER_DOCS + "eks_pod_identity_association",
    create=Call(
        "eks", "create_pod_identity_association", {"tags": TAG_MAP}, take="clusterName namespace serviceAccount roleArn"
    ),
    id="association.associationId",
    looks=(
        Look(
            Call(
                "eks",
                "describe_pod_identity_association",
                {"clusterName": In("clusterName"), "associationId": ID},
                missing=_MISSING,
            ),
            "association",
        ),
    ),
    updates=(
        Update(
            "roleArn",
            (
                Call(
                    "eks",
                    "update_pod_identity_association",
                    {"clusterName": In("clusterName"), "associationId": ID},
                    take="roleArn",
                ),
            ),
        ),
    ),
    delete=Call(
        "eks",
        "delete_pod_identity_association",
        {"clusterName": In("clusterName"), "associationId": ID},
        missing=_MISSING,
    ),
    tagging=Tagging(None, None, path="tags"),
    force_new="clusterName namespace serviceAccount",
    outputs={"associationArn": "associationArn", "associationId": "{id}"},
)

SPECS = (CLUSTER, NODE_GROUP, ADDON, ACCESS_ENTRY, ACCESS_POLICY, POD_IDENTITY)
