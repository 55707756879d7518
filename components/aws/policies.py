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
