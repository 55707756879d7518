"""EKS: a private API with wrapped secrets, two node groups, addons in their order, and the hub's way in."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest

from tests.components.aws import program as programs

pytestmark = pytest.mark.unit


def test_the_api_is_private_but_for_the_admins_public_networks() -> None:
    vpc = programs.kubernetes()["eks.Cluster/cluster"]["vpcConfig"]
    assert vpc["endpointPrivateAccess"] is True and vpc["endpointPublicAccess"] is True
    assert vpc["publicAccessCidrs"] == ["192.0.2.0/24"] and vpc["subnetIds"] == ["Subnet:private-1", "Subnet:private-2"]


@pytest.mark.parametrize("admins", [[], ["10.0.0.0/8"], ["172.20.0.0/16", "192.168.7.0/24", "100.64.0.0/16"]])
def test_without_a_public_admin_network_the_api_has_no_public_door(admins: list[str]) -> None:
    from components.aws.kubernetes import public_networks

    assert public_networks([IPv4Network(cidr) for cidr in admins]) == []


def test_secrets_are_wrapped_with_the_stacks_key_and_the_control_plane_tells_all() -> None:
    made = programs.kubernetes()
    cluster = made["eks.Cluster/cluster"]
    assert cluster["encryptionConfig"] == {"provider": {"keyArn": "arn:Key:key"}, "resources": ["secrets"]}
    assert set(cluster["enabledClusterLogTypes"]) == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    logs = made["cloudwatch.LogGroup/control-plane"]
    assert (
        logs["name"] == f"/aws/eks/{cluster['name']}/cluster"
        and logs["kmsKeyId"] == "arn:Key:key"
        and logs["retentionInDays"] == 90
    )
    assert made.waits_for("eks.Cluster/cluster") >= {
        "cloudwatch.LogGroup/control-plane", "iam.RolePolicyAttachment/control-plane", "iam.RolePolicy/control-plane",
    }  # fmt: skip
    assert cluster["bootstrapSelfManagedAddons"] is False and cluster["upgradePolicy"] == {"supportType": "STANDARD"}


def test_the_hub_comes_in_by_an_access_entry_and_through_the_clusters_group() -> None:
    made = programs.kubernetes()
    assert made["eks.Cluster/cluster"]["accessConfig"]["authenticationMode"] == "API"
    entry, right = made["eks.AccessEntry/hub"], made["eks.AccessPolicyAssociation/hub"]
    assert entry["principalArn"] == right["principalArn"] == "arn:Role:hub" and right["accessScope"] == {
        "type": "cluster"
    }
    assert right["policyArn"] == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    assert "eks.AccessEntry/hub" in made.waits_for("eks.AccessPolicyAssociation/hub")
    door = made["vpc.SecurityGroupIngressRule/api-from-hub"]
    assert (door["securityGroupId"], door["referencedSecurityGroupId"]) == ("sg-cluster", "SecurityGroup:hub")
    assert (door["fromPort"], door["toPort"], door["ipProtocol"]) == (443, 443, "tcp")


def test_students_have_a_pool_of_their_own_beside_a_small_one_for_the_system() -> None:
    made = programs.kubernetes()
    system, students = made["eks.NodeGroup/system"], made["eks.NodeGroup/students"]
    assert system["scalingConfig"] == {"minSize": 2, "maxSize": 3, "desiredSize": 2} and "taints" not in system
    assert (students["scalingConfig"]["minSize"], students["scalingConfig"]["maxSize"]) == (1, 20)
    assert list(made.resources["eks.NodeGroup/students"].request.ignoreChanges) == ["scalingConfig.desiredSize"]
    assert students["instanceTypes"] == [made.plan.workers.instance_type] and system["instanceTypes"] == ["m6i.large"]
    assert students["labels"] == {"hub.jupyter.org/node-purpose": "user"}
    assert students["taints"] == [{"key": "hub.jupyter.org/dedicated", "value": "user", "effect": "NO_SCHEDULE"}]
    for group in (system, students):
        assert (
            group["subnetIds"] == ["Subnet:private-1", "Subnet:private-2"] and group["nodeRoleArn"] == "arn:Role:nodes"
        )
        assert "nodeGroupName" not in group, "a prefix: a group that must be replaced needs another name"


def test_nodes_are_encrypted_in_both_groups_and_answer_metadata_one_hop_only() -> None:
    made = programs.kubernetes()
    for part in ("system", "students"):
        template = made[f"ec2.LaunchTemplate/{part}"]
        assert template["vpcSecurityGroupIds"] == ["sg-cluster", "SecurityGroup:nodes"]
        assert template["metadataOptions"]["httpTokens"] == "required"
        assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
        [disk] = template["blockDeviceMappings"]
        assert (
            disk["deviceName"] == "/dev/xvda"
            and disk["ebs"]["encrypted"] == "true"
            and disk["ebs"]["kmsKeyId"] == "arn:Key:key"
        )
        # EKS brings image, machine type and identity itself and refuses a template that has them.
        assert not {"imageId", "instanceType", "iamInstanceProfile", "userData"} & set(template)
        assert made[f"eks.NodeGroup/{part}"]["launchTemplate"] == {"id": f"LaunchTemplate:{part}", "version": "7"}


def test_the_network_comes_before_the_nodes_and_dns_and_homes_driver_after_them() -> None:
    made = programs.kubernetes()
    for group in ("system", "students"):
        assert made.waits_for(f"eks.NodeGroup/{group}") >= {
            "eks.Addon/vpc-cni", "eks.Addon/kube-proxy", "ec2.Route/private-out", "iam.RolePolicyAttachment/worker",
            "iam.RolePolicyAttachment/pull",
        }  # fmt: skip
    for addon in ("coredns", "aws-efs-csi-driver"):
        assert "eks.NodeGroup/system" in made.waits_for(f"eks.Addon/{addon}")
    assert json.loads(made["eks.Addon/vpc-cni"]["configurationValues"]) == {"enableNetworkPolicy": "true"}
    roles = {name: addon.get("serviceAccountRoleArn") for name, addon in made.of_type("eks.Addon").items()}
    assert roles == {
        "vpc-cni": "arn:Role:vpc-cni", "aws-efs-csi-driver": "arn:Role:aws-efs-csi-driver", "coredns": None, "kube-proxy": None,
    }  # fmt: skip


def test_pods_are_identified_by_the_clusters_own_issuer() -> None:
    provider = programs.kubernetes()["iam.OpenIdConnectProvider/pods"]
    assert provider["url"] == "https://oidc.example.net/id/1" and provider["clientIdLists"] == ["sts.amazonaws.com"]


def test_the_hub_is_told_where_the_api_and_the_homes_are() -> None:
    made = programs.kubernetes()
    settings = json.loads(json.loads(made["s3.BucketObjectv2/bundle"]["content"])["settings"])
    cluster = settings["kubernetes"]
    assert (
        cluster["api_url"] == "https://eks.example.net"
        and cluster["cluster_name"] == made["eks.Cluster/cluster"]["name"]
    )
    assert cluster["region"] == "us-west-2" and cluster["ca_certificate"]
    assert cluster["homes"]["driver"] == "efs.csi.aws.com"
    assert cluster["homes"]["volume_handle"] == "FileSystem:homes::AccessPoint:students"
    students = made["eks.NodeGroup/students"]
    assert cluster["node_labels"] == students["labels"]
    assert cluster["node_taints"] == {taint["key"]: taint["value"] for taint in students["taints"]}


def test_the_students_pool_follows_the_calendar_through_the_group_that_eks_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1785542400")  # 2026-08-01
    made = programs.run(programs.in_class(orchestrator="kubernetes"))
    assert {action["autoscalingGroupName"] for action in made.of_type("autoscaling.Schedule").values()} == {
        "eks-students"
    }
