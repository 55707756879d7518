"""Each policy is broken by what it is there for, kept by what is right, and says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operations.errors import UserError
from operations.planned import SECRET, UNKNOWN, Planned, Preview
from operations.policies import RULES, Facts, check, refusal
from operations.policies.tags import REQUIRED, takes_tags

pytestmark = pytest.mark.unit

TAGS = dict.fromkeys(REQUIRED, "x") | {"semesterhub:stack": "fa26"}
ADMIN = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
NARROW = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::b/*"}]})
OWNER = "/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
PULL = "/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/7f951dda-4ed3-4680-a7ca-43fe172d538d"
IMDS = {"httpTokens": "required", "httpPutResponseHopLimit": 1}


def planned(kind: str, inputs: dict[str, Any] | None = None, *, name: str = "it", **more: Any) -> Planned:
    values: dict[str, Any] = {"op": "create", "inputs": inputs or {}, **more}
    return Planned(urn=f"urn:pulumi:fa26::semesterhub::{kind}::{name}", type=kind, name=name, **values)


def findings(
    rule: str, *resources: Planned, outputs: dict[str, Any] | None = None, budget: float | None = None
) -> list[str]:
    cloud = "azure" if any(r.type.startswith("azure") for r in resources) else "aws"
    facts = Facts(Preview(resources, {}, outputs or {}), stack="fa26", cloud=cloud, budget_usd=budget)
    return [f for v in check(facts) if v.rule == rule for f in v.findings]


def nsg(**rule: Any) -> Planned:
    allowed = {"access": "Allow", "direction": "Inbound", "protocol": "Tcp", "destinationPortRange": "22", **rule}
    return planned("azure-native:network:NetworkSecurityGroup", {"securityRules": [allowed]})


def group(**rule: Any) -> Planned:
    return planned(
        "aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, **rule}]}
    )


def ingress(**rule: Any) -> Planned:
    kind = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    return planned(kind, {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, **rule})


def pool(**more: Any) -> dict[str, Any]:
    return {"agentPoolProfiles": [{"name": "system", "enableEncryptionAtHost": True, **more}]}


def scale_set(
    interface: dict[str, Any] | None = None, security: dict[str, Any] | None = None, image: dict[str, Any] | None = None
) -> Planned:
    profile: dict[str, Any] = {
        "networkProfile": {"networkInterfaceConfigurations": [{"ipConfigurations": [interface or {}]}]}
    }
    if security is not None:
        profile["securityProfile"] = security
    if image is not None:
        profile["storageProfile"] = {"imageReference": image}
    return planned("azure-native:compute:VirtualMachineScaleSet", {"virtualMachineProfile": profile})


def account(**more: Any) -> Planned:
    inputs = {
        "kind": "StorageV2",
        "minimumTlsVersion": "TLS1_2",
        "enableHttpsTrafficOnly": True,
        "allowBlobPublicAccess": False,
        **more,
    }
    return planned("azure-native:storage:StorageAccount", inputs, protect=True, retain=True)


BUCKET = planned("aws:s3/bucket:Bucket", {"bucket": "b"}, protect=True, retain=True)
BLOCKED = dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True)
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
SSE = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
EFS = "aws:efs/fileSystem:FileSystem"
SHARE = "azure-native:storage:FileShare"
AKS = "azure-native:containerservice:ManagedCluster"
EKS = "aws:eks/cluster:Cluster"
ROLE = "aws:iam/role:Role"

BROKEN: list[tuple[str, list[Planned], str]] = [
    ("no-open-ssh", [group(cidrBlocks=["0.0.0.0/0"])], "SecurityGroup 'it': source of port 22 (SSH) is 0.0.0.0/0"),
    ("no-open-ssh", [group(ipv6CidrBlocks=["::/0"])], "is ::/0"),
    ("no-open-ssh", [group(fromPort=0, toPort=1024, cidrBlocks=["0.0.0.0/0"])], "port 0-1024 (SSH)"),
    ("no-open-ssh", [group(protocol="-1", fromPort=0, toPort=0, cidrBlocks=["0.0.0.0/0"])], "all ports"),
    ("no-open-ssh", [group(cidrBlocks=["128.0.0.0/1"])], "is 128.0.0.0/1"),
    ("no-open-ssh", [ingress(cidrIpv4="0.0.0.0/0")], "SecurityGroupIngressRule 'it'"),
    ("no-open-ssh", [ingress(cidrIpv6="::/0", fromPort=2377, toPort=2377)], "(Swarm)"),
    (
        "no-open-ssh",
        [
            planned(
                "aws:ec2/securityGroupRule:SecurityGroupRule",
                {"type": "ingress", "protocol": "tcp", "fromPort": 3389, "toPort": 3389, "cidrBlocks": ["0.0.0.0/0"]},
            )
        ],
        "remote desktop",
    ),
    ("no-open-ssh", [nsg(sourceAddressPrefix="Internet")], "is Internet"),
    ("no-open-ssh", [nsg(sourceAddressPrefixes=["10.0.0.0/8", "*"])], "is *"),
    ("no-open-ssh", [nsg(sourceAddressPrefix="*", destinationPortRange="*")], "all ports"),
    (
        "no-open-ssh",
        [
            planned(
                "azure-native:network:SecurityRule",
                {
                    "access": "Allow",
                    "direction": "Inbound",
                    "protocol": "*",
                    "destinationPortRanges": ["443", "20-30"],
                    "sourceAddressPrefix": "0.0.0.0/0",
                },
            )
        ],
        "port 20-30 (SSH)",
    ),
    ("no-public-nodes", [planned("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": True})], "mapPublicIpOnLaunch"),
    (
        "no-public-nodes",
        [planned(TEMPLATE, {"networkInterfaces": [{"associatePublicIpAddress": "true"}]})],
        "associatePublicIpAddress is true",
    ),
    ("no-public-nodes", [planned("aws:eks/nodeGroup:NodeGroup", {"remoteAccess": {"ec2SshKey": "k"}})], "remoteAccess"),
    ("no-public-nodes", [scale_set({"publicIPAddressConfiguration": {"name": "p"}})], "publicIPAddressConfiguration"),
    ("no-public-nodes", [planned(AKS, pool(enableNodePublicIP=True))], "enableNodePublicIP"),
    (
        "no-public-nodes",
        [planned("azure-native:containerservice:AgentPool", {"enableNodePublicIP": True})],
        "AgentPool",
    ),
    ("no-public-data", [BUCKET], "BucketPublicAccessBlock is not set"),
    (
        "no-public-data",
        [BUCKET, planned(BLOCK, {**BLOCKED, "bucket": "b", "blockPublicAcls": False})],
        "blockPublicAcls is false",
    ),
    ("no-public-data", [BUCKET, planned(BLOCK, {**BLOCKED, "bucket": "other"})], "BucketPublicAccessBlock is not set"),
    ("no-public-data", [account(allowBlobPublicAccess=True)], "allowBlobPublicAccess is true"),
    (
        "no-public-data",
        [planned("azure-native:storage:BlobContainer", {"publicAccess": "Blob"})],
        "publicAccess is Blob",
    ),
    (
        "no-public-data",
        [planned("azure-native:containerregistry:Registry", {"adminUserEnabled": True})],
        "adminUserEnabled",
    ),
    ("no-public-data", [planned(EKS, {"vpcConfig": {"subnetIds": []}})], "publicAccessCidrs"),
    ("no-public-data", [planned(AKS, {})], "authorizedIPRanges is not set"),
    ("encrypted", [planned("aws:ebs/volume:Volume", {"size": 10})], "encrypted is not set"),
    (
        "encrypted",
        [planned(EFS, {"encrypted": False}, protect=True, retain=True)],
        "FileSystem 'it': encrypted is false",
    ),
    ("encrypted", [planned(INSTANCE, {})], "rootBlockDevice.encrypted is not set"),
    (
        "encrypted",
        [planned(INSTANCE, {"rootBlockDevice": {"encrypted": True}, "ebsBlockDevices": [{}]})],
        "ebsBlockDevices[0]",
    ),
    ("encrypted", [planned(TEMPLATE, {})], "blockDeviceMappings is not set"),
    (
        "encrypted",
        [planned(TEMPLATE, {"blockDeviceMappings": [{"ebs": {"encrypted": "false"}}]})],
        "encrypted is false",
    ),
    ("encrypted", [BUCKET], "BucketServerSideEncryptionConfiguration"),
    (
        "encrypted",
        [planned("aws:ssm/parameter:Parameter", {"name": "/x/join-token", "type": "String"})],
        "SecureString",
    ),
    ("encrypted", [planned(EKS, {})], "encryptionConfig"),
    ("encrypted", [account(minimumTlsVersion="TLS1_0")], "minimumTlsVersion is TLS1_0"),
    ("encrypted", [account(enableHttpsTrafficOnly=False)], "enableHttpsTrafficOnly"),
    ("encrypted", [account(kind="FileStorage", enableHttpsTrafficOnly=False)], "networkRuleSet.defaultAction"),
    ("encrypted", [account(encryption={"services": {"blob": {"enabled": False}}})], "encryption.services.blob"),
    ("encrypted", [planned("azure-native:compute:VirtualMachine", {})], "encryptionAtHost"),
    ("encrypted", [scale_set()], "encryptionAtHost"),
    ("encrypted", [planned("azure-native:compute:Disk", {})], "DenyAll"),
    ("encrypted", [planned(AKS, pool(enableEncryptionAtHost=False))], "enableEncryptionAtHost"),
    ("homes-protected", [planned(EFS, {"encrypted": True}, retain=True)], "FileSystem 'it': protect is false"),
    ("homes-protected", [planned(EFS, {"encrypted": True}, protect=True)], "retainOnDelete is false"),
    ("homes-protected", [planned("aws:s3/bucket:Bucket", {"bucket": "b"})], "the stack's bucket"),
    ("homes-protected", [planned(SHARE, {})], "FileShare"),
    ("homes-protected", [planned("azure-native:storage:StorageAccount", {"kind": "FileStorage"})], "the homes"),
    ("homes-stay", [planned(EFS, op="replace", replacing=("encrypted",))], "replaced because of encrypted"),
    ("homes-stay", [planned(EFS, op="delete")], "would be deleted"),
    ("homes-stay", [planned(SHARE, op="replace", replacing=("accountName",))], "students' files"),
    (
        "homes-stay",
        [planned("azure-native:storage:StorageAccount", op="replace", old_inputs={"kind": "FileStorage"})],
        "semester.new",
    ),
    ("no-wide-rights", [planned("aws:iam/rolePolicy:RolePolicy", {"policy": ADMIN})], "policy: Action is *"),
    (
        "no-wide-rights",
        [planned("aws:iam/policy:Policy", {"policy": ADMIN.replace('"Action": "*"', '"Action": ["ec2:*"]')})],
        "ec2:*",
    ),
    (
        "no-wide-rights",
        [planned("aws:iam/policy:Policy", {"policy": ADMIN.replace('"Action"', '"NotAction"')})],
        "NotAction",
    ),
    ("no-wide-rights", [planned(ROLE, {"inlinePolicies": [{"policy": ADMIN}]})], "inlinePolicies[0]"),
    (
        "no-wide-rights",
        [planned(ROLE, {"managedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]})],
        "AdministratorAccess",
    ),
    (
        "no-wide-rights",
        [
            planned(
                "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                {"policyArn": "arn:aws:iam::aws:policy/PowerUserAccess"},
            )
        ],
        "PowerUserAccess",
    ),
    (
        "no-wide-rights",
        [
            planned(
                ROLE, {"assumeRolePolicy": json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]})}
            )
        ],
        "Principal",
    ),
    (
        "no-wide-rights",
        [planned("azure-native:authorization:RoleAssignment", {"roleDefinitionId": OWNER})],
        "roleDefinitionId is Owner",
    ),
    (
        "no-wide-rights",
        [planned("azure-native:authorization:RoleDefinition", {"permissions": [{"actions": ["*"]}]})],
        "permissions.actions",
    ),
    ("metadata-v2", [planned(INSTANCE, {})], "httpTokens is not set"),
    (
        "metadata-v2",
        [planned(TEMPLATE, {"metadataOptions": {**IMDS, "httpTokens": "optional"}})],
        "httpTokens is optional",
    ),
    (
        "metadata-v2",
        [planned(TEMPLATE, {"metadataOptions": {**IMDS, "httpPutResponseHopLimit": 2}})],
        "httpPutResponseHopLimit is 2",
    ),
    ("metadata-v2", [planned("aws:eks/nodeGroup:NodeGroup", {})], "launchTemplate"),
    (
        "pinned-images",
        [planned(INSTANCE, {"ami": "resolve:ssm:/aws/service/debian/release/12/latest/amd64"})],
        "resolve:ssm",
    ),
    ("pinned-images", [planned(TEMPLATE, {})], "imageId is not set"),
    ("pinned-images", [scale_set(image={"offer": "debian-12", "version": "latest"})], "version is latest"),
    (
        "pinned-images",
        [planned("azure-native:compute:VirtualMachine", {"storageProfile": {"imageReference": {"offer": "x"}}})],
        "version is not set",
    ),
    ("pinned-images", [planned("aws:ecr/repository:Repository", {"imageTagMutability": "MUTABLE"})], "IMMUTABLE"),
    ("pinned-images", [planned(EKS, {})], "version is not set"),
    ("pinned-images", [planned(AKS, {})], "kubernetesVersion"),
    (
        "pinned-images",
        [planned("aws:x/y:Y", {"containers": [{"image": "docker.io/library/student:latest"}]})],
        "containers[0].image",
    ),
    ("tags", [planned("aws:ec2/vpc:Vpc", {"tags": {"Name": "x"}})], "without semesterhub:stack"),
    ("tags", [planned("aws:ec2/vpc:Vpc", {"tags": {**TAGS, "semesterhub:stack": "other"}})], "Write fa26"),
    ("tags", [planned("azure-native:network/v20240501:VirtualNetwork", {})], "VirtualNetwork 'it': tags"),
    ("tags", [planned("aws:autoscaling/group:Group", {"tags": [{"key": "Name", "value": "x"}]})], "Group 'it'"),
]


@pytest.mark.parametrize(
    ("rule", "resources", "said"), BROKEN, ids=[f"{rule}-{n}" for n, (rule, _, _) in enumerate(BROKEN)]
)
def test_what_breaks_a_policy_is_found(rule: str, resources: list[Planned], said: str) -> None:
    found = findings(rule, *resources)
    assert any(said in text for text in found), found


KEPT: list[tuple[str, list[Planned]]] = [
    (
        "no-open-ssh",
        [
            group(cidrBlocks=["192.0.2.0/24"]),
            group(fromPort=443, toPort=443, cidrBlocks=["0.0.0.0/0"]),
            ingress(referencedSecurityGroupId="sg-1"),
            group(protocol="udp", fromPort=0, toPort=65535, cidrBlocks=["0.0.0.0/0"]),
            ingress(cidrIpv4="10.0.0.0/8"),
        ],
    ),
    (
        "no-open-ssh",
        [
            nsg(sourceAddressPrefix="192.0.2.1"),
            nsg(access="Deny", sourceAddressPrefix="*"),
            nsg(direction="Outbound", sourceAddressPrefix="*"),
            nsg(destinationPortRange="443", sourceAddressPrefix="*"),
        ],
    ),
    (
        "no-public-nodes",
        [
            planned("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": False}),
            planned(TEMPLATE, {"networkInterfaces": [{"associatePublicIpAddress": "false"}]}),
        ],
    ),
    ("no-public-nodes", [scale_set(), planned(AKS, pool(enableNodePublicIP=False))]),
    (
        "no-public-data",
        [
            BUCKET,
            planned(BLOCK, {**BLOCKED, "bucket": "b"}),
            planned(EKS, {"vpcConfig": {"endpointPublicAccess": False}}),
        ],
    ),
    ("no-public-data", [BUCKET, planned(BLOCK, {**BLOCKED, "bucket": UNKNOWN})]),
    ("no-public-data", [account(), planned(AKS, {"apiServerAccessProfile": {"authorizedIPRanges": ["192.0.2.0/24"]}})]),
    (
        "encrypted",
        [
            BUCKET,
            planned(SSE, {"bucket": "b"}),
            planned(TEMPLATE, {"blockDeviceMappings": [{"ebs": {"encrypted": "true"}}]}),
            planned(EFS, {"encrypted": True}),
            planned(INSTANCE, {"rootBlockDevice": {"encrypted": True}}),
        ],
    ),
    (
        "encrypted",
        [
            account(),
            account(kind="FileStorage", enableHttpsTrafficOnly=False, networkRuleSet={"defaultAction": "Deny"}),
            scale_set(security={"encryptionAtHost": True}),
        ],
    ),
    ("homes-protected", [planned(EFS, protect=True, retain=True), BUCKET]),
    ("homes-protected", [planned(SHARE, protect=True, retain=True), account()]),
    ("homes-stay", [planned(EFS, op="update"), planned("aws:ec2/vpc:Vpc", op="replace"), planned(EFS, op="create")]),
    ("homes-stay", [planned(SHARE, op="update"), planned("azure-native:network:Subnet", op="replace")]),
    (
        "no-wide-rights",
        [
            planned("aws:iam/rolePolicy:RolePolicy", {"policy": NARROW}),
            planned(
                ROLE,
                {
                    "assumeRolePolicy": json.dumps(
                        {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}]}
                    )
                },
            ),
            planned("aws:iam/policy:Policy", {"policy": ADMIN.replace("Allow", "Deny")}),
        ],
    ),
    ("no-wide-rights", [planned("azure-native:authorization:RoleAssignment", {"roleDefinitionId": PULL})]),
    (
        "metadata-v2",
        [
            planned(INSTANCE, {"metadataOptions": IMDS}),
            planned(TEMPLATE, {"metadataOptions": IMDS}, name="t"),
            planned("aws:eks/nodeGroup:NodeGroup", {"launchTemplate": {"id": UNKNOWN}}),
        ],
    ),
    (
        "pinned-images",
        [
            planned(INSTANCE, {"ami": "ami-0123456789abcdef0"}),
            planned("aws:ecr/repository:Repository", {"imageTagMutability": "IMMUTABLE"}),
            planned("aws:x/y:Y", {"image": "a/b@sha256:" + "0" * 64}),
        ],
    ),
    ("pinned-images", [scale_set(image={"version": "0.20260101.2000"})]),
    (
        "tags",
        [
            planned("aws:ec2/vpc:Vpc", {"tags": TAGS}),
            planned("aws:ec2/route:Route"),
            planned("aws:autoscaling/group:Group", {"tags": [{"key": k, "value": v} for k, v in TAGS.items()]}),
        ],
    ),
    ("tags", [planned("azure-native:network:VirtualNetwork", {"tags": TAGS}), planned("azure-native:network:Subnet")]),
]


@pytest.mark.parametrize(("rule", "resources"), KEPT, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(KEPT)])
def test_what_is_right_keeps_it(rule: str, resources: list[Planned]) -> None:
    assert findings(rule, *resources) == []


def test_every_policy_has_a_case_that_breaks_it_and_one_that_does_not() -> None:
    elsewhere = {"budget"}
    names = {rule.name for rule in RULES}
    assert {rule for rule, _, _ in BROKEN} | elsewhere == names
    assert {rule for rule, _ in KEPT} | elsewhere == names
    for rule in RULES:
        if len(rule.clouds) == 2 and rule.name not in elsewhere:
            for cases in ([(r, p) for r, p, _ in BROKEN], KEPT):
                providers = {p[0].provider for r, p in cases if r == rule.name}
                assert providers == {"aws", "azure-native"}, rule.name


def test_the_budget_is_kept_or_broken_by_the_stacks_own_estimate() -> None:
    def said(total: float) -> list[str]:
        return findings("budget", outputs={"monthly_cost_usd": {"total": total, "as_of": "2026-01-01"}}, budget=2500)

    assert said(2500) == []
    assert "3,000.50, above semesterhub:budget.monthly_usd: 2,500.00" in said(3000.5)[0]
    assert findings("budget", outputs={"monthly_cost_usd": {"total": 9e9}}) == []


def test_floating_images_among_the_outputs_are_found() -> None:
    digest = "r/student@sha256:" + "a" * 64
    assert findings("pinned-images", outputs={"images": {"student": digest}}) == []
    assert (
        "images.student is r/student:v1"
        in findings("pinned-images", outputs={"images": {"student": "r/student:v1"}})[0]
    )


def test_what_is_not_known_yet_is_named_and_is_no_finding() -> None:
    facts = Facts(Preview((planned("aws:iam/rolePolicy:RolePolicy", {"policy": UNKNOWN}),)), stack="fa26", cloud="aws")
    verdict = next(v for v in check(facts) if v.rule == "no-wide-rights")
    assert verdict.findings == ()
    assert verdict.later == ("RolePolicy 'it': policy",)


def test_a_secret_is_never_in_a_finding() -> None:
    text = findings("pinned-images", planned(INSTANCE, {"ami": SECRET}))[0]
    assert "ami is (secret)" in text


def test_what_goes_or_belongs_to_the_engine_is_not_looked_at() -> None:
    gone = planned("aws:ec2/vpc:Vpc", op="delete")
    component = planned("semesterhub:aws:Network", custom=False)
    assert findings("tags", gone, component) == []


@pytest.mark.parametrize(
    ("token", "takes"),
    [
        ("aws:ec2/vpc:Vpc", True),
        ("aws:ec2/natGateway:NatGateway", True),
        ("aws:ec2/route:Route", False),
        ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", False),
        ("azure-native:network:NatGateway", True),
        ("azure-native:network:PublicIPAddress", True),
        ("azure-native:network/v20240501:Subnet", False),
        ("localcloud:index:Machine", False),
    ],
)
def test_what_takes_tags_is_read_from_the_sdks(token: str, takes: bool) -> None:
    assert takes_tags(token) is takes


def test_a_broken_plan_is_refused_in_one_message() -> None:
    verdicts = check(Facts(Preview((group(cidrBlocks=["0.0.0.0/0"]),)), stack="fa26", cloud="aws"))
    text = refusal("fa26", verdicts)
    assert text.startswith("the plan of stack 'fa26' breaks 2 policies:\n")
    assert "  no-open-ssh: no SSH or other administration port for the whole internet\n    - SecurityGroup 'it'" in text
    assert refusal("fa26", []) == ""


def test_a_policy_can_be_waived_by_its_name_and_only_by_its_name() -> None:
    facts = Facts(Preview((group(cidrBlocks=["0.0.0.0/0"]),)), stack="fa26", cloud="aws")
    assert "no-open-ssh" not in {v.rule for v in check(facts, waived=["no-open-ssh"])}
    with pytest.raises(UserError, match="no-ssh: there is no such policy"):
        check(facts, waived=["no-ssh"])
