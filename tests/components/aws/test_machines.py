"""Hub VM and Swarm workers: what they are, what they boot from, what they wait for, and how they go."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from components.node_agent.config import NodeConfig
from tests.components.aws import program as programs
from tests.components.aws.program import Program

pytestmark = pytest.mark.unit
BOTH = pytest.mark.parametrize("program", [programs.swarm, programs.kubernetes], ids=["swarm", "kubernetes"])
Run = Callable[[], Program]


def node_file(user_data: str) -> dict[str, Any]:
    """What the machine's agent will read, out of the user-data as EC2 gets it."""
    assert len(base64.b64decode(user_data)) <= 16_384
    document = yaml.safe_load(gzip.decompress(base64.b64decode(user_data)))
    [content] = [entry["content"] for entry in document["write_files"] if entry["path"] == "/etc/semesterhub/node.json"]
    return json.loads(content)


@BOTH
def test_the_hub_stands_at_its_planned_address_and_answers_metadata_one_hop_only(program: Run) -> None:
    made = program()
    hub = made["ec2.Instance/hub"]
    assert (hub["privateIp"], hub["subnetId"], hub["ami"]) == ("10.20.0.10", "Subnet:public-1", programs.AMI)
    assert hub["instanceType"] == "m6i.large" and "keyName" not in hub
    # AWS reports the elastic address under this name: written here, every refresh would want another machine.
    assert "associatePublicIpAddress" not in hub
    assert hub["vpcSecurityGroupIds"] == ["SecurityGroup:hub"] and hub["iamInstanceProfile"] == "semesterhub-fa26-hub"
    assert hub["metadataOptions"] == {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}
    root = hub["rootBlockDevice"]
    assert root["encrypted"] is True and root["kmsKeyId"] == "arn:Key:key" and root["volumeType"] == "gp3"
    assert root["tags"]["semesterhub:stack"] == "fa26"


@BOTH
def test_a_new_hub_takes_over_address_and_disk_from_the_old_one(program: Run) -> None:
    made = program()
    for key in ("ec2.Instance/hub", "ec2.VolumeAttachment/state", "ec2.EipAssociation/hub"):
        assert made.resources[key].request.deleteBeforeReplace is True, key
    assert made["ec2.Instance/hub"]["userDataReplaceOnChange"] is True
    disk = made["ebs.Volume/state"]
    assert disk["availabilityZone"] == "us-west-2a" == made["ec2.Subnet/public-1"]["availabilityZone"]
    assert disk["encrypted"] is True and disk["kmsKeyId"] == "arn:Key:key" and disk["size"] == 60
    attached = made["ec2.VolumeAttachment/state"]
    assert (attached["volumeId"], attached["instanceId"]) == ("Volume:state", "Instance:hub")
    assert attached["stopInstanceBeforeDetaching"] is True
    assert made["ec2.EipAssociation/hub"] == {"allocationId": "eipalloc:hub", "instanceId": "Instance:hub"}


@BOTH
def test_the_hub_boots_only_when_all_it_needs_is_there(program: Run) -> None:
    made = program()
    needs = made.waits_for("ec2.Instance/hub")
    assert needs >= {
        "iam.RolePolicy/hub", "ec2.Route/public-out", "efs.MountTarget/homes-1", "efs.MountTarget/homes-2",
        "s3.BucketObjectv2/bundle", "ssm.Parameter/oauth-client-secret", "vpc.SecurityGroupEgressRule/hub-out-tcp",
    }  # fmt: skip
    if made.semester.orchestrator == "kubernetes":
        assert needs >= {"eks.AccessPolicyAssociation/hub", "vpc.SecurityGroupIngressRule/api-from-hub"}


