"""The parts of a semester: term, courses, hub, nodes, network, homes, budget, and this machine's ports."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from components.semester_errors import listing, nearest, wrong
from components.semester_types import (
    Address,
    Cidr,
    Day,
    GitRepo,
    Image,
    Keys,
    Moment,
    Plain,
    RelativePath,
    Slug,
    TimeOfDay,
    Timezone,
    Title,
    Username,
    key,
    number,
)

CATALOGUE = Path(__file__).resolve().parent.parent / "hubconfig" / "images"
SYSTEM_IMAGES = frozenset({"machine", "hub", "proxy", "edge"})
"""Images that the cluster itself runs on; no course may choose them."""

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def course_images() -> list[str]:
    """Names a course may write as its image: the folders of hubconfig/images that are not the cluster's own."""
    return sorted(file.parent.name for file in CATALOGUE.glob("*/Dockerfile") if file.parent.name not in SYSTEM_IMAGES)


class Term(Keys):
    """When the semester runs."""

    starts: Day = key("First day of the semester.", example="2026-08-26", allowed="a day as YYYY-MM-DD")
    ends: Day = key("Last day of the semester.", example="2026-12-18", allowed="a day as YYYY-MM-DD")
    timezone: Timezone = key("The time zone of all times in this file.", example="America/Los_Angeles")

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(f"a day after term.starts ({self.starts})", "correct the two days", at="ends", value=str(self.ends))
        if (self.ends - self.starts).days > 370:
            raise wrong(
                f"a day within 370 days of term.starts ({self.starts})",
                "one stack is one semester: make another stack with `./hub semester.new` for the next one",
                at="ends", value=str(self.ends),
            )  # fmt: skip
        return self


class Content(Keys):
    """A git repository whose files every student of the course gets."""

    repo: GitRepo = key("Address of the repository.", example="https://github.com/data-8/materials-fa26")
    ref: Plain = key("Branch, tag or commit.", default="main", allowed="a branch, tag or commit as text")
    path: RelativePath | None = key(
        "Folder below the student's home; default: the repository's name.",
        default=None, example="materials-fa26", allowed="a path below the home folder",
    )  # fmt: skip


class Meeting(Keys):
    """A weekly meeting: capacity is there before it begins."""

    days: tuple[Weekday, ...] = key("Days of the week.", example=["mon", "wed", "fri"], allowed="a list of mon … sun", min_length=1)
    starts: TimeOfDay = key("Begin, in the term's time zone.", example='"10:00"')
    ends: TimeOfDay = key("End, in the term's time zone.", example='"11:00"')

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(
                f"a time after starts ({self.starts:%H:%M}) on the same day", "correct the two times",
                at="ends", value=f"{self.ends:%H:%M}",
            )  # fmt: skip
        return self


class Exam(Keys):
    """A single date on which (nearly) everybody works at once."""

    title: Title = key("Its name.", example="Midterm")
    starts: Moment = key("Begin, in the term's time zone.", example='"2026-10-16 19:00"')
    ends: Moment = key("End, in the term's time zone.", example='"2026-10-16 21:00"')
    peak_concurrency: float = number(
        "Share of the course that works at the same moment.", "fraction", ge=0.01, le=1, default=1.0
    )

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends <= self.starts:
            raise wrong(f"a moment after starts ({self.starts:%Y-%m-%d %H:%M})", "correct the two", at="ends")
        return self


