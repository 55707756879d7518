"""The emulator's process: what it knows survives it, faults speak AWS's words, what moto lacks is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from operations import leftovers
from operations.paths import ROOT
from providers.base import PartialFailure
from sandbox.faults import calls
from tests.sandbox.aws.conftest import ACCOUNT, REGION, Cloud, ctx, plug, start

pytestmark = pytest.mark.unit


def client(url: str, service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 0}),
    )  # fmt: skip


def furnish(url: str) -> dict[str, str]:
    """Things of many services; the ids that the cloud gave them."""
    ec2, eks, backup = client(url, "ec2"), client(url, "eks"), client(url, "backup")
    role = client(url, "iam").create_role(
        RoleName="r", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}'
    )["Role"]
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    eks.create_cluster(name="k", roleArn=role["Arn"], resourcesVpcConfig={"subnetIds": [subnet]})
    eks.create_addon(clusterName="k", addonName="vpc-cni")
    eks.create_access_entry(clusterName="k", principalArn=role["Arn"])
    sizes = {"minSize": 1, "maxSize": 4, "desiredSize": 2}
    group = eks.create_nodegroup(
        clusterName="k", nodegroupName="n", subnets=[subnet], nodeRole=role["Arn"], scalingConfig=sizes
    )
    files = client(url, "efs").create_file_system(CreationToken="homes")["FileSystemId"]
    client(url, "efs").put_backup_policy(FileSystemId=files, BackupPolicy={"Status": "ENABLED"})
    rule = {"RuleName": "r", "TargetBackupVaultName": "v"}
    backup.create_backup_vault(BackupVaultName="v")
    plan = backup.create_backup_plan(BackupPlan={"BackupPlanName": "p", "Rules": [rule]})["BackupPlanId"]
    chosen = {"SelectionName": "s", "IamRoleArn": role["Arn"]}
    selection = backup.create_backup_selection(BackupPlanId=plan, BackupSelection=chosen)["SelectionId"]
    scaling = group["nodegroup"]["resources"]["autoScalingGroups"][0]["name"]
    return {
        "role": role["RoleId"],
        "vpc": vpc,
        "subnet": subnet,
        "files": files,
        "plan": plan,
        "selection": selection,
        "scaling": scaling,
    }


def found(url: str, ids: dict[str, str]) -> dict[str, str]:
    """The same things, looked up."""
    ec2, eks = client(url, "ec2"), client(url, "eks")
    group = client(url, "autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[ids["scaling"]])[
        "AutoScalingGroups"
    ][0]
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (1, 4, 2)
    assert eks.describe_addon(clusterName="k", addonName="vpc-cni")["addon"]["status"] == "ACTIVE"
    assert eks.list_access_entries(clusterName="k")["accessEntries"] == [f"arn:aws:iam::{ACCOUNT}:role/r"]
    assert client(url, "efs").describe_backup_policy(FileSystemId=ids["files"])["BackupPolicy"] == {"Status": "ENABLED"}
    own = eks.describe_cluster(name="k")["cluster"]["resourcesVpcConfig"]["clusterSecurityGroupId"]
    groups = ec2.describe_security_groups(GroupIds=[own])
    assert groups["SecurityGroups"][0]["VpcId"] == ids["vpc"]
    seen = client(url, "backup").get_backup_selection(BackupPlanId=ids["plan"], SelectionId=ids["selection"])
    return {
        **ids,
        "role": client(url, "iam").get_role(RoleName="r")["Role"]["RoleId"],
        "vpc": ec2.describe_vpcs(VpcIds=[ids["vpc"]])["Vpcs"][0]["VpcId"],
        "subnet": ec2.describe_subnets(SubnetIds=[ids["subnet"]])["Subnets"][0]["SubnetId"],
        "selection": seen["SelectionId"],
    }


def test_a_cloud_survives_its_process_even_a_killed_one(tmp_path: Path) -> None:
    emulator, url = start(tmp_path)
    try:
        ids = furnish(url)
        killed = leftovers.find(emulator.mark)
        os.kill(killed[0], signal.SIGKILL)
    finally:
        emulator.stop()
    with (tmp_path / "cloud" / "journal.jsonl").open("a") as journal:
        journal.write('{"method": "POST", "tar')  # as a power cut leaves it
    for _ in range(2):
        emulator, url = start(tmp_path)
        try:
            assert found(url, ids) == ids
            client(url, "ec2").create_vpc(CidrBlock="10.9.0.0/16")  # and life goes on
        finally:
            emulator.stop()
    assert leftovers.find(emulator.mark) == []


def test_another_versions_journal_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    (tmp_path / "cloud" / "journal.jsonl").write_text('{"format": 0, "moto": "1.0"}\n')
    emulator, _ = start(tmp_path)
    try:
        deadline = time.monotonic() + 60
        while emulator.alive and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "was written by another version" in emulator.problem()
    finally:
        emulator.stop()


def test_faults_speak_the_services_words_and_are_noted(tmp_path: Path) -> None:
    rules = [
        {"kind": "error", "call": "ec2:CreateVpc", "nth": 2},
        {"kind": "throttle", "call": "iam:CreateRole"},
        {"kind": "quota", "call": "eks:*"},
        {"kind": "timeout", "call": "sns:CreateTopic", "seconds": 0.1},
        {"kind": "lag", "call": "ec2:CreateVpc", "nth": 3, "reads": 2},
    ]
    emulator, url = start(tmp_path, json.dumps(rules))
    try:
        ec2 = client(url, "ec2")
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
        with pytest.raises(ClientError, match=r"InjectedFault.*at ec2:CreateVpc \(number 2"):
            ec2.create_vpc(CidrBlock="10.1.0.0/16")
        late = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
        for _ in range(2):
            with pytest.raises(ClientError, match=r"InvalidVpcID\.NotFound"):
                ec2.describe_vpcs(VpcIds=[late])
        assert ec2.describe_vpcs(VpcIds=[late])["Vpcs"]
        with pytest.raises(ClientError, match="Throttling"):
            client(url, "iam").create_role(
                RoleName="r", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}'
            )
        with pytest.raises(ClientError, match="quota"):
            client(url, "eks").create_cluster(name="k", roleArn="arn:aws:iam::1:role/r", resourcesVpcConfig={})
        with pytest.raises(ConnectionClosedError):
            client(url, "sns").create_topic(Name="t")
        assert client(url, "sns").list_topics()["Topics"] == []
    finally:
        emulator.stop()
    noted = [(c["call"], c["fault"]) for c in calls(tmp_path / "cloud")]
    assert noted[:3] == [("ec2:CreateVpc", None), ("ec2:CreateVpc", "error"), ("ec2:CreateVpc", "lag")]
    assert ("sns:CreateTopic", "timeout") in noted and not [c for c, _ in noted if "Describe" in c]


def test_a_half_made_resource_is_recorded_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator, url = start(tmp_path, json.dumps([{"kind": "error", "call": "ec2:ModifyVpcAttribute"}]))
    try:
        cloud = Cloud(url, tmp_path, plug(url, monkeypatch))
        token = "aws:ec2/vpc:Vpc"
        with pytest.raises(PartialFailure, match="InjectedFault") as failed:
            cloud.make(token, cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
        half = failed.value
        assert half.id.startswith("vpc-") and half.outputs["arn"].endswith(half.id)
        inputs, _ = cloud.check(token, cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
        # The engine gives the recorded inputs as old and as new: the look tells what is missing.
        cloud.handler(token).update(ctx(token), half.id, inputs, half.outputs, inputs)
        seen = client(url, "ec2").describe_vpc_attribute(VpcId=half.id, Attribute="enableDnsHostnames")
        assert seen["EnableDnsHostnames"]["Value"] is True
    finally:
        emulator.stop()


def test_an_emulator_ends_after_its_killed_command(tmp_path: Path) -> None:
    mark = f"orphan-{os.getpid()}"
    text = (
        "import os, sys, time; from pathlib import Path; from sandbox.emulator import EmulatorProcess\n"
        f"EmulatorProcess('aws', 'sandbox.aws.server', {mark!r}).start(Path(sys.argv[1]), dict(os.environ))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )  # fmt: skip
    try:
        assert command.stdout is not None and command.stdout.readline() == b"up\n"
        assert len(leftovers.find(mark)) == 1
    finally:
        command.kill()
        command.communicate()
    deadline = time.monotonic() + 60
    while leftovers.find(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert leftovers.find(mark) == []
