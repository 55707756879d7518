"""The clouds' list prices, one dated YAML file a cloud; `components/cost.py` computes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class PriceTable:
    """A cloud's prices in one region, USD by key; the key's end says the unit (`nat_hour`, `disk_gib_month`)."""

    region: str
    prices: Mapping[str, Decimal]
    as_of: date
    how: str
    """Where the figures come from, in a sentence."""
    sources: tuple[str, ...]
    exact: bool
    """False: the file has no prices of the wanted region, so these are another region's."""

    def __getitem__(self, key: str) -> Decimal:
        return self.prices[key]


def table(cloud: str, region: str, folder: Path = FOLDER) -> PriceTable:
    """Prices of a region, or of the file's first one where the file does not have it (`exact` is False then)."""
    return _table(cloud, region, folder)


@cache
def _table(cloud: str, region: str, folder: Path) -> PriceTable:
    data: Any = yaml.safe_load((folder / f"{cloud}.yaml").read_text(encoding="utf-8"))
    regions: dict[str, dict[str, float]] = data["regions"]
    used = region if region in regions else next(iter(regions))
    # Through the text: 0.1 in binary is not a tenth of a dollar.
    prices = {key: Decimal(str(price)) for key, price in regions[used].items()}
    return PriceTable(
        used, prices, date.fromisoformat(data["as_of"]), str(data["how"]), tuple(data["sources"]), used == region
    )
