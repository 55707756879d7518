"""The stand-in as the engine uses it, resource by resource: inputs, previews, drift, changes, refusals."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest

from providers.base import UNKNOWN, ProviderError
from tests.sandbox.aws.conftest import ACCOUNT, Cloud, ctx

pytestmark = pytest.mark.unit
VPC, SUBNET, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ROLE, PARAMETER, TEMPLATE = "aws:iam/role:Role", "aws:ssm/parameter:Parameter", "aws:ec2/launchTemplate:LaunchTemplate"
SCALING, SCHEDULE, BUCKET = "aws:autoscaling/group:Group", "aws:autoscaling/schedule:Schedule", "aws:s3/bucket:Bucket"
RECORD = "aws:route53/record:Record"
ALLOW = '{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}'
TRUST = f'{{"Version": "2012-10-17", "Statement": [{ALLOW}]}}'


def replaced(
    cloud: Cloud, token: str, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any] | None = None
) -> dict[str, bool]:
    """What a change touches: property -> whether it needs a new resource."""
    state = {"tagsAll": {"course": "data8", **(old.get("tags") or {})}} if state is None else state
    return {c.path: c.replace for c in cloud.handler(token).diff(ctx(token), "id", old, state, new)}


def test_inputs_are_checked_against_the_sdk_and_the_table(cloud: Cloud) -> None:
    _, wrong = cloud.check(VPC, cidrBlok="10.0.0.0/16", enableDnsSupport="perhaps", ipv4NetmaskLength=20)
    assert [w.split(":")[0] for w in wrong] == ["cidrBlok", "enableDnsSupport", "ipv4NetmaskLength"]
    assert "Did you mean `cidrBlock`?" in wrong[0] and "does not know `ipv4NetmaskLength` yet" in wrong[2]


def test_unknown_types_are_refused_loudly(cloud: Cloud) -> None:
    with pytest.raises(ProviderError, match="has no `aws:ec2/vpcc:Vpcc`"):
        cloud.provider.handler("aws:ec2/vpcc:Vpcc")
    with pytest.raises(ProviderError, match="has no `aws:rds/instance:Instance` yet"):
        cloud.provider.handler("aws:rds/instance:Instance")


def test_values_are_held_against_the_apis_own_model(cloud: Cloud) -> None:
    _, wrong = cloud.check(TEMPLATE, metadataOptions={"httpTokens": "sometimes"})
    assert wrong == ["metadataOptions.httpTokens: 'sometimes' is not possible; allowed are optional, required"]
    with pytest.raises(ProviderError, match="has 65 characters; allowed are 1 to 64"):
        cloud.make(ROLE, assumeRolePolicy=TRUST, name="x" * 65)


def test_a_vpcs_life_with_drift(cloud: Cloud) -> None:
    made, inputs = cloud.make(VPC, "life", cidrBlock="10.1.0.0/16", enableDnsHostnames=True, tags={"Name": "life"})
    handler, ec2 = cloud.handler(VPC), cloud.client("ec2")
    assert made.outputs["arn"] == f"arn:aws:ec2:us-west-2:{ACCOUNT}:vpc/{made.id}"
    assert made.outputs["defaultSecurityGroupId"].startswith("sg-")
    assert made.outputs["tagsAll"] == {"course": "data8", "Name": "life"} and made.outputs["region"] == "us-west-2"
    seen = handler.read(ctx(VPC), made.id, inputs, made.outputs)
    assert seen is not None and seen.inputs == {}, "what was just made is as it was asked for"

    ec2.modify_vpc_attribute(VpcId=made.id, EnableDnsHostnames={"Value": False})
    ec2.create_tags(Resources=[made.id], Tags=[{"Key": "Name", "Value": "other"}, {"Key": "extra", "Value": "1"}])
    seen = handler.read(ctx(VPC), made.id, inputs, made.outputs)
    assert seen is not None and seen.inputs == {"enableDnsHostnames": False, "tags": {"Name": "other", "extra": "1"}}

    drifted = {**inputs, **seen.inputs}
    outputs = handler.update(ctx(VPC), made.id, drifted, dict(seen.outputs), inputs)
    assert outputs["tagsAll"] == {"course": "data8", "Name": "life"}
    assert ec2.describe_vpc_attribute(VpcId=made.id, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]

    handler.delete(ctx(VPC), made.id, inputs, outputs)
    assert handler.read(ctx(VPC), made.id, inputs, outputs) is None
    handler.delete(ctx(VPC), made.id, inputs, outputs)  # what is gone is fine


def test_a_preview_knows_what_can_be_known(cloud: Cloud) -> None:
    values, wrong = cloud.check(SUBNET, vpcId=UNKNOWN, cidrBlock="10.0.1.0/24", tags={"a": "b"})
    assert wrong == []
    outputs = cloud.handler(SUBNET).preview_create(ctx(SUBNET), values)
    assert outputs["arn"] is UNKNOWN and outputs["availabilityZone"] is UNKNOWN
    assert outputs["tagsAll"] == {"course": "data8", "a": "b"} and outputs["region"] == "us-west-2"


def test_what_needs_a_new_resource_and_what_does_not(cloud: Cloud) -> None:
    assert replaced(cloud, VPC, {"cidrBlock": "10.0.0.0/16"}, {"cidrBlock": "10.1.0.0/16"}) == {"cidrBlock": True}
    assert replaced(cloud, VPC, {"cidrBlock": "c", "tags": {"a": "1"}}, {"cidrBlock": "c", "tags": {"a": "2"}}) == {
        "tags.a": False
    }
    disk = {"rootBlockDevice": {"volumeSize": 20, "encrypted": True}}
    assert replaced(
        cloud, "aws:ec2/instance:Instance", disk, {"rootBlockDevice": {"volumeSize": 30, "encrypted": False}}
    ) == {
        "rootBlockDevice.volumeSize": False,
        "rootBlockDevice.encrypted": True,
    }
    data = {"userDataBase64": "YQ==", "userDataReplaceOnChange": False}
    assert replaced(cloud, "aws:ec2/instance:Instance", data, {**data, "userDataBase64": "Yg=="}) == {
        "userDataBase64": False
    }
    data["userDataReplaceOnChange"] = True
    assert replaced(cloud, "aws:ec2/instance:Instance", data, {**data, "userDataBase64": "Yg=="}) == {
        "userDataBase64": True
    }


def test_a_policy_that_says_the_same_is_no_change(cloud: Cloud) -> None:
    other = TRUST.replace(": ", ":").replace(", ", ",")
    assert replaced(cloud, ROLE, {"assumeRolePolicy": TRUST}, {"assumeRolePolicy": other}) == {}


def test_other_default_tags_are_a_change_of_every_tagged_resource(cloud: Cloud) -> None:
    inputs = {"cidrBlock": "10.0.0.0/16"}
    assert replaced(cloud, VPC, inputs, inputs, {"tagsAll": {"course": "data8", "semester": "old"}}) == {
        "tagsAll": False
    }


def test_generated_names_stay_and_named_ones_go_first(cloud: Cloud) -> None:
    first, _ = cloud.check(ROLE, "worker", assumeRolePolicy=TRUST)
    assert first["name"].startswith("worker-") and len(first["name"]) == len("worker-") + 7
    again, _ = cloud.check(ROLE, "worker", olds=first, assumeRolePolicy=TRUST)
    assert again["name"] == first["name"]
    prefixed, _ = cloud.check(GROUP, "hub", namePrefix="semesterhub-hub-", vpcId="vpc-1")
    assert prefixed["name"].startswith("semesterhub-hub-")
    handler = cloud.handler(ROLE)
    assert not handler.deletes_first(first, again)
    assert handler.deletes_first({"name": "hub", "path": "/a/"}, {"name": "hub", "path": "/b/"})


def test_a_secret_stays_one(cloud: Cloud) -> None:
    handler = cloud.handler(PARAMETER)
    assert {"value", "valueWo"} <= handler.schema.secret_names()
    _, wrong = cloud.check(
        PARAMETER, name="/a/b", type="SecureString", value="hunter2", valueWo="hunter3", valueWoVersion=1
    )
    assert wrong and "hunter" not in str(wrong)
    made, inputs = cloud.make(
        PARAMETER, "token", name="/t/join", type="SecureString", valueWo="pending", valueWoVersion=1
    )
    cloud.client("ssm").put_parameter(Name="/t/join", Value="SWMTKN", Type="SecureString", Overwrite=True)
    seen = handler.read(ctx(PARAMETER), made.id, inputs, made.outputs)
    assert seen is not None and seen.inputs == {} and "SWMTKN" not in str(seen)


def test_what_is_in_use_is_not_deleted(cloud: Cloud) -> None:
    vpc, _ = cloud.make(VPC, "used", cidrBlock="10.3.0.0/16")
    subnet, subnet_inputs = cloud.make(SUBNET, "used", vpcId=vpc.id, cidrBlock="10.3.1.0/24")
    group, group_inputs = cloud.make(GROUP, "used", vpcId=vpc.id, description="used")
    other, _ = cloud.make(GROUP, "other", vpcId=vpc.id, description="other")
    rule, rule_inputs = cloud.make(
        RULE, "in", securityGroupId=other.id, ipProtocol="tcp", fromPort=1, toPort=1, referencedSecurityGroupId=group.id
    )
    interface = cloud.client("ec2").create_network_interface(SubnetId=subnet.id)["NetworkInterface"][
        "NetworkInterfaceId"
    ]
    with pytest.raises(ProviderError, match=f"the subnet '{subnet.id}' has dependencies"):
        cloud.handler(SUBNET).delete(ctx(SUBNET), subnet.id, subnet_inputs, subnet.outputs)
    with pytest.raises(ProviderError, match=f"the security group '{group.id}' has dependencies"):
        cloud.handler(GROUP).delete(ctx(GROUP), group.id, group_inputs, group.outputs)
    cloud.client("ec2").delete_network_interface(NetworkInterfaceId=interface)
    cloud.handler(RULE).delete(ctx(RULE), rule.id, rule_inputs, rule.outputs)
    cloud.handler(GROUP).delete(ctx(GROUP), group.id, group_inputs, group.outputs)
    cloud.handler(SUBNET).delete(ctx(SUBNET), subnet.id, subnet_inputs, subnet.outputs)


def test_a_template_in_use_is_not_deleted_and_its_type_must_exist(cloud: Cloud) -> None:
    _, wrong = cloud.check(TEMPLATE, instanceType="r6i.huge")
    assert wrong and wrong[0].startswith("instanceType: 'r6i.huge' is not possible")
    with pytest.raises(ProviderError, match=r"InvalidInstanceType: the instance type 'g3\.4xlarge' is not offered"):
        cloud.make(TEMPLATE, "wrong", instanceType="g3.4xlarge")
    image = cloud.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    template, inputs = cloud.make(TEMPLATE, "used", name="used", instanceType="t3.micro", imageId=image)
    vpc, _ = cloud.make(VPC, "machines", cidrBlock="10.4.0.0/16")
    subnet, _ = cloud.make(SUBNET, "machines", vpcId=vpc.id, cidrBlock="10.4.1.0/24")
    wanted = {
        "launchTemplate": {"id": template.id, "version": "1"},
        "vpcZoneIdentifiers": [subnet.id],
        "minSize": 0,
        "maxSize": 2,
    }
    group, group_inputs = cloud.make(SCALING, "nodes", name="nodes", desiredCapacity=1, **wanted)
    with pytest.raises(ProviderError, match="is in use by nodes"):
        cloud.handler(TEMPLATE).delete(ctx(TEMPLATE), template.id, inputs, template.outputs)
    changed = {**inputs, "description": "second"}
    outputs = cloud.handler(TEMPLATE).update(ctx(TEMPLATE), template.id, inputs, template.outputs, changed)
    assert outputs["latestVersion"] == 2
    cloud.handler(SCALING).delete(ctx(SCALING), group.id, group_inputs, group.outputs)
    cloud.handler(TEMPLATE).delete(ctx(TEMPLATE), template.id, changed, outputs)


def test_a_capacity_that_a_new_minimum_overtakes_is_moved_by_aws_and_not_refused(cloud: Cloud) -> None:
    """The program leaves the capacity to the calendar (`ignore_changes`), so it is sent only when it is new."""
    template, inputs = cloud.make(TEMPLATE, "least", name="least", instanceType="t3.micro", imageId="ami-12c6146b")
    vpc, _ = cloud.make(VPC, "least", cidrBlock="10.5.0.0/16")
    subnet, _ = cloud.make(SUBNET, "least", vpcId=vpc.id, cidrBlock="10.5.1.0/24")
    wanted = {"launchTemplate": {"id": template.id, "version": "1"}, "vpcZoneIdentifiers": [subnet.id], "maxSize": 4}
    group, group_inputs = cloud.make(SCALING, "least", name="least", desiredCapacity=1, minSize=1, **wanted)
    assert cloud.check(SCALING, "least", olds=group_inputs, **{**group_inputs, "minSize": 2})[1] == []
    _, wrong = cloud.check(SCALING, "least", olds=group_inputs, **{**group_inputs, "minSize": 2, "desiredCapacity": 5})
    assert wrong == ["desiredCapacity: 5 is not between minSize 2 and maxSize 4"]
    changed = {**group_inputs, "minSize": 2}
    outputs = cloud.handler(SCALING).update(ctx(SCALING), group.id, group_inputs, group.outputs, changed)
    assert outputs["desiredCapacity"] == 2
    more = {**changed, "desiredCapacity": 3}
    outputs = cloud.handler(SCALING).update(ctx(SCALING), group.id, changed, outputs, more)
    assert outputs["desiredCapacity"] == 3
    cloud.handler(SCALING).delete(ctx(SCALING), group.id, {**more, "forceDelete": True}, outputs)
    cloud.handler(TEMPLATE).delete(ctx(TEMPLATE), template.id, inputs, template.outputs)


@pytest.mark.parametrize(
    ("token", "inputs", "said"),
    [
        (SCALING, {"minSize": 1, "maxSize": 2, "desiredCapacity": 3, "launchTemplate": {"id": "lt-1"}}, "desiredCapacity: 3 is not"),
        (SCALING, {"minSize": 3, "maxSize": 2, "launchTemplate": {"id": "lt-1"}}, "minSize: 3 is above maxSize 2"),
        (SCALING, {"minSize": 0, "maxSize": 2}, "launchTemplate: a group needs one"),
        (SCHEDULE, {"autoscalingGroupName": "g", "scheduledActionName": "a", "recurrence": "99 25 * * *"}, "recurrence: '99 25"),
        (SCHEDULE, {"autoscalingGroupName": "g", "scheduledActionName": "a", "recurrence": "every day"}, "recurrence: 'every day'"),
        (SCHEDULE, {"autoscalingGroupName": "g", "scheduledActionName": "a", "timeZone": "Berkeley"}, "timeZone: 'Berkeley'"),
        (SCHEDULE, {"autoscalingGroupName": "g", "scheduledActionName": "a", "startTime": "tomorrow"}, "startTime: 'tomorrow'"),
        (BUCKET, {"bucket": "Not_A_Bucket"}, "bucket: 'Not_A_Bucket' is no bucket name"),
        (BUCKET, {"bucket": "10.0.0.1"}, "bucket: '10.0.0.1' is no bucket name"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "A", "ttl": 60, "records": ["hub.a.edu"]}, "records[0]: 'hub.a.edu' is no"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "AAAA", "ttl": 60, "records": ["10.0.0.1"]}, "records[0]: '10.0.0.1' is no"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "A"}, "records: a record needs"),
        (ROLE, {"assumeRolePolicy": "{"}, "assumeRolePolicy: MalformedPolicyDocument"),
        (ROLE, {"assumeRolePolicy": "{}"}, "assumeRolePolicy: MalformedPolicyDocument: has no Statement"),
        (RULE, {"securityGroupId": "sg-1", "ipProtocol": "tcp", "cidrIpv4": "0.0.0.0/0", "cidrIpv6": "::/0"}, "cidrIpv4: exactly one"),
        (TEMPLATE, {"userData": "no base64!"}, "userData: must be base64"),
        (TEMPLATE, {"userData": base64.b64encode(os.urandom(17_000)).decode()}, "userData: has 17000 bytes"),
        ("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 42}, "retentionInDays: 42 days are not possible"),
    ],
)  # fmt: skip
def test_what_moto_accepts_wrongly_is_refused(cloud: Cloud, token: str, inputs: dict[str, Any], said: str) -> None:
    _, wrong = cloud.check(token, **inputs)
    assert any(w.startswith(said) for w in wrong), wrong


def test_a_schedule_needs_its_group(cloud: Cloud) -> None:
    with pytest.raises(ProviderError, match="no such group: nobody"):
        cloud.make(
            SCHEDULE,
            autoscalingGroupName="nobody",
            scheduledActionName="a",
            desiredCapacity=1,
            recurrence="0 8 * * MON-FRI",
        )


def test_what_moto_refuses_rightly_reaches_the_program(cloud: Cloud) -> None:
    vpc, _ = cloud.make(VPC, "right", cidrBlock="10.6.0.0/16")
    with pytest.raises(ProviderError, match=r"InvalidSubnet\.Range"):
        cloud.make(SUBNET, "outside", vpcId=vpc.id, cidrBlock="10.7.1.0/24")
    with pytest.raises(ProviderError, match=r"InvalidVpcID\.NotFound"):
        cloud.make(SUBNET, "nowhere", vpcId="vpc-00000000000000000", cidrBlock="10.7.1.0/24")


def test_functions(cloud: Cloud) -> None:
    def ask(token: str, **arguments: Any) -> Any:
        function = cloud.provider.function(token)
        assert function is not None
        return function.invoke(ctx(token), arguments)

    name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260218"
    filters = [{"name": "name", "values": [name]}]
    image = ask("aws:ec2/getAmi:getAmi", owners=["099720109477"], filters=filters)
    assert image["id"].startswith("ami-") and image["name"] == name
    with pytest.raises(ProviderError, match="returned no results"):
        ask("aws:ec2/getAmi:getAmi", owners=["099720109477"], filters=[{"name": "name", "values": ["ubuntu/none"]}])
    assert ask("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == ACCOUNT
    assert ask("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")["names"][:2] == [
        "us-west-2a",
        "us-west-2b",
    ]
    assert ask("aws:route53/getZone:getZone", name="campus.edu")["zoneId"]
    with pytest.raises(ProviderError, match=r"no matching Route 53 Hosted Zone found for nobody\.edu"):
        ask("aws:route53/getZone:getZone", name="nobody.edu")


def test_accounts_and_addresses_are_minded(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderError, match="AWS account ID not allowed"):
        cloud.provider.configure({"region": "us-west-2", "allowedAccountIds": '["999999999999"]'})
    assert [f.property for f in cloud.provider.check_config(ctx(VPC), {"region": "us-west-2", "regoin": "x"})] == [
        "regoin"
    ]
    from sandbox.aws.api import Api

    monkeypatch.setenv("SEMESTERHUB_SANDBOX_AWS", "https://ec2.us-west-2.amazonaws.com")
    with pytest.raises(ProviderError, match="only to loopback"):
        Api().call("ec2", "describe_vpcs", {})


def test_what_was_deleted_can_be_made_again(cloud: Cloud) -> None:
    rule = {"ruleName": "daily", "targetVaultName": "again", "schedule": "cron(0 3 * * ? *)"}
    made: list[tuple[str, dict[str, Any]]] = [
        ("aws:backup/vault:Vault", {"name": "again"}),
        ("aws:backup/plan:Plan", {"name": "again", "rules": [rule]}),
        ("aws:cloudwatch/logGroup:LogGroup", {"name": "/again", "retentionInDays": 90}),
        ("aws:sns/topic:Topic", {"name": "again"}),
        ("aws:ecr/repository:Repository", {"name": "again/image"}),
        ("aws:s3/bucket:Bucket", {"bucket": "again-and-again"}),
        (PARAMETER, {"name": "/again", "type": "String", "value": "1"}),
        (ROLE, {"name": "again", "assumeRolePolicy": TRUST}),
    ]
    for _ in range(2):
        there = [(token, *cloud.make(token, "again", **inputs)) for token, inputs in made]
        for token, resource, inputs in reversed(there):
            cloud.handler(token).delete(ctx(token), resource.id, inputs, dict(resource.outputs))
            assert cloud.handler(token).read(ctx(token), resource.id, inputs, dict(resource.outputs)) is None, token