@BOTH
def test_the_hub_boots_from_the_user_data_of_every_cloud(program: Run) -> None:
    made = program()
    assert NodeConfig(**node_file(made["ec2.Instance/hub"]["userDataBase64"])) == NodeConfig(
        role="hub",
        hub_ip="10.20.0.10",
        cluster_cidr="10.20.0.0/16",
        bridge_cidr="172.30.0.0/22",
        hub_api_port=8081,
        registry_port=5000,
        student_memory_mib=0,
        secret_store="ssm:us-west-2:/semesterhub/fa26",
        open_ports=[22, 80, 443],  # type: ignore[arg-type]  # as JSON has it
        cloud="aws",
        orchestrator=made.semester.orchestrator,
        region="us-west-2",
        homes="nfs4:fs-0.efs.us-west-2.amazonaws.com:/",
        state_device="/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*",
        bundle="s3://semesterhub-fa26-123456789012/bundle/current.json",
        registry="123456789012.dkr.ecr.us-west-2.amazonaws.com",
        images=[],  # type: ignore[arg-type]
        drain_timeout_s=600,
    )


def test_a_worker_knows_its_group_its_hook_and_what_it_may_give_to_students() -> None:
    made = programs.swarm()
    node = node_file(made["ec2.LaunchTemplate/nodes"]["userData"])
    assert node["role"] == "worker" and node["student_memory_mib"] == made.plan.workers.allocatable_memory_mib > 0
    assert node["node_group"] == made["autoscaling.Group/nodes"]["name"] == "semesterhub-fa26-nodes"
    assert node["lifecycle_hook"] == made["autoscaling.LifecycleHook/drain"]["name"]
    assert node["state_device"] == "" and node["bundle"].startswith("s3://")


def test_workers_are_private_encrypted_and_answer_metadata_one_hop_only() -> None:
    made = programs.swarm()
    template = made["ec2.LaunchTemplate/nodes"]
    assert (
        template["instanceType"] == made.plan.workers.instance_type == "r6i.xlarge"
        and template["imageId"] == programs.AMI
    )
    assert template["vpcSecurityGroupIds"] == ["SecurityGroup:nodes"] and "keyName" not in template
    assert template["iamInstanceProfile"] == {"arn": "arn:InstanceProfile:worker"}
    options = template["metadataOptions"]
    assert options["httpTokens"] == "required" and options["httpPutResponseHopLimit"] == 1
    [disk] = template["blockDeviceMappings"]
    assert disk["deviceName"] == "/dev/sda1"
    assert (
        disk["ebs"]["encrypted"] == "true"
        and disk["ebs"]["kmsKeyId"] == "arn:Key:key"
        and disk["ebs"]["volumeType"] == "gp3"
    )
    assert {spec["resourceType"] for spec in template["tagSpecifications"]} == {
        "instance",
        "volume",
        "network-interface",
    }
    assert all(spec["tags"]["semesterhub:stack"] == "fa26" for spec in template["tagSpecifications"])
    assert made["autoscaling.Group/nodes"]["vpcZoneIdentifiers"] == ["Subnet:private-1", "Subnet:private-2"]


def test_the_group_keeps_the_plans_bounds_and_leaves_the_number_to_the_calendar() -> None:
    made = programs.swarm()
    group = made["autoscaling.Group/nodes"]
    assert (group["minSize"], group["maxSize"]) == (1, 20) and 1 <= group["desiredCapacity"] <= 20
    assert list(made.resources["autoscaling.Group/nodes"].request.ignoreChanges) == ["desiredCapacity"]
    assert group["launchTemplate"] == {"id": "LaunchTemplate:nodes", "version": "7"}
    assert group["suspendedProcesses"] == ["AZRebalance"]
    preferences = group["instanceRefresh"]["preferences"]
    assert (
        preferences["minHealthyPercentage"] == 100
        and preferences["maxHealthyPercentage"] > 100
        and preferences["autoRollback"]
    )


