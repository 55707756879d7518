"""Checks of an AWS account, against moto; quotas that moto does not know come from a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from components.plan import plan
from components.semester import Semester, load_stack_file
from operations.preflight import aws
from operations.preflight.finding import Finding
from operations.preflight.questions import NotKnownError

pytestmark = pytest.mark.unit

REGION, ACCOUNT = "us-west-2", "123456789012"
Clients = Callable[[str], Any]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        made: dict[str, Any] = {}
        yield lambda service: made.setdefault(service, boto3.client(service, region_name=REGION))


class Quotas:
    """Service Quotas with values of the test's own."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def get_service_quota(self, **asked: str) -> dict[str, Any]:
        if asked["QuotaCode"] not in self.values:
            error = {"Code": "NoSuchResourceException", "Message": asked["ServiceCode"]}
            raise ClientError({"Error": error}, "GetServiceQuota")
        return {"Quota": {"Value": self.values[asked["QuotaCode"]]}}

    get_aws_default_service_quota = get_service_quota


def with_quotas(clients: Clients, values: dict[str, float]) -> Clients:
    return lambda service: Quotas(values) if service == "service-quotas" else clients(service)


@pytest.fixture
def fa16(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.fa16.yaml")


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.check.removeprefix("quota: "): finding.state for finding in findings}


def test_who_one_is(clients: Clients, fa16: Semester) -> None:
    found = aws.who(fa16, clients)
    assert found.state == "pass" and ACCOUNT in found.said


def test_credentials_of_another_account_fail(clients: Clients, fa16: Semester) -> None:
    found = aws.who(fa16.model_copy(update={"account": "999999999999"}), clients)
    assert found.state == "fail" and "belongs to 999999999999" in found.said
    assert aws.who(fa16.model_copy(update={"account": None}), clients).state == "unknown"


def test_without_credentials_one_is_told_to_sign_in(fa16: Semester) -> None:
    class Nobody:
        def get_caller_identity(self) -> dict[str, str]:
            raise NoCredentialsError

    found = aws.who(fa16, lambda _service: Nobody())
    assert found.state == "fail" and "aws sso login" in found.remedy


# fa16 needs 6 workers of 8 cores and a hub of 2.
ENOUGH = {"L-1216C47A": 50, "L-0263D0A3": 2, "L-F678F1CE": 2, "L-848C634D": 1}


def test_quotas_are_enough_to_the_last_core(clients: Clients, fa16: Semester) -> None:
    found = states(aws.quotas("fa16", fa16, plan(fa16), with_quotas(clients, ENOUGH)))
    assert found == {"vCPUs": "pass", "public addresses": "pass", "VPCs": "pass", "file systems": "pass"}


@pytest.mark.parametrize(
    ("quota", "check"),
    [
        ("L-1216C47A", "vCPUs"),
        ("L-0263D0A3", "public addresses"),
        ("L-F678F1CE", "VPCs"),
        ("L-848C634D", "file systems"),
    ],
)
def test_one_too_few_fails_and_says_how_to_ask_for_more(
    quota: str, check: str, clients: Clients, fa16: Semester
) -> None:
    few = with_quotas(clients, {**ENOUGH, quota: ENOUGH[quota] - 1})
    found = {finding.check.removeprefix("quota: "): finding for finding in aws.quotas("fa16", fa16, plan(fa16), few)}
    assert [name for name, finding in found.items() if finding.state == "fail"] == [check]
    assert f"--quota-code {quota}" in found[check].remedy


def test_a_quota_that_cannot_be_read_is_unknown(clients: Clients, fa16: Semester) -> None:
    assert set(states(aws.quotas("fa16", fa16, plan(fa16), with_quotas(clients, {}))).values()) == {"unknown"}


