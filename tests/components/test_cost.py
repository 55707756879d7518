"""A month's cost: two semesters computed by hand, months by the calendar, a budget that refuses."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from components.cost import Cost, dearest_month, exported, monthly_cost, within_budget
from components.demand import timeline
from components.plan import plan
from components.plan_nodes import INSTANCE_TYPES
from components.prices import table
from components.semester import Semester, SemesterError, load_stack_file
from components.semester_parts import Budget

pytestmark = pytest.mark.unit

# By hand, from the stack files and the clouds' list prices.
#
# fa16 (AWS): October 2016 has 744 h. Workers of r6i.2xlarge hold 126 servers of 0.5 GiB. Outside class 10 % of 480
# students fit one; with the spare one 2 stand. A lecture (10:00 to 11:00, 20 min before, 75 min after: 155 min) of 70 % of
# 400 = 280 with 8 of the connector at home needs 4; on Wednesdays the connector (80 x 1 GiB) makes it 5, and 3 for another
# 60 min. The midterm on the 7th (19:00 to 21:00: 215 min) needs 5.
#   5 Mondays + 4 Fridays: 9 x 155/60 h x 2 more = 46.50
#   4 Wednesdays: 4 x (155/60 h x 3 + 1 h x 1)   = 35.00
#   midterm: 215/60 h x 3                        = 10.75
#   744 h x 2                                    = 1488.00      together 1580.25 h
FA16_NODE_HOURS = 1580.25
FA16_USD = (
    1580.25 * 0.504  # workers
    + 730 * 0.096  # hub VM, m6i.large
    + (1580.25 / 730 * 80 + 90) * 0.08  # gp3: 80 GiB a worker, 30 + 60 GiB the hub
    + 960 * 0.30 + 960 * 0.03 + 480 * 0.06 + 1440 * 0.05  # EFS: 480 x 2 GiB, 2 read, 1 written; copies 1.5 times
    + 1440 * 0.023  # copies in the bucket
    + 730 * 0.045 + 480 * 0.045  # NAT: hours, 1 GiB a student
    + 2 * 730 * 0.005  # two public addresses
    + 240 * 0.09  # 0.5 GiB a student to the internet
    + 20 * 0.50 + 10 * 0.10  # logs, alarms
    + 5 * 2 * 730 * 0.01  # five interface endpoints in two zones
    + 20 * 0.023 + 20 * 0.10 + 1 + 1.50  # bucket, images, key, health check
)  # fmt: skip

# sp16 (Azure): March 2016 has 743 h (the clock goes forward on the 13th); recess from the 21st to the 25th. Workers of
# E8as_v5 hold 126 servers. Outside class 48 students: 1 + 1 spare. Lectures of 70 % (336): 3 + 1, labs of 40 % (192): 2 + 1,
# from 8:40 to 18:15. The midterm on the 4th (480) falls into a lecture: 4 + 1.
#   3 Mondays + 4 Wednesdays + 3 Fridays: 10 x 155/60 h x 2 more = 51.6667
#   4 Tuesdays + 4 Thursdays: 8 x 575/60 h x 1                   = 76.6667
#   midterm: 155/60 h x 1                                        = 2.5833
#   743 h x 2                                                    = 1486.0000      together 1616.9167 h
SP16_NODE_HOURS = 1616.9167
SP16_USD = (
    1616.9167 * 0.452  # workers
    + 730 * 0.086  # hub VM, D2as_v5
    + 1616.9167 / 730 * 19.71 + 5.28 + 10.21  # premium SSD: P10 a worker, P4 and P6 the hub
    + 960 * 0.20 + 480 * 0.17 + 1440 * 0.023  # Azure Files (ZRS), snapshots, copies in blobs
    + 730 * 0.045 + 480 * 0.045 + 2 * 730 * 0.005  # NAT, addresses
    + 240 * 0.087  # to the internet
    + 20 * 0.50 + 10 * 0.10  # logs, alarms
    + 730 / 24 * 0.667  # Container Registry
)  # fmt: skip


def stack(repository: Path, name: str) -> Semester:
    return load_stack_file(repository / "stacks" / f"Pulumi.{name}.yaml")


def cost(semester: Semester) -> Cost:
    return monthly_cost(semester, plan(semester))


@pytest.mark.parametrize(
    ("name", "month", "node_hours", "usd"),
    [("fa16", "2016-10", FA16_NODE_HOURS, FA16_USD), ("sp16", "2016-03", SP16_NODE_HOURS, SP16_USD)],
)
def test_a_semester_costs_what_it_does_by_hand(
    name: str, month: str, node_hours: float, usd: float, repository: Path
) -> None:
    found = cost(stack(repository, name))
    assert found.month == month
    assert float(found.lines[0].quantity) == pytest.approx(node_hours, rel=1e-6)
    assert float(found.total_usd) == pytest.approx(usd, rel=0.01)


def test_the_total_is_the_sum_of_its_lines(repository: Path) -> None:
    found = cost(stack(repository, "fa26"))
    assert found.total_usd == pytest.approx(sum(line.usd for line in found.lines), abs=Decimal("0.005"))
    assert found.per_student_hour_usd * found.student_hours == pytest.approx(found.total_usd)


def test_kubernetes_pays_for_its_control_plane_and_system_nodes(repository: Path) -> None:
    semester = stack(repository, "fa26-azure")
    names = {line.resource for line in cost(semester).lines}
    assert {"Kubernetes control plane", "system nodes, Standard_D2as_v5"} <= names
    assert "Kubernetes control plane" not in {line.resource for line in cost(stack(repository, "sp16")).lines}


def test_days_outside_the_term_count_with_the_fewest_nodes(repository: Path) -> None:
    semester = stack(repository, "sp16")
    only_may = semester.model_copy(
        update={"term": semester.term.model_copy(update={"starts": semester.term.ends.replace(day=2)})}
    )
    line = timeline(only_may, plan(only_may), ())
    month, node_hours, _ = dearest_month(only_may, line)
    # 12 days of the term with 2 workers (3 of them would be for class), 19 other days with nodes.min: 1.
    assert (month, node_hours) == ("2016-05", Decimal(12 * 24 * 2 + 19 * 24))


def test_a_larger_class_costs_more_and_a_calendar_less(repository: Path) -> None:
    semester = stack(repository, "fa16")
    without = semester.model_copy(
        update={"courses": tuple(c.model_copy(update={"meetings": (), "exams": ()}) for c in semester.courses)}
    )
    assert cost(without).total_usd > cost(semester).total_usd
    larger = semester.courses[0].model_copy(update={"students": 480})
    assert (
        cost(semester.model_copy(update={"courses": (larger, *semester.courses[1:])})).total_usd
        > cost(semester).total_usd
    )


def test_a_budget_above_the_cost_is_kept_and_one_below_refuses(repository: Path) -> None:
    semester = stack(repository, "fa16")
    found = cost(semester)
    within_budget(semester, found)
    at_the_edge = float(found.total_usd)
    within_budget(semester.model_copy(update={"budget": Budget(monthly_usd=at_the_edge)}), found)
    with pytest.raises(
        SemesterError, match=r"budget.monthly_usd is 1,000.00[\s\S]*1,510.\d\d[\s\S]*workers, r6i.2xlarge"
    ):
        within_budget(semester.model_copy(update={"budget": Budget(monthly_usd=1000)}), found)


@pytest.mark.parametrize("name", ["sp16", "fa26", "fa26-azure"])
def test_the_committed_budgets_are_enough(name: str, repository: Path) -> None:
    semester = stack(repository, name)
    assert semester.budget is not None
    within_budget(semester, cost(semester))


def test_this_machine_costs_nothing(repository: Path) -> None:
    found = cost(stack(repository, "demo"))
    assert (found.total_usd, found.lines, found.per_student_hour_usd) == (Decimal(0), (), Decimal(0))


def test_another_region_is_said_to_be_an_estimate(repository: Path) -> None:
    elsewhere = stack(repository, "fa16").model_copy(update={"region": "eu-central-1"})
    found = cost(elsewhere)
    assert (found.exact_region, found.region) == (False, "us-west-2")
    assert cost(stack(repository, "fa16")).exact_region


def test_the_output_is_plain_data(repository: Path) -> None:
    found = cost(stack(repository, "fa16"))
    assert exported(found) == {"total": float(found.total_usd), "as_of": found.as_of.isoformat()}


@pytest.mark.parametrize(("cloud", "region"), [("aws", "us-west-2"), ("azure", "westus2")])
def test_every_machine_of_the_plan_has_a_price(cloud: str, region: str) -> None:
    prices = table(cloud, region)
    found = [prices[f"machine_hour.{size.name}"] for size in INSTANCE_TYPES[cloud]]
    assert all(price > 0 for price in found)
    assert prices.sources and all(source.startswith("https://") for source in prices.sources)
