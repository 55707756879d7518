"""Resource ids: `/subscriptions/S/resourceGroups/G/providers/Namespace/type/name/type/name`, compared without regard to case.

https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.azure.emulator.errors import bad

GROUPS = "Microsoft.Resources/resourceGroups"
SUBSCRIPTIONS = "Microsoft.Resources/subscriptions"


@dataclass(frozen=True)
class ResourceId:
    """`scope` is what precedes the last `/providers/`: a group, a subscription, or another resource (of an extension such
    as a role assignment). `names` is one shorter than `types` when the id names a collection."""

    text: str
    scope: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """What ids are compared by."""
        return self.text.lower()

    @property
    def type(self) -> str:
        """`Microsoft.Network/virtualNetworks/subnets`, in the case of the request."""
        return "/".join([self.namespace, *self.types])

    @property
    def name(self) -> str:
        """The last name; empty for a collection."""
        return self.names[-1] if len(self.names) == len(self.types) else ""

    @property
    def parent(self) -> str:
        """The id of the resource, group or subscription that must exist before this."""
        if len(self.types) == 1 or self.type == GROUPS:
            return self.scope
        return self.text.rsplit("/", 2)[0]

    @property
    def subscription(self) -> str:
        """The subscription's UUID; empty for tenant-level ids."""
        parts = self.text.split("/")
        return parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else ""

    @property
    def group(self) -> str:
        """The resource group's name; empty outside groups."""
        return group_of(self.text)

    def child(self, type: str, name: str) -> ResourceId:
        """The id of a child resource."""
        return ResourceId(
            f"{self.text}/{type}/{name}", self.scope, self.namespace, (*self.types, type), (*self.names, name)
        )


def parse(text: str) -> ResourceId:
    """The id in a path. Raises ArmError 400 for what is none."""
    path = "/" + text.strip("/")
    head, found, tail = _rpartition(path, "/providers/")
    if found:
        namespace, *rest = tail.split("/")
        return ResourceId(path, head, namespace, tuple(rest[::2]), tuple(rest[1::2]))
    parts = path.split("/")[1:]
    if parts[0].lower() != "subscriptions" or len(parts) < 2 or "" in parts:
        raise bad(f"The path '{path}' is no resource id.", code="InvalidResourceId")
    if len(parts) == 2:
        return ResourceId(path, "", "Microsoft.Resources", ("subscriptions",), (parts[1],))
    if parts[2].lower() == "resourcegroups" and len(parts) in (3, 4):
        scope = f"/subscriptions/{parts[1]}"
        return ResourceId(path, scope, "Microsoft.Resources", ("resourceGroups",), tuple(parts[3:]))
    raise bad(f"The path '{path}' is no resource id.", code="InvalidResourceId")


def group_of(text: str) -> str:
    """The resource group in an id, or empty."""
    parts = text.split("/")
    return parts[4] if len(parts) > 4 and parts[3].lower() == "resourcegroups" else ""


def group_id(text: str) -> str:
    """The id of the resource group in an id, or empty."""
    return "/".join(text.split("/")[:5]) if group_of(text) else ""


def _rpartition(path: str, separator: str) -> tuple[str, str, str]:
    at = path.lower().rfind(separator)
    return ("", "", path) if at < 0 else (path[:at], separator, path[at + len(separator) :])
