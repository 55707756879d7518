"""Commands on a cloud's hub VM through its run-command service, and secrets that never lie in its history."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.failover import cloud_shell
from operations.failover.cloud_shell import AzureTransport, SealedSite, SsmTransport
from operations.failover.sites import Done, UnreachableError
from operations.preflight.arm import ArmError

pytestmark = pytest.mark.unit


class Ssm:
    """SSM with one machine: a command goes through these states."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states, self.sent = list(states), {}

    def __call__(self, service: str) -> Ssm:
        assert service == "ssm"
        return self

    def send_command(self, **asked: Any) -> dict[str, Any]:
        self.sent = asked
        return {"Command": {"CommandId": "c1"}}

    def get_command_invocation(self, **_: Any) -> dict[str, Any]:
        state = self.states.pop(0)
        if "Error" in state:
            raise ClientError(state, "GetCommandInvocation")
        return state


def ssm(*states: dict[str, Any]) -> tuple[SsmTransport, Ssm]:
    fake = Ssm(*states)
    return SsmTransport(fake, lambda: "i-1", lambda _s: None), fake


def test_a_command_of_ssm_is_waited_for_and_its_exit_code_told() -> None:
    transport, fake = ssm(
        {"Error": {"Code": "InvocationDoesNotExist"}},
        {"Status": "InProgress"},
        {"Status": "Failed", "ResponseCode": 3, "StandardOutputContent": "", "StandardErrorContent": "epoch 2 is old"},
    )
    assert transport.run(["docker", "exec", "keeper", "a b"]) == Done(3, "", "epoch 2 is old")
    assert fake.sent["Parameters"]["commands"] == ["docker exec keeper 'a b' </dev/null"]


@pytest.mark.parametrize("status", ["Undeliverable", "DeliveryTimedOut", "TimedOut", "Cancelled"])
def test_a_machine_that_takes_no_command_is_a_site_that_does_not_answer(status: str) -> None:
    transport, _ = ssm({"Status": status, "StatusDetails": "no agent"})
    with pytest.raises(UnreachableError, match="no agent"):
        transport.run(["true"])


class Arm:
    """Azure with one machine; a command is done at the second look."""

    def __init__(self, view: dict[str, Any], refusal: ArmError | None = None) -> None:
        self.view, self.refusal, self.asked, self.looks = view, refusal, [], 0

    def get(self, path: str, version: str, **_: str) -> dict[str, Any]:
        if path == "/vm":
            return {"location": "westus2"}
        self.looks += 1
        return {"properties": {"instanceView": self.view if self.looks > 1 else {"executionState": "Running"}}}

    def change(self, method: str, path: str, version: str, body: Any = None) -> dict[str, Any]:
        if self.refusal:
            raise self.refusal
        self.asked.append((method, body))
        return {}


def test_a_command_of_azure_tells_its_exit_code_and_is_removed_afterwards() -> None:
    arm = Arm({"executionState": "Succeeded", "output": '{"role": "standby"}', "error": "hello\nsemesterhub-exit:0\n"})
    done = AzureTransport(arm, lambda: "/vm", lambda _s: None).run(["keeper", "status"])
    assert done == Done(0, '{"role": "standby"}', "hello\n")
    assert [method for method, _ in arm.asked] == ["PUT", "DELETE"]


def test_azure_that_refuses_is_a_site_that_does_not_answer() -> None:
    with pytest.raises(UnreachableError, match="AuthorizationFailed"):
        AzureTransport(Arm({}, ArmError(403, "AuthorizationFailed", "no")), lambda: "/vm").run(["true"])


class Shell:
    """A machine whose shell is this one's, with its secrets in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = 45) -> Done:
        line = cloud_shell.line_of(command, stdin).replace("/var/lib/semesterhub/secrets", str(self.folder))
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=30)
        self.said = done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


def test_a_secret_is_sealed_on_its_way_through_the_clouds_history(tmp_path: Path) -> None:
    (tmp_path / "operator_token").write_text("f00" * 20 + "\n")
    shell = Shell(tmp_path)
    site = SealedSite("cloud", "192.0.2.1", 443, shell)
    assert site.secret("operator_token") == "f00" * 20
    assert "f00f00" not in shell.said and b"f00f00" not in base64.b64decode(shell.said)
    with pytest.raises(UnreachableError, match="has no admin_password"):
        site.secret("admin_password")


def test_standard_input_reaches_the_command_whatever_is_in_it(tmp_path: Path) -> None:
    assert Shell(tmp_path).run(["cat"], stdin="a 'b' $c\n\"d\"").out == "a 'b' $c\n\"d\""
