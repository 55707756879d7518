"""What a machine asks of AWS and Azure with its own identity, against a stand-in that refuses what they refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from components.node_agent import aws, azure, secretstore, web
from components.node_agent.config import AgentError
from tests.boot.standin import DISABLED, REGISTRY_PASSWORD, StandIn, reply, serve
from tests.boot.to_standin import opener, signature_by_botocore
from tests.components.test_node_agent import node

pytestmark = pytest.mark.unit

ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
AWS: dict[str, Any] = {
    "cloud": "aws",
    "secret_store": "ssm:us-west-2:/semesterhub/fa26",
    "registry": ECR,
    "node_group": "semesterhub-fa26-workers",
    "lifecycle_hook": "drain",
    "drain_timeout_s": 600,
}
AZURE: dict[str, Any] = {
    "cloud": "azure",
    "secret_store": "keyvault:https://kv-fa26-0a1b2c.vault.azure.net",
    "identity_client_id": "client-1",
    "registry": "semesterhubfa26.azurecr.io",
    "drain_timeout_s": 600,
}
S3_OBJECT = "semesterhub-fa26.s3.us-west-2.amazonaws.com/bundle/current.json"
BLOB_OBJECT = "semesterhubfa26.blob.core.windows.net/bundle/current.json"


@dataclass
class World:
    """A stand-in, and the agent's clouds beside it."""

    stand_in: StandIn

    def aws(self, **changes: Any) -> aws.Cloud:
        return aws.Cloud(node(**{**AWS, **changes}))

    def azure(self, **changes: Any) -> azure.Cloud:
        return azure.Cloud(node(**{**AZURE, **changes}))

    def all_signed_right(self) -> bool:
        signed = [request for request in self.stand_in.requests if "authorization" in request.headers]
        return bool(signed) and all(
            signature_by_botocore(request) == request.headers["authorization"] for request in signed
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    stand_in = StandIn(metadata={"placement/region": "us-west-2", "instance-id": "i-0abc"})
    server = serve(stand_in)
    monkeypatch.setattr(web, "opener", lambda: opener(server.server_port))
    monkeypatch.setattr(web, "PAUSE_S", 0.01)
    yield World(stand_in)
    server.shutdown()
    server.server_close()


def test_the_token_goes_to_ssm_and_comes_back_signed_as_botocore_signs(world: World) -> None:
    store = secretstore.open_store(node("hub", **AWS))
    assert store.get("join-token") is None
    store.put("join-token", "SWMTKN-1-ä/+=")
    assert world.stand_in.secrets == {"/semesterhub/fa26/join-token": "SWMTKN-1-ä/+="}
    assert store.get("join-token") == "SWMTKN-1-ä/+="
    assert world.all_signed_right()


def test_a_wrong_key_makes_another_signature_than_botocores(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "another", "Token": "session/token+="}
    monkeypatch.setattr(aws.Cloud, "credentials", lambda _self: wrong)
    world.aws().get_secret("join-token")
    assert not world.all_signed_right()


def test_a_worker_that_writes_is_told_what_was_refused(world: World) -> None:
    world.stand_in.read_only = True
    with pytest.raises(AgentError, match=r"ssm.us-west-2.amazonaws.com/: 400 .*AccessDenied"):
        world.aws().put_secret("join-token", "x")
    with pytest.raises(AgentError, match=r"kv-fa26-0a1b2c.vault.azure.net/secrets/join-token: 403"):
        world.azure().put_secret("join-token", "x")


def test_throttling_and_hiccups_are_waited_out(world: World) -> None:
    world.stand_in.secrets["/semesterhub/fa26/join-token"] = "t"
    world.stand_in.fail["ssm"] = [reply(400, {"__type": "ThrottlingException"}), reply(503), reply(500)]
    assert world.aws().get_secret("join-token") == "t"
    assert len(world.stand_in.requests) == 4 and world.all_signed_right()


def test_patience_ends_with_who_was_asked_and_what_came_back(world: World) -> None:
    with pytest.raises(AgentError, match=r"GET http://169.254.169.254/latest/meta-data/x \(tried for 0.05 s\): 503"):
        world.stand_in._aws_metadata = lambda request: reply(200, b"t") if request.method == "PUT" else reply(503)  # type: ignore[method-assign]
        world.aws().metadata("x", patience_s=0.05)


def test_a_machine_without_a_profile_waits_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, None, "semesterhub-node"])
    real = aws.Cloud.metadata

    def metadata(self: aws.Cloud, path: str, **more: Any) -> str | None:
        return next(answers) if path == "iam/security-credentials/" else real(self, path, **more)

    monkeypatch.setattr(aws.Cloud, "metadata", metadata)
    assert world.aws().get_secret("join-token") is None
    assert world.all_signed_right()


def test_key_vault_keeps_secrets_under_names_it_allows(world: World) -> None:
    store = secretstore.open_store(node("hub", **AZURE))
    assert store.get("oauth_client_secret") is None
    store.put("oauth_client_secret", "s")
    assert world.stand_in.secrets == {"oauth-client-secret": "s"} and store.get("oauth_client_secret") == "s"


def test_a_place_for_a_secret_is_no_secret_and_a_missing_right_is_said(world: World) -> None:
    world.stand_in.secrets["join-token"] = DISABLED
    assert world.azure().get_secret("join-token") is None
    world.stand_in.may_read = False
    with pytest.raises(AgentError, match=r"secrets/join-token: 403 .*ForbiddenByRbac"):
        world.azure().get_secret("join-token")