def test_what_others_use_counts_and_what_the_stack_has_does_not(clients: Clients, fa16: Semester) -> None:
    ec2 = clients("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    own = [{"Key": "semesterhub:stack", "Value": "fa16"}]
    for kind, tags in (("m6i.xlarge", []), ("r6i.2xlarge", own), ("g4dn.xlarge", [])):  # g is another quota
        specification = [{"ResourceType": "instance", "Tags": tags}] if tags else []
        ec2.run_instances(ImageId=image, InstanceType=kind, MinCount=1, MaxCount=1, TagSpecifications=specification)
    ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": own}])
    ec2.create_vpc(CidrBlock="10.17.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": own}])
    exact = {**ENOUGH, "L-1216C47A": 54}
    assert set(states(aws.quotas("fa16", fa16, plan(fa16), with_quotas(clients, exact))).values()) == {"pass"}
    ec2.allocate_address(Domain="vpc")
    found = states(aws.quotas("fa16", fa16, plan(fa16), with_quotas(clients, {**exact, "L-1216C47A": 53})))
    assert (found["vCPUs"], found["public addresses"], found["VPCs"]) == ("fail", "fail", "pass")


def test_kubernetes_needs_system_nodes_and_a_cluster(clients: Clients, repository: Path) -> None:
    fa26 = load_stack_file(repository / "stacks" / "Pulumi.fa26.yaml")
    # 9 workers of 16 cores, a hub of 4, two system nodes of 2.
    enough = with_quotas(clients, {**ENOUGH, "L-1216C47A": 152, "L-1194D53C": 1})
    assert set(states(aws.quotas("fa26", fa26, plan(fa26), enough)).values()) == {"pass"}
    few = with_quotas(clients, {**ENOUGH, "L-1216C47A": 151, "L-1194D53C": 0})
    found = states(aws.quotas("fa26", fa26, plan(fa26), few))
    assert (found["vCPUs"], found["clusters"]) == ("fail", "fail")


def test_machine_types_are_in_two_zones(clients: Clients, fa16: Semester) -> None:
    assert aws.machine_types(fa16, plan(fa16), clients).state == "pass"
    rare = plan(fa16)
    nowhere = type(rare)(
        **{**vars(rare), "workers": type(rare.workers)(**{**vars(rare.workers), "instance_type": "x9.nano"})}
    )
    found = aws.machine_types(fa16, nowhere, clients)
    assert found.state == "fail" and "x9.nano" in found.said


def test_the_machine_image_is_there_or_not(clients: Clients) -> None:
    known = clients("ec2").describe_images(Owners=["amazon"])["Images"][0]
    assert aws.machine_image(known["OwnerId"], known["Name"], clients).state == "pass"
    assert aws.machine_image(known["OwnerId"], "ubuntu-of-tomorrow", clients).state == "fail"
    assert aws.machine_image("111111111111", known["Name"], clients).state == "fail"


def test_the_zone_and_its_servers(clients: Clients) -> None:
    with pytest.raises(NotKnownError, match="no public zone"):
        aws.zone_servers("example.edu", clients)
    clients("route53").create_hosted_zone(Name="example.education", CallerReference="2")
    with pytest.raises(NotKnownError):
        aws.zone_servers("example.edu", clients)
    clients("route53").create_hosted_zone(Name="example.edu", CallerReference="1")
    servers = aws.zone_servers("example.edu", clients)
    assert servers and all("awsdns" in name and not name.endswith(".") for name in servers)


def test_images_exist_by_digest(clients: Clients) -> None:
    path = "semesterhub-fa16/semesterhub/hub"
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{path}"
    assert not aws.image_exists(f"{host}@sha256:{'a' * 64}", clients)
    ecr = clients("ecr")
    ecr.create_repository(repositoryName=path)
    assert not aws.image_exists(f"{host}@sha256:{'a' * 64}", clients)
    manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []}'
    digest = ecr.put_image(repositoryName=path, imageManifest=manifest, imageTag="1")["image"]["imageId"]["imageDigest"]
    assert aws.image_exists(f"{host}@{digest}", clients)
    with pytest.raises(NotKnownError):
        aws.image_exists(f"registry.example.edu/{path}@{digest}", clients)
