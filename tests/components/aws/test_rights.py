"""Who may do what: every policy of the program, statement by statement. A right too many fails here as one too few does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.components.aws import program as programs
from tests.components.aws.program import ACCOUNT, Program, statements

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])
Run = Callable[[], Program]

HERE = f"us-west-2:{ACCOUNT}"
SHELL = {"ssm:UpdateInstanceInformation"} | {
    f"ssmmessages:{name}"
    for name in ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
}
MACHINE = {
    "SessionManager": (SHELL, {"*"}),
    "ReadBundle": ({"s3:GetObject"}, {"arn:Bucket:bucket/bundle/current.json"}),
    "DecryptThroughServices": ({"kms:Decrypt"}, {"arn:Key:key"}),
    "RegistryLogin": ({"ecr:GetAuthorizationToken"}, {"*"}),
    "PullOwnImages": (
        {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
        {f"arn:Repository:{name}" for name in ("hub", "proxy", "edge", "student")},
    ),
}


BACKUPS = {
    "WriteBackups": (
        {
            "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
        },
        {"arn:Bucket:bucket/restic/*"},
    ),
    "ListBackups": ({"s3:ListBucket"}, {"arn:Bucket:bucket"}),
    "FindBackups": ({"s3:GetBucketLocation"}, {"arn:Bucket:bucket"}),
    "EncryptBackups": ({"kms:GenerateDataKey"}, {"arn:Key:key"}),
}  # fmt: skip


def policy(made: Program, key: str) -> list[dict[str, Any]]:
    document = json.loads(made[key]["policy"])
    assert document["Version"] == "2012-10-17"
    return document["Statement"]


def test_the_hub_of_a_swarm_reads_its_own_parameters_and_writes_only_the_join_token() -> None:
    assert statements(programs.swarm()["iam.RolePolicy/hub"]["policy"]) == {
        **MACHINE,
        **BACKUPS,
        "ReadOwnParameters": ({"ssm:GetParameter"}, {f"arn:aws:ssm:{HERE}:parameter/semesterhub/fa26/*"}),
        "WriteOneParameter": ({"ssm:PutParameter"}, {f"arn:aws:ssm:{HERE}:parameter/semesterhub/fa26/join-token"}),
    }


def test_the_hub_of_kubernetes_finds_its_cluster_and_writes_no_parameter() -> None:
    assert statements(programs.kubernetes()["iam.RolePolicy/hub"]["policy"]) == {
        **MACHINE,
        **BACKUPS,
        "ReadOwnParameters": ({"ssm:GetParameter"}, {f"arn:aws:ssm:{HERE}:parameter/semesterhub/fa26/*"}),
        "DescribeCluster": ({"eks:DescribeCluster"}, {f"arn:aws:eks:{HERE}:cluster/semesterhub-fa26-cluster"}),
    }


def test_a_worker_reads_the_join_token_and_finishes_its_own_groups_hook() -> None:
    group = f"arn:aws:autoscaling:{HERE}:autoScalingGroup:*:autoScalingGroupName/semesterhub-fa26-nodes"
    assert statements(programs.swarm()["iam.RolePolicy/worker"]["policy"]) == {
        **MACHINE,
        "ReadOwnParameters": ({"ssm:GetParameter"}, {f"arn:aws:ssm:{HERE}:parameter/semesterhub/fa26/join-token"}),
        "FinishDraining": (
            {"autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"},
            {group},
        ),
    }


@BOTH
def test_keys_decrypt_for_machines_only_through_the_services_that_they_use(program: Run) -> None:
    [decrypt] = [s for s in policy(program(), "iam.RolePolicy/hub") if s["Sid"] == "DecryptThroughServices"]
    assert decrypt["Condition"] == {
        "StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com", "ssm.us-west-2.amazonaws.com"]}
    }


@BOTH
def test_the_hub_lists_no_more_of_the_bucket_than_its_backups(program: Run) -> None:
    by_sid = {s["Sid"]: s for s in policy(program(), "iam.RolePolicy/hub")}
    assert by_sid["ListBackups"]["Condition"] == {"StringLike": {"s3:prefix": ["restic", "restic/*"]}}
    assert by_sid["EncryptBackups"]["Condition"] == {"StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}}


@BOTH
def test_every_role_is_taken_on_by_exactly_the_one_that_needs_it(program: Run) -> None:
    made = program()
    trusted = {}
    for name, role in made.of_type("iam.Role").items():
        [statement] = json.loads(role["assumeRolePolicy"])["Statement"]
        trusted[name] = (
            statement["Principal"].get("Service") or statement["Principal"]["Federated"],
            statement.get("Condition"),
        )
    own = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    expected: dict[str, Any] = {
        "flow": ("vpc-flow-logs.amazonaws.com", own),
        "backup": ("backup.amazonaws.com", own),
        "hub": ("ec2.amazonaws.com", None),
    }
    if made.semester.orchestrator == "swarm":
        expected["worker"] = ("ec2.amazonaws.com", None)
    else:
        expected |= {"nodes": ("ec2.amazonaws.com", None), "control-plane": ("eks.amazonaws.com", None)}
        for addon, accounts in (
            ("vpc-cni", ["aws-node"]),
            ("aws-efs-csi-driver", ["efs-csi-controller-sa", "efs-csi-node-sa"]),
        ):
            names = [f"system:serviceaccount:kube-system:{account}" for account in accounts]
            condition = {"oidc.example.net/id/1:aud": "sts.amazonaws.com", "oidc.example.net/id/1:sub": names}
            expected[addon] = ("arn:OpenIdConnectProvider:pods", {"StringEquals": condition})
    assert trusted == expected


@BOTH
def test_managed_policies_are_these_and_no_more(program: Run) -> None:
    made = program()
    attachments = made.of_type("iam.RolePolicyAttachment").values()
    attached = {(a["role"], a["policyArn"].removeprefix("arn:aws:iam::aws:policy/")) for a in attachments}
    expected = {
        ("semesterhub-fa26-backup", "service-role/AWSBackupServiceRolePolicyForBackup"),
        ("semesterhub-fa26-backup", "service-role/AWSBackupServiceRolePolicyForRestores"),
    }
    if made.semester.orchestrator == "kubernetes":
        expected |= {
            ("semesterhub-fa26-control-plane", "AmazonEKSClusterPolicy"),
            ("semesterhub-fa26-nodes", "AmazonEKSWorkerNodePolicy"),
            ("semesterhub-fa26-nodes", "AmazonEC2ContainerRegistryPullOnly"),
            ("semesterhub-fa26-vpc-cni", "AmazonEKS_CNI_Policy"),
            ("semesterhub-fa26-aws-efs-csi-driver", "service-role/AmazonEFSCSIDriverPolicy"),
        }
    assert attached == expected


def test_nodes_of_kubernetes_have_a_shell_through_session_manager_and_the_cluster_wraps_secrets() -> None:
    made = programs.kubernetes()
    assert statements(made["iam.RolePolicy/nodes"]["policy"]) == {"SessionManager": (SHELL, {"*"})}
    assert statements(made["iam.RolePolicy/control-plane"]["policy"]) == {
        "WrapSecrets": ({"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"}, {"arn:Key:key"}),
        "GrantToTheCluster": ({"kms:CreateGrant"}, {"arn:Key:key"}),
    }


@BOTH
def test_only_a_stars_service_knows_no_narrower_resource(program: Run) -> None:
    made = program()
    wide = {
        (name, sid)
        for name, attached in made.of_type("iam.RolePolicy").items()
        for sid, (_, resources) in statements(attached["policy"]).items()
        if "*" in resources
    }
    assert {sid for _, sid in wide} == {"SessionManager", "RegistryLogin"}
    for attached in made.of_type("iam.RolePolicy").values():
        for actions, _ in statements(attached["policy"]).values():
            assert not [action for action in actions if action.endswith("*")]


@BOTH
def test_the_key_is_the_accounts_and_serves_volumes_and_the_stacks_logs(program: Run) -> None:
    made = program()
    key = made["kms.Key/key"]
    assert key["enableKeyRotation"] is True and key["deletionWindowInDays"] == 30
    account, volumes, logs = policy(made, "kms.Key/key")
    assert account["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"} and "Condition" not in account
    assert volumes["Condition"] == {
        "StringEquals": {"kms:CallerAccount": ACCOUNT, "kms:ViaService": "ec2.us-west-2.amazonaws.com"}
    }
    assert "kms:*" not in volumes["Action"]
    assert logs["Principal"] == {"Service": "logs.us-west-2.amazonaws.com"}
    groups = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    for group in made.of_type("cloudwatch.LogGroup").values():
        arn = f"arn:aws:logs:{HERE}:log-group:{group['name']}"
        assert any(arn.startswith(allowed.partition("*")[0]) for allowed in groups), arn


@BOTH
def test_the_bucket_speaks_tls_only(program: Run) -> None:
    [statement] = policy(program(), "s3.BucketPolicy/bucket")
    assert statement["Effect"] == "Deny" and statement["Principal"] == "*" and statement["Action"] == "s3:*"
    assert statement["Resource"] == ["arn:Bucket:bucket", "arn:Bucket:bucket/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@BOTH
def test_homes_are_mounted_through_the_mount_targets_and_with_tls(program: Run) -> None:
    mounted, tls = policy(program(), "efs.FileSystemPolicy/homes")
    assert mounted["Effect"] == "Allow" and mounted["Condition"] == {
        "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}
    }
    assert tls["Effect"] == "Deny" and tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert mounted["Resource"] == tls["Resource"] == "arn:FileSystem:homes"


@BOTH
def test_only_this_accounts_alarms_and_budget_may_write_to_the_admins(program: Run) -> None:
    [statement] = policy(program(), "sns.TopicPolicy/admins")
    assert statement["Principal"] == {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]}
    assert statement["Action"] == "sns:Publish" and statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT}
    }
