"""What a semester costs a month in a cloud, before it is deployed. Pure: the plan, the calendar and dated list prices.

The month is the dearest calendar month of the term: workers by the hours that the calendar makes them stand, everything
else by 730 hours. What depends on people is estimated by the amounts below; tax, discounts and free amounts are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from components.calendar_events import ROOT, events, term_bounds
from components.cloud_sizes import (
    AWS_ENDPOINT_ZONES,
    HUB_ROOT_DISK_GIB,
    HUB_STATE_DISK_GIB,
    SYSTEM_NODE_SIZE,
    SYSTEM_NODES,
    WORKER_DISK_GIB,
    aws_endpoints,
    hub_size,
)
from components.demand import Timeline, timeline
from components.plan import Plan
from components.prices import PriceTable, table
from components.semester import Problem, Semester, SemesterError

HOURS_PER_MONTH = 730
"""A twelfth of a year, as both clouds' calculators count."""
INTERNET_GIB_PER_STUDENT = Decimal("0.5")
"""A month of pages, notebooks and plots to a student's browser: JupyterLab is about 10 MB at each first visit."""
NAT_GIB_PER_STUDENT = Decimal(1)
"""Data sets, git and packages that notebooks fetch."""
FILES_READ_GIB_PER_STUDENT, FILES_WRITE_GIB_PER_STUDENT = Decimal(2), Decimal(1)
BACKUP_SHARE = Decimal("1.5")
"""Copies that are kept, as a share of the homes: one whole copy and what changes in a term."""
SNAPSHOT_SHARE = Decimal("0.5")
"""What snapshots hold besides the files themselves."""
REGISTRY_GIB, OBJECTS_GIB, LOG_GIB = 20, 20, 20
ALARMS = 10
AZURE_FILES_GIB_MIN = 100
"""The smallest premium share."""
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class CostLine:
    """One kind of resource: `quantity` of `unit` at `price_usd` each."""

    resource: str
    quantity: Decimal
    unit: str
    price_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """A month, not rounded."""
        return self.quantity * self.price_usd


@dataclass(frozen=True)
class Cost:
    """A month. `as_of` is the price table's day; `exact_region` False: prices are those of `region`, not the stack's."""

    total_usd: Decimal
    lines: tuple[CostLine, ...]
    as_of: date
    month: str
    """The dearest one of the term, as YYYY-MM."""
    student_hours: Decimal
    """Hours that students are expected to work in this month, all together."""
    region: str
    exact_region: bool

    @property
    def per_student_hour_usd(self) -> Decimal:
        """USD for one student working for one hour; 0 when nobody is expected."""
        return self.total_usd / self.student_hours if self.student_hours else Decimal(0)


def monthly_cost(semester: Semester, planned: Plan, root: Path = ROOT) -> Cost:
    """The dearest month. This machine costs nothing. Raises `SemesterError` for an iCal file that cannot be read."""
    line = timeline(semester, planned, events(semester, root))
    month, node_hours, student_hours = dearest_month(semester, line)
    if semester.cloud == "local":
        return Cost(Decimal(0), (), semester.term.starts, month, student_hours, "", True)
    prices = table(semester.cloud, semester.region or "")
    build = _aws if semester.cloud == "aws" else _azure
    lines = tuple(entry for entry in build(semester, planned, prices, node_hours) if entry.quantity)
    total = sum((entry.usd for entry in lines), Decimal(0)).quantize(_CENT, ROUND_HALF_UP)
    return Cost(total, lines, prices.as_of, month, student_hours, prices.region, prices.exact)


def exported(cost: Cost) -> dict[str, object]:
    """The stack output `monthly_cost_usd`."""
    return {"total": float(cost.total_usd), "as_of": cost.as_of.isoformat()}


