"""What holds for every resource of the AWS program, in both orchestrators: where it hangs, whose it is, what keeps it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pulumi_aws
import pytest

from tests.components.aws import program as programs
from tests.components.aws.program import ACCOUNT, Program, short

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])
Run = Callable[[], Program]

NETWORK = {
    "ec2.Vpc/vpc", "ec2.DefaultSecurityGroup/default", "ec2.InternetGateway/internet", "ec2.NatGateway/nat", "ec2.Eip/nat",
    *(f"ec2.{kind}/{name}-{n}" for kind in ("Subnet", "RouteTableAssociation") for name in ("public", "private") for n in (1, 2)),
    "ec2.RouteTable/public", "ec2.RouteTable/private", "ec2.Route/public-out", "ec2.Route/private-out",
    "cloudwatch.LogGroup/flow", "iam.Role/flow", "iam.RolePolicy/flow", "ec2.FlowLog/flow",
}  # fmt: skip
STORAGE = {
    "efs.FileSystem/homes", "efs.FileSystemPolicy/homes", "efs.MountTarget/homes-1", "efs.MountTarget/homes-2",
    "efs.AccessPoint/students", "s3.Bucket/bucket", "s3.BucketPublicAccessBlock/bucket", "s3.BucketOwnershipControls/bucket",
    "s3.BucketServerSideEncryptionConfiguration/bucket", "s3.BucketVersioning/bucket", "s3.BucketPolicy/bucket",
    "s3.BucketLifecycleConfiguration/bucket",
}  # fmt: skip
COMMON = {
    "Encryption": {"kms.Key/key", "kms.Alias/alias"},
    "Network": NETWORK,
    "Storage": STORAGE,
    "Registry": {f"ecr.{kind}/{image}" for kind in ("Repository", "LifecyclePolicy") for image in ("hub", "proxy", "edge", "student")},
    "Bundle": {"s3.BucketObjectv2/bundle"},
    "Hub": {
        "ec2.Instance/hub", "ebs.Volume/state", "ec2.VolumeAttachment/state", "ec2.Eip/hub", "ec2.EipAssociation/hub",
    },
    "Backups": {
        "backup.Vault/vault", "backup.Plan/plan", "backup.Selection/homes-and-hub", "iam.Role/backup",
        "iam.RolePolicyAttachment/backup", "iam.RolePolicyAttachment/restore",
    },
    "Dns": {"route53.HealthCheck/hub"},
    "Topic": {"sns.Topic/admins", "sns.TopicPolicy/admins", "sns.TopicSubscription/ada@example.edu"},
    "Alarms": {"cloudwatch.MetricAlarm/unreachable", "cloudwatch.MetricAlarm/hardware"},
    "Budget": {"budgets.Budget/monthly"},
}  # fmt: skip
SWARM = {
    "Secrets": {"ssm.Parameter/join-token", "ssm.Parameter/oauth-client-secret"},
    "Identity": {
        f"iam.{kind}/{part}" for kind in ("Role", "RolePolicy", "InstanceProfile") for part in ("hub", "worker")
    },
    "NodeGroup": {"ec2.LaunchTemplate/nodes", "autoscaling.Group/nodes", "autoscaling.LifecycleHook/drain"},
}
KUBERNETES = {
    "Secrets": {"ssm.Parameter/oauth-client-secret"},
    "Identity": {f"iam.{kind}/hub" for kind in ("Role", "RolePolicy", "InstanceProfile")},
    "Cluster": {
        "eks.Cluster/cluster", "cloudwatch.LogGroup/control-plane", "iam.Role/control-plane", "iam.RolePolicy/control-plane",
        "iam.RolePolicyAttachment/control-plane", "eks.AccessEntry/hub", "eks.AccessPolicyAssociation/hub",
        "vpc.SecurityGroupIngressRule/api-from-hub",
    },
    "NodePools": {
        "eks.NodeGroup/system", "eks.NodeGroup/students", "ec2.LaunchTemplate/system", "ec2.LaunchTemplate/students",
        "iam.Role/nodes", "iam.RolePolicy/nodes", "iam.RolePolicyAttachment/worker", "iam.RolePolicyAttachment/pull",
    },
    "Addons": {
        "iam.OpenIdConnectProvider/pods", *(f"eks.Addon/{name}" for name in ("vpc-cni", "kube-proxy", "coredns", "aws-efs-csi-driver")),
        *(f"iam.{kind}/{name}" for kind in ("Role", "RolePolicyAttachment") for name in ("vpc-cni", "aws-efs-csi-driver")),
    },
}  # fmt: skip
KEPT = {"kms.Key/key", "efs.FileSystem/homes", "s3.Bucket/bucket", "ebs.Volume/state", "backup.Vault/vault"}


def by_component(made: Program) -> dict[str, set[str]]:
    """Kind of component -> keys of what hangs below it."""
    components = {
        entry.urn: entry.type.rpartition(":")[2]
        for entry in made.resources.values()
        if entry.type.startswith("semesterhub:")
    }
    found: dict[str, set[str]] = {kind: set() for kind in components.values()}
    for entry in made.cloud():
        found[components[entry.parent]].add(entry.key)
    return found


@BOTH
def test_each_component_declares_exactly_its_resources(program: Run) -> None:
    made = program()
    found = by_component(made)
    own = SWARM if made.semester.orchestrator == "swarm" else KUBERNETES
    # Rules, endpoints and scaling actions have tests of their own: their names come from tables and calendars.
    assert {"Firewall", "Endpoints", "Schedules"} <= set(found)
    assert {kind: keys for kind, keys in found.items() if kind not in ("Firewall", "Endpoints", "Schedules")} == {
        **COMMON,
        **own,
    }


@BOTH
def test_every_component_tells_what_it_made(program: Run) -> None:
    made = program()
    components = [entry for entry in made.resources.values() if entry.type.startswith("semesterhub:")]
    assert len(components) >= 15
    for entry in components:
        assert entry.type.startswith("semesterhub:aws:") and made.registered_outputs[entry.urn], entry.key


@BOTH
def test_every_resource_goes_through_the_semesters_own_provider(program: Run) -> None:
    made = program()
    [own] = [entry for entry in made.resources.values() if entry.type == "pulumi:providers:aws"]
    assert own.inputs["region"] == "us-west-2" and own.inputs["allowedAccountIds"] == f'["{ACCOUNT}"]'
    assert {entry.key for entry in made.cloud() if not entry.provider.startswith(f"{own.urn}::")} == set()
    assert all(provider.startswith(f"{own.urn}::") for _, _, provider in made.asked)


@BOTH
def test_everything_that_can_carry_tags_carries_the_stacks(program: Run) -> None:
    made = program()
    tagged = 0
    for entry in made.cloud():
        if entry.key == "s3.BucketObjectv2/bundle":
            continue  # ten tags at most, see the component
        module, kind = short(entry.type).split(".")
        takes = inspect.signature(getattr(getattr(pulumi_aws, module), kind)._internal_init).parameters
        if "tags" not in takes:
            continue
        given = entry.inputs.get("tags")
        if entry.type == "aws:autoscaling/group:Group":
            assert all(tag["propagateAtLaunch"] is True for tag in given)
            given = {tag["key"]: tag["value"] for tag in given}
        assert given is not None, entry.key
        assert given["semesterhub:stack"] == "fa26" and given["semesterhub:course"] == "data8 stat20", entry.key
        assert given["semesterhub:managed-by"] == "pulumi" and given["semesterhub:semester"] == "Data 8 Fall 2026", (
            entry.key
        )
        assert given["Name"].startswith("semesterhub-fa26-"), entry.key
        tagged += 1
    assert tagged > 60


@BOTH
def test_what_holds_files_or_logins_is_protected_and_kept_and_nothing_else(program: Run) -> None:
    made = program()
    assert {entry.key for entry in made.cloud() if entry.protect} == KEPT
    assert {entry.key for entry in made.cloud() if entry.retain} == KEPT
    assert made["s3.Bucket/bucket"]["forceDestroy"] is False and made["backup.Vault/vault"]["forceDestroy"] is False


def test_a_semester_that_gives_its_homes_up_can_be_destroyed_whole() -> None:
    made = programs.run(programs.semester(homes={"protect": False}))
    assert not [entry.key for entry in made.cloud() if entry.protect or entry.retain]
    assert made["s3.Bucket/bucket"]["forceDestroy"] is True and made["backup.Vault/vault"]["forceDestroy"] is True


@BOTH
def test_names_that_aws_shows_begin_with_the_stacks_prefix(program: Run) -> None:
    made = program()
    free = {"iam.RolePolicy", "route53.Record", "autoscaling.LifecycleHook", "backup.Selection", "route53.Zone"}
    for entry in made.cloud():
        if short(entry.type) in free:
            continue  # inside something that has the prefix, or a name of the internet
        name = entry.inputs.get("name") or entry.inputs.get("namePrefix") or entry.inputs.get("bucket")
        if isinstance(name, str) and not name.startswith(("Bucket:", "arn:")):
            plain = name.removeprefix("alias/").removeprefix("/").removeprefix("aws/eks/").replace("/", "-")
            assert plain.startswith("semesterhub-fa26"), entry.key
            assert len(name) <= 64, entry.key


@BOTH
def test_the_outputs_are_the_contract(program: Run) -> None:
    made = program()
    outputs = made.outputs
    assert outputs["hub_url"] == "https://hub.example.edu" and outputs["hub_host"] == "hub.example.edu"
    assert outputs["admin_user"] == "ada@example.edu" and outputs["homes"] == "FileSystem:homes"
    assert (
        outputs["node_group"]
        == {"swarm": "semesterhub-fa26-nodes", "kubernetes": "students-1"}[made.semester.orchestrator]
    )
    assert (outputs["nodes"]["min"], outputs["nodes"]["max"]) == (1, 20) and 1 <= outputs["nodes"]["desired"] <= 20
    assert set(outputs["images"]) == {"hub", "proxy", "edge", "student"}
    assert all(digest.startswith("sha256:") for digest in outputs["images"].values())
    assert not made.secret_outputs and "admin_password" not in outputs, "people sign in with their own accounts"
    assert "fallback_url" not in outputs, "this fallback has no name of its own"


def test_a_fallback_with_a_name_is_an_output() -> None:
    fallback = {"host": "hub0.example.edu", "ssh_key": "~/.ssh/id", "domain": "spare.example.edu"}
    assert programs.run(programs.semester(fallback=fallback)).outputs["fallback_url"] == "https://spare.example.edu"


@BOTH
def test_no_secret_is_in_any_resource_but_its_own_parameter(program: Run) -> None:
    made = program()
    holders = {entry.key for entry in made.resources.values() if programs.SECRET in repr(entry.inputs)}
    assert holders == {"ssm.Parameter/oauth-client-secret"}
