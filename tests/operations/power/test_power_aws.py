"""Switching a site on AWS off, against the sandbox's AWS: found by tags, read back, busy, late, lying, not ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.patience import Patience
from operations.power import PowerError, power_of
from operations.power.aws import AwsSite
from operations.power.fence import Fence
from sandbox.faults import calls
from tests.operations.cloud.aws_rig import (
    REGION,
    STACK,
    Between,
    Site,
    clients,
    emulator,
    furnish,
    instance,
    replaced,
    semester,
)

pytestmark = [pytest.mark.unit, pytest.mark.xdist_group("aws-emulator")]

HASTY = {"ask": Patience(20, 0.05, 0.2), "gently": Patience(0.6, 0.05, 0.2), "hard": Patience(1.2, 0.05, 0.2)}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("power")) as url:
        yield url


@pytest.fixture(scope="module")
def other(cloud: str) -> Site:
    """Another stack in the same account."""
    return furnish(cloud, "fa15")


@pytest.fixture
def site(cloud: str, other: Site) -> Iterator[Site]:
    made = furnish(cloud)
    yield made
    assert other.state() == "running" and other.groups() == ([other.own], [other.homes])
    made.client("ec2").terminate_instances(InstanceIds=[made.hub])
    made.client("ec2").delete_tags(Resources=[made.hub])  # a terminated one is still shown, but not as this stack's
    files = made.client("efs").describe_mount_targets(MountTargetId=made.target)["MountTargets"][0]["FileSystemId"]
    made.client("efs").delete_mount_target(MountTargetId=made.target)
    made.client("efs").delete_file_system(FileSystemId=files)


def fence(url: str, **answers: Any) -> Fence:
    """The site's switch with somebody in between who answers calls to EC2 himself."""
    it = power_of(STACK, semester(), endpoint=url)
    assert isinstance(it, Fence) and isinstance(it.site, AwsSite)
    real = clients(url)
    site = replaced(it.site, clients=lambda name: Between(real(name), **answers) if name == "ec2" else real(name))
    return replaced(it, site=site, **HASTY)


def test_the_hub_vm_is_stopped_and_nothing_leads_to_it_or_to_the_homes(site: Site) -> None:
    proof = fence(site.url).stop()
    assert proof.how == "cloud" and f"{site.hub} is off" in proof.detail and REGION in proof.detail
    assert site.state() == "stopped" and site.groups() == ([site.closed], [site.closed])
    assert fence(site.url).stop().detail == proof.detail


def test_it_starts_again_as_it_was(site: Site) -> None:
    fence(site.url).stop()
    assert fence(site.url).state() == "off"
    assert site.hub in fence(site.url).start()
    assert site.state() == "running" and site.groups() == ([site.own], [site.homes])


def test_a_default_group_that_somebody_opened_is_emptied(site: Site) -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    site.client("ec2").authorize_security_group_ingress(GroupId=site.closed, IpPermissions=[rule])
    fence(site.url).stop()
    groups = site.client("ec2").describe_security_groups(GroupIds=[site.closed])["SecurityGroups"]
    assert groups[0]["IpPermissions"] == []


def test_both_machines_of_an_exchange_are_stopped(site: Site) -> None:
    ec2 = site.client("ec2")
    subnet = ec2.describe_instances(InstanceIds=[site.hub])["Reservations"][0]["Instances"][0]["SubnetId"]
    second = instance(ec2, STACK, subnet, site.own)
    fence(site.url).stop()
    assert site.state() == site.state(second) == "stopped"
    ec2.terminate_instances(InstanceIds=[second])
    ec2.delete_tags(Resources=[second])


def test_a_terminated_machine_counts_as_off(site: Site) -> None:
    site.client("ec2").terminate_instances(InstanceIds=[site.hub])
    assert f"{site.hub} is gone" in fence(site.url).stop().detail


def test_without_a_machine_of_the_stack_nothing_is_proved(site: Site) -> None:
    it = fence(site.url)
    assert isinstance(it.site, AwsSite)
    with pytest.raises(PowerError, match="no machine of this stack, so nothing proves"):
        replaced(it, site=replaced(it.site, stack="sp99")).stop()


def test_another_account_is_refused_before_anything_is_touched(site: Site) -> None:
    it = power_of(STACK, semester(account="999999999999"), endpoint=site.url)
    with pytest.raises(PowerError, match="the stack belongs to 999999999999"):
        it.stop()
    assert "the stack belongs to 999999999999" in it.check() and site.state() == "running"


def test_a_check_rehearses_and_changes_nothing(site: Site) -> None:
    assert fence(site.url).check() == "" and site.state() == "running" and site.groups()[0] == [site.own]


def test_a_role_that_may_not_stop_machines_is_told_beforehand(site: Site) -> None:
    from botocore.exceptions import ClientError

    def forbidden(_real: Any, _asked: dict[str, Any]) -> Any:
        raise ClientError(
            {"Error": {"Code": "UnauthorizedOperation", "Message": "You are not authorized"}}, "StopInstances"
        )

    said = fence(site.url, stop_instances=forbidden).check()
    assert "may not do this: stopping the hub VM" in said and "\n" not in said


def test_a_cloud_that_says_stopped_while_it_runs_is_not_believed(site: Site) -> None:
    it = fence(site.url, stop_instances=lambda _real, asked: {"StoppingInstances": asked["InstanceIds"]})
    with pytest.raises(PowerError, match=f"{site.hub} in AWS account .* still run"):
        it.stop()
    assert site.state() == "running"


def test_a_door_that_is_said_to_be_closed_is_looked_at(site: Site) -> None:
    it = replaced(fence(site.url, modify_instance_attribute=lambda _real, _asked: {}), ask=Patience(0.5, 0.05, 0.1))
    with pytest.raises(PowerError, match=f"{site.hub} is reachable through {site.own}"):
        it.stop()


def test_a_machine_that_stops_late_is_waited_for_then_forced(site: Site) -> None:
    forced: list[bool] = []

    def late(real: Any, asked: dict[str, Any]) -> Any:
        forced.append(asked["Force"])
        return real(**asked) if asked["Force"] else {}

    assert "is off" in fence(site.url, stop_instances=late).stop().detail
    assert forced == [False, True]


def test_an_ec2_that_throttles_and_then_answers_late_is_asked_again(tmp_path: Path) -> None:
    rules = [
        {"kind": "throttle", "call": "ec2:StopInstances", "times": 3},
        {"kind": "timeout", "call": "ec2:StopInstances", "nth": 4, "times": 2, "seconds": 0.3},
        {"kind": "throttle", "call": "ec2:ModifyInstanceAttribute", "times": 2},
    ]
    with emulator(tmp_path, *rules) as url:
        made = furnish(url)
        assert "is off" in fence(url).stop().detail and made.groups() == ([made.closed], [made.closed])
    struck = [entry["fault"] for entry in calls(tmp_path / "cloud") if entry["fault"]]
    assert struck == ["throttle"] * 3 + ["timeout"] * 2 + ["throttle"] * 2
