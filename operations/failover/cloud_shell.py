"""A cloud's hub VM as a site: commands go through the cloud's own run-command service, so no SSH port has to be open.

AWS: SSM Run Command; Azure: Run Command of the virtual machine. Both keep what a command printed in the account's history,
so a secret never comes back in the clear: it is encrypted on the machine for a key that lives as long as this process.
"""

from __future__ import annotations

import base64
import functools
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operations.failover.sites import ASK_TIMEOUT_S, Done, Site, UnreachableError

if TYPE_CHECKING:
    from components.semester import Semester

POLL_EVERY_S = 1.0
COMPUTE, NETWORK = "2024-07-01", "2024-05-01"
"""API versions."""
MARK = "semesterhub-exit:"
"""Azure tells no exit code; the script prints it behind this."""
DELIVERY_S = 30
"""SSM gives up a command that no agent fetched by then; 30 s is its minimum."""


def line_of(command: Sequence[str], stdin: str) -> str:
    """One shell line that runs the command as root, with its standard input."""
    line = shlex.join(command)
    return (
        f"printf %s {shlex.quote(base64.b64encode(stdin.encode()).decode())} | base64 -d | {line}"
        if stdin
        else f"{line} </dev/null"
    )


@dataclass(frozen=True)
class SsmTransport:
    """AWS: an instance with the SSM agent. `clients` makes boto3 clients by service, `instance` names the machine."""

    clients: Callable[[str], Any]
    instance: Callable[[], str]
    sleep: Callable[[float], None] = time.sleep

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> Done:
        from botocore.exceptions import BotoCoreError, ClientError

        ssm = self.clients("ssm")
        try:
            name = self.instance()
            sent = ssm.send_command(
                InstanceIds=[name],
                DocumentName="AWS-RunShellScript",
                TimeoutSeconds=DELIVERY_S,
                Parameters={"commands": [line_of(command, stdin)], "executionTimeout": [str(max(1, round(timeout_s)))]},
            )["Command"]["CommandId"]
            return self._ended(ssm, name, sent, timeout_s)
        except (BotoCoreError, ClientError) as error:
            raise UnreachableError(f"the hub VM is not reached through SSM: {error}") from None

    def _ended(self, ssm: Any, name: str, sent: str, timeout_s: float) -> Done:
        from botocore.exceptions import ClientError

        deadline = time.monotonic() + timeout_s + DELIVERY_S
        while time.monotonic() < deadline:
            try:
                seen = ssm.get_command_invocation(CommandId=sent, InstanceId=name)
            except ClientError as error:
                if error.response["Error"].get("Code") != "InvocationDoesNotExist":  # not known everywhere yet
                    raise
                seen = {"Status": "Pending"}
            status = str(seen["Status"])
            if status in ("Success", "Failed"):
                code = int(seen.get("ResponseCode", 1))
                return Done(code, str(seen.get("StandardOutputContent", "")), str(seen.get("StandardErrorContent", "")))
            if status not in ("Pending", "InProgress", "Delayed"):
                raise UnreachableError(
                    f"the hub VM did not take the command ({status}): {seen.get('StatusDetails', 'SSM does not say why')}"
                )
            self.sleep(POLL_EVERY_S)
        raise UnreachableError(f"the hub VM did not answer through SSM within {timeout_s:.0f} s")


