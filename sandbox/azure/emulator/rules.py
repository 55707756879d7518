"""Rules that hold for every type: places, required and fixed properties, references, identities."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.azure.emulator import ids, kinds, paths
from sandbox.azure.emulator.arm_types import TENANT
from sandbox.azure.emulator.errors import ArmError, bad, conflict
from sandbox.azure.emulator.ids import ResourceId
from sandbox.azure.emulator.kind import Call, Kind
from sandbox.azure.emulator.locations import is_location, normal
from sandbox.azure.emulator.store import Resource, Store

_OURS = uuid.UUID("6f6d4a2e-4b0f-4d39-9f0b-2d8a3b1c5e70")


class Rules:
    """What `Arm` asks before it stores anything."""

    store: Store

    def _common_rules(self, call: Call, kind: Kind) -> None:
        self._location(call, kind)
        for path in kind.required:
            if paths.get(call.body, path) in (None, "", []):
                raise bad(f"Required property '{path}' is missing in '{call.id.text}'.", target=path)
        for path in kind.fixed if call.old else ():
            was, is_now = paths.get(call.old.body if call.old else {}, path), paths.get(call.body, path)
            if is_now is not None and was is not None and not _alike(was, is_now):
                raise ArmError(
                    409, kind.fixed_code, f"Changing property '{path}' of '{call.id.text}' is not allowed.", target=path
                )
        if kind.global_name and call.old is None:
            taken = next((r for r in self.store.of_type(kind.type) if r.name.lower() == call.id.name.lower()), None)
            if taken:
                raise conflict(f"The name '{call.id.name}' is already taken.", code=kind.global_name)
        for reference in kind.references:
            for at, target in paths.values_at(call.body, reference.path):
                self._reference(call, at, target, reference.type, here=reference.here)
        for _, identity in paths.values_at(call.body, "identity.userAssignedIdentities{}"):
            self._reference(call, "identity", identity, "Microsoft.ManagedIdentity/userAssignedIdentities", here=False)

    def _reference(self, call: Call, at: str, target: Any, type: str, *, here: bool) -> None:
        if not isinstance(target, str) or not target.startswith("/subscriptions/"):
            raise bad(
                f"'{at}' of '{call.id.text}' holds '{target}', which is no resource id.", code="LinkedInvalidPropertyId"
            )
        found = self.resolve(target)
        if found is None:
            raise ArmError(
                404, "NotFound", f"Resource '{target}' referenced by '{call.id.text}' ({at}) was not found.", target=at
            )
        if type and ids.parse(target).type.lower() != type.lower():
            raise bad(
                f"'{at}' of '{call.id.text}' must name a {type}, not '{target}'.", code="InvalidResourceReference"
            )
        mine, other = call.body.get("location"), found.body.get("location")
        if here and mine and other and normal(mine) != normal(other):
            raise bad(
                f"Resource '{target}' is in {other}, and '{call.id.text}' in {mine}: they must be in the same location.",
                code="InvalidResourceReference",
            )

    def resolve(self, id: str) -> Resource | None:
        """The resource that an id names; for a part with an id of its own (a pool of a load balancer) the whole."""
        found = self.store.get(id)
        if found:
            return found
        whole, part, name = id.rsplit("/", 2)
        holder = self.store.get(whole)
        kind = kinds.find(holder.type) if holder else None
        if holder and kind and part.lower() in (s.lower() for s in kind.sub_ids):
            for _, item in paths.values_at(holder.body, f"properties.{part}[]"):
                if str(item.get("name", "")).lower() == name.lower():
                    return holder
        return self._implicit(ids.parse(id))

    def _location(self, call: Call, kind: Kind) -> None:
        if not kind.location:
            return
        location = call.body.get("location")
        if not isinstance(location, str) or not location:
            raise bad(
                f"The location property is required for '{call.id.text}'.", code="LocationRequired", target="location"
            )
        if not is_location(location):
            raise bad(
                f"The provided location '{location}' is not available for resource type '{kind.type}'.",
                code="LocationNotAvailableForResourceType",
                target="location",
            )
        old = call.old.body.get("location") if call.old else None
        if old and normal(old) != normal(location):
            raise conflict(
                f"The resource '{call.id.name}' already exists in location '{old}' in resource group '{call.id.group}'. "
                f"A resource with the same name cannot be created in location '{location}'.",
                code="InvalidResourceLocation",
            )

    def _identity(self, resource: Resource, old: Resource | None) -> None:
        identity = resource.body.get("identity")
        if not isinstance(identity, dict):
            return
        if "SystemAssigned" in str(identity.get("type", "")):
            before = old.at("identity.principalId") if old else None
            identity["principalId"] = before or self.new_uuid(f"{resource.key}/principal")
            identity["tenantId"] = TENANT
        given = identity.get("userAssignedIdentities")
        if given:
            identity["userAssignedIdentities"] = {
                key: {name: found.at(f"properties.{name}") for name in ("principalId", "clientId")}
                for key in given
                if (found := self.store.get(key))
            }

    def new_uuid(self, what: str) -> str:
        """A UUID that is the same in each run that does the same things in the same order."""
        return str(uuid.uuid5(_OURS, f"{what}/{self.store.next()}"))

    def _implicit(self, id: ResourceId) -> Resource | None:
        kind = kinds.find(id.type)
        if kind and kind.implicit and id.name.lower() == kind.implicit and self.store.get(id.parent):
            return Resource(id.text, kind.type, {"properties": {}})
        return None


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return one == other
