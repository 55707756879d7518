"""Azure's regions, as far as a university may choose: https://learn.microsoft.com/azure/reliability/regions-list (November 2025)."""

from __future__ import annotations

# fmt: off
REGIONS = frozenset(
    {
        "australiacentral", "australiaeast", "australiasoutheast", "austriaeast", "belgiumcentral",
        "brazilsouth", "canadacentral", "canadaeast", "centralindia", "centralus", "chilecentral",
        "eastasia", "eastus", "eastus2", "francecentral", "germanynorth", "germanywestcentral",
        "indonesiacentral", "israelcentral", "italynorth", "japaneast", "japanwest", "koreacentral",
        "koreasouth", "malaysiawest", "mexicocentral", "newzealandnorth", "northcentralus", "northeurope",
        "norwayeast", "norwaywest", "polandcentral", "qatarcentral", "southafricanorth", "southafricawest",
        "southcentralus", "southeastasia", "southindia", "spaincentral", "swedencentral",
        "switzerlandnorth", "switzerlandwest", "uaecentral", "uaenorth", "uksouth", "ukwest",
        "westcentralus", "westeurope", "westindia", "westus", "westus2", "westus3",
    }
)
# fmt: on


def normal(location: str) -> str:
    """`West US 2` is `westus2`."""
    return location.replace(" ", "").lower()


def is_location(location: str) -> bool:
    """Whether there is such a region; `global` counts, for what has none."""
    return normal(location) in REGIONS or normal(location) == "global"
