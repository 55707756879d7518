"""The whole life of the AWS stacks, offline: up, no change, drift, mended, gone. Real engine, real program."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from operations.engine import Result
from tests.sandbox.offline import Offline, changed

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]
LIMIT_S = 90.0


@pytest.fixture(scope="module", params=["fa16", "fa26"])
def life(request: pytest.FixtureRequest, brought_up: Callable[[str], Offline]) -> Offline:
    """A stack that is up; destroyed at the end by the last test, or with its folder."""
    return brought_up(request.param)


def client(session: Any, service: str) -> Any:
    return boto3.client(
        service,
        region_name="us-west-2",
        endpoint_url=session.endpoints["aws"],
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )


def within_limit(result: Result) -> bool:
    return result.seconds < LIMIT_S


def test_up_makes_everything_in_time(life: Offline) -> None:
    up = life.results["up"]
    assert up.changes["create"] > 100 and set(up.changes) == {"create"} and within_limit(up)
    assert up.outputs["hub_url"].startswith("https://") and up.outputs["homes"].startswith("fs-")
    with life.session() as offline:
        there = offline.inventory()
    assert len(there) > 50, there


def test_a_second_look_shows_no_change_and_drift_is_seen_and_mended(life: Offline) -> None:
    began = time.monotonic()
    with life.session() as offline:
        engine = life.engine(offline)
        quiet = engine.run("preview")
        assert changed(quiet) == {} and quiet.changed == 0 and within_limit(quiet)
        ec2 = client(offline, "ec2")
        groups = ec2.describe_security_groups(Filters=[{"Name": "description", "Values": ["Hub VM"]}])["SecurityGroups"]
        rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [groups[0]["GroupId"]]}])
        https = next(r for r in rules["SecurityGroupRules"] if r.get("FromPort") == 443 and r.get("CidrIpv4"))
        ec2.revoke_security_group_ingress(
            GroupId=groups[0]["GroupId"], SecurityGroupRuleIds=[https["SecurityGroupRuleId"]]
        )
        ec2.create_tags(Resources=[groups[0]["GroupId"]], Tags=[{"Key": "Name", "Value": "somebody's"}])
        seen = engine.run("refresh")
        assert changed(seen) == {"SecurityGroupIngressRule hub-443": "delete", "SecurityGroup hub": "update"}
        wanted = engine.run("preview")
        assert changed(wanted) == {"SecurityGroupIngressRule hub-443": "create", "SecurityGroup hub": "update"}
        mended = engine.run("up")
        assert changed(mended) == changed(wanted)
    assert time.monotonic() - began < 3 * LIMIT_S


def test_destroy_leaves_nothing(life: Offline) -> None:
    with life.session() as offline:
        gone = life.engine(offline).run("destroy", release=True)
        assert within_limit(gone) and set(gone.changes) == {"delete"}
        assert offline.inventory() == []
        kept = offline.state_dir
    assert not kept.exists(), "an empty cloud is forgotten"
