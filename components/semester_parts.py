"""The parts of a semester besides its courses: hub, nodes, network, homes, budget, and this machine's ports."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Self

from pydantic import model_validator

from components.semester_errors import wrong
from components.semester_types import Address, Cidr, Keys, Plain, key, number


class HubOptions(Keys):
    """How the hub admits, keeps and ends students' servers."""

    concurrent_starts: int = number(
        "Servers that start at once; 0: as many as the nodes can.", "starts", ge=0, le=1000, default=0
    )
    concurrent_starts_per_node: int = number(
        "Servers that start at once on one node.", "starts", ge=1, le=64, default=4
    )
    start_timeout_s: int = number(
        "Longest time from leaving the queue to a server that answers.", "s", ge=10, le=3600, default=300
    )
    queue_timeout_s: int = number("Longest wait in the queue.", "s", ge=10, le=86400, default=3600)
    idle_timeout_s: int = number(
        "A server without activity for this long is stopped; files stay.", "s", ge=60, le=604800, default=3600
    )
    cull_every_s: int = number("How often idle servers are looked for.", "s", ge=5, le=86400, default=300)
    max_age_s: int = number("Stop servers older than this even when used; 0: never.", "s", ge=0, le=2592000, default=0)
    acme_email: Plain | None = key(
        "Address for the certificate authority's warnings (public domains).",
        default=None,
        example="hub-admins@example.edu",
        allowed="an e-mail address",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.cull_every_s > self.idle_timeout_s:
            raise wrong(
                f"at most idle_timeout_s ({self.idle_timeout_s})",
                "look at least once within the idle time",
                at="cull_every_s",
                value=str(self.cull_every_s),
            )
        if 0 < self.max_age_s < self.idle_timeout_s:
            raise wrong(
                f"0 (never) or at least idle_timeout_s ({self.idle_timeout_s})",
                "raise max_age_s or write 0",
                at="max_age_s",
                value=str(self.max_age_s),
            )
        if self.acme_email is not None and ("@" not in self.acme_email or " " in self.acme_email):
            raise wrong("an e-mail address", "write an address such as `hub-admins@example.edu`", at="acme_email")
        return self


class Nodes(Keys):
    """The machines on which students' servers run. Sizes left out are chosen from the plan's tables."""

    min: int = number("Fewest workers, also outside class.", "nodes", ge=1, le=500, default=1)
    max: int = number("Most workers that may ever run.", "nodes", ge=1, le=500, default=50)
    spare: int = number("Workers more than the class needs, for when one fails.", "nodes", ge=0, le=50, default=0)
    instance_type: Plain | None = key(
        "Machine type in the cloud; default: the cheapest of the plan's table that fits.",
        default=None,
        example="r6i.2xlarge",
        allowed="a machine type of the plan's table",
    )
    vcpus: int | None = number("Cores of a worker (cloud: local).", "cores", ge=1, le=448, default=None, example=2)
    memory_gib: float | None = number(
        "Memory of a worker (cloud: local).", "GiB", ge=1, le=24576, default=None, example=6
    )
    system_reserved_gib: float = number(
        "Memory of a worker kept for its system, Docker and caches.", "GiB", ge=0.25, le=64, default=0.75, example=0.75
    )
    warm_up_min: int = number(
        "How long before a meeting or exam its nodes are started: booting and fetching images takes minutes.",
        "minutes",
        ge=0,
        le=240,
        default=20,
    )
    cool_down_min: int = number(
        "How long after a meeting or exam its nodes stay: a little longer than idle servers (hub.idle_timeout_s).",
        "minutes",
        ge=0,
        le=720,
        default=75,
    )
    drain_timeout_s: int = number(
        "How long a node that goes away waits for its servers to end by themselves.", "s", ge=0, le=86400, default=600
    )
    hub_vcpus: int = number("Cores of the hub VM.", "cores", ge=1, le=64, default=2)
    hub_memory_gib: float = number("Memory of the hub VM.", "GiB", ge=1, le=512, default=2.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max < self.min:
            raise wrong(f"at least nodes.min ({self.min})", "raise max or lower min", at="max", value=str(self.max))
        if self.memory_gib is not None and self.memory_gib <= self.system_reserved_gib:
            raise wrong(
                f"more than system_reserved_gib ({self.system_reserved_gib:g})",
                "raise memory_gib",
                at="memory_gib",
                value=f"{self.memory_gib:g}",
            )
        return self


_PRIVATE = tuple(IPv4Network(space) for space in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_BRIDGE = IPv4Network("172.30.0.0/22")
BASTION_NETWORK = 23
"""Prefix of the smallest network whose second public subnet (an eighth) holds the /26 of Azure Bastion."""


class Network(Keys):
    """Addresses. The cluster's network and the containers' network on each node must not overlap."""

    cidr: Cidr = key(
        "The cluster's network; every stack has its own.",
        example="10.88.0.0/24",
        immutable="every machine has its address in it",
    )
    bridge_cidr: Cidr = key(
        "Network of the containers inside each node (the same on every node).",
        default=lambda: _BRIDGE,
        example="172.30.0.0/22",
    )
    admin_cidrs: tuple[Cidr, ...] = key(
        "Networks from which admins may open SSH and metrics.",
        default=(),
        example=["192.0.2.0/24"],
        allowed="a list of networks",
    )
    bastion: bool = key(
        "A managed SSH gateway (Azure Bastion, about 210 USD a month), for admins without a network of their own; "
        "cloud: azure only.",
        default=False,
        allowed="true or false",
    )

    @model_validator(mode="after")
    def _room_for_a_bastion(self) -> Self:
        if self.bastion and self.cidr.prefixlen > BASTION_NETWORK:
            raise wrong(
                f"with bastion: true a network of /{BASTION_NETWORK} or larger: Azure Bastion has a /26 of its own",
                "write a network such as `10.20.0.0/16`, or `bastion: false`",
                at="cidr",
                value=str(self.cidr),
            )
        return self

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        for name in ("cidr", "bridge_cidr"):
            _private(name, getattr(self, name))
        if self.cidr.overlaps(self.bridge_cidr):
            raise wrong(
                f"a network that does not overlap network.cidr ({self.cidr})",
                f"choose another one, such as `bridge_cidr: {_BRIDGE if not self.cidr.overlaps(_BRIDGE) else '192.168.0.0/22'}`",
                at="bridge_cidr",
                value=str(self.bridge_cidr),
            )
        for index, network in enumerate(self.admin_cidrs):
            if network.prefixlen < 8:
                raise wrong(
                    "networks of people you know, /8 or smaller: never the whole internet",
                    "write your campus's or VPN's network, such as `192.0.2.0/24`",
                    at=f"admin_cidrs[{index}]",
                    value=str(network),
                )
        return self


def _private(name: str, network: IPv4Network) -> None:
    if not any(network.subnet_of(space) for space in _PRIVATE):
        raise wrong(
            "a part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10 (private addresses)",
            "choose a private network, such as `10.88.0.0/24`",
            at=name,
            value=str(network),
        )


_REPOSITORY = re.compile(
    r"s3:(https?://)?[a-z0-9][a-z0-9.:-]+/[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._/-]*)?"
    r"|azure:[a-z0-9](?:-?[a-z0-9])*:/[A-Za-z0-9._/-]*"
    r"|/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
)
"""What restic 0.14 gets at without another program; sftp would need a key and a known host on the hub VM."""


class Snapshots(Keys):
    """Copies of homes and hub state that stay when something is deleted by mistake."""

    keep_hourly: int = number("Hourly copies kept.", "copies", ge=0, le=1000, default=24)
    keep_daily: int = number("Daily copies kept.", "copies", ge=0, le=1000, default=14)
    keep_weekly: int = number("Weekly copies kept.", "copies", ge=0, le=1000, default=16)
    repository: Plain | None = key(
        "Where copies go (restic: s3:…, azure:… or a path on the hub's machines); default: the semester's own bucket, on this "
        "machine a folder beside the hub's state.",
        default=None,
        example="s3:https://s3.us-west-2.amazonaws.com/campus-backups/fa26",
        allowed="a restic repository without credentials in it: s3:…, azure:<container>:/… or an absolute path",
    )

    @model_validator(mode="after")
    def _a_repository_that_the_hub_can_use(self) -> Self:
        where = self.repository
        if where is None:
            return self
        if "@" in where or "?" in where:
            raise wrong(
                "a repository without credentials in it",
                "hand credentials over with `./hub backup.credentials`; they never stand in a stack file",
                at="repository",
                value="something with @ or ? in it",
            )
        if not _REPOSITORY.fullmatch(where) or ".." in where.split("/"):
            raise wrong(
                "s3:https://<host>/<bucket>/<folder>, azure:<container>:/<folder>, or an absolute path",
                "write one of these, such as `s3:https://s3.us-west-2.amazonaws.com/campus-backups/fa26`, or leave it out",
                at="repository",
                value=where,
            )
        return self


class Homes(Keys):
    """Students' files."""

    size_gib: float = number("Disk planned for one student.", "GiB", ge=0.1, le=10240, default=2.0)
    protect: bool = key("Refuse to delete the homes together with the semester.", default=True, allowed="true or false")
    snapshots: Snapshots = key(
        "Copies that are kept.", default=Snapshots, allowed="a mapping", example={"keep_daily": 14}
    )


class Budget(Keys):
    """What the semester may cost; `up` refuses a plan above it."""

    monthly_usd: float = number("Most that a month may cost.", "USD", ge=1, le=10_000_000, example=2500)
    alert_percent: tuple[int, ...] = key(
        "Shares of the budget at which the cloud warns the admins.",
        default=(50, 80, 100),
        allowed="a list of percentages from 1 to 200",
        example=[50, 80, 100],
    )

    @model_validator(mode="after")
    def _percentages(self) -> Self:
        for index, percent in enumerate(self.alert_percent):
            if not 1 <= percent <= 200:
                raise wrong(
                    "percentages from 1 to 200",
                    "write shares of the budget such as `[50, 80, 100]`",
                    at=f"alert_percent[{index}]",
                    value=str(percent),
                )
        return self


class Local(Keys):
    """This machine's ports (cloud: local). Every local stack has its own."""

    https_port: int = key(
        "Port of the hub on this machine.",
        default=8443,
        allowed="443, or a port from 1024 to 65535",
        unit="port",
        ge=1,
        le=65535,
    )
    registry_port: int = key(
        "Port of the semester's image registry on this machine.",
        default=5443,
        allowed="a port from 1024 to 65535",
        unit="port",
        ge=1024,
        le=65535,
    )
    bind_address: Address = key(
        "Address on which the hub answers; 0.0.0.0: everybody who reaches this machine.", default="127.0.0.1"
    )

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.https_port < 1024 and self.https_port != 443:
            raise wrong(
                "443, or a port from 1024 to 65535",
                "write a free port, such as `https_port: 8443`",
                at="https_port",
                value=str(self.https_port),
            )
        if self.https_port == self.registry_port:
            raise wrong(
                f"another port than local.https_port ({self.https_port})",
                "write another free port, such as `registry_port: 5443`",
                at="registry_port",
                value=str(self.registry_port),
            )
        return self
