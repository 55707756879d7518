"""Typical changes of a running semester: the preview says exactly what is updated, replaced or deleted for each, and a
change that would lose homes is refused with the way to do it safely."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.semester import Semester, load_stack_file
from operations import planning, setup
from operations.engine import Pulumi, Result
from operations.errors import UserError
from operations.paths import ROOT
from tests.sandbox.offline import Offline

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

PROGRAM = ("components", "hubconfig", "providers", "stacks", "Pulumi.yaml", "__main__.py")
REPLACED = frozenset({"replace", "create-replacement", "delete-replaced"})
TAGGED_AT_LEAST = 20
"""A change of a tag touches everything that has tags; fewer means that some have none."""

Edit = Callable[[dict[str, Any]], None]


def to(path: str, value: Any) -> Edit:
    """Another value for a key of the stack file; None takes it out."""

    def edit(config: dict[str, Any]) -> None:
        first, *rest = path.split(".")
        names: list[Any] = [f"semesterhub:{first}", *(int(name) if name.isdigit() else name for name in rest)]
        place: Any = config
        for name in names[:-1]:
            place = place[name]
        if value is None:
            del place[names[-1]]
        else:
            place[names[-1]] = value

    return edit


def course_added(config: dict[str, Any]) -> None:
    course = {"id": "ds100", "title": "Principles of Data Science", "students": 5, "image": "student"}
    config["semesterhub:courses"].append(course)


def course_removed(config: dict[str, Any]) -> None:
    config["semesterhub:courses"].pop()


def no_fallback(config: dict[str, Any]) -> None:
    del config["semesterhub:fallback"]


DEARER = to("budget.monthly_usd", 9000)
RICHER = to("budget", {"monthly_usd": 5000})
DIGEST: list[Edit] = []
"""Stands for another digest of the student image in stacks/images.lock.yaml."""
BUNDLE_AZURE, BUNDLE_AWS = {"Blob bundle": "update"}, {"BucketObjectv2 bundle": "update"}
CALENDAR = {"Schedule *": "changed"}
# A template's next version is not known before (the official provider says so even where only its own tags change), and a
# node group follows the version; the same version again changes nothing.
POOLS = {"NodeGroup students": "update", "NodeGroup system": "update"}
SHARE = {"FileShare homes": "update", "MetricAlert homes-full": "update"}
WORKERS = {"VirtualMachineScaleSet workers": "update", "AutoscaleSetting calendar": "update", "Budget budget": "update"}

# Each once: where two stacks would show the same, one does.
CHANGES: dict[str, dict[str, tuple[list[Edit], dict[str, str], bool]]] = {
    # change -> (edits, resource -> what happens to it besides tags, whether the tags of everything change)
    "sp16": {
        "nothing": ([], {}, False),
        "title": ([to("title", "Data 8, again")], BUNDLE_AZURE, True),
        "a larger class": ([to("courses.0.students", 600), RICHER], {**SHARE, **WORKERS}, False),
        "machine type": ([to("nodes.instance_type", "Standard_E16as_v5"), RICHER], WORKERS, False),
        "more memory a student": (
            [to("courses.0.memory_guarantee_gib", 1), RICHER],
            {**WORKERS, **BUNDLE_AZURE},
            False,
        ),
        "class an hour earlier": (
            [to("courses.0.meetings.0.starts", "09:00")],
            {"AutoscaleSetting calendar": "update"},
            False,
        ),
        "larger hub": (
            [to("nodes.hub_vcpus", 4), to("nodes.hub_memory_gib", 16)],
            {"VirtualMachine hub-vm": "update", "MetricAlert hub-memory": "update"},
            False,
        ),
        "another campus network": (
            [to("network.admin_cidrs", ["198.51.100.0/24"])],
            {"NetworkSecurityGroup hub-nsg": "update"},
            False,
        ),
        "course added": ([course_added, RICHER], {**BUNDLE_AZURE, **SHARE, "Budget budget": "update"}, True),
        "larger homes": ([to("homes.size_gib", 4)], SHARE, False),
        "domain": (
            [to("domain", "jupyter.example.edu")],
            {"RecordSet hub-name": "replace", **BUNDLE_AZURE},
            False,
        ),
        "budget": ([to("budget.monthly_usd", 2000)], {"Budget budget": "update"}, False),
        "no fallback": ([no_fallback], {"RecordSet hub-name": "delete", **BUNDLE_AZURE}, False),
        "idle time": ([to("hub.idle_timeout_s", 7200)], BUNDLE_AZURE, False),
    },
    "fa16": {
        "nothing": ([], {}, False),
        "machine type": (
            [to("nodes.instance_type", "r6i.4xlarge")],
            {"LaunchTemplate nodes": "update", "Group nodes": "update"},
            False,
        ),
        "more nodes allowed": ([to("nodes.max", 16)], {"Group nodes": "update"}, False),
        "larger hub": ([to("nodes.hub_vcpus", 4), to("nodes.hub_memory_gib", 16)], {"Instance hub": "update"}, False),
        "another campus network": (
            [to("network.admin_cidrs", ["198.51.100.0/24"])],
            {
                "SecurityGroupIngressRule hub-ssh-198.51.100.0-24": "create",
                "SecurityGroupIngressRule hub-ssh-192.0.2.0-24": "delete",
            },
            False,
        ),
        "course removed": ([course_removed], {**BUNDLE_AWS, "Group nodes": "update"}, True),
        "larger homes": ([to("homes.size_gib", 4)], {}, False),  # EFS has no size
        "domain": (
            [to("domain", "jupyter.example.edu")],
            {"Record hub": "replace", "HealthCheck hub": "update", **BUNDLE_AWS},
            False,
        ),
        "budget": ([RICHER], {"Budget monthly": "create"}, False),
        "no fallback": ([no_fallback], {"Record hub": "replace", "Zone zone": "create", **BUNDLE_AWS}, False),
        "more nodes at least": ([to("nodes.min", 2)], {"Group nodes": "update"}, False),
    },
    "fa26": {
        "nothing": ([], {}, False),
        "a larger class": (
            [to("courses.0.students", 700), DEARER],
            {**CALENDAR, "Budget monthly": "update"},
            False,
        ),
        # EKS has no other machines in the same group: the next one stands before the old one drains, and the calendar is its own.
        "machine type": (
            [to("nodes.instance_type", "r6i.8xlarge"), DEARER],
            {"NodeGroup students": "replace", **CALENDAR, "Budget monthly": "update"},
            False,
        ),
        "image digest": (DIGEST, BUNDLE_AWS, False),
        "course added": ([course_added], {**BUNDLE_AWS, **POOLS, **CALENDAR}, True),
        "cost centre": ([to("tags.cost-centre", "4712")], POOLS, True),
    },
    "fa26-azure": {
        "nothing": ([], {}, False),
        "a larger class": (
            [to("courses.0.students", 700), DEARER],
            {**SHARE, **BUNDLE_AZURE, "Budget budget": "update"},
            False,
        ),
        # Another size is another pool: the hub's placeholders bring its nodes before a class.
        "machine type": (
            [to("nodes.instance_type", "Standard_E32as_v5"), DEARER],
            {"AgentPool students": "replace", **BUNDLE_AZURE, "Budget budget": "update"},
            False,
        ),
        "image digest": (DIGEST, BUNDLE_AZURE, False),
        "cost centre": ([to("tags.cost-centre", "4712")], {}, True),
    },
}


class Running:
    """A stack that is up, and a copy of the program that may be changed."""

    def __init__(self, life: Offline, session: Any) -> None:
        self.life = life
        self.folder = life.root / "program"
        self.folder.mkdir()
        for name in PROGRAM:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.folder / name)
        self.file = self.folder / "stacks" / f"Pulumi.{life.stack}.yaml"
        self.lock = self.folder / "stacks" / "images.lock.yaml"
        own = {**session.place.environment, "PYTHONPATH": str(self.folder)}
        place = dataclasses.replace(session.place, program_dir=self.folder, environment=own)
        self.engine = Pulumi(life.stack, setup.pulumi().folder, place=place)

    def write(self, edits: list[Edit]) -> Semester:
        """Lay down the stack file with the edits; the semester that it says then."""
        for path in (self.file, self.lock):
            shutil.copy(ROOT / "stacks" / path.name, path)
        document = yaml.safe_load(self.file.read_text("utf-8"))
        for edit in edits:
            edit(document["config"])
        self.file.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        if edits is DIGEST:
            images = yaml.safe_load(self.lock.read_text("utf-8"))
            images["student"]["digest"] = "sha256:" + "ab" * 32
            self.lock.write_text(yaml.safe_dump(images), "utf-8")
        return load_stack_file(self.file)

    def preview(self, edits: list[Edit]) -> Result:
        self.write(edits)
        with redirect_stdout(io.StringIO()):
            return self.engine.run("preview", refresh=False)

    def refusal(self, edits: list[Edit]) -> str:
        """What `up` and `preview` of the changed stack say when they refuse it."""
        semester = self.write(edits)
        with redirect_stdout(io.StringIO()), pytest.raises(UserError) as refused:
            _, _, verdicts = planning.plan(self.engine, semester)
            planning.refuse_broken(self.life.stack, verdicts)
        return str(refused.value)


@pytest.fixture(scope="module")
def running(brought_up: Callable[[str], Offline]) -> Iterator[Callable[[str], Running]]:
    made: dict[str, Running] = {}
    with contextlib.ExitStack() as stay:

        def get(stack: str) -> Running:
            if stack not in made:
                life = brought_up(stack)
                made[stack] = Running(life, stay.enter_context(life.session()))
            return made[stack]

        yield get


def planned(result: Result) -> tuple[dict[str, str], int]:
    """What happens to each resource besides tags, and how many have only their tags changed."""
    rest: dict[str, str] = {}
    tagged = 0
    for resource in result.resources:
        if not resource.custom or resource.op in {"same", "read", "refresh"}:
            continue
        if resource.op == "update" and resource.diffs and all("tag" in path.lower() for path in resource.diffs):
            tagged += 1
            continue
        if resource.label.startswith("Schedule "):  # of many, and named for their days: what counts is that they follow
            rest |= CALENDAR
            continue
        rest[resource.label] = "replace" if resource.op in REPLACED else resource.op
    return rest, tagged


@pytest.mark.parametrize(
    ("stack", "change"), [(stack, change) for stack, changes in CHANGES.items() for change in changes]
)
def test_a_preview_says_exactly_what_a_change_does(running: Callable[[str], Running], stack: str, change: str) -> None:
    edits, expected, tags = CHANGES[stack][change]
    rest, tagged = planned(running(stack).preview(edits))
    assert rest == expected
    assert tagged >= TAGGED_AT_LEAST if tags else tagged == 0


ELSEWHERE = {
    "sp16": {"region": "eastus", "account": "00000000-0000-4000-8000-000000000099"},
    "fa16": {"region": "us-east-1", "account": "210987654321"},
}


@pytest.mark.parametrize("stack", ELSEWHERE)
@pytest.mark.parametrize("key", ["region", "account", "orchestrator", "network.cidr"])
def test_a_move_of_a_running_semester_is_refused_with_the_way_to_do_it(
    running: Callable[[str], Running], stack: str, key: str
) -> None:
    value = {**ELSEWHERE[stack], "orchestrator": "kubernetes", "network.cidr": "10.40.0.0/16"}[key]
    said = running(stack).refusal([to(key, value)])
    assert f"semesterhub:{key} cannot change from" in said and f"to {value}: " in said and "nothing was touched" in said
    assert key == "network.cidr" or "./hub semester.new" in said


@pytest.mark.parametrize("stack", ELSEWHERE)
def test_homes_without_protection_are_refused(running: Callable[[str], Running], stack: str) -> None:
    said = running(stack).refusal([to("homes.protect", False)])
    assert "homes-protected" in said and "semesterhub:homes.protect: true" in said


AZURE_HOMES = (Path("components/azure/storage.py"), 'SHARE = "homes"', 'SHARE = "homework"')
AWS_HOMES = (Path("components/aws/storage.py"), "encrypted=True,", "encrypted=False,")
HOMES = {"sp16": AZURE_HOMES, "fa16": AWS_HOMES, "fa26": AWS_HOMES, "fa26-azure": AZURE_HOMES}
"""A line of the program that decides which share or file system the homes are."""


@pytest.mark.parametrize("stack", HOMES)
def test_a_program_that_would_replace_the_homes_is_refused_with_the_way_to_do_it(
    running: Callable[[str], Running], stack: str
) -> None:
    here = running(stack)
    path, line, other = HOMES[stack]
    text = (here.folder / path).read_text("utf-8")
    assert text.count(line) >= 1
    try:
        (here.folder / path).write_text(text.replace(line, other, 1), "utf-8")
        said = here.refusal([])
    finally:
        (here.folder / path).write_text(text, "utf-8")
    assert "Homes are never moved by a change of the stack" in said and "./hub semester.new" in said
