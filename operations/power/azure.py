"""A site on Azure: the hub VM is deallocated; its network card gets a security group that denies everything, and the
homes' storage account takes no connection at all, since workers may go on running and would go on writing.

Names and tags are those that the program gives, so this works when Pulumi's backend is away with the rest. The program's
own rules stay as they are; `start` takes the denial away again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from operations.patience import LaterError
from operations.power.model import PowerError, State
from operations.preflight.arm import Arm, ArmError

T = TypeVar("T")
COMPUTE, NETWORK, STORAGE, SUBSCRIPTIONS = "2024-07-01", "2024-05-01", "2023-05-01", "2022-12-01"
"""API versions."""
STATES: Mapping[str, State] = {
    "PowerState/running": "running",
    "PowerState/starting": "changing",
    "PowerState/stopping": "changing",
    "PowerState/deallocating": "changing",
    "PowerState/stopped": "off",
    "PowerState/deallocated": "off",
}
"""https://learn.microsoft.com/azure/virtual-machines/states-billing"""
DENY = [
    {
        "name": f"deny-{direction.lower()}",
        "properties": {
            "priority": 100,
            "direction": direction,
            "access": "Deny",
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "*",
        },
    }
    for direction in ("Inbound", "Outbound")
]


@dataclass(frozen=True)
class AzureSite:
    """One stack in one subscription."""

    stack: str
    subscription: str
    arm: Arm

    @property
    def where(self) -> str:
        return f"the Azure subscription {self.subscription}"

    def refuse_others(self) -> None:
        # Every path below names the subscription; what is to be refused is somebody who does not reach it.
        self._asked(lambda: self.arm.get(f"/subscriptions/{self.subscription}", SUBSCRIPTIONS), "looking at it")

    def machines(self) -> Mapping[str, State]:
        return {vm["name"]: self._state(vm) for vm in self._vms()}

    def doors(self) -> tuple[str, ...]:
        found: list[str] = []
        for card in self._cards():
            group = (card["properties"].get("networkSecurityGroup") or {}).get("id", "")
            if group.lower() != self._fence.lower():
                found.append(f"the network card {card['name']} is not closed")
        if found == [] and self._cards() and not _denies_all(self._get(self._fence, NETWORK) or {}):
            found.append(f"{self._fence.rpartition('/')[2]} lets something through")
        for account in self._homes():
            if account["properties"].get("publicNetworkAccess") != "Disabled":
                found.append(f"the homes ({account['name']}) are reachable")
        return tuple(found)

    def ask_off(self, machines: Collection[str], *, force: bool) -> None:
        for machine in machines:
            # Deallocation waits for the operating system; a power-off that skips it is what pulling the plug is.
            action, how = ("powerOff", {"skipShutdown": "true"}) if force else ("deallocate", {})
            self._change("POST", f"{self._vm(machine)}/{action}", COMPUTE, None, "stopping the hub VM", **how)

    def ask_on(self, machines: Collection[str]) -> None:
        for machine in machines:
            self._change("POST", f"{self._vm(machine)}/start", COMPUTE, None, "starting the hub VM")

    def shut(self) -> None:
        cards = self._cards()
        if cards and not _denies_all(self._get(self._fence, NETWORK) or {}):
            body = {
                "location": cards[0]["location"],
                "tags": {"semesterhub:stack": self.stack},
                "properties": {"securityRules": DENY},
            }
            self._change("PUT", self._fence, NETWORK, body, "making a security group that denies everything")
        for card in cards:
            self._regroup(card, {"id": self._fence})
        self._admit("Disabled")

    def open(self) -> None:
        for card in self._cards():
            if (card["properties"].get("networkSecurityGroup") or {}).get("id", "").lower() == self._fence.lower():
                self._regroup(card, None)
        if self._get(self._fence, NETWORK) is not None:
            self._change("DELETE", self._fence, NETWORK, None, "taking the denial away")
        self._admit("Enabled")

    def rehearse(self, machines: Collection[str]) -> None:
        """Azure rehearses nothing: who may read the machine is all that is known beforehand."""

    @property
    def _group(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/semesterhub-{self.stack}"

    @property
    def _fence(self) -> str:
        return f"{self._group}/providers/Microsoft.Network/networkSecurityGroups/semesterhub-{self.stack}-fence"

    def _vm(self, name: str) -> str:
        return f"{self._group}/providers/Microsoft.Compute/virtualMachines/{name}"

    def _asked(self, call: Callable[[], T], what: str) -> T:
        try:
            return call()
        except ArmError as error:
            if error.passing or error.status in (409, 412):  # another operation goes on, or somebody was quicker
                raise LaterError(str(error), error.after_s) from None
            if error.status == 401:
                raise PowerError(f"Azure does not know who you are ({error}): sign in with `az login`") from None
            if error.status == 403:
                raise PowerError(
                    f"you may not do this in {self.where}: {what} ({error}); the role Contributor on its resource groups allows it"
                ) from None
            raise PowerError(f"{what} was refused by {self.where}: {error}") from None

    def _change(
        self, method: str, path: str, version: str, body: Any, what: str, *, match: str = "", **parameters: str
    ) -> None:
        self._asked(lambda: self.arm.change(method, path, version, body, match=match, **parameters), what)

    def _get(self, path: str, version: str) -> dict[str, Any] | None:
        def found() -> dict[str, Any] | None:
            try:
                return self.arm.get(path, version)
            except ArmError as error:
                if error.status == 404:
                    return None
                raise

        return self._asked(found, f"looking at {path.rpartition('/')[2]}")

    def _listed(self, path: str, version: str) -> list[dict[str, Any]]:
        """What carries the stack's tag; nothing where the resource group is gone."""

        def found() -> list[dict[str, Any]]:
            try:
                return self.arm.all(path, version)
            except ArmError as error:
                if error.status == 404:
                    return []
                raise

        listed = self._asked(found, "looking for what belongs to the stack")
        return [item for item in listed if (item.get("tags") or {}).get("semesterhub:stack") == self.stack]

    def _vms(self) -> list[dict[str, Any]]:
        path = f"{self._group}/providers/Microsoft.Compute/virtualMachines"
        return [vm for vm in self._listed(path, COMPUTE) if vm["name"] == f"semesterhub-{self.stack}-hub"]

    def _state(self, vm: Mapping[str, Any]) -> State:
        view = self._get(f"{self._vm(vm['name'])}/instanceView", COMPUTE)
        if view is None:
            return "gone"
        for status in view.get("statuses") or ():
            if status.get("code") in STATES:
                return STATES[status["code"]]
        # While Azure makes or moves a machine it shows no power state.
        raise LaterError(f"Azure shows no power state of {vm['name']}")

    def _cards(self) -> list[dict[str, Any]]:
        cards = []
        for vm in self._vms():
            for card in vm["properties"]["networkProfile"]["networkInterfaces"]:
                found = self._get(card["id"], NETWORK)
                if found is not None:
                    cards.append(found)
        return cards

    def _regroup(self, card: Mapping[str, Any], group: Mapping[str, str] | None) -> None:
        if (card["properties"].get("networkSecurityGroup") or {}).get("id", "").lower() == (group or {}).get(
            "id", ""
        ).lower():
            return
        properties = {
            k: v for k, v in card["properties"].items() if k not in ("networkSecurityGroup", "provisioningState")
        }
        if group is not None:
            properties["networkSecurityGroup"] = group
        body = {**{k: v for k, v in card.items() if k != "etag"}, "properties": properties}
        self._change("PUT", card["id"], NETWORK, body, "changing the hub VM's network card", match=card.get("etag", ""))

    def _homes(self) -> list[dict[str, Any]]:
        path = f"{self._group}-data/providers/Microsoft.Storage/storageAccounts"
        return [account for account in self._listed(path, STORAGE) if account.get("kind") == "FileStorage"]

    def _admit(self, access: str) -> None:
        for account in self._homes():
            if account["properties"].get("publicNetworkAccess") != access:
                body = {"properties": {"publicNetworkAccess": access}}
                self._change("PATCH", account["id"], STORAGE, body, "changing who reaches the homes")


def _denies_all(group: Mapping[str, Any]) -> bool:
    """Whether its first rule in each direction denies everything, and nothing else comes before."""
    rules = [r["properties"] for r in (group.get("properties") or {}).get("securityRules") or ()]
    return len(rules) == len(DENY) and all(
        any(all(rule.get(key) == value for key, value in wanted["properties"].items()) for rule in rules)
        for wanted in DENY
    )