class Course(Keys):
    """One course: who comes, in which image, with how much of a machine."""

    id: Slug = key("Short name, used in groups and links.", example="data8")
    title: Title = key("Name that students see.", example="Foundations of Data Science")
    students: int = key(
        "Class size: how many students are enrolled.",
        example=480, allowed="a whole number of students from 1 to 5000", unit="students", ge=1, le=5000,
    )  # fmt: skip
    image: Image = key(
        "What students' servers run: a folder of hubconfig/images, or a reference pinned by digest.", default="student"
    )
    content: tuple[Content, ...] = key(
        "Repositories that students receive.", default=(), allowed="a list of mappings with `repo`",
        example=[{"repo": "https://github.com/data-8/materials-fa26"}],
    )  # fmt: skip
    instructors: tuple[Username, ...] = key("Who teaches.", default=(), allowed="a list of user names", example=["ada"])
    cpu_guarantee: float = number(
        "CPU that each server is promised. A notebook idles most of the time; 0.05 is enough for 20 to share one core.",
        "cores", ge=0, le=64, default=0.05,
    )  # fmt: skip
    cpu_limit: float = number("CPU that one server may use at most.", "cores", ge=0.05, le=64, default=2.0)
    memory_guarantee_gib: float = number(
        "Memory that each server is promised, and what the plan counts with. One server with one kernel was measured at "
        "146 MB; 0.25 leaves room for a small table.",
        "GiB", ge=0.0625, le=512, default=0.25, example=0.25,
    )  # fmt: skip
    memory_limit_gib: float = number(
        "Memory at which the kernel ends a student's processes.", "GiB", ge=0.125, le=512, default=1.0, example=2
    )
    peak_concurrency: float = number(
        "Share of the class that works at the same moment. 1 is an exam; lectures saw less.",
        "fraction", ge=0.01, le=1, default=1.0,
    )  # fmt: skip
    meetings: tuple[Meeting, ...] = key(
        "Weekly meetings.", default=(), allowed="a list of mappings with days, starts, ends",
        example=[{"days": ["mon", "wed"], "starts": '"10:00"', "ends": '"11:00"'}],
    )  # fmt: skip
    exams: tuple[Exam, ...] = key(
        "Exams.", default=(), allowed="a list of mappings with title, starts, ends",
        example=[{"title": "Midterm", "starts": '"2026-10-16 19:00"', "ends": '"2026-10-16 21:00"'}],
    )  # fmt: skip
    calendar: RelativePath | None = key(
        "An iCal file in this repository with more meetings and exams.", default=None, example="stacks/data8.ics",
        allowed="a path in the repository",
    )  # fmt: skip
    default_url: str = key(
        "Page that opens in a student's server.", default="/lab", allowed="a path beginning with /", pattern=r"^/\S*$"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.memory_guarantee_gib > self.memory_limit_gib:
            raise wrong(
                f"at least memory_guarantee_gib ({self.memory_guarantee_gib:g})",
                "raise the limit or lower the guarantee: a server is promised no more than it may use",
                at="memory_limit_gib", value=f"{self.memory_limit_gib:g}",
            )  # fmt: skip
        if self.cpu_guarantee > self.cpu_limit:
            raise wrong(
                f"at least cpu_guarantee ({self.cpu_guarantee:g})", "raise the limit or lower the guarantee",
                at="cpu_limit", value=f"{self.cpu_limit:g}",
            )  # fmt: skip
        if "@" not in self.image and (known := course_images()) and self.image not in known:
            meant = nearest(self.image, known)
            raise wrong(
                f"a folder of hubconfig/images for courses ({listing(known)}), or a reference pinned by digest",
                f"did you mean `image: {meant}`" if meant else f"write `image: {known[0]}`, or add the folder",
                at="image",
            )
        return self


class HubOptions(Keys):
    """How the hub admits, keeps and ends students' servers."""

    concurrent_starts: int = number("Servers that start at once; 0: as many as the nodes can.", "starts", ge=0, le=1000, default=0)
    concurrent_starts_per_node: int = number("Servers that start at once on one node.", "starts", ge=1, le=64, default=4)
    start_timeout_s: int = number("Longest time from leaving the queue to a server that answers.", "s", ge=10, le=3600, default=300)
    queue_timeout_s: int = number("Longest wait in the queue.", "s", ge=10, le=86400, default=3600)
    idle_timeout_s: int = number("A server without activity for this long is stopped; files stay.", "s", ge=60, le=604800, default=3600)
    cull_every_s: int = number("How often idle servers are looked for.", "s", ge=5, le=86400, default=300)
    max_age_s: int = number("Stop servers older than this even when used; 0: never.", "s", ge=0, le=2592000, default=0)
    acme_email: Plain | None = key(
        "Address for the certificate authority's warnings (public domains).", default=None,
        example="hub-admins@example.edu", allowed="an e-mail address",
    )  # fmt: skip

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.cull_every_s > self.idle_timeout_s:
            raise wrong(
                f"at most idle_timeout_s ({self.idle_timeout_s})", "look at least once within the idle time",
                at="cull_every_s", value=str(self.cull_every_s),
            )  # fmt: skip
        if 0 < self.max_age_s < self.idle_timeout_s:
            raise wrong(
                f"0 (never) or at least idle_timeout_s ({self.idle_timeout_s})", "raise max_age_s or write 0",
                at="max_age_s", value=str(self.max_age_s),
            )  # fmt: skip
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
        default=None, example="r6i.2xlarge", allowed="a machine type of the plan's table",
    )  # fmt: skip
    vcpus: int | None = number("Cores of a worker (cloud: local).", "cores", ge=1, le=448, default=None, example=2)
    memory_gib: float | None = number("Memory of a worker (cloud: local).", "GiB", ge=1, le=24576, default=None, example=6)
    system_reserved_gib: float = number(
        "Memory of a worker kept for its system, Docker and caches.", "GiB", ge=0.25, le=64, default=0.75, example=0.75
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
                f"more than system_reserved_gib ({self.system_reserved_gib:g})", "raise memory_gib",
                at="memory_gib", value=f"{self.memory_gib:g}",
            )  # fmt: skip
        return self


