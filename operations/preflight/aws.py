"""Checks of an AWS account: who one is, quotas against the plan, machine types, the machine image, the zone, the images.

Everything is asked of boto3 clients that the caller makes (`clients("ec2")`), so tests and the sandbox give others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from components.cloud_sizes import SYSTEM_NODE_SIZE, SYSTEM_NODES, hub_size
from components.plan import Plan
from components.semester import Semester
from operations.preflight.finding import Finding, enough, failed, passed, unknown
from operations.preflight.questions import NotKnownError

Clients = Callable[[str], Any]

# Codes of https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html, as Service Quotas lists them.
VCPUS = ("ec2", "L-1216C47A")
"""Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, in vCPUs."""
ADDRESSES = ("ec2", "L-0263D0A3")
VPCS = ("vpc", "L-F678F1CE")
FILE_SYSTEMS = ("elasticfilesystem", "L-848C634D")
CLUSTERS = ("eks", "L-1194D53C")
STANDARD_FAMILIES = frozenset("acdhimrtz")
ADDRESSES_NEEDED = 2
"""Of the hub VM and the NAT gateway."""


def who(semester: Semester, clients: Clients) -> Finding:
    """The account of the credentials, and whether it is the stack's."""
    from botocore.exceptions import BotoCoreError, ClientError

    check = "credentials"
    try:
        caller = clients("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return failed(check, f"AWS does not know who you are: {error}", "sign in, for instance with `aws sso login`")
    said = f"{caller['Arn']} in account {caller['Account']}"
    if semester.account is None:
        return unknown(
            check,
            said,
            f'write `semesterhub:account: "{caller["Account"]}"`, so that nobody deploys to another account by mistake',
        )
    if caller["Account"] != semester.account:
        return failed(
            check,
            f"{said}, but the stack belongs to {semester.account}",
            "take credentials of that account (AWS_PROFILE), or correct semesterhub:account",
        )
    return passed(check, said)


def quotas(stack: str, semester: Semester, planned: Plan, clients: Clients) -> list[Finding]:
    """The account's limits in this region against what the semester needs at its peak, besides what others use."""
    kubernetes = semester.orchestrator == "kubernetes"
    system = SYSTEM_NODES * 2 if kubernetes else 0  # cores of two m6i.large
    vcpus = planned.workers.count * planned.workers.vcpus + hub_size(semester).vcpus + system
    ec2 = clients("ec2")
    wanted = [
        ("vCPUs", VCPUS, lambda: _vcpus_used(stack, ec2), vcpus, "vCPUs"),
        ("public addresses", ADDRESSES,
         lambda: _others(stack, ec2.describe_addresses()["Addresses"]), ADDRESSES_NEEDED, "Elastic IPs"),
        ("VPCs", VPCS, lambda: _others(stack, _all(ec2, "describe_vpcs", "Vpcs")), 1, "VPC"),
        ("file systems", FILE_SYSTEMS,
         lambda: _others(stack, _all(clients("efs"), "describe_file_systems", "FileSystems")), 1, "EFS file system"),
    ]  # fmt: skip
    if kubernetes:
        own = f"semesterhub-{stack}"
        clusters = clients("eks")
        wanted.append(
            ("clusters", CLUSTERS,
             lambda: sum(1 for name in _all(clusters, "list_clusters", "clusters") if not name.startswith(own)),
             1, "EKS cluster")
        )  # fmt: skip
    return [_quota(check, code, used, needed, unit, clients) for check, code, used, needed, unit in wanted]


def _quota(
    check: str, code: tuple[str, str], used: Callable[[], int], needed: int, unit: str, clients: Clients
) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError

    service, quota = code
    remedy = (
        f"ask for more: `aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value N` (often granted within a day)"
    )
    try:
        others = used()
    except (BotoCoreError, ClientError) as error:
        return unknown(f"quota: {check}", f"what is in use cannot be read: {error}", "allow your role to describe it")
    limit = _limit(service, quota, clients)
    return enough(f"quota: {check}", limit=limit, used=others, needed=needed, unit=unit, remedy=remedy)


def _limit(service: str, quota: str, clients: Clients) -> float | None:
    """The account's value, else AWS's default; None when neither can be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    asked = clients("service-quotas")
    for ask in (asked.get_service_quota, asked.get_aws_default_service_quota):
        try:
            return float(ask(ServiceCode=service, QuotaCode=quota)["Quota"]["Value"])
        except (BotoCoreError, ClientError, KeyError):
            continue
    return None


def _all(client: Any, operation: str, key: str) -> list[Any]:
    return [item for page in client.get_paginator(operation).paginate() for item in page[key]]


def _own(stack: str, item: Mapping[str, Any]) -> bool:
    return any(tag["Key"] == "semesterhub:stack" and tag["Value"] == stack for tag in item.get("Tags") or ())


def _others(stack: str, items: Iterable[Mapping[str, Any]]) -> int:
    return sum(1 for item in items if not _own(stack, item))


def _vcpus_used(stack: str, ec2: Any) -> int:
    """Cores of running machines that count against this quota, without the stack's own."""
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=running)
    machines = [m for page in pages for reservation in page["Reservations"] for m in reservation["Instances"]]
    counted = [
        m
        for m in machines
        if not _own(stack, m)
        and m.get("InstanceLifecycle") != "spot"
        and m["InstanceType"][0] in STANDARD_FAMILIES
        and not m["InstanceType"].startswith(("inf", "trn", "dl", "hpc"))
    ]
    kinds = sorted({m["InstanceType"] for m in counted})
    cores: dict[str, int] = {}
    for start in range(0, len(kinds), 100):
        for kind in ec2.describe_instance_types(InstanceTypes=kinds[start : start + 100])["InstanceTypes"]:
            cores[kind["InstanceType"]] = kind["VCpuInfo"]["DefaultVCpus"]
    return sum(cores.get(m["InstanceType"], 0) for m in counted)


