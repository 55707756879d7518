"""Refreshing prices: lists as the clouds publish them, read without the internet, written where the old prices stand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from components.prices import FOLDER, table
from operations import cost_refresh, price_lists
from operations.errors import UserError

pytestmark = pytest.mark.unit

COLUMNS = ("SKU", "TermType", "StartingRange", "Unit", "PricePerUnit", "Instance Type", "Operating System", "Tenancy",
           "CapacityStatus", "Pre Installed S/W", "usageType", "operation")  # fmt: skip


def row(price: str, usage: str = "", *, kind: str = "", start: str = "0", term: str = "OnDemand", system: str = "Linux",
        tenancy: str = "Shared", status: str = "Used", software: str = "NA", operation: str = "") -> str:  # fmt: skip
    values = ("S", term, start, "Hrs", price, kind, system, tenancy, status, software, usage, operation)
    return ",".join(f'"{value}"' for value in values)


FILES = {
    "AmazonEC2": [
        row("0.5", kind="r6i.2xlarge", system="Windows"),
        row("0.55", kind="r6i.2xlarge", tenancy="Dedicated"),
        row("0", kind="r6i.2xlarge", status="AllocatedCapacityReservation"),
        row("0.9", kind="r6i.2xlarge", software="SQL Std"),
        row("0.3", kind="r6i.2xlarge", term="Reserved"),
        row("0.504", kind="r6i.2xlarge"),
        row("0.046", "USW2-NatGateway-Hours"),
        row("7", "USW2-NatGateway-Hours-Other"),
    ],
    "AmazonS3": [
        row("0.021", "USW2-TimedStorage-ByteHrs", start="512000"),
        row("0.023", "USW2-TimedStorage-ByteHrs"),
        row("0.0125", "USW2-TimedStorage-SIA-ByteHrs"),
    ],
    "awskms": [row("1.00", "us-west-2-KMS-Keys")],
    "AWSDataTransfer": [row("0", "USW2-DataTransfer-Out-Bytes"), row("0.09", "USW2-DataTransfer-Out-Bytes", start="100")],
    "AmazonEFS": [
        row("0.03", "USW2-ETDataAccess-Bytes", operation="Read"),
        row("0.06", "USW2-ETDataAccess-Bytes", operation="Write"),
    ],
}  # fmt: skip


def lines(url: str) -> Iterator[str]:
    offer = url.split("/")[-4]
    assert url == f"https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{offer}/current/us-west-2/index.csv"
    yield '"FormatVersion","v1.0"'
    yield '"Disclaimer","This pricing list is for informational purposes only, SKU or not"'
    yield ",".join(f'"{name}"' for name in COLUMNS)
    yield from FILES.get(offer, [])


@pytest.mark.parametrize(
    ("key", "price"),
    [
        ("machine_hour.r6i.2xlarge", "0.504"),
        ("nat_hour", "0.046"),
        ("objects_gib_month", "0.023"),
        ("key_month", "1.00"),
        ("internet_gib", "0.09"),
        ("files_read_gib", "0.03"),
        ("files_write_gib", "0.06"),
    ],
)
def test_the_right_row_of_aws_is_taken(key: str, price: str) -> None:
    assert price_lists.aws_prices("us-west-2", [key], lines) == {key: Decimal(price)}


def test_what_aws_does_not_list_is_left_out() -> None:
    keys = ["machine_hour.r6i.metal", "cluster_hour", "health_check_month", "nat_hour"]
    assert price_lists.aws_prices("us-west-2", keys, lines) == {"nat_hour": Decimal("0.046")}


def item(price: float, product: str, sku: str, meter: str, tier: float = 0.0) -> dict[str, Any]:
    return {"retailPrice": price, "productName": product, "skuName": sku, "meterName": meter, "tierMinimumUnits": tier}


MACHINES = "Virtual Machines Easv5 Series"
ITEMS = {
    "Standard_E8as_v5": [
        item(0.82, f"{MACHINES} Windows", "E8as v5", "E8as v5"),
        item(0.045, MACHINES, "E8as v5 Spot", "E8as v5 Spot"),
        item(0.452, MACHINES, "E8as v5", "E8as v5"),
    ],
    "Premium SSD Managed Disks": [
        item(1.1, "Premium SSD Managed Disks", "P10 LRS", "P10 LRS Disk Mount"),
        item(19.71, "Premium SSD Managed Disks", "P10 LRS", "P10 LRS Disk"),
    ],
    "Rtn Preference: MGN": [
        item(0.0, "Rtn Preference: MGN", "Standard", "Standard Data Transfer Out"),
        item(0.083, "Rtn Preference: MGN", "Standard", "Standard Data Transfer Out", 10335.0),
        item(0.087, "Rtn Preference: MGN", "Standard", "Standard Data Transfer Out", 100.0),
    ],
}


def answers(url: str, parameters: dict[str, str]) -> Any:
    """Two pages, as long answers come."""
    if url == "next":
        return {"Items": answers.rest, "NextPageLink": None}  # type: ignore[attr-defined]
    assert url == price_lists.AZURE and "armRegionName eq 'westus2'" in parameters["$filter"]
    found = next((items for name, items in ITEMS.items() if f"'{name}'" in parameters["$filter"]), [])
    answers.rest = found[1:]  # type: ignore[attr-defined]
    return {"Items": found[:1], "NextPageLink": "next" if found[1:] else None}


@pytest.mark.parametrize(
    ("key", "price"),
    [("machine_hour.Standard_E8as_v5", "0.452"), ("disk_month.128", "19.71"), ("internet_gib", "0.087")],
)
def test_the_right_meter_of_azure_is_taken(key: str, price: str) -> None:
    assert price_lists.azure_prices("westus2", [key], answers) == {key: Decimal(price)}


def test_what_azure_does_not_list_is_left_out() -> None:
    assert price_lists.azure_prices("westus2", ["nat_hour", "alarm_month"], answers) == {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "aws.yaml"
    path.write_text((FOLDER / "aws.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path


TODAY = date(2026, 9, 1)


def test_new_prices_stand_where_the_old_ones_stood(file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    found = {"machine_hour.r6i.2xlarge": Decimal("0.6"), "nat_hour": Decimal("0.050")}
    cost_refresh.refresh(file, "aws", "", lambda _region, _keys: found, TODAY)
    after = file.read_text(encoding="utf-8")
    assert "    machine_hour.r6i.2xlarge: 0.6\n" in after
    assert "    nat_hour: 0.05\n" in after
    assert "    nat_gib: 0.045\n" in after and "    endpoint_hour: 0.01           # interface endpoint" in after
    assert len(after.splitlines()) <= len(before.splitlines()) + 15
    prices = table("aws", "us-west-2", file.parent)
    assert (prices.as_of, prices["nat_hour"], prices["nat_gib"]) == (TODAY, Decimal("0.05"), Decimal("0.045"))
    assert "Fetched by `./hub cost.refresh`" in prices.how and "us-west-2: nat_gib" in prices.how
    assert prices.sources == table("aws", "us-west-2").sources


def test_a_comment_stays_where_it_was(file: Path) -> None:
    cost_refresh.refresh(
        file, "aws", "", lambda _r, _k: {"machine_hour.m6i.large": Decimal(1), "key_month": Decimal("1.5")}, TODAY
    )
    assert "    key_month: 1.5  # KMS\n" in file.read_text(encoding="utf-8")


def test_another_region_is_added_whole(file: Path) -> None:
    found = {"machine_hour.r6i.2xlarge": Decimal("0.608")}
    cost_refresh.refresh(file, "aws", "eu-central-1", lambda _region, _keys: found, TODAY)
    data = yaml.safe_load(file.read_text(encoding="utf-8"))["regions"]
    assert list(data) == ["us-west-2", "eu-central-1"]
    assert set(data["eu-central-1"]) == set(data["us-west-2"])
    assert (data["eu-central-1"]["machine_hour.r6i.2xlarge"], data["us-west-2"]["machine_hour.r6i.2xlarge"]) == (
        0.608,
        0.504,
    )
    assert table("aws", "eu-central-1", file.parent).exact


def test_without_the_internet_the_file_stays_as_it_is(file: Path) -> None:
    def nobody(_region: str, _keys: list[str]) -> dict[str, Decimal]:
        raise requests.ConnectionError("no route")

    before = file.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="no route"):
        cost_refresh.refresh(file, "aws", "", nobody, TODAY)
    with pytest.raises(UserError, match="is it the name of a region"):
        cost_refresh.refresh(file, "aws", "narnia-1", lambda _region, _keys: {}, TODAY)
    assert file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(("cloud", "region"), [("gcp", ""), ("all", "us-west-2")])
def test_a_cloud_that_is_none_is_refused(cloud: str, region: str) -> None:
    with pytest.raises(UserError, match="aws"):
        cost_refresh.run(cloud, region)