def within_budget(semester: Semester, cost: Cost) -> None:
    """Raises `SemesterError` when the dearest month costs more than the stack's budget."""
    budget = semester.budget
    if budget is None or cost.total_usd <= Decimal(str(budget.monthly_usd)):
        return
    dearest = max(cost.lines, key=lambda entry: entry.usd)
    problem = Problem(
        "semesterhub:budget.monthly_usd",
        f"{budget.monthly_usd:,.2f}",
        f"at least {cost.total_usd:,.2f}, what {cost.month} costs by the list prices of {cost.as_of}",
        f"raise the budget, or lower the cost: the most is {dearest.resource} ({dearest.usd:,.2f} USD); "
        "`./hub cost` shows all of it, nodes.instance_type, nodes.spare, nodes.cool_down_min and homes.size_gib change it",
    )
    raise SemesterError("the cost of this semester", [problem])


def dearest_month(semester: Semester, line: Timeline) -> tuple[str, Decimal, Decimal]:
    """The term's month with the most worker hours: (YYYY-MM, worker hours, student hours)."""
    found = {month: (nodes, students) for month, nodes, students in _months(semester, line)}
    month = max(found, key=lambda name: (found[name][0], name))
    return month, *found[month]


def _months(semester: Semester, line: Timeline) -> Iterator[tuple[str, Decimal, Decimal]]:
    zone = semester.term.timezone
    first, after = term_bounds(semester)
    year, month = semester.term.starts.year, semester.term.starts.month
    while (year, month) <= (semester.term.ends.year, semester.term.ends.month):
        following = (year + month // 12, month % 12 + 1)
        begin, end = (datetime(*each, 1, tzinfo=zone).astimezone(UTC) for each in ((year, month), following))
        outside = (end - begin) - max(timedelta(), min(end, after) - max(begin, first))
        nodes, students = _hours(outside) * semester.nodes.min, Decimal(0)
        for step, length in line.lengths():
            inside = min(end, step.starts + length) - max(begin, step.starts)
            if inside > timedelta():
                nodes += _hours(inside) * step.nodes
                students += _hours(inside) * step.students
        yield f"{year}-{month:02d}", nodes, students
        year, month = following


def _hours(span: timedelta) -> Decimal:
    return Decimal(round(span.total_seconds())) / 3600


def _students(semester: Semester) -> int:
    return sum(course.students for course in semester.courses)


def _machines(semester: Semester, planned: Plan, prices: PriceTable, node_hours: Decimal) -> Iterator[CostLine]:
    worker, hub = planned.workers.instance_type, hub_size(semester).name
    yield CostLine(f"workers, {worker}", node_hours, "h", prices[f"machine_hour.{worker}"])
    yield CostLine(f"hub VM, {hub}", Decimal(HOURS_PER_MONTH), "h", prices[f"machine_hour.{hub}"])
    if semester.orchestrator == "kubernetes":
        system = SYSTEM_NODE_SIZE[semester.cloud]
        hours = Decimal(SYSTEM_NODES * HOURS_PER_MONTH)
        yield CostLine(f"system nodes, {system}", hours, "h", prices[f"machine_hour.{system}"])
        yield CostLine("Kubernetes control plane", Decimal(HOURS_PER_MONTH), "h", prices["cluster_hour"])


def _network(semester: Semester, prices: PriceTable) -> Iterator[CostLine]:
    students, month = _students(semester), Decimal(HOURS_PER_MONTH)
    yield CostLine("NAT gateway", month, "h", prices["nat_hour"])
    yield CostLine("NAT gateway, data", students * NAT_GIB_PER_STUDENT, "GiB", prices["nat_gib"])
    yield CostLine("public addresses of hub and NAT gateway", 2 * month, "h", prices["address_hour"])
    yield CostLine("data to students", students * INTERNET_GIB_PER_STUDENT, "GiB", prices["internet_gib"])
    yield CostLine("flow and machine logs", Decimal(LOG_GIB), "GiB", prices["log_gib"])
    yield CostLine("alarms", Decimal(ALARMS), "alarms", prices["alarm_month"])


def _aws(semester: Semester, planned: Plan, prices: PriceTable, node_hours: Decimal) -> Iterator[CostLine]:
    students, homes = _students(semester), Decimal(planned.homes_gib)
    yield from _machines(semester, planned, prices, node_hours)
    disks = node_hours / HOURS_PER_MONTH * WORKER_DISK_GIB
    if semester.orchestrator == "kubernetes":
        disks += SYSTEM_NODES * WORKER_DISK_GIB
    yield CostLine("disks of the nodes", disks, "GiB", prices["disk_gib_month"])
    hub = Decimal(HUB_ROOT_DISK_GIB + HUB_STATE_DISK_GIB)
    yield CostLine("disks of the hub VM", hub, "GiB", prices["disk_gib_month"])
    yield CostLine("homes", homes, "GiB", prices["files_gib_month"])
    yield CostLine("homes, reading", students * FILES_READ_GIB_PER_STUDENT, "GiB", prices["files_read_gib"])
    yield CostLine("homes, writing", students * FILES_WRITE_GIB_PER_STUDENT, "GiB", prices["files_write_gib"])
    yield CostLine("homes, AWS Backup", homes * BACKUP_SHARE, "GiB", prices["backup_gib_month"])
    yield CostLine("homes, backups", homes * BACKUP_SHARE, "GiB", prices["objects_gib_month"])
    yield from _network(semester, prices)
    endpoints = Decimal(len(aws_endpoints(semester.orchestrator)) * AWS_ENDPOINT_ZONES * HOURS_PER_MONTH)
    yield CostLine("interface endpoints", endpoints, "h", prices["endpoint_hour"])
    yield CostLine("bucket", Decimal(OBJECTS_GIB), "GiB", prices["objects_gib_month"])
    yield CostLine("images", Decimal(REGISTRY_GIB), "GiB", prices["registry_gib_month"])
    yield CostLine("encryption key", Decimal(1), "keys", prices["key_month"])
    if semester.fallback is not None and semester.fallback.dns is not None:
        yield CostLine("health check", Decimal(1), "checks", prices["health_check_month"])


def _azure(semester: Semester, planned: Plan, prices: PriceTable, node_hours: Decimal) -> Iterator[CostLine]:
    homes = Decimal(max(planned.homes_gib, AZURE_FILES_GIB_MIN))
    yield from _machines(semester, planned, prices, node_hours)
    disks = node_hours / HOURS_PER_MONTH
    if semester.orchestrator == "kubernetes":
        disks += SYSTEM_NODES
    yield CostLine("disks of the nodes", disks, "disks", _azure_disk(prices, WORKER_DISK_GIB))
    yield CostLine("hub VM, system disk", Decimal(1), "disks", _azure_disk(prices, HUB_ROOT_DISK_GIB))
    yield CostLine("hub VM, state disk", Decimal(1), "disks", _azure_disk(prices, HUB_STATE_DISK_GIB))
    yield CostLine("homes", homes, "GiB", prices["files_gib_month"])
    used = Decimal(planned.homes_gib)
    yield CostLine("homes, snapshots", used * SNAPSHOT_SHARE, "GiB", prices["snapshot_gib_month"])
    yield CostLine("homes, backups", used * BACKUP_SHARE, "GiB", prices["objects_gib_month"])
    yield from _network(semester, prices)
    if semester.network.bastion:
        yield CostLine("Azure Bastion", Decimal(HOURS_PER_MONTH), "h", prices["bastion_hour"])
        yield CostLine("public address of Azure Bastion", Decimal(HOURS_PER_MONTH), "h", prices["address_hour"])
    yield CostLine("images", Decimal(HOURS_PER_MONTH) / 24, "days", prices["registry_day"])


def _azure_disk(prices: PriceTable, size_gib: int) -> Decimal:
    """Azure sells disks in sizes; one pays for the next larger one."""
    sizes = [int(key.rpartition(".")[2]) for key in prices.prices if key.startswith("disk_month.")]
    return prices[f"disk_month.{min((size for size in sizes if size >= size_gib), default=max(sizes))}"]