def test_an_identity_that_never_comes_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 20))
    monkeypatch.setattr(azure.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(azure.time, "sleep", lambda _s: None)
    with pytest.raises(AgentError, match=r"no token for https://vault.azure.net .*Identity not found"):
        world.azure(identity_client_id="nobody").get_secret("join-token")


@pytest.mark.parametrize("cloud", ["aws", "azure"])
def test_the_bundle_is_fetched_once_and_again_when_it_changes(world: World, cloud: str) -> None:
    key = S3_OBJECT if cloud == "aws" else BLOB_OBJECT
    address = "s3://semesterhub-fa26/bundle/current.json" if cloud == "aws" else f"https://{BLOB_OBJECT}"
    asked = world.aws() if cloud == "aws" else world.azure()
    assert asked.fetch(address, "") is None
    world.stand_in.objects[key] = b'{"bundle": 1}'
    first = asked.fetch(address, "")
    assert first is not None and first[1] == '{"bundle": 1}'
    assert asked.fetch(address, first[0]) is None
    world.stand_in.objects[key] = b'{"bundle": 2}'
    second = asked.fetch(address, first[0])
    assert second is not None and second[1] == '{"bundle": 2}' and second[0] != first[0]
    assert cloud == "azure" or world.all_signed_right()


def test_docker_signs_in_to_either_registry_with_the_machines_identity(world: World) -> None:
    assert world.aws().registry_login() == ("AWS", REGISTRY_PASSWORD)
    assert world.all_signed_right()
    assert world.azure().registry_login() == ("00000000-0000-0000-0000-000000000000", REGISTRY_PASSWORD)


def test_a_redirect_is_never_followed_with_a_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    server = serve(StandIn())
    try:
        server.RequestHandlerClass.do_GET = lambda self: (  # type: ignore[attr-defined]
            self.send_response(302), self.send_header("Location", "http://127.0.0.1:1/"),
            self.send_header("Content-Length", "0"), self.end_headers(),
        )  # fmt: skip
        with pytest.raises(AgentError, match="302"):
            web.send("GET", f"http://127.0.0.1:{server.server_port}/", {}, patience_s=0)
    finally:
        server.shutdown()
        server.server_close()


# -- the cloud takes the machine -------------------------------------------------------------------------------------


def test_aws_lifecycle_is_noticed_prolonged_and_completed(world: World) -> None:
    cloud = world.aws()
    assert cloud.notice() is None
    world.stand_in.metadata["autoscaling/target-lifecycle-state"] = "InService"
    assert cloud.notice() is None
    world.stand_in.metadata["autoscaling/target-lifecycle-state"] = "Terminated"
    notice = cloud.notice()
    assert notice is not None and (notice.id, notice.wait_s) == ("lifecycle", 600)
    cloud.still_draining(notice)
    cloud.gone(notice)
    first, second = (request.form for request in world.stand_in.requests)
    assert first["Action"] == "RecordLifecycleActionHeartbeat"
    assert second == {
        "Action": "CompleteLifecycleAction", "Version": "2011-01-01", "AutoScalingGroupName": "semesterhub-fa26-workers",
        "LifecycleHookName": "drain", "InstanceId": "i-0abc", "LifecycleActionResult": "CONTINUE",
    }  # fmt: skip
    assert world.all_signed_right()


def test_a_spot_instance_has_two_minutes_less_the_time_to_stop_servers(world: World) -> None:
    end = datetime.now(UTC) + timedelta(seconds=120)
    world.stand_in.metadata["spot/instance-action"] = json.dumps(
        {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    )
    notice = world.aws().notice()
    assert notice is not None and notice.id == "spot" and 85 <= notice.wait_s <= 90
    world.aws().gone(notice)
    assert world.stand_in.requests == []


def event(kind: str, in_s: float | None, resources: list[str]) -> dict[str, Any]:
    start = format_datetime(datetime.now(UTC) + timedelta(seconds=in_s), usegmt=True) if in_s is not None else ""
    return {
        "EventId": f"e-{kind}",
        "EventType": kind,
        "Resources": resources,
        "EventStatus": "Scheduled",
        "NotBefore": start,
    }


@pytest.mark.parametrize(
    ("kind", "in_s", "resources", "wait_s"),
    [
        ("Terminate", 300, ["workers_3"], 240),
        ("Preempt", 30, ["workers_1", "workers_3"], 0),
        ("Reboot", 900, ["workers_3"], 600),
        ("Terminate", None, ["workers_3"], 0),
        ("Freeze", 300, ["workers_3"], None),
        ("Terminate", 300, ["workers_1"], None),
    ],
)
def test_azure_events_of_this_machine_are_noticed(
    world: World, kind: str, in_s: float | None, resources: list[str], wait_s: float | None
) -> None:
    world.stand_in.events = [event(kind, in_s, resources)]
    notice = world.azure().notice()
    if wait_s is None:
        assert notice is None
    else:
        assert notice is not None and wait_s - 2 <= notice.wait_s <= wait_s


def test_azure_may_begin_at_once_when_the_machine_is_empty(world: World) -> None:
    world.stand_in.events = [
        event("Terminate", 300, ["workers_3"]),
        event("Terminate", 300, ["workers_1"]) | {"EventId": "other"},
    ]
    notice = world.azure().notice()
    assert notice is not None
    world.azure().gone(notice)
    assert [item["EventId"] for item in world.stand_in.events] == ["other"]
    assert world.azure().notice() is None


def test_signatures_are_made_anew_for_each_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stand_in.fail["ssm"] = [reply(503)]
    stamps: list[str] = []
    real = aws.sign

    def sign(*words: Any, **more: Any) -> dict[str, str]:
        stamps.append(str(time.monotonic()))
        return real(*words, **more)

    monkeypatch.setattr(aws, "sign", sign)
    world.aws().get_secret("join-token")
    assert len(set(stamps)) == 2
