"""The clouds' public price lists, read without an account: AWS's bulk files and the Azure Retail Prices API.

A `Fetch` gets a URL's bytes as lines or JSON, so that tests need no internet. Where a list names something otherwise than
expected, its key is missing in the answer, and the caller keeps the old price and says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

AWS = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{offer}/current/{region}/index.csv"
"""docs.aws.amazon.com/awsaccountbilling, "Getting price list files": one file a service and region, without signing in."""
AZURE = "https://prices.azure.com/api/retail/prices"
"""learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices: without signing in."""

_REGION_PREFIX = r"(?:[A-Z]{2,4}\d?-|[a-z]{2}(?:-[a-z]+)+-\d-)?"
"""Usage types begin with a short name of the region (`USW2-`), which us-east-1 does not have; KMS writes it out."""


@dataclass(frozen=True)
class AwsMeter:
    """Where a price stands: the service's file, the usage type without its region, perhaps the operation's begin."""

    offer: str
    usage: str
    operation: str = ""


AWS_METERS = {
    "disk_gib_month": AwsMeter("AmazonEC2", "EBS:VolumeUsage.gp3"),
    "nat_hour": AwsMeter("AmazonEC2", "NatGateway-Hours"),
    "nat_gib": AwsMeter("AmazonEC2", "NatGateway-Bytes"),
    "endpoint_hour": AwsMeter("AmazonVPC", "VpcEndpoint-Hours"),
    "address_hour": AwsMeter("AmazonVPC", "PublicIPv4:InUseAddress"),
    "files_gib_month": AwsMeter("AmazonEFS", "TimedStorage-ByteHrs"),
    "files_read_gib": AwsMeter("AmazonEFS", "ETDataAccess-Bytes", "Read"),
    "files_write_gib": AwsMeter("AmazonEFS", "ETDataAccess-Bytes", "Write"),
    "backup_gib_month": AwsMeter("AWSBackup", "WarmStorage-ByteHrs-EFS"),
    "objects_gib_month": AwsMeter("AmazonS3", "TimedStorage-ByteHrs"),
    "registry_gib_month": AwsMeter("AmazonECR", "TimedStorage-ByteHrs"),
    "cluster_hour": AwsMeter("AmazonEKS", "AmazonEKS-Hours:perCluster"),
    "key_month": AwsMeter("awskms", "KMS-Keys"),
    "alarm_month": AwsMeter("AmazonCloudWatch", "CW:AlarmMonitorUsage"),
    "log_gib": AwsMeter("AmazonCloudWatch", "VendedLog-Bytes"),
    "internet_gib": AwsMeter("AWSDataTransfer", "DataTransfer-Out-Bytes"),
}


@dataclass(frozen=True)
class AzureMeter:
    """Where a price stands: what to ask for, and words that the meter's name must have."""

    product: str
    meter: str
    sku: str = ""


AZURE_METERS = {
    **{
        f"disk_month.{size}": AzureMeter("Premium SSD Managed Disks", "Disk", f"{name} LRS")
        for size, name in ((32, "P4"), (64, "P6"), (128, "P10"), (256, "P15"))
    },
    "files_gib_month": AzureMeter("Premium Files", "Provisioned", "Premium ZRS"),
    "snapshot_gib_month": AzureMeter("Premium Files", "Snapshots", "Premium ZRS"),
    "objects_gib_month": AzureMeter("General Block Blob v2", "Data Stored", "Hot ZRS"),
    "registry_day": AzureMeter("Container Registry", "Registry Unit", "Standard"),
    "nat_hour": AzureMeter("NAT Gateway", "Gateway"),
    "nat_gib": AzureMeter("NAT Gateway", "Data Processed"),
    "bastion_hour": AzureMeter("Azure Bastion", "Standard Gateway"),
    "address_hour": AzureMeter("IP Addresses", "IPv4 Static Public IP", "Standard"),
    "cluster_hour": AzureMeter("Azure Kubernetes Service", "Uptime SLA", "Standard"),
    "internet_gib": AzureMeter("Rtn Preference: MGN", "Data Transfer Out", "Standard"),
}


