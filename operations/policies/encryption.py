"""Data at rest and on its way is encrypted."""

from __future__ import annotations

from operations.planned import UNKNOWN, Planned
from operations.policies.access import without_partner
from operations.policies.facts import Facts, Findings, as_bool, at, items


def encrypted(facts: Facts, found: Findings) -> None:
    """Disks, homes, buckets and accounts are encrypted."""
    checks = (_aws_disks, _aws_services) if facts.cloud == "aws" else (_azure_accounts, _azure_machines)
    for look in checks:
        look(facts, found)


def _aws_disks(facts: Facts, found: Findings) -> None:
    for r in facts.planned("aws:ebs/volume:Volume", "aws:efs/fileSystem:FileSystem"):
        found.want(r, "encrypted", True, "Set it to true; it cannot be switched on later without copying everything.")
    for r in facts.planned("aws:ec2/instance:Instance"):
        found.want(r, "rootBlockDevice.encrypted", True, "Give rootBlockDevice and set encrypted to true.")
        for place, disk in enumerate(items(r.inputs.get("ebsBlockDevices"))):
            if as_bool(disk.get("encrypted")) is not True:
                found.add(r, f"ebsBlockDevices[{place}].encrypted", disk.get("encrypted"), "Set it to true.")
    for r in facts.planned("aws:ec2/launchTemplate:LaunchTemplate"):
        disks = items(r.inputs.get("blockDeviceMappings"))
        if not disks:
            found.add(
                r,
                "blockDeviceMappings",
                None,
                "Name the root disk with ebs.encrypted true; the image's own may be plain.",
            )
        for place, disk in enumerate(disks):
            value = at(disk, "ebs.encrypted")
            if as_bool(value) is not True and value is not UNKNOWN:
                found.add(r, f"blockDeviceMappings[{place}].ebs.encrypted", value, "Set it to true.")


def _aws_services(facts: Facts, found: Findings) -> None:
    settings = list(
        facts.planned(
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
        )
    )
    buckets = [
        r
        for r in facts.planned("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
        if not r.inputs.get("serverSideEncryptionConfiguration")
    ]
    for r in without_partner(buckets, settings, "bucket"):
        found.add(r, "encryption", None, "Add a BucketServerSideEncryptionConfiguration for this bucket.")
    for r in facts.planned("aws:ssm/parameter:Parameter"):
        if str(r.inputs.get("type")) == "String" and _looks_secret(r):
            found.add(r, "type", "String", "Make it a SecureString.")
    for r in facts.planned("aws:eks/cluster:Cluster"):
        if not at(r.inputs, "encryptionConfig.provider.keyArn"):
            found.add(r, "encryptionConfig", r.inputs.get("encryptionConfig"), "Give a KMS key for `secrets`.")


def _looks_secret(r: Planned) -> bool:
    name = str(r.inputs.get("name") or r.name).lower()
    return any(word in name for word in ("secret", "password", "token", "private-key"))


TLS_MIN = "TLS1_2"


def _azure_accounts(facts: Facts, found: Findings) -> None:
    for r in facts.planned("azure-native:storage:StorageAccount"):
        version = r.inputs.get("minimumTlsVersion")
        if version not in {TLS_MIN, "TLS1_3"}:
            found.add(r, "minimumTlsVersion", version, f"Set it to {TLS_MIN}.")
        if r.inputs.get("kind") != "FileStorage":
            # An NFS share without TLS mounts cannot live in an account that requires them; the account's firewall holds there.
            found.want(r, "enableHttpsTrafficOnly", True, "Set it to true.")
        elif (
            r.inputs.get("enableHttpsTrafficOnly") is not True
            and at(r.inputs, "networkRuleSet.defaultAction") != "Deny"
        ):
            value = at(r.inputs, "networkRuleSet.defaultAction")
            found.add(
                r, "networkRuleSet.defaultAction", value, "Mounts without TLS only from named subnets: set it to Deny."
            )
        for name in ("blob", "file"):
            service = at(r.inputs, f"encryption.services.{name}")
            if isinstance(service, dict) and service.get("enabled") is False:
                found.add(r, f"encryption.services.{name}.enabled", False, "Set it to true.")


def _azure_machines(facts: Facts, found: Findings) -> None:
    for r in facts.planned("azure-native:compute:VirtualMachine"):
        found.want(r, "securityProfile.encryptionAtHost", True, _AT_HOST)
    for r in facts.planned("azure-native:compute:VirtualMachineScaleSet"):
        found.want(r, "virtualMachineProfile.securityProfile.encryptionAtHost", True, _AT_HOST)
    for r in facts.planned("azure-native:compute:Disk"):
        kind = at(r.inputs, "encryption.type")
        if kind is None and at(r.inputs, "networkAccessPolicy") not in {"DenyAll", "AllowPrivate"}:
            found.add(
                r,
                "networkAccessPolicy",
                at(r.inputs, "networkAccessPolicy"),
                "Set it to DenyAll: a disk is for its machine.",
            )
    for r in facts.planned("azure-native:containerservice:ManagedCluster"):
        for pool in items(r.inputs.get("agentPoolProfiles")):
            if pool.get("enableEncryptionAtHost") is not True:
                found.add(
                    r,
                    f"agentPoolProfiles {pool.get('name')}: enableEncryptionAtHost",
                    pool.get("enableEncryptionAtHost"),
                    _AT_HOST,
                )
    for r in facts.planned("azure-native:containerservice:AgentPool"):
        found.want(r, "enableEncryptionAtHost", True, _AT_HOST)


_AT_HOST = "Set it to true: temporary disks and caches are encrypted only so."
