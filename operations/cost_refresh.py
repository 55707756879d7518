"""`cost.refresh`: writes components/prices/*.yaml anew from the clouds' public price lists. Needs the internet, no account."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests
import yaml

from components import clock
from components.prices import FOLDER
from operations import price_lists
from operations.errors import UserError
from operations.progress import note, step

TIMEOUT_S = 60
_LINE = re.compile(r"^(    )([\w.]+)(: +)([0-9.]+)(.*)$")
_HOW = {
    "aws": "Fetched by `./hub cost.refresh` from AWS's price list files (pricing.us-east-1.amazonaws.com)",
    "azure": "Fetched by `./hub cost.refresh` from the Azure Retail Prices API (prices.azure.com)",
}
Fetched = Callable[[str, list[str]], dict[str, Decimal]]


def run(cloud: str, region: str = "") -> None:
    """Refresh one cloud's file, or both; `region` adds or refreshes one region, else those that the file has."""
    if cloud not in ("aws", "azure", "all"):
        raise UserError(f"--cloud {cloud!r}: there are aws, azure and all.")
    if region and cloud == "all":
        raise UserError("--region needs --cloud aws or --cloud azure: regions have other names in each.")
    for each in ("aws", "azure") if cloud == "all" else (cloud,):
        refresh(FOLDER / f"{each}.yaml", each, region, fetch_aws if each == "aws" else fetch_azure, clock.now().date())


def refresh(path: Path, cloud: str, region: str, fetch: Fetched, today: date) -> None:
    """Fetches the prices of the file's regions (or one) and writes them where the old ones stand. UserError when a list
    cannot be had; then the file stays as it is."""
    text = path.read_text(encoding="utf-8")
    regions: dict[str, dict[str, float]] = yaml.safe_load(text)["regions"]
    kept: list[str] = []
    for name in [region] if region else list(regions):
        keys = list(regions.get(name) or next(iter(regions.values())))
        with step(f"prices of {cloud} in {name}"):
            try:
                found = fetch(name, keys)
            except requests.RequestException as error:
                why = str(error).partition(" (Caused by")[0][:300]
                raise UserError(
                    f"the price list of {cloud} cannot be had: {why}\n  {path.name} stays as it is. It needs the internet."
                ) from None
        if not any(key.startswith("machine_hour.") for key in found):
            raise UserError(
                f"{cloud} lists no machines in {name}: is it the name of a region? {path.name} stays as it is."
            )
        missing = sorted(set(keys) - set(found))
        kept += [f"{name}: {key}" for key in missing]
        text = written(text, name, found)
    how = f"{_HOW[cloud]} on {today}"
    how += f"; not found there, and so as before or as in the first region: {', '.join(kept)}." if kept else "."
    text = re.sub(r"(?m)^as_of: .*$", f'as_of: "{today}"', text, count=1)
    text = re.sub(r"(?ms)^how:.*?(?=^sources:)", lambda _m: yaml.safe_dump({"how": how}, width=120), text, count=1)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    note(f"{path.name} has the prices of {today}" + (f"; not found: {', '.join(kept)}" if kept else ""))


def written(text: str, region: str, prices: Mapping[str, Decimal]) -> str:
    """The file with a region's prices; a new region gets the lines of the first one, with their comments."""
    lines = text.splitlines()
    if f"  {region}:" not in lines:
        first = next(index for index, line in enumerate(lines) if line == "regions:") + 1
        end = next((i for i in range(first + 1, len(lines)) if not lines[i].startswith("    ")), len(lines))
        lines += [f"  {region}:", *lines[first + 1 : end]]
    index = lines.index(f"  {region}:") + 1
    while index < len(lines) and (match := _LINE.match(lines[index])):
        if match[2] in prices:
            old = match[1] + match[2] + match[3] + match[4]
            new = f"{match[1]}{match[2]}{match[3]}{prices[match[2]].normalize():f}"
            lines[index] = new + (match[5] if len(new) == len(old) else re.sub(r"^\s+#", "  #", match[5]))
        index += 1
    return "\n".join(lines) + "\n"


def fetch_aws(region: str, keys: list[str]) -> dict[str, Decimal]:
    """From AWS, line by line: nothing of the large files is kept."""

    def lines(url: str) -> Iterator[str]:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            answer.encoding = "utf-8"
            yield from (str(line) for line in answer.iter_lines(chunk_size=1 << 20, decode_unicode=True))

    return price_lists.aws_prices(region, keys, lines)


def fetch_azure(region: str, keys: list[str]) -> dict[str, Decimal]:
    """From Azure, a question a price."""

    def json(url: str, parameters: dict[str, str]) -> Any:
        answer = requests.get(url, params=parameters, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    return price_lists.azure_prices(region, keys, json)