def aws_prices(region: str, keys: Iterable[str], lines: Callable[[str], Iterable[str]]) -> dict[str, Decimal]:
    """Prices of a region by key. `lines` gives a URL's lines as they come: the file of EC2 has hundreds of MB."""
    wanted = list(keys)
    by_offer: dict[str, list[str]] = {}
    for key in wanted:
        offer = "AmazonEC2" if key.startswith("machine_hour.") else AWS_METERS[key].offer if key in AWS_METERS else ""
        if offer:
            by_offer.setdefault(offer, []).append(key)
    found: dict[str, Decimal] = {}
    for offer, own in by_offer.items():
        tiers: dict[str, dict[Decimal, Decimal]] = {key: {} for key in own}
        for row in _rows(lines(AWS.format(offer=offer, region=region))):
            price = Decimal(row.get("PricePerUnit") or 0)
            if row.get("TermType") != "OnDemand" or not price:
                continue  # the first tier of some is free: the first that costs counts
            for key in own:
                if _is_machine(row, key) if key.startswith("machine_hour.") else _is_meter(row, AWS_METERS[key]):
                    tiers[key][Decimal(row.get("StartingRange") or 0)] = price
        found |= {key: tier[min(tier)] for key, tier in tiers.items() if tier}
    return found


def _rows(lines: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """The file's rows; lines about the file itself stand before the one with the columns' names."""
    following = iter(lines)
    for line in following:
        if line.startswith(('"SKU"', "SKU,")):
            columns = next(csv.reader([line]))
            yield from csv.DictReader(following, fieldnames=columns)


def _is_machine(row: Mapping[str, str], key: str) -> bool:
    wanted = {
        "Instance Type": key.partition(".")[2],
        "Operating System": "Linux",
        "Tenancy": "Shared",
        "CapacityStatus": "Used",
        "Pre Installed S/W": "NA",
    }
    return all(row.get(column) == value for column, value in wanted.items())


def _is_meter(row: Mapping[str, str], meter: AwsMeter) -> bool:
    usage = re.fullmatch(_REGION_PREFIX + re.escape(meter.usage), row.get("usageType") or "")
    return usage is not None and (row.get("operation") or "").startswith(meter.operation)


def azure_prices(region: str, keys: Iterable[str], json: Callable[[str, dict[str, str]], Any]) -> dict[str, Decimal]:
    """Prices of a region by key. `json` gets a URL with parameters ({} for a page that the list itself names)."""
    found: dict[str, Decimal] = {}
    for key in keys:
        if key.startswith("machine_hour."):
            size = key.partition(".")[2]
            asked = f"serviceName eq 'Virtual Machines' and armSkuName eq '{size}'"
            meter = AzureMeter("", "")
        elif key in AZURE_METERS:
            meter = AZURE_METERS[key]
            asked = f"productName eq '{meter.product}'" + (f" and skuName eq '{meter.sku}'" if meter.sku else "")
        else:
            continue
        query = f"armRegionName eq '{region}' and priceType eq 'Consumption' and {asked}"
        tiers = {
            Decimal(str(item["tierMinimumUnits"])): Decimal(str(item["retailPrice"]))
            for item in _items(query, json)
            if _counts(item, meter)
        }
        if tiers:
            found[key] = tiers[min(tiers)]
    return found


def _items(query: str, json: Callable[[str, dict[str, str]], Any]) -> Iterator[dict[str, Any]]:
    page = json(AZURE, {"$filter": query, "currencyCode": "USD"})
    yield from page["Items"]
    while following := page.get("NextPageLink"):
        page = json(following, {})
        yield from page["Items"]


def _counts(item: Mapping[str, Any], meter: AzureMeter) -> bool:
    """Not Windows, not Spot, not free, not a reservation's or a mount's."""
    names = " ".join(str(item.get(key, "")) for key in ("productName", "skuName", "meterName"))
    barred = ("Windows", "Spot", "Low Priority", "Mount", "Free")
    return (
        bool(item["retailPrice"])
        and str(item.get("meterName", "")).endswith(meter.meter)
        and not any(word in names for word in barred)
    )
