"""A site on AWS: the hub VM is stopped; it and the homes get the VPC's default security group, which lets nobody in.

Everything is found by its tags, so this works when Pulumi's backend is away with the rest. The groups are exchanged, not
emptied: rules stay as the program made them, `start` gives the groups back, and no later `up` meets a rule twice. The
homes are closed as well, because workers may go on running, and what runs there would go on writing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from operations.aws_asking import asked, of_account
from operations.patience import LaterError
from operations.power.model import PowerError, State

T = TypeVar("T")
STATES: Mapping[str, State] = {
    "pending": "changing",
    "running": "running",
    "stopping": "changing",
    "shutting-down": "changing",
    "stopped": "off",
    "terminated": "gone",
}
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html"""
NOT_NOW = frozenset(
    {"IncorrectInstanceState", "IncorrectState", "InvalidInstanceID.NotFound", "IncorrectMountTargetState"}
)
"""A machine on its way takes no order in the other direction yet; one that was made a moment ago is not known everywhere."""
REHEARSED = "DryRunOperation"
"""The error that says that the call would have been done."""


@dataclass(frozen=True)
class AwsSite:
    """One stack in one account and region. `clients` makes boto3 clients by service."""

    stack: str
    account: str
    region: str
    clients: Callable[[str], Any]

    @property
    def where(self) -> str:
        return f"AWS account {self.account} ({self.region})"

    def refuse_others(self) -> None:
        of_account(self.clients("sts"), self.account, PowerError)

    def machines(self) -> Mapping[str, State]:
        states: dict[str, State] = {m["InstanceId"]: STATES[m["State"]["Name"]] for m in self._instances()}
        # A terminated predecessor is shown for an hour beside its successor.
        alive: dict[str, State] = {machine: state for machine, state in states.items() if state != "gone"}
        return alive or states

    def doors(self) -> tuple[str, ...]:
        found: list[str] = []
        for machine in self._present():
            closed = self._closed(machine["VpcId"])
            groups = {group["GroupId"] for group in machine["SecurityGroups"]}
            if groups - {closed["GroupId"]}:
                found.append(f"{machine['InstanceId']} is reachable through {', '.join(sorted(groups))}")
            if closed["IpPermissions"]:
                found.append(f"the VPC's default group {closed['GroupId']} lets somebody in")
        for target, groups in self._targets():
            if set(groups) - {self._closed(target["VpcId"])["GroupId"]}:
                found.append(f"the homes ({target['MountTargetId']}) are reachable through {', '.join(groups)}")
        return tuple(found)

    def ask_off(self, machines: Collection[str], *, force: bool) -> None:
        self._ec2("stopping the hub VM", lambda ec2: ec2.stop_instances(InstanceIds=list(machines), Force=force))

    def ask_on(self, machines: Collection[str]) -> None:
        self._ec2("starting the hub VM", lambda ec2: ec2.start_instances(InstanceIds=list(machines)))

    def shut(self) -> None:
        for machine in self._present():
            closed = self._closed(machine["VpcId"])
            if closed["IpPermissions"]:  # the program made it empty: rules are somebody's hand
                self._ec2(
                    "emptying the VPC's default security group",
                    lambda ec2, closed=closed: ec2.revoke_security_group_ingress(
                        GroupId=closed["GroupId"], IpPermissions=closed["IpPermissions"]
                    ),
                )
            self._regroup(machine["InstanceId"], closed["GroupId"])
        for target, _ in self._targets():
            self._regroup_homes(target, self._closed(target["VpcId"])["GroupId"])

    def open(self) -> None:
        for machine in self._present():
            self._regroup(machine["InstanceId"], self._own_group("hub", machine["VpcId"]))
        for target, _ in self._targets():
            self._regroup_homes(target, self._own_group("homes", target["VpcId"]))

    def rehearse(self, machines: Collection[str]) -> None:
        def rehearsed(ec2: Any) -> None:
            from botocore.exceptions import ClientError

            try:
                ec2.stop_instances(InstanceIds=list(machines), DryRun=True)
            except ClientError as error:
                if error.response["Error"].get("Code") != REHEARSED:
                    raise

        self._ec2("stopping the hub VM", rehearsed)

    def _ec2(self, what: str, call: Callable[[Any], T]) -> T:
        return self._asked("ec2", what, call)

    def _asked(self, service: str, what: str, call: Callable[[Any], T]) -> T:
        client = self.clients(service)
        return asked(lambda: call(client), f"{what} in {self.where}", PowerError, lambda code, _: code in NOT_NOW)

    def _instances(self) -> list[dict[str, Any]]:
        """The hub VM (two while one is exchanged for the next), newest first."""
        wanted = [
            {"Name": "tag:semesterhub:stack", "Values": [self.stack]},
            {"Name": "tag:Name", "Values": [self._named("hub")]},
        ]
        pages = self._ec2(
            "looking for the hub VM", lambda ec2: list(ec2.get_paginator("describe_instances").paginate(Filters=wanted))
        )
        found = [m for page in pages for reservation in page["Reservations"] for m in reservation["Instances"]]
        return sorted(found, key=lambda machine: str(machine["LaunchTime"]), reverse=True)

    def _present(self) -> list[dict[str, Any]]:
        """Those that still have a network: a machine on its way to termination has none to change."""
        return [m for m in self._instances() if m["State"]["Name"] not in ("terminated", "shutting-down")]

    def _named(self, part: str) -> str:
        return f"semesterhub-{self.stack}-{part}"

    def _groups(self, **filters: str) -> list[dict[str, Any]]:
        wanted = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return self._ec2(
            "looking at security groups", lambda ec2: ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
        )

    def _closed(self, vpc: str) -> dict[str, Any]:
        """The group that every VPC has and nobody can delete."""
        found = self._groups(vpc_id=vpc, group_name="default")
        if not found:
            raise LaterError(f"{vpc} does not show its default security group")
        return found[0]

    def _own_group(self, part: str, vpc: str) -> str:
        found = [
            group["GroupId"]
            for group in self._groups(vpc_id=vpc)
            if {"Key": "Name", "Value": self._named(part)} in (group.get("Tags") or [])
        ]
        if len(found) != 1:
            raise PowerError(
                f"{self.where} has {len(found)} security groups named {self._named(part)} in {vpc}: `./hub refresh` and `./hub up "
                f"--stack {self.stack}` put that right"
            )
        return found[0]

    def _regroup(self, machine: str, group: str) -> None:
        self._ec2(
            "changing the hub VM's security group",
            lambda ec2: ec2.modify_instance_attribute(InstanceId=machine, Groups=[group]),
        )

    def _targets(self) -> list[tuple[dict[str, Any], list[str]]]:
        """Doors of the homes: mount targets, each with its groups."""

        def look(efs: Any) -> list[tuple[dict[str, Any], list[str]]]:
            found = []
            for page in efs.get_paginator("describe_file_systems").paginate():
                for files in page["FileSystems"]:
                    tags = {tag["Key"]: tag["Value"] for tag in files.get("Tags") or ()}
                    if tags.get("semesterhub:stack") != self.stack:
                        continue
                    for target in efs.describe_mount_targets(FileSystemId=files["FileSystemId"])["MountTargets"]:
                        groups = efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])
                        found.append((target, groups["SecurityGroups"]))
            return found

        return self._asked("efs", "looking at the homes", look)

    def _regroup_homes(self, target: Mapping[str, Any], group: str) -> None:
        self._asked(
            "efs",
            "changing who reaches the homes",
            lambda efs: efs.modify_mount_target_security_groups(
                MountTargetId=target["MountTargetId"], SecurityGroups=[group]
            ),
        )