def machine_types(semester: Semester, planned: Plan, clients: Clients) -> Finding:
    """Whether the region has the machines, in at least two zones for the workers."""
    from botocore.exceptions import BotoCoreError, ClientError

    kinds = {planned.workers.instance_type, hub_size(semester).name}
    if semester.orchestrator == "kubernetes":
        kinds.add(SYSTEM_NODE_SIZE["aws"])
    where = [{"Name": "instance-type", "Values": sorted(kinds)}]
    try:
        found = clients("ec2").describe_instance_type_offerings(LocationType="availability-zone", Filters=where)
    except (BotoCoreError, ClientError) as error:
        return unknown("machine types", f"they cannot be read: {error}", "allow ec2:DescribeInstanceTypeOfferings")
    zones = {
        kind: {o["Location"] for o in found["InstanceTypeOfferings"] if o["InstanceType"] == kind} for kind in kinds
    }
    few = sorted(kind for kind, places in zones.items() if len(places) < 2)
    if few:
        return failed(
            "machine types",
            f"{', '.join(few)} in fewer than two zones of {semester.region}",
            "choose another semesterhub:nodes.instance_type or region",
        )
    return passed(
        "machine types", ", ".join(f"{kind} in {len(places)} zones" for kind, places in sorted(zones.items()))
    )


def machine_image(owner: str, name: str, clients: Clients) -> Finding:
    """Whether the pinned machine image is (still) there."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = clients("ec2").describe_images(
            Owners=[owner], Filters=[{"Name": "name", "Values": [name]}], IncludeDeprecated=True
        )["Images"]
    except (BotoCoreError, ClientError) as error:
        return unknown("machine image", f"it cannot be read: {error}", "allow ec2:DescribeImages")
    if not found:
        return failed(
            "machine image",
            f"{name} of account {owner} is not in this region",
            "choose a newer build in components/aws/machine_image.py; its first lines say how to list them",
        )
    return passed("machine image", f"{name}, {found[0]['ImageId']}")


def zone_servers(zone: str, clients: Clients) -> frozenset[str]:
    """Name servers of the account's public zone. NotKnownError when there is none, or when it cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    route53 = clients("route53")
    try:
        zones = route53.list_hosted_zones_by_name(DNSName=zone)["HostedZones"]
        own = [z for z in zones if z["Name"].rstrip(".") == zone and not z["Config"].get("PrivateZone")]
        if not own:
            raise NotKnownError(f"this account has no public zone {zone} in Route 53")
        given = route53.get_hosted_zone(Id=own[0]["Id"])
    except (BotoCoreError, ClientError) as error:
        raise NotKnownError(str(error)) from None
    return frozenset(name.rstrip(".").lower() for name in given["DelegationSet"]["NameServers"])


def image_exists(reference: str, clients: Clients) -> bool:
    """Whether ECR has the image. NotKnownError for another registry's, or when it cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    repository, _, digest = reference.partition("@")
    host, _, path = repository.partition("/")
    account, _, rest = host.partition(".")
    if not rest.startswith("dkr.ecr."):
        raise NotKnownError("in another registry than ECR")
    try:
        found = clients("ecr").batch_get_image(
            registryId=account, repositoryName=path, imageIds=[{"imageDigest": digest}]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in ("RepositoryNotFoundException", "ImageNotFoundException"):
            return False
        raise NotKnownError(str(error)) from None
    except BotoCoreError as error:
        raise NotKnownError(str(error)) from None
    return bool(found["images"])