_PRIVATE = tuple(IPv4Network(space) for space in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_BRIDGE = IPv4Network("172.30.0.0/22")


class Network(Keys):
    """Addresses. The cluster's network and the containers' network on each node must not overlap."""

    cidr: Cidr = key(
        "The cluster's network; every stack has its own.", example="10.88.0.0/24",
        immutable="every machine has its address in it",
    )  # fmt: skip
    bridge_cidr: Cidr = key(
        "Network of the containers inside each node (the same on every node).", default=lambda: _BRIDGE,
        example="172.30.0.0/22",
    )  # fmt: skip
    admin_cidrs: tuple[Cidr, ...] = key(
        "Networks from which admins may open SSH and metrics.", default=(), example=["192.0.2.0/24"],
        allowed="a list of networks",
    )  # fmt: skip

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        for name in ("cidr", "bridge_cidr"):
            _private(name, getattr(self, name))
        if self.cidr.overlaps(self.bridge_cidr):
            raise wrong(
                f"a network that does not overlap network.cidr ({self.cidr})",
                f"choose another one, such as `bridge_cidr: {_BRIDGE if not self.cidr.overlaps(_BRIDGE) else '192.168.0.0/22'}`",
                at="bridge_cidr", value=str(self.bridge_cidr),
            )  # fmt: skip
        for index, network in enumerate(self.admin_cidrs):
            if network.prefixlen < 8:
                raise wrong(
                    "networks of people you know, /8 or smaller: never the whole internet",
                    "write your campus's or VPN's network, such as `192.0.2.0/24`",
                    at=f"admin_cidrs[{index}]", value=str(network),
                )  # fmt: skip
        return self


def _private(name: str, network: IPv4Network) -> None:
    if not any(network.subnet_of(space) for space in _PRIVATE):
        raise wrong(
            "a part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10 (private addresses)",
            "choose a private network, such as `10.88.0.0/24`",
            at=name, value=str(network),
        )  # fmt: skip


class Snapshots(Keys):
    """Copies of homes and hub state that stay when something is deleted by mistake."""

    keep_hourly: int = number("Hourly copies kept.", "copies", ge=0, le=1000, default=24)
    keep_daily: int = number("Daily copies kept.", "copies", ge=0, le=1000, default=14)
    keep_weekly: int = number("Weekly copies kept.", "copies", ge=0, le=1000, default=16)
    repository: Plain | None = key(
        "Where copies go (restic: s3:…, azure:…, sftp:… or a path); default: the semester's own bucket.",
        default=None, example="s3:s3.amazonaws.com/campus-backups/fa26", allowed="a restic repository without credentials in it",
    )  # fmt: skip


class Homes(Keys):
    """Students' files."""

    size_gib: float = number("Disk planned for one student.", "GiB", ge=0.1, le=10240, default=2.0)
    protect: bool = key("Refuse to delete the homes together with the semester.", default=True, allowed="true or false")
    snapshots: Snapshots = key("Copies that are kept.", default=Snapshots, allowed="a mapping", example={"keep_daily": 14})


class Budget(Keys):
    """What the semester may cost; `up` refuses a plan above it."""

    monthly_usd: float = number("Most that a month may cost.", "USD", ge=1, le=10_000_000, example=2500)
    alert_percent: tuple[int, ...] = key(
        "Shares of the budget at which the cloud warns the admins.", default=(50, 80, 100),
        allowed="a list of percentages from 1 to 200", example=[50, 80, 100],
    )  # fmt: skip

    @model_validator(mode="after")
    def _percentages(self) -> Self:
        for index, percent in enumerate(self.alert_percent):
            if not 1 <= percent <= 200:
                raise wrong(
                    "percentages from 1 to 200", "write shares of the budget such as `[50, 80, 100]`",
                    at=f"alert_percent[{index}]", value=str(percent),
                )  # fmt: skip
        return self


class Local(Keys):
    """This machine's ports (cloud: local). Every local stack has its own."""

    https_port: int = key(
        "Port of the hub on this machine.", default=8443, allowed="443, or a port from 1024 to 65535", unit="(port)", ge=1, le=65535
    )
    registry_port: int = key(
        "Port of the semester's image registry on this machine.", default=5443,
        allowed="a port from 1024 to 65535", unit="(port)", ge=1024, le=65535,
    )  # fmt: skip
    bind_address: Address = key("Address on which the hub answers; 0.0.0.0: everybody who reaches this machine.", default="127.0.0.1")

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.https_port < 1024 and self.https_port != 443:
            raise wrong("443, or a port from 1024 to 65535", "write a free port, such as `https_port: 8443`", at="https_port", value=str(self.https_port))
        if self.https_port == self.registry_port:
            raise wrong(
                f"another port than local.https_port ({self.https_port})", "write another free port, such as `registry_port: 5443`",
                at="registry_port", value=str(self.registry_port),
            )  # fmt: skip
        return self
