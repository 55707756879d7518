"""Homes, bucket, copies and image repositories: encrypted, kept, and copied as the stack file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.images_lock import references
from tests.components.aws import program as programs
from tests.components.aws.program import Program

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])
Run = Callable[[], Program]


@BOTH
def test_homes_are_encrypted_elastic_and_reachable_in_both_zones(program: Run) -> None:
    made = program()
    homes = made["efs.FileSystem/homes"]
    assert homes["encrypted"] is True and homes["kmsKeyId"] == "arn:Key:key" and homes["throughputMode"] == "elastic"
    assert {json.dumps(rule) for rule in homes["lifecyclePolicies"]} == {
        '{"transitionToIa": "AFTER_30_DAYS"}', '{"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"}',
    }  # fmt: skip
    targets = made.of_type("efs.MountTarget")
    assert {t["subnetId"] for t in targets.values()} == {"Subnet:private-1", "Subnet:private-2"}
    for name, target in targets.items():
        assert target["fileSystemId"] == "FileSystem:homes" and target["securityGroups"] == ["SecurityGroup:homes"]
        assert "efs.FileSystemPolicy/homes" in made.waits_for(f"efs.MountTarget/{name}"), "no mount before the rules"


@BOTH
def test_whatever_runs_in_a_pod_is_the_students_own_user_to_the_homes(program: Run) -> None:
    from hubconfig.homes import HOME_GID, HOME_UID

    point = program()["efs.AccessPoint/students"]
    assert point["posixUser"] == {"uid": HOME_UID, "gid": HOME_GID} and point["rootDirectory"] == {"path": "/"}


@BOTH
def test_the_bucket_is_closed_encrypted_versioned_and_tidied(program: Run) -> None:
    made = program()
    assert made["s3.Bucket/bucket"]["bucket"] == "semesterhub-fa26-123456789012"
    closed = made["s3.BucketPublicAccessBlock/bucket"]
    assert all(
        closed[key] is True
        for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    )
    [rule] = made["s3.BucketServerSideEncryptionConfiguration/bucket"]["rules"]
    assert rule == {
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "arn:Key:key"},
        "bucketKeyEnabled": True,
    }
    assert made["s3.BucketVersioning/bucket"]["versioningConfiguration"] == {"status": "Enabled"}
    assert made["s3.BucketOwnershipControls/bucket"]["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    rules = {rule["id"]: rule for rule in made["s3.BucketLifecycleConfiguration/bucket"]["rules"]}
    assert rules["old-copies"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert rules["unfinished-uploads"]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert not any("expiration" in rule for rule in rules.values()), "nothing current is ever deleted"


@BOTH
def test_the_bundle_is_written_only_into_a_closed_encrypted_bucket(program: Run) -> None:
    made = program()
    bundle = made["s3.BucketObjectv2/bundle"]
    assert (bundle["bucket"], bundle["key"]) == ("semesterhub-fa26-123456789012", "bundle/current.json")
    assert made.waits_for("s3.BucketObjectv2/bundle") >= {
        "s3.BucketPolicy/bucket", "s3.BucketServerSideEncryptionConfiguration/bucket", "s3.BucketVersioning/bucket",
    }  # fmt: skip
    assert "s3.BucketPublicAccessBlock/bucket" in made.waits_for("s3.BucketPolicy/bucket")


def test_the_bundle_names_the_courses_images_by_digest_and_changes_with_the_secret() -> None:
    made = programs.swarm()
    document = json.loads(made["s3.BucketObjectv2/bundle"]["content"])
    settings = json.loads(document["settings"])
    assert settings["semester"] == "fa26" and settings["hub_ip"] == made.plan.hub_ip
    assert {course["image"] for course in settings["courses"]} == {
        references(made.semester, "123456789012.dkr.ecr.us-west-2.amazonaws.com/semesterhub-fa26", ["student"])[
            "student"
        ]
    }
    assert document["bundle"]["secrets_revision"] == "3", "the parameter's version: a new secret reaches the hub"
    assert document["bundle"]["store_secrets"] == ["oauth_client_secret"]


@BOTH
def test_each_image_has_an_immutable_scanned_repository_where_references_point(program: Run) -> None:
    made = program()
    for name, repository in made.of_type("ecr.Repository").items():
        assert repository["name"] == f"semesterhub-fa26/semesterhub/{name}"
        assert repository["imageTagMutability"] == "IMMUTABLE" and repository["imageScanningConfiguration"] == {
            "scanOnPush": True
        }
        assert repository["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": "arn:Key:key"}]
        lifecycle = json.loads(made[f"ecr.LifecyclePolicy/{name}"]["policy"])
        assert [rule["rulePriority"] for rule in lifecycle["rules"]] == [1, 2]
    registry = "123456789012.dkr.ecr.us-west-2.amazonaws.com/semesterhub-fa26"
    for name, reference in references(made.semester, registry, ["hub", "student"]).items():
        assert reference.partition("@")[0] == f"{registry.partition('/')[0]}/{made['ecr.Repository/' + name]['name']}"


@BOTH
def test_homes_and_the_hubs_disk_are_copied_into_an_encrypted_vault(program: Run) -> None:
    made = program()
    assert made["backup.Vault/vault"]["kmsKeyArn"] == "arn:Key:key"
    selection = made["backup.Selection/homes-and-hub"]
    assert selection["resources"] == ["arn:FileSystem:homes", "arn:Volume:state"]
    assert selection["iamRoleArn"] == "arn:Role:backup" and selection["planId"] == "Plan:plan"
    assert made.waits_for("backup.Selection/homes-and-hub") >= {
        "iam.RolePolicyAttachment/backup", "iam.RolePolicyAttachment/restore",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("snapshots", "kept"),
    [
        ({}, {"hourly": 1, "daily": 14, "weekly": 112}),
        ({"keep_hourly": 25, "keep_daily": 3, "keep_weekly": 0}, {"hourly": 2, "daily": 3}),
        ({"keep_hourly": 0, "keep_daily": 0, "keep_weekly": 1}, {"weekly": 7}),
        ({"keep_hourly": 0, "keep_daily": 0, "keep_weekly": 0}, {}),
    ],
)
def test_copies_are_kept_as_long_as_the_stack_file_says(snapshots: dict[str, int], kept: dict[str, int]) -> None:
    made = programs.run(programs.semester(homes={"snapshots": snapshots}))
    rules: list[dict[str, Any]] = [rule for plan in made.of_type("backup.Plan").values() for rule in plan["rules"]]
    assert {rule["ruleName"]: rule["lifecycle"]["deleteAfter"] for rule in rules} == kept
    assert all(rule["scheduleExpressionTimezone"] == "America/Los_Angeles" for rule in rules)
    assert all(rule["targetVaultName"] == "semesterhub-fa26-copies" for rule in rules)
    # AWS Backup refuses a completion window that ends within an hour of the start window.
    assert all(rule["completionWindow"] >= rule["startWindow"] + 60 >= 120 for rule in rules)
    assert len(made.of_type("backup.Selection")) == bool(kept)
