"""Where a semester lives on Azure: subscription, region, and the name of everything. Pure: no Pulumi, no clock.

Names are explicit, so a preview shows them and people find them. Those that the whole world shares (storage accounts,
registries, vaults) end in six hex digits of subscription and stack: equal for equal stacks, different for two
universities that both run `fa26`. Length rules: learn.microsoft.com, "Naming rules and restrictions for Azure
resources".
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from components.semester import Problem, Semester, SemesterError
from components.tags import tags

ZONE_REGIONS = frozenset(
    [
        "australiaeast", "austriaeast", "belgiumcentral", "brazilsouth", "canadacentral", "centralindia",
        "centralus", "chilecentral", "eastasia", "eastus", "eastus2", "francecentral", "germanywestcentral",
        "indonesiacentral", "israelcentral", "italynorth", "japaneast", "japanwest", "koreacentral",
        "malaysiawest", "mexicocentral", "newzealandnorth", "northeurope", "norwayeast", "polandcentral",
        "qatarcentral", "southafricanorth", "southcentralus", "southeastasia", "spaincentral", "swedencentral",
        "switzerlandnorth", "uaenorth", "uksouth", "westeurope", "westus2", "westus3",
    ]
)  # fmt: skip
"""Regions with availability zones (learn.microsoft.com/azure/reliability/regions-list, October 2025)."""
STACK_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_IDS = uuid.UUID("5e3e57e6-4b0b-5d6f-9a41-0b1c5e3e57e6")


@dataclass(frozen=True)
class Site:
    """One stack's place and names."""

    stack: str
    subscription: str
    region: str
    tags: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """What every name begins with: `semesterhub-<stack>`."""
        return f"semesterhub-{self.stack}"

    def name(self, what: str) -> str:
        """`semesterhub-<stack>-<what>`."""
        return f"{self.prefix}-{what}"

    @property
    def group(self) -> str:
        """Resource group of what goes with the semester: machines, networks, addresses."""
        return self.prefix

    @property
    def data_group(self) -> str:
        """Resource group of what stays: homes, backups, the hub's disk. Deleting the other group leaves it alone."""
        return self.name("data")

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones of the region; () where there are none."""
        return ("1", "2", "3") if self.region in ZONE_REGIONS else ()

    @property
    def mark(self) -> str:
        """Six hex digits of subscription and stack."""
        return hashlib.sha256(f"{self.subscription}/{self.stack}".encode()).hexdigest()[:6]

    def account(self, what: str) -> str:
        """Storage account (3 to 24 letters and digits, in the whole world), such as `shsp16homes1a2b3c`."""
        letters = re.sub(r"[^a-z0-9]", "", self.stack)
        return f"sh{letters[: 16 - len(what)]}{what}{self.mark}"

    @property
    def registry(self) -> str:
        """Container registry (5 to 50 letters and digits, in the whole world)."""
        return "semesterhub" + re.sub(r"[^a-z0-9]", "", self.stack)[:32] + self.mark

    @property
    def registry_server(self) -> str:
        """The registry's host name."""
        return f"{self.registry}.azurecr.io"

    @property
    def vault(self) -> str:
        """Key Vault (3 to 24 letters, digits and single hyphens, in the whole world)."""
        return f"kv-{re.sub('-+', '-', self.stack)[:14].strip('-')}-{self.mark}"

    @property
    def vault_url(self) -> str:
        """Where machines ask the vault."""
        return f"https://{self.vault}.vault.azure.net"

    def guid(self, what: str) -> str:
        """Name of a role assignment or role definition: Azure wants a UUID there. Equal for equal `what`."""
        return str(uuid.uuid5(_IDS, f"{self.subscription}/{self.stack}/{what}"))

    @property
    def subscription_id(self) -> str:
        """The subscription as a resource id."""
        return f"/subscriptions/{self.subscription}"


def site(stack: str, semester: Semester) -> Site:
    """The site of a stack. SemesterError when the stack file names no subscription, or the stack's name fits no name."""
    if semester.account is None:
        raise SemesterError(
            f"stack {stack}",
            [
                Problem(
                    "semesterhub:account",
                    "missing",
                    "with cloud: azure the id of the subscription, so that a semester never lands in whichever "
                    "subscription somebody is signed in to",
                    "write what `az account show --query id` prints",
                )
            ],
        )
    if not STACK_NAME.fullmatch(stack):
        raise SemesterError(
            f"stack {stack}",
            [
                Problem(
                    "the stack's name",
                    stack,
                    "with cloud: azure at most 40 small letters, digits and hyphens: names of Azure resources begin with it",
                    "make the stack with another name, such as `fa26`",
                )
            ],
        )
    if semester.region is None:
        raise AssertionError("a semester on Azure has a region")
    return Site(stack, semester.account, semester.region, tags(stack, semester))
