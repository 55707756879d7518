"""The whole Azure program: tags, parents, outputs, calendar, alerts, in both orchestrators."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.azure.dns import relative
from components.azure.watch import budget_starts
from tests.components.azure.program import BOTH, program, run, semester

pytestmark = pytest.mark.unit

UNTAGGED = {
    "authorization.ManagementLockByScope",
    "authorization.RoleAssignment",
    "authorization.RoleDefinition",
    "consumption.Budget",
    "containerservice.MaintenanceConfiguration",
    "dataprotection.BackupPolicy",
    "dns.RecordSet",
    "network.Subnet",
    "storage.Blob",
    "storage.BlobContainer",
    "storage.BlobServiceProperties",
    "storage.FileServiceProperties",
    "storage.FileShare",
    "storage.ManagementPolicy",
}
"""Kinds that Azure cannot tag."""


@pytest.mark.parametrize("orchestrator", BOTH)
def test_everything_that_can_have_tags_has_all_of_them(orchestrator: str) -> None:
    made = program(orchestrator)
    wanted = {
        "semesterhub:stack": {"swarm": "sp16", "kubernetes": "fa26-azure"}[orchestrator],
        "semesterhub:semester": {"swarm": "Data 8 Spring 2016", "kubernetes": "Data Science Fall 2026 Azure"}[
            orchestrator
        ],
        "semesterhub:course": {"swarm": "data8", "kubernetes": "data8 data100 stat20 data140 cogsci88 legal88"}[
            orchestrator
        ],
        "semesterhub:managed-by": "pulumi",
        "cost-centre": "4711",
    }
    for entry in made.azure():
        if entry.kind in UNTAGGED:
            assert "tags" not in entry.inputs, entry.kind
        else:
            assert entry.inputs["tags"] == wanted, entry.name


@pytest.mark.parametrize("orchestrator", BOTH)
def test_every_resource_is_part_of_a_component_and_every_component_tells_something(orchestrator: str) -> None:
    made = program(orchestrator)
    components = made.components()
    urns = {entry.urn for entry in components.values()}
    assert all(entry.parent in urns for entry in made.azure())
    assert {entry.type.split(":")[1] for entry in components.values()} == {"azure"}
    for name, entry in components.items():
        assert made.registered_outputs[entry.urn], name


@pytest.mark.parametrize("orchestrator", BOTH)
def test_names_carry_the_stack_so_that_two_semesters_share_a_subscription(orchestrator: str) -> None:
    one = program(orchestrator)
    stack = {"swarm": "sp16", "kubernetes": "fa26-azure"}
    other = run(semester(stack[orchestrator]), stack="other")
    for entry in one.azure():
        twin = other.resources[entry.name]
        if entry.kind in {"dns.RecordSet", "authorization.ManagementLockByScope"}:
            continue
        assert entry.inputs != twin.inputs, entry.name


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_outputs_are_the_contract(orchestrator: str) -> None:
    made = program(orchestrator)
    wanted = {"hub_url", "hub_host", "admin_user", "node_group", "nodes", "homes", "images", "monthly_cost_usd"}
    assert wanted <= set(made.outputs) and not {"admin_password", "student_password"} & set(made.outputs)
    assert made.outputs["hub_url"] == f"https://{made.semester.domain}"
    assert made.outputs["homes"] == f"{made['homes-account']['accountName']}/homes"
    nodes = made.outputs["nodes"]
    assert nodes["min"] <= nodes["desired"] <= nodes["max"]
    assert made.outputs["images"]["student"].startswith("sha256:")
    assert made.outputs["monthly_cost_usd"]["total"] > 0
    assert not made.secret_outputs


def test_a_fallback_with_a_name_is_an_output() -> None:
    fallback = {"host": "hub0.example.edu", "ssh_key": "~/.ssh/id", "domain": "fallback.example.edu"}
    made = run(semester(fallback=fallback))
    assert made.outputs["fallback_url"] == "https://fallback.example.edu" and "hub-name" not in made.resources
    assert "fallback_url" not in program("swarm").outputs


def test_the_calendar_is_one_setting_of_at_most_twenty_profiles_within_the_limits() -> None:
    made = run(semester(term={"starts": "2027-01-19", "ends": "2027-05-13", "timezone": "America/Los_Angeles"}, courses=[
        {
            "id": "data8", "title": "D", "students": 480, "image": "student", "memory_guarantee_gib": 0.5, "memory_limit_gib": 2,
            "meetings": [{"days": ["mon", "wed", "fri"], "starts": "10:00", "ends": "11:00", "peak_concurrency": 0.7}],
            "exams": [{"title": "Final", "starts": "2027-05-12 08:00", "ends": "2027-05-12 11:00"}],
        }
    ]))  # fmt: skip
    setting = made["calendar"]
    profiles = setting["profiles"]
    assert setting["targetResourceUri"] == "/id/workers" and 3 <= len(profiles) <= 20
    assert profiles[-1]["name"] == "default" and "recurrence" not in profiles[-1]
    for profile in profiles:
        capacity = {key: int(value) for key, value in profile["capacity"].items()}
        assert 1 <= capacity["minimum"] == capacity["default"] <= capacity["maximum"] == 12
        assert [rule["scaleAction"]["direction"] for rule in profile["rules"]] == ["Increase", "Decrease"]
    weekly = [profile for profile in profiles if "recurrence" in profile]
    assert weekly and all(p["recurrence"]["schedule"]["timeZone"] == "Pacific Standard Time" for p in weekly)
    [exam] = [p for p in profiles if "fixedDate" in p and p["fixedDate"]["start"].startswith("2027-05-12")]
    assert exam["fixedDate"]["timeZone"] == "UTC" and int(exam["capacity"]["minimum"]) >= made.plan.workers.count - 1
    names = [profile["name"] for profile in profiles]
    assert len(set(names)) == len(names)


def test_more_nodes_come_when_memory_is_short_and_go_only_when_nearly_all_is_free() -> None:
    rules = program("swarm")["calendar"]["profiles"][-1]["rules"]
    memory = program("swarm").plan.workers.memory_gib * 2**30
    more, fewer = (rule["metricTrigger"] for rule in rules)
    assert (more["operator"], fewer["operator"]) == ("LessThan", "GreaterThan")
    assert more["threshold"] == round(0.12 * memory) and fewer["threshold"] == round(0.75 * memory)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_admins_hear_of_a_hub_that_is_down_full_homes_and_the_budget(orchestrator: str) -> None:
    made = program(orchestrator)
    alerts = made.of_kind("monitor.MetricAlert")
    assert set(alerts) == {"hub-down", "hub-memory", "hub-busy", "homes-full"}
    assert all(alert["actions"] == [{"actionGroupId": "/id/admins"}] for alert in alerts.values())
    [criterion] = alerts["homes-full"]["criteria"]["allOf"]
    assert criterion["threshold"] == round(0.85 * made["homes"]["shareQuota"] * 2**30)
    assert alerts["homes-full"]["scopes"] == ["/id/homes-account/fileServices/default"]
    assert made["admins"]["emailReceivers"][0]["emailAddress"] == "hub-admins@example.edu"
    budget = made["budget"]
    assert made.semester.budget and budget["amount"] == made.semester.budget.monthly_usd
    assert sorted(n["threshold"] for n in budget["notifications"].values()) == [50, 80, 100]
    assert budget["filter"]["tags"]["values"] == [made["group"]["tags"]["semesterhub:stack"]]
    assert made.resources["budget"].request.ignoreChanges == ["timePeriod"]


def test_without_a_budget_there_is_none() -> None:
    assert "budget" not in run(semester(budget=None)).resources


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)), st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_a_budget_begins_on_the_first_of_this_month_or_of_the_terms_within_a_year(term: date, today: date) -> None:
    begins = budget_starts(term, today)
    assert begins.day == 1 and today.replace(day=1) <= begins <= today + timedelta(days=366)
    if today.replace(day=1) <= term.replace(day=1) <= today + timedelta(days=300):
        assert begins == term.replace(day=1)


@pytest.mark.parametrize("orchestrator", BOTH)
def test_flow_logs_cover_the_whole_network(orchestrator: str) -> None:
    log = program(orchestrator)["flow-log"]
    assert (log["targetResourceId"], log["storageId"], log["enabled"]) == ("/id/vnet", "/id/operations-account", True)
    assert (log["networkWatcherName"], log["resourceGroupName"]) == ("NetworkWatcher_westus2", "NetworkWatcherRG")


def test_the_hubs_name_points_to_its_address() -> None:
    record = program("swarm")["hub-name"]
    assert (record["resourceGroupName"], record["zoneName"], record["recordType"]) == ("campus-dns", "example.edu", "A")
    assert record["relativeRecordSetName"] == "hub-sp16" and record["aRecords"][0]["ipv4Address"]


def test_a_name_in_a_zone() -> None:
    assert relative("hub.example.edu", "example.edu") == "hub" and relative("example.edu", "example.edu") == "@"


def test_the_azure_program_imports_no_other_cloud() -> None:
    code = (
        "import sys, importlib\nimportlib.import_module('components.azure')\n"
        "print([m for m in sys.modules if m.startswith(('pulumi_aws', 'boto', 'azure.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