@dataclass(frozen=True)
class AzureTransport:
    """Azure: a virtual machine with its agent. `vm`: the path of its resource."""

    arm: Any
    vm: Callable[[], str]
    sleep: Callable[[float], None] = time.sleep

    def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = ASK_TIMEOUT_S) -> Done:
        from operations.preflight.arm import ArmError

        name = f"semesterhub-{time.time_ns():x}"
        script = f"{line_of(command, stdin)}; echo {MARK}$? >&2"
        try:
            path = f"{self.vm()}/runCommands/{name}"
            location = self.arm.get(self.vm(), COMPUTE)["location"]
            body = {
                "location": location,
                "properties": {
                    "source": {"script": script},
                    "asyncExecution": False,
                    "timeoutInSeconds": max(10, round(timeout_s)),
                },
            }
            self.arm.change("PUT", path, COMPUTE, body)
            try:
                return self._ended(path, timeout_s)
            finally:
                self.arm.change("DELETE", path, COMPUTE)
        except ArmError as error:
            raise UnreachableError(f"the hub VM is not reached through Azure's Run Command: {error}") from None

    def _ended(self, path: str, timeout_s: float) -> Done:
        deadline = time.monotonic() + timeout_s + DELIVERY_S
        while time.monotonic() < deadline:
            view = self.arm.get(path, COMPUTE, **{"$expand": "instanceView"})["properties"].get("instanceView") or {}
            err = str(view.get("error") or "")
            if found := re.search(rf"{MARK}(\d+)\s*$", err):
                return Done(int(found[1]), str(view.get("output") or ""), err[: found.start()])
            if view.get("executionState") in ("Failed", "TimedOut", "Canceled"):
                raise UnreachableError(
                    f"the hub VM did not run the command ({view['executionState']}): {view.get('executionMessage', '')}"
                )
            self.sleep(POLL_EVERY_S)
        raise UnreachableError(f"the hub VM did not answer through Azure's Run Command within {timeout_s:.0f} s")


class SealedSite(Site):
    """A site whose answers are kept in a cloud's history: its secrets come sealed."""

    def secret(self, name: str) -> str:
        """As :meth:`Site.secret`, encrypted on the way (RSA-OAEP with SHA-256) for a key made for this one question."""
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        if not re.fullmatch(r"[a-z_]+", name):
            raise ValueError(name)
        key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        done = self.transport.run(["sh", "-c", SEAL.format(name=name)], stdin=public.decode(), timeout_s=30)
        try:
            sealed = base64.b64decode(done.out.strip(), validate=True)
            value = key.decrypt(sealed, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)).decode()
        except ValueError:
            raise UnreachableError(f"the {self.name} site has no {name}; bring it up first") from None
        return value.strip()


SEAL = (
    "set -e; k=$(mktemp); trap 'rm -f $k' EXIT; cat >$k; "
    "openssl pkeyutl -encrypt -pubin -inkey $k -in /var/lib/semesterhub/secrets/{name} "
    "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 | base64 -w0"
)


def cloud_site(stack: str, semester: Semester, port: int) -> Site:
    """The hub VM of a semester in AWS or Azure, found by its tags: a failover does without Pulumi's backend.

    Its address is "" while the cloud does not answer; a move away from it does not need one.
    """
    return _aws(stack, semester, port) if str(semester.cloud) == "aws" else _azure(stack, semester, port)


def _aws(stack: str, semester: Semester, port: int) -> Site:
    from botocore.exceptions import BotoCoreError, ClientError

    from operations.preflight import aws_clients

    clients = functools.cache(aws_clients(semester))
    tags = [
        {"Name": "tag:semesterhub:stack", "Values": [stack]},
        {"Name": "tag:Name", "Values": [f"semesterhub-{stack}-hub"]},
    ]

    def instance() -> str:
        running = [*tags, {"Name": "instance-state-name", "Values": ["running"]}]
        found = [i for r in clients("ec2").describe_instances(Filters=running)["Reservations"] for i in r["Instances"]]
        if not found:
            raise UnreachableError(f"no hub VM of stack '{stack}' runs in {semester.region}")
        return str(found[0]["InstanceId"])

    try:
        addresses = clients("ec2").describe_addresses(Filters=tags)["Addresses"]
    except (BotoCoreError, ClientError):
        addresses = []
    address = str(addresses[0]["PublicIp"]) if addresses else ""
    return SealedSite("cloud", address, port, SsmTransport(clients, instance))


def _azure(stack: str, semester: Semester, port: int) -> Site:
    from operations.preflight.arm import Arm, ArmError, signed_in

    arm = Arm(signed_in())
    group = f"/subscriptions/{semester.account}/resourceGroups/semesterhub-{stack}"
    name = f"semesterhub-{stack}-hub"
    try:
        listed = arm.all(f"{group}/providers/Microsoft.Network/publicIPAddresses", NETWORK)
        addresses = [item["properties"].get("ipAddress") for item in listed if item["name"] == name]
    except ArmError:
        addresses = []
    vm = f"{group}/providers/Microsoft.Compute/virtualMachines/{name}"
    return SealedSite("cloud", str(addresses[0] or "") if addresses else "", port, AzureTransport(arm, lambda: vm))
