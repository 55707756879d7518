"""Policies of IAM and of the resources themselves, as plain Python: who may do what, no more than the part needs.

Each function returns a statement or a document; `document()` puts statements together and `pulumi.Output.json_dumps`
turns it into the text that AWS takes. `"*"` as a resource stands only where the service knows no narrower one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.aws.scope import Scope

Statement = dict[str, Any]
Resources = Any
"""ARNs: text, an output, or a list of them."""


def document(*statements: Statement) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    sid: str, actions: Sequence[str], resources: Resources, condition: Mapping[str, Any] | None = None
) -> Statement:
    """An identity's right. `sid` says what for."""
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}
    return {**statement, "Condition": dict(condition)} if condition else statement


def assumed_by(service: str, condition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Trust policy of a role that an AWS service takes on."""
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document({**statement, "Condition": dict(condition)} if condition else statement)


def own_account(scope: Scope) -> dict[str, Any]:
    """Condition against the confused deputy: the service acts for this account only."""
    return {"StringEquals": {"aws:SourceAccount": scope.account}}


def key_policy(scope: Scope) -> dict[str, Any]:
    """The stack's KMS key: the account's own policies decide, EC2 may use it for volumes, CloudWatch Logs for logs.

    EC2's part is worded as in the key that AWS makes for EBS itself: the Auto Scaling service role, which may not
    exist yet in a new account and so cannot be named, comes in through it.
    """
    volumes = {"kms:CallerAccount": scope.account, "kms:ViaService": f"ec2.{scope.region}.{scope.dns_suffix}"}
    use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"]
    groups = [
        scope.arn("logs", f"log-group:{scope.parameters}/*"),
        scope.arn("logs", f"log-group:/aws/eks/{scope.name('*')}"),
    ]
    return document(
        {
            "Sid": "TheAccountDecides",
            "Effect": "Allow",
            "Principal": {"AWS": scope.root},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Sid": "VolumesThroughEc2",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": use,
            "Resource": "*",
            "Condition": {"StringEquals": volumes},
        },
        {
            "Sid": "LogGroupsOfTheStack",
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{scope.region}.{scope.dns_suffix}"},
            "Action": ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
            "Resource": "*",
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        },
    )


def bucket_policy(bucket_arn: Any, objects_arn: Any) -> dict[str, Any]:
    """Nobody reads or writes the bucket without TLS."""
    return document(
        {
            "Sid": "OnlyWithTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket_arn, objects_arn],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def file_system_policy(file_system_arn: Any) -> dict[str, Any]:
    """Homes: only through the mount targets, which the security group opens to nodes and hub, and only with TLS."""
    return document(
        {
            "Sid": "ThroughTheMountTargets",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [
                "elasticfilesystem:ClientMount",
                "elasticfilesystem:ClientWrite",
                "elasticfilesystem:ClientRootAccess",
            ],
            "Resource": file_system_arn,
            "Condition": {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}},
        },
        {
            "Sid": "OnlyWithTls",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "*",
            "Resource": file_system_arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


def flow_logs(group_arn: Any) -> dict[str, Any]:
    """The VPC's flow log service writes to its one log group."""
    actions = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return document(allow("WriteFlowLogs", actions, pulumi.Output.concat(group_arn, ":*")))


def session_manager() -> Statement:
    """A shell through SSM Session Manager. The managed policy for this may read every parameter of the account."""
    channels = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"]
    return allow(
        "SessionManager", ["ssm:UpdateInstanceInformation", *(f"ssmmessages:{name}" for name in channels)], "*"
    )


def read_parameters(scope: Scope, *names: str) -> Statement:
    """The stack's parameters with these names."""
    return allow("ReadOwnParameters", ["ssm:GetParameter"], [scope.parameter_arn(name) for name in names])


def write_parameter(scope: Scope, name: str) -> Statement:
    """One parameter."""
    return allow("WriteOneParameter", ["ssm:PutParameter"], scope.parameter_arn(name))


def decrypt(scope: Scope, key_arn: Any, *services: str) -> Statement:
    """The stack's key, only through these services (`s3`, `ssm`)."""
    via = [f"{service}.{scope.region}.{scope.dns_suffix}" for service in services]
    return allow("DecryptThroughServices", ["kms:Decrypt"], key_arn, {"StringEquals": {"kms:ViaService": via}})


def keep_backups(scope: Scope, bucket: Any, prefix: str, key_arn: Any) -> list[Statement]:
    """Write, read and thin out one folder of a bucket (restic). ``key_arn``: the key of the stack's own bucket, else None."""
    objects = pulumi.Output.concat(bucket, "/", f"{prefix}/*" if prefix else "*")
    here = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}} if prefix else None
    write = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    rights = [
        allow("WriteBackups", write, objects),
        allow("ListBackups", ["s3:ListBucket"], bucket, here),
        allow("FindBackups", ["s3:GetBucketLocation"], bucket),
    ]
    if key_arn is not None:
        via = {"StringEquals": {"kms:ViaService": [f"s3.{scope.region}.{scope.dns_suffix}"]}}
        rights.append(allow("EncryptBackups", ["kms:GenerateDataKey"], key_arn, via))
    return rights


def read_bundle(scope: Scope, bucket_arn: Any) -> Statement:
    """The one object that says what runs where."""
    return allow("ReadBundle", ["s3:GetObject"], pulumi.Output.concat(bucket_arn, "/", scope.bundle_key))


def pull_images(repository_arns: Sequence[Any]) -> list[Statement]:
    """The stack's images; the login itself knows no resource."""
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return [
        allow("RegistryLogin", ["ecr:GetAuthorizationToken"], "*"),
        allow("PullOwnImages", pull, list(repository_arns)),
    ]


def finish_draining(scope: Scope, group: str) -> Statement:
    """A worker that goes away asks its own group for time, and says when it is empty."""
    arn = scope.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{group}")
    actions = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
    return allow("FinishDraining", actions, arn)


def describe_cluster(cluster_arn: Any) -> Statement:
    """Where the Kubernetes API answers; what the hub may do there is its access entry's."""
    return allow("DescribeCluster", ["eks:DescribeCluster"], cluster_arn)


def encrypt_cluster_secrets(key_arn: Any) -> dict[str, Any]:
    """EKS wraps the cluster's secrets with the stack's key."""
    return document(
        allow("WrapSecrets", ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], key_arn),
        allow("GrantToTheCluster", ["kms:CreateGrant"], key_arn, {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
    )


def assumed_by_service_account(provider_arn: str, issuer: str, namespace: str, names: Sequence[str]) -> dict[str, Any]:
    """Trust policy of a role for Kubernetes service accounts (IRSA), these and no others of the cluster."""
    host = issuer.removeprefix("https://")
    accounts = [f"system:serviceaccount:{namespace}:{name}" for name in names]
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": accounts}},
        }
    )


def topic_policy(scope: Scope, topic_arn: Any) -> dict[str, Any]:
    """Alarms and the budget of this account may send; nobody else."""
    return document(
        {
            "Sid": "AlarmsAndBudget",
            "Effect": "Allow",
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": own_account(scope),
        }
    )
