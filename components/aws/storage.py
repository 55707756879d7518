"""What outlives every machine: students' homes on EFS and the stack's bucket. Both are protected and kept on destroy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import efs, s3

from components.aws import policies
from components.aws.scope import Scope

STUDENT_UID, STUDENT_GID = 1000, 100
"""Who a student's files belong to (hubconfig.homes says the same to the hub)."""
OLD_BUNDLE_DAYS = 90
OLD_BACKUP_DAYS = 30
UNFINISHED_UPLOAD_DAYS = 7


@dataclass(frozen=True)
class StorageArgs:
    scope: Scope
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    protect: bool
    """Refuse to delete homes and bucket, and keep them should the stack go all the same."""


class Storage(pulumi.ComponentResource):
    """`homes` (file system id), `homes_arn`, `homes_host` (its name inside the VPC), `students` (access point id) and
    `bucket`. Machines that mount the homes depend on `mount_targets`.
    """

    homes: pulumi.Output[str]
    homes_arn: pulumi.Output[str]
    homes_host: pulumi.Output[str]
    students: pulumi.Output[str]
    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    mount_targets: list[pulumi.Resource]
    bucket_ready: list[pulumi.Resource]
    """Nothing is written into the bucket before it is closed to the public, encrypted and versioned."""

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Storage", name, None, opts)
        self._args, self._child = args, pulumi.ResourceOptions(parent=self)
        self._kept = pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect)
        self._homes()
        self._bucket()
        self.register_outputs({"homes": self.homes, "bucket": self.bucket})

    def _homes(self) -> None:
        args = self._args
        homes = efs.FileSystem(
            "homes",
            encrypted=True,
            kms_key_id=args.key_arn,
            performance_mode="generalPurpose",
            # A class that opens its notebooks at once is one burst; elastic throughput has no credits to run out of.
            throughput_mode="elastic",
            lifecycle_policies=[
                {"transition_to_ia": "AFTER_30_DAYS"},
                {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
            ],
            tags=args.scope.tagged("homes"),
            opts=self._kept,
        )
        self.homes, self.homes_arn, self.homes_host = homes.id, homes.arn, homes.dns_name
        policy = efs.FileSystemPolicy(
            "homes",
            file_system_id=homes.id,
            policy=pulumi.Output.json_dumps(policies.file_system_policy(homes.arn)),
            opts=self._child,
        )
        self.mount_targets = [
            efs.MountTarget(
                f"homes-{number}",
                file_system_id=homes.id,
                subnet_id=subnet,
                security_groups=[args.security_group_id],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            )
            for number, subnet in enumerate(args.subnet_ids, start=1)
        ]
        # Students' pods come through here: whatever runs in them, to the homes it is the student's own user.
        self.students = efs.AccessPoint(
            "students",
            file_system_id=homes.id,
            posix_user={"uid": STUDENT_UID, "gid": STUDENT_GID},
            root_directory={"path": "/"},
            tags=args.scope.tagged("students"),
            opts=self._child,
        ).id

    def _bucket(self) -> None:
        args = self._args
        bucket = s3.Bucket(
            "bucket",
            bucket=args.scope.bucket,
            force_destroy=not args.protect,
            tags=args.scope.tagged("bucket"),
            opts=self._kept,
        )
        self.bucket, self.bucket_arn = bucket.bucket, bucket.arn
        closed = s3.BucketPublicAccessBlock(
            "bucket",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        owned = s3.BucketOwnershipControls(
            "bucket", bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=self._child
        )
        encrypted = s3.BucketServerSideEncryptionConfiguration(
            "bucket",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": args.key_arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=self._child,
        )
        versioned = s3.BucketVersioning(
            "bucket", bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=self._child
        )
        policy = s3.BucketPolicy(
            "bucket",
            bucket=bucket.bucket,
            policy=pulumi.Output.json_dumps(policies.bucket_policy(bucket.arn, pulumi.Output.concat(bucket.arn, "/*"))),
            # Two writes of a bucket's permissions at the same moment answer with a conflict.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed, owned]),
        )
        s3.BucketLifecycleConfiguration(
            "bucket",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "old-bundles",
                    "status": "Enabled",
                    "filter": {"prefix": "bundle/"},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_BUNDLE_DAYS},
                },
                {
                    # restic's own retention decides what is deleted; a deletion by mistake can be undone this long.
                    "id": "old-copies",
                    "status": "Enabled",
                    "filter": {"prefix": "restic/"},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_BACKUP_DAYS},
                },
                {
                    "id": "unfinished-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": UNFINISHED_UPLOAD_DAYS},
                },
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioned]),
        )
        self.bucket_ready = [policy, encrypted, versioned]
