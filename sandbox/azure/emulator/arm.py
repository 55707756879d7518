"""What a request to ARM means: create or replace, look, update, delete, list, act. No HTTP here.

Rules common to all types: https://learn.microsoft.com/azure/azure-resource-manager/management/overview and
https://github.com/cloud-and-ai-microsoft/resource-provider-contract (statuses, envelope, idempotence).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any

from sandbox.azure.emulator import ids, kinds, paths
from sandbox.azure.emulator.arm_types import TENANT
from sandbox.azure.emulator.errors import ArmError, bad, conflict
from sandbox.azure.emulator.ids import ResourceId
from sandbox.azure.emulator.kind import Call, Inline, Kind
from sandbox.azure.emulator.locations import normal
from sandbox.azure.emulator.operations import Answer, Operations
from sandbox.azure.emulator.rules import Rules
from sandbox.azure.emulator.store import Resource, Store

_READ_ONLY = frozenset({"id", "name", "type", "etag", "systemdata"})
BUSY = frozenset({"Creating", "Updating", "Deleting"})


class Arm(Rules):
    """One Azure. `duration_s`: how long slow work takes here."""

    def __init__(self, store: Store, *, duration_s: float = 0.2) -> None:
        self.store = store
        self.operations = Operations(store, duration_s)
        self._doomed: frozenset[str] = frozenset()
        self.fail_next: list[tuple[str, ArmError]] = []
        """(end of an id's type, error): the next slow work of that kind fails that way."""

    # --- looking

    def settle(self) -> None:
        """Finish what is due by now."""
        over = self.operations.due()
        for operation in over:
            resource = self.store.state.resources.get(operation.resource)
            if resource is None:
                continue
            if operation.status == "Failed":
                resource.state = "Failed"
            elif operation.verb == "Deleting":
                self._vanish([resource, *self.store.below(resource.id)])
            else:
                resource.state = "Succeeded"
        if over:
            self.store.save()

    def get(self, id: ResourceId) -> dict[str, Any]:
        """One resource, or a collection."""
        if not id.name and (view := self._view(id)) is not None:
            return view
        if not id.name:
            return {"value": [self.render(resource) for resource in self._listed(id)]}
        if id.type.lower() == ids.SUBSCRIPTIONS.lower():
            return {
                "id": id.text,
                "subscriptionId": id.name,
                "tenantId": TENANT,
                "displayName": "sandbox",
                "state": "Enabled",
            }
        return self.render(self.need(id.text))

    def _view(self, id: ResourceId) -> dict[str, Any] | None:
        """What a resource shows below itself, if that is what is asked for."""
        whole, _, name = id.text.rpartition("/")
        kind = kinds.find(id.type.rpartition("/")[0])
        look = next((f for view, f in (kind.views if kind else {}).items() if view.lower() == name.lower()), None)
        return look(self, self.need(whole)) if look else None

    def need(self, id: str) -> Resource:
        """The resource, or ARM's 404."""
        found = self.store.get(id)
        if found is None:
            found = self._implicit(ids.parse(id))
        if found is None:
            raise self._not_found(ids.parse(id))
        return found

    def _not_found(self, id: ResourceId) -> ArmError:
        if id.group and self.store.get(ids.group_id(id.text)) is None:
            return ArmError(404, "ResourceGroupNotFound", f"Resource group '{id.group}' could not be found.")
        return ArmError(
            404,
            "ResourceNotFound",
            f"The Resource '{id.type}/{id.name}' under resource group '{id.group}' was not found.",
        )

    def _listed(self, id: ResourceId) -> Iterable[Resource]:
        if id.type.lower() == ids.GROUPS.lower():
            return (r for r in self.store.of_type(ids.GROUPS) if r.key.startswith(id.scope.lower() + "/"))
        if id.types[-1].lower() == "resources":
            return (r for r in self.store.below(id.scope) if r.key.count("/providers/") == 1)
        within = id.parent.lower() + "/"
        return (r for r in self.store.of_type(id.type) if r.key.startswith(within))

    def render(self, resource: Resource) -> dict[str, Any]:
        """What a client sees of it."""
        body = copy.deepcopy(resource.body)
        properties = body.setdefault("properties", {})
        properties["provisioningState"] = resource.state
        kind = kinds.find(resource.type)
        for inline in kind.inline if kind else ():
            items = [self.render(child) for child in self.store.children(resource.id, inline.type)]
            paths.put(body, inline.path, items)
        etag = hashlib.sha256(repr((resource.body, resource.hidden)).encode()).hexdigest()[:16]
        return {"id": resource.id, "name": resource.name, "type": resource.type, "etag": f'W/"{etag}"', **body}

    # --- creating

    def put(self, id: ResourceId, body: dict[str, Any]) -> Answer:
        """Create or replace. 201 for new, 200 for what was there; slow kinds come with an operation."""
        kind = self._kind(id)
        kind.check_name(id)
        self._parents_exist(id, kind)
        old = self.store.get(id.text)
        self._not_busy(id, old)
        self._no_lock(id.text, kind, "ReadOnly")
        before = copy.deepcopy(self.store.state)
        try:
            resource = self._stored(Call(self, id, body, old), kind)
        except ArmError:
            self.store.state = before
            raise
        operation = None
        if kind.slow:
            operation = self.operations.begin(resource, "Updating" if old else "Creating", self._failure(kind))
        self.store.save()
        return Answer(200 if old else 201, self.render(resource), operation)

    def patch(self, id: ResourceId, body: dict[str, Any]) -> Answer:
        """Change some properties (JSON merge patch); the others, and children, stay."""
        current = self.render(self.need(id.text))
        return self.put(id, paths.merged(current, body))

    def _failure(self, kind: Kind) -> ArmError | None:
        for index, (end, error) in enumerate(self.fail_next):
            if kind.key.endswith(end.lower()):
                del self.fail_next[index]
                return error
        return None

    def _kind(self, id: ResourceId) -> Kind:
        kind = kinds.find(id.type)
        if kind is None:
            raise bad(
                f"The resource type '{id.type}' is not one that this emulator knows. Add it to sandbox/azure/emulator/kinds.",
                code="InvalidResourceType",
            )
        return kind

    def _parents_exist(self, id: ResourceId, kind: Kind) -> None:
        group = self.store.group(id.text)
        if id.group and kind.type != ids.GROUPS:
            if group is None:
                raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{id.group}' could not be found.")
            if group.state == "Deleting":
                raise conflict(f"The resource group '{id.group}' is being deleted.", code="ResourceGroupBeingDeleted")
        parent = ids.parse(id.parent) if id.parent else None
        if parent is None or parent.type in (ids.GROUPS, ids.SUBSCRIPTIONS):
            return
        found = self.store.get(parent.text) or self._implicit(parent)
        if found is None:
            raise ArmError(
                404,
                "ParentResourceNotFound",
                f"Failed to perform 'write' on resource(s) of type '{id.type}', because the parent resource "
                f"'{parent.text}' could not be found.",
            )

    def _not_busy(self, id: ResourceId, old: Resource | None) -> None:
        if old is not None and old.state in BUSY:
            raise conflict(
                f"Another operation on '{id.text}' is in progress ({old.state}). Retry later.",
                code="AnotherOperationInProgress",
            )
        # A virtual network takes one change of its subnets at a time.
        if id.type.lower() == "microsoft.network/virtualnetworks/subnets":
            siblings = self.store.children(id.parent, id.type)
            busy = next((s for s in siblings if s.state in BUSY), None)
            if busy:
                raise conflict(
                    f"Another operation on this or dependent resource is in progress ({busy.id}).",
                    code="AnotherOperationInProgress",
                )

    def _stored(self, call: Call, kind: Kind) -> Resource:
        """Check everything and put it into the store; the caller restores the store when this raises."""
        old = call.old
        self._common_rules(call, kind)
        if kind.check:
            kind.check(call)
        body = {key: value for key, value in copy.deepcopy(call.body).items() if key.lower() not in _READ_ONLY}
        body.setdefault("properties", {})
        body["properties"] = body["properties"] or {}
        body["properties"].pop("provisioningState", None)
        if kind.location and "location" in body:
            body["location"] = normal(body["location"])
        inline = {item: paths.take(body, item.path) for item in kind.inline}
        hidden = {path: next(iter(found.values())) for path in kind.hidden if (found := paths.take(body, path))}
        resource = Resource(old.id if old else call.id.text, kind.type, body, hidden)
        self._identity(resource, old)
        for name in kind.sub_ids:
            for _, item in paths.values_at(body, f"properties.{name}[]"):
                item["id"] = f"{resource.id}/{name}/{item.get('name', '')}"
        self.store.put(resource)
        if kind.fill:
            kind.fill(call, body)
        for item, found in inline.items():
            self._replace_children(resource, item, next(iter(found.values()), None) or [])
        if kind.after_put:
            kind.after_put(self, resource)
        return resource

    # --- children within a body

    def _replace_children(self, parent: Resource, inline: Inline, items: list[Any]) -> None:
        """A PUT with children in its body says which there are: the others are deleted. Whoever leaves out the list
        says that there are none, the classic way to lose subnets (azure-native reads them first and sends them back)."""
        id = ids.parse(parent.id)
        part = inline.type.rsplit("/", 1)[1]
        names = [str(item.get("name", "")) for item in items]
        gone = [
            c for c in self.store.children(parent.id, inline.type) if c.name.lower() not in {n.lower() for n in names}
        ]
        for child in gone:
            self._not_in_use([child])
        self._vanish(gone)
        kind = kinds.find(inline.type)
        assert kind is not None
        for name, item in zip(names, items, strict=True):
            child_id = id.child(part, name)
            kind.check_name(child_id)
            self._stored(Call(self, child_id, item, self.store.get(child_id.text)), kind)

    # --- deleting

    def delete(self, id: ResourceId) -> Answer:
        """202 with an operation for slow kinds, 200 otherwise, 204 when there is nothing."""
        resource = self.store.get(id.text)
        if resource is None:
            return Answer(204)
        kind = self._kind(id)
        if kind.no_arm_delete:
            raise ArmError(405, "MethodNotAllowed", f"'{kind.type}' cannot be deleted through ARM; use its data plane.")
        if resource.state == "Deleting":
            going = [
                o
                for o in self.store.state.operations.values()
                if o.resource == resource.key and o.status == "InProgress"
            ]
            return Answer(202, None, going[-1] if going else None)
        if kind.type != ids.GROUPS:
            self._not_busy(id, resource)
        doomed = [resource, *self.store.below(resource.id)]
        self._no_lock(resource.id, kind, "CanNotDelete", "ReadOnly")
        self._not_in_use(doomed)
        self._doomed = frozenset(one.key for one in doomed)
        for one in doomed:
            its_kind = kinds.find(one.type)
            if its_kind and its_kind.before_delete:
                its_kind.before_delete(self, one)
        if kind.slow_delete:
            operation = self.operations.begin(resource, "Deleting", self._failure(kind))
            self.store.save()
            return Answer(202, None, operation)
        self._vanish(doomed)
        self.store.save()
        return Answer(200)

    def deleting_whole(self, resource: Resource) -> bool:
        """Whether the deletion being looked at takes the parent along."""
        return ids.parse(resource.id).parent.lower() in self._doomed

    def deleting_alone(self, resource: Resource) -> bool:
        """Whether the deletion being looked at is of this resource itself, not of the group it is in."""
        return ids.group_id(resource.id).lower() not in self._doomed

    def _not_in_use(self, doomed: list[Resource]) -> None:
        keys = {resource.key for resource in doomed}
        for holder in self.store.all():
            kind = kinds.find(holder.type)
            if holder.key in keys or kind is None:
                continue
            for reference in kind.references if kind else ():
                if not reference.holds:
                    continue
                for _, target in paths.values_at(holder.body, reference.path):
                    used = next((k for k in keys if target.lower() == k or target.lower().startswith(k + "/")), None)
                    if used:
                        raise conflict(
                            f"'{self.store.state.resources[used].id}' cannot be deleted because it is in use by '{holder.id}'. "
                            "Remove the reference, or delete that one first.",
                            code=reference.in_use,
                        )

    def _no_lock(self, id: str, kind: Kind, *levels: str) -> None:
        if kind.type.lower() == "microsoft.authorization/locks":
            return
        key = id.lower()
        for lock in self.store.of_type("Microsoft.Authorization/locks"):
            scope = ids.parse(lock.id).scope.lower()
            within = key == scope or key.startswith(scope + "/")
            holds_child = "CanNotDelete" in levels and scope.startswith(key + "/")
            if lock.at("properties.level") in levels and (within or holds_child):
                raise conflict(
                    f"The scope '{id}' cannot perform this operation because following scope(s) are locked: '{scope}'. "
                    "Please remove the lock and try again.",
                    code="ScopeLocked",
                )

    def _vanish(self, doomed: list[Resource]) -> None:
        for resource in doomed:
            kind = kinds.find(resource.type)
            if kind and kind.after_delete:
                kind.after_delete(self, resource)
        for resource in doomed:
            self.store.drop(resource.key)
        for resource in doomed:
            self._vanish([other for other in self.store.all() if other.owner == resource.key])
        gone = {r.key for r in doomed}
        if gone:
            self.store.save()

    # --- acting

    def post(self, id: ResourceId, body: dict[str, Any]) -> Any:
        """An action such as `listKeys`; an `Answer` for one that takes time."""
        *_, action = id.text.split("/")
        target = id.text.rsplit("/", 1)[0]
        if ids.parse(target).type.lower() in kinds.SPECIAL_POSTS:
            return kinds.SPECIAL_POSTS[ids.parse(target).type.lower()](self, ids.parse(target), action)
        resource = self.need(target)
        kind = kinds.find(resource.type)
        run = next((f for name, f in (kind.actions if kind else {}).items() if name.lower() == action.lower()), None)
        if run is None:
            raise bad(f"'{resource.type}' has no action '{action}' in this emulator.", code="InvalidRequestUri")
        return run(self, resource, body)