@pytest.mark.parametrize(("drain_timeout_s", "heartbeat_s"), [(0, 300), (600, 900), (6900, 7200), (86400, 7200)])
def test_a_node_that_goes_drains_first_and_may_ask_for_more_time(drain_timeout_s: int, heartbeat_s: int) -> None:
    nodes = {"max": 20, "instance_type": "r6i.xlarge", "drain_timeout_s": drain_timeout_s}
    made = programs.run(programs.semester(nodes=nodes))
    hook = made["autoscaling.LifecycleHook/drain"]
    assert hook["lifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING" and hook["defaultResult"] == "CONTINUE"
    assert hook["heartbeatTimeout"] == heartbeat_s and hook["autoscalingGroupName"] == "semesterhub-fa26-nodes"
    assert node_file(made["ec2.LaunchTemplate/nodes"]["userData"])["drain_timeout_s"] == drain_timeout_s


def test_workers_come_after_the_hub_they_join() -> None:
    needs = programs.swarm().waits_for("autoscaling.Group/nodes")
    assert needs >= {
        "ec2.EipAssociation/hub", "ec2.VolumeAttachment/state", "iam.RolePolicy/worker", "ec2.Route/private-out",
        "efs.MountTarget/homes-2", "s3.BucketObjectv2/bundle",
    }  # fmt: skip


def test_a_larger_class_changes_no_machine_only_how_many_are_started_first() -> None:
    before = programs.swarm()
    courses = [course.model_dump(mode="json", exclude_defaults=True) for course in before.semester.courses]
    courses[0]["students"] += 60
    after = programs.run(programs.semester(courses=courses))
    assert after.plan.workers.count > before.plan.workers.count
    changed = {key for key, entry in after.resources.items() if entry.inputs != before.resources[key].inputs}
    assert set(after.resources) == set(before.resources) and changed == {"autoscaling.Group/nodes"}
    groups = [made["autoscaling.Group/nodes"] for made in (before, after)]
    assert {key for key in groups[0] if groups[0][key] != groups[1][key]} == {"desiredCapacity"}


@pytest.mark.parametrize("orchestrator", ["swarm", "kubernetes"])
def test_a_new_course_and_another_title_exchange_no_node_and_no_hub(orchestrator: str) -> None:
    before = programs.run(programs.semester(orchestrator=orchestrator))
    courses = [course.model_dump(mode="json", exclude_defaults=True) for course in before.semester.courses]
    after = programs.run(
        programs.semester(
            orchestrator=orchestrator, title="Another", courses=[*courses, {"id": "new", "title": "New", "students": 1}]
        )
    )
    assert after["ec2.Vpc/vpc"]["tags"] != before["ec2.Vpc/vpc"]["tags"]
    templates = {key for key in before.resources if key.startswith("ec2.LaunchTemplate/")}
    for key in templates:
        assert {k: v for k, v in after[key].items() if k != "tags"} == {
            k: v for k, v in before[key].items() if k != "tags"
        }
    for name in ("userDataBase64", "ami", "instanceType", "privateIp"):
        assert after["ec2.Instance/hub"][name] == before["ec2.Instance/hub"][name]


def test_the_join_token_is_made_without_a_value_that_pulumi_would_read_back() -> None:
    token = programs.swarm()["ssm.Parameter/join-token"]
    assert token["name"] == "/semesterhub/fa26/join-token" and token["type"] == "SecureString"
    assert "value" not in token and token["valueWoVersion"] == 1


def test_what_the_agent_takes_as_not_there_yet_is_what_the_deployment_writes() -> None:
    from components.node_agent.secretstore import CloudStore

    class Cloud:
        value = programs.plain(programs.swarm()["ssm.Parameter/join-token"]["valueWo"])

        def get_secret(self, _name: str) -> str:
            return self.value

    cloud = Cloud()
    assert CloudStore(cloud).get("join-token") is None
    cloud.value = "SWMTKN-1-abc"
    assert CloudStore(cloud).get("join-token") == "SWMTKN-1-abc"


def test_the_oauth_secret_is_encrypted_with_the_stacks_key_and_a_secret_in_the_state() -> None:
    entry = programs.swarm().resources["ssm.Parameter/oauth-client-secret"]
    value = entry.inputs["value"]
    assert programs.is_secret(value) and programs.plain(value) == programs.SECRET
    assert entry.inputs["keyId"] == "arn:Key:key" and entry.inputs["name"] == "/semesterhub/fa26/oauth_client_secret"


def test_without_an_oauth_secret_there_is_no_parameter_for_it() -> None:
    lti = {
        "kind": "lti", "client_id": "1", "issuer": "https://lms.example.net",
        "authorize_url": "https://lms.example.net/a", "jwks_endpoint": "https://lms.example.net/k",
    }  # fmt: skip
    assert set(programs.run(programs.semester(authenticator=lti)).of_type("ssm.Parameter")) == {"join-token"}
