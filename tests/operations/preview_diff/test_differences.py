"""Old and new inputs become differences that a person can read."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from operations.planned import collect
from operations.preview_diff.build import build
from operations.preview_diff.model import Change
from tests.operations.preview_diff.events import SECRET, UNKNOWN, replaced, step

pytestmark = pytest.mark.unit

GROUP = "aws:ec2/securityGroup:SecurityGroup"


def change(old: dict[str, Any], new: dict[str, Any], kind: str = "aws:ec2/thing:Thing", **more: Any) -> Change:
    report = build(collect([step("update", kind, "it", old, new, **more)]), stack="s", cloud="aws", baseline="")
    return report.changes[0]


def shown(old: dict[str, Any], new: dict[str, Any], **more: Any) -> list[tuple[str, str | None, str | None]]:
    return [(d.path, d.before, d.after) for d in change(old, new, **more).differences]


def test_leaves_are_told_with_their_paths() -> None:
    old = {"a": {"b": 1, "c d": "x"}, "same": [1]}
    new = {"a": {"b": True, "c d": "y"}, "same": [1], "more": "z"}
    assert shown(old, new) == [("a.b", "1", "true"), ('a["c d"]', "x", "y"), ("more", None, "z")]


def test_an_item_in_front_does_not_change_the_others() -> None:
    old = {"rules": [{"port": 443}, {"port": 80}]}
    new = {"rules": [{"port": 22}, {"port": 443}, {"port": 80}]}
    assert shown(old, new) == [("rules[0]", None, '{"port": 22}')]
    assert shown(new, old) == [("rules[0] (removed)", '{"port": 22}', None)]


def test_a_changed_item_is_told_by_what_changed_in_it() -> None:
    assert shown({"r": [{"port": 22, "to": "a"}]}, {"r": [{"port": 22, "to": "b"}]}) == [("r[0].to", "a", "b")]


def test_lists_of_plain_values_are_told_whole() -> None:
    assert shown({"zones": ["a", "b"]}, {"zones": ["b"]}) == [("zones", '["a", "b"]', '["b"]')]


def test_a_secret_with_another_value_is_told_without_it() -> None:
    found = shown({"value": SECRET}, {"value": SECRET}, touched={"value": "update"})
    assert found == [("value", "(secret, as it was)", "(secret, another value)")]


def test_a_secret_inside_an_object_is_told_by_its_path() -> None:
    old = {"settings": {"password": SECRET, "size": 1}}
    found = shown(old, old, touched={"settings.password": "update"})
    assert found == [("settings.password", "(secret, as it was)", "(secret, another value)")]


def test_a_value_that_was_or_becomes_secret_is_not_told() -> None:
    told = json.dumps([shown({"v": "hunter2"}, {"v": SECRET}), shown({"v": SECRET}, {"v": "hunter2"})])
    assert "hunter2" not in told
    assert "(secret)" in told


def test_what_only_the_provider_sees_is_not_kept_quiet() -> None:
    assert shown({"a": 1}, {"a": 1}, touched={"b": "update"}) == [
        ("b", None, "(changed; the provider does not say how)")
    ]


def test_documents_are_opened() -> None:
    script = "#cloud-config\nruncmd:\n  - echo hello\n" * 3
    packed = base64.b64encode(gzip.compress(script.encode())).decode()
    (_, before, after), (_, policy, _) = shown(
        {"userData": packed, "policy": '{"b":1,"a":["x"]}'}, {"userData": "other"}
    )[::-1]
    assert (before, after) == (script, "other")
    assert policy == '{\n "a": [\n  "x"\n ],\n "b": 1\n}'


def test_long_plain_values_that_only_look_packed_stay() -> None:
    key = "A" * 80
    assert shown({"k": key}, {"k": "B" * 81}) == [("k", key, "B" * 81)]


def test_ids_of_the_cloud_are_told_by_their_owners_names() -> None:
    events = [
        step(
            "same",
            "aws:ec2/vpc:Vpc",
            "net",
            {"cidrBlock": "10.0.0.0/16"},
            {"cidrBlock": "10.0.0.0/16"},
            id="vpc-0a1b2c3d",
        ),
        step("update", GROUP, "sg", {"vpcId": "vpc-0a1b2c3d"}, {"vpcId": UNKNOWN}),
    ]
    (group,) = build(collect(events), stack="s", cloud="aws", baseline="").changes
    assert [(d.before, d.after) for d in group.differences] == [("‹id of Vpc net›", "(known after deploy)")]
    assert not group.differences[0].security, "a reference that follows is no matter of security"


def test_a_name_that_the_provider_made_up_is_the_same_in_every_run() -> None:
    events = [
        *replaced(
            GROUP,
            "sg",
            {"namePrefix": "hub-", "name": "hub-0a1b2c3", "d": 1},
            {"namePrefix": "hub-", "name": "hub-9f8e7d6", "d": 2},
            "d",
        ),
        step("create", "aws:iam/role:Role", "worker", None, {"name": "worker-1a2b3c4"}),
        step(
            "update",
            "aws:efs/fileSystem:FileSystem",
            "homes",
            {"creationToken": "homes-730abc2", "a": 1},
            {"creationToken": "homes-63c35d8", "a": 2},
        ),
        step("create", "aws:iam/role:Role", "fixed", None, {"name": "semesterhub-fa26-hub"}),
        step("update", "aws:x/y:Y", "user", {"group": "hub-0a1b2c3"}, {"group": UNKNOWN}),
    ]
    report = build(collect(events), stack="s", cloud="aws", baseline="")
    told = {c.name: [(d.path, d.before, d.after) for d in c.differences] for c in report.changes}
    assert told == {
        "sg": [("d", "1", "2")],
        "homes": [("a", "1", "2")],
        "worker": [("name", None, "worker-‹random›")],
        "fixed": [("name", None, "semesterhub-fa26-hub")],
        "user": [("group", "‹name of SecurityGroup sg›", "(known after deploy)")],
    }


def test_an_id_is_not_seen_in_a_longer_one() -> None:
    events = [
        step("same", "aws:ec2/eip:Eip", "ip", {"x": 1}, {"x": 1}, id="eipalloc-1", outputs={"publicIp": "203.0.113.1"}),
        step("update", GROUP, "sg", {"cidr": "203.0.113.12/32"}, {"cidr": "203.0.113.1/32"}),
    ]
    (group,) = build(collect(events), stack="s", cloud="aws", baseline="").changes
    assert (group.differences[0].before, group.differences[0].after) == ("203.0.113.12/32", "‹publicIp of Eip ip›/32")


def test_a_list_of_references_that_follow_is_no_matter_of_security() -> None:
    old, new = {"vpcSecurityGroupIds": ["sg-1", "sg-2"]}, {"vpcSecurityGroupIds": [UNKNOWN, UNKNOWN]}
    assert [d.security for d in change(old, new).differences] == [""]
    assert [d.security for d in change(old, {"vpcSecurityGroupIds": [UNKNOWN, "sg-9"]}).differences] == [
        "network access"
    ]


@pytest.mark.parametrize(
    ("kind", "inputs", "homes"),
    [
        ("aws:efs/fileSystem:FileSystem", {}, True),
        ("aws:efs/mountTarget:MountTarget", {}, False),
        ("aws:efs/fileSystemPolicy:FileSystemPolicy", {}, False),
        ("azure-native:storage:FileShare", {}, True),
        ("azure-native:storage:StorageAccount", {"kind": "FileStorage"}, True),
        ("azure-native:storage:StorageAccount", {"kind": "StorageV2"}, False),
    ],
)
def test_what_holds_students_files_is_known(kind: str, inputs: dict[str, Any], homes: bool) -> None:
    assert change({**inputs, "a": 1}, {**inputs, "a": 2}, kind).homes is homes


@pytest.mark.parametrize(
    ("kind", "old", "new", "reason", "alarm"),
    [
        (
            GROUP,
            {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]},
            {"ingress": [{"cidrBlocks": ["0.0.0.0/0"]}]},
            "network access",
            "open to the whole internet",
        ),
        (
            GROUP,
            {"egress": [{"cidrBlocks": ["10.0.0.0/8"]}]},
            {"egress": [{"cidrBlocks": ["0.0.0.0/0"]}]},
            "network access",
            "",
        ),
        (
            GROUP,
            {"ingress": [{"cidrBlocks": ["0.0.0.0/0"]}]},
            {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]},
            "network access",
            "",
        ),
        (
            "azure-native:network:NetworkSecurityGroup",
            {"securityRules": [{"sourceAddressPrefix": "10.0.0.0/8"}]},
            {"securityRules": [{"sourceAddressPrefix": "Internet"}]},
            "network access",
            "open to the whole internet",
        ),
        (
            "aws:iam/rolePolicy:RolePolicy",
            {"policy": '{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}'},
            {"policy": '{"Statement": [{"Effect": "Allow", "Action": ["s3:*"]}]}'},
            "identity and permissions",
            "more rights than before",
        ),
        ("aws:efs/fileSystem:FileSystem", {"encrypted": True}, {"encrypted": False}, "encryption", "switched off"),
        ("aws:ebs/volume:Volume", {"kmsKeyId": "key"}, {}, "encryption", "switched off"),
        (
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            {"blockPublicAcls": True},
            {"blockPublicAcls": False},
            "public access",
            "public",
        ),
        (
            "azure-native:storage:StorageAccount",
            {"allowBlobPublicAccess": False},
            {"allowBlobPublicAccess": True},
            "public access",
            "public",
        ),
        (
            "aws:ec2/instance:Instance",
            {"metadataOptions": {"httpTokens": "required"}},
            {"metadataOptions": {"httpTokens": "optional"}},
            "instance metadata",
            "within reach of students' servers",
        ),
        (
            "aws:ec2/instance:Instance",
            {"metadataOptions": {"httpPutResponseHopLimit": 1}},
            {"metadataOptions": {"httpPutResponseHopLimit": 2}},
            "instance metadata",
            "within reach of students' servers",
        ),
        ("aws:ec2/instance:Instance", {"instanceType": "m5.large"}, {"instanceType": "m5.xlarge"}, "", ""),
        ("aws:iam/role:Role", {"tags": {"a": "b"}}, {"tags": {"a": "c"}}, "", ""),
    ],
)
def test_security_is_seen(kind: str, old: dict[str, Any], new: dict[str, Any], reason: str, alarm: str) -> None:
    (difference,) = change(old, new, kind).differences
    assert (difference.security, difference.alarm) == (reason, alarm)


def test_a_lost_protection_is_a_change_although_no_input_changed() -> None:
    inputs = {"encrypted": True}
    event = step(
        "same", "aws:efs/fileSystem:FileSystem", "homes", inputs, inputs,
        was={"protect": True, "retainOnDelete": True}, options={"protect": False, "retainOnDelete": True},
    )  # fmt: skip
    report = build(collect([event]), stack="s", cloud="aws", baseline="")
    (homes,) = report.changes
    assert (homes.op, homes.homes, report.unchanged) == ("update", True, 0)
    assert [(d.path, d.before, d.after, d.alarm) for d in homes.differences] == [
        ("option protect", "true", "false", "switched off")
    ]
