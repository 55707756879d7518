"""One handler for every resource type of the table: checks, differences, and the calls to ARM."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from providers.base import (
    UNKNOWN,
    CheckFailure,
    Context,
    Created,
    Handler,
    Observed,
    PartialFailure,
    ProviderError,
)
from providers.base.schema import Change, differences
from sandbox.azure.plugin import bodies, drift, previews, sdk
from sandbox.azure.plugin.client import ArmFailure, Client
from sandbox.azure.plugin.force_new import replaces
from sandbox.azure.plugin.table import ArmType

AUTONAMED = "__createBeforeDelete"
"""Marks a name that the provider made: only then can the new one exist beside the old."""
SUFFIX_DIGITS = 8


class ArmHandler(Handler):
    """The resource type `token`. `session` gives client, subscription and default location once they are configured."""

    def __init__(self, token: str, arm: ArmType, session: Callable[[], Session]) -> None:
        self.info = sdk.resource(token)
        self.arm = arm
        self._session = session
        # One class serves all types, so what a handler usually declares as a class is set on the instance.
        self.token = token  # pyright: ignore[reportAttributeAccessIssue]
        self.schema = self.info.schema  # pyright: ignore[reportAttributeAccessIssue]
        self.outputs = self.info.outputs  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def version(self) -> str:
        """The API version that the SDK is made for."""
        return self.arm.api_version or self.info.api_version

    # --- inputs

    def check(
        self, ctx: Context, olds: Mapping[str, Any], news: Mapping[str, Any], hidden: frozenset[str]
    ) -> tuple[dict[str, Any], list[CheckFailure]]:
        given = dict(news)
        marked = self._name(ctx, olds, given)
        location = self._session().location
        if "location" in self.info.inputs and given.get("location") is None and location:
            given["location"] = location
        inputs, failures = self.schema.check(given, hidden)
        if marked:
            inputs[AUTONAMED] = True
        return inputs, failures

    def _name(self, ctx: Context, olds: Mapping[str, Any], given: dict[str, Any]) -> bool:
        """Give a name where the program gives none: the old one, else one made from the engine's seed."""
        name = self.arm.names[-1]
        if name.startswith("=") or given.get(name) is not None:
            return False
        if olds.get(name) is not None:
            given[name] = olds[name]
        elif self.arm.autoname == "copy":
            given[name] = ctx.name
        elif self.arm.autoname == "uuid":
            given[name] = str(uuid.uuid5(uuid.NAMESPACE_OID, ctx.random_seed.hex() + ctx.urn))
        else:
            given[name] = (
                ctx.name + (ctx.random_seed.hex() or uuid.uuid5(uuid.NAMESPACE_OID, ctx.urn).hex)[:SUFFIX_DIGITS]
            )
        return self.arm.autoname != "copy"

    def diff(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> list[Change]:
        found: list[Change] = []
        for change in differences(old_inputs, news, self.schema):
            if change.top == "location" and _same_place(old_inputs.get("location"), news.get("location")):
                continue
            fixed = change.top in self.arm.in_path or change.top == "location"
            fixed = fixed or replaces(self.token, change.path, old_inputs, news)
            found.append(Change(change.path, change.kind, fixed))
        return found

    def deletes_first(self, old_inputs: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """A name that the program chose can be had by one at a time."""
        del news
        return not old_inputs.get(AUTONAMED)

    def id_of(self, inputs: Mapping[str, Any]) -> str:
        """The ARM id of a resource with these inputs."""
        names = [name[1:] if name.startswith("=") else str(inputs[name]) for name in self.arm.names]
        subscription = f"/subscriptions/{self._session().subscription}"
        if self.arm.type == "Microsoft.Resources/resourceGroups":
            return f"{subscription}/resourceGroups/{names[0]}"
        namespace, *types = self.arm.type.replace("{recordType}", str(inputs.get("recordType"))).split("/")
        path = "/".join(part for pair in zip(types, names, strict=True) for part in pair)
        scope = {
            "group": f"{subscription}/resourceGroups/{inputs.get('resourceGroupName')}",
            "subscription": subscription,
        }.get(self.arm.scope) or "/" + str(inputs[self.arm.scope]).strip("/")
        return f"{scope}/providers/{namespace}/{path}"

    # --- life

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        id = self.id_of(inputs)
        if self.arm.singleton is None and self._get(ctx, id) is not None:
            raise ProviderError(
                f"cannot create already existing resource '{id}'. If it is this stack's own (an earlier run was killed), "
                f"take it over: pulumi import {self.token} {ctx.name} {id}"
            )
        return Created(id, self._put(ctx, id, bodies.to_arm(self.info, self.arm, inputs), new=True))

    def _put(self, ctx: Context, id: str, body: dict[str, Any], *, new: bool) -> Mapping[str, Any]:
        ctx.status(f"waiting for Azure to {'make' if new else 'change'} it")
        try:
            self._client.arm(ctx, "PUT", id, self.version, body)
        except ArmFailure as error:
            seen = self._get(ctx, id) if error.status in (0, 200) else None
            if seen is None:
                raise
            # It is there, but not as wanted: recorded, so that the next run mends it and a destroy finds it.
            raise PartialFailure(str(error), id=id, outputs=bodies.from_arm(self.info, self.arm, seen)) from None
        seen = self._get(ctx, id)
        if seen is None:
            seen = self._patiently(ctx, id)
        return bodies.from_arm(self.info, self.arm, seen)

    def _patiently(self, ctx: Context, id: str) -> dict[str, Any]:
        """What was made a moment ago may take another to be seen."""
        for _ in range(20):
            ctx.sleep(0.2)
            seen = self._get(ctx, id)
            if seen is not None:
                return seen
        raise ProviderError(f"'{id}' was made, but Azure does not find it")

    def preview_create(self, ctx: Context, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the program gave, with what Azure will add to it unknown, at any depth."""
        unknown = {name: UNKNOWN for name in self.outputs if name not in inputs}
        return unknown | {
            name: previews.expected(self.info.module, self.info.inputs[name], self.info.responses.get(name, ""), value)
            for name, value in inputs.items()
            if name in self.outputs and name in self.info.inputs
        }

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        body = self._get(ctx, id)
        if body is None:
            return None
        seen = bodies.from_arm(self.info, self.arm, body)
        failed = seen.get("provisioningState") == "Failed"
        unhealthy = ("Azure says that its last change failed (provisioningState: Failed)",) if failed else ()
        if not inputs:
            return Observed(seen, drift.imported(self.info, self.arm, id, seen), unhealthy)
        skipped = self.arm.in_path | self.arm.unread | {n for n in self.arm.children if n not in inputs}
        return Observed(seen, drift.of(self.info, inputs, state, seen, skipped), unhealthy)

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        body = bodies.to_arm(self.info, self.arm, news)
        missing = [name for name in self.arm.children if news.get(name) is None]
        if missing:
            # A PUT without its children would delete them: send back those that are there.
            there = (self._get(ctx, id) or {}).get("properties") or {}
            body.setdefault("properties", {}).update({name: there[name] for name in missing if name in there})
        return self._put(ctx, id, body, new=False)

    def preview_update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        changed = {change.top for change in self.diff(ctx, id, old_inputs, old_state, news)}
        kept = {name: old_state[name] for name in self.outputs if name in old_state and name not in changed}
        new = {
            name: previews.kept(value, old_state.get(name))
            for name, value in self.preview_create(ctx, {n: v for n, v in news.items() if n in changed}).items()
            if name in changed
        }
        return {**kept, **new}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        ctx.status("waiting for Azure to delete it")
        if self.arm.singleton is not None:
            if self._get(ctx, id.rsplit("/", 2)[0]) is not None:
                self._client.arm(ctx, "PUT", id, self.version, dict(self.arm.singleton))
            return
        try:
            self._client.arm(ctx, "DELETE", id, self.version)
        except ArmFailure as error:
            if error.status != 404:
                raise

    @property
    def _client(self) -> Client:
        return self._session().client

    def _get(self, ctx: Context, id: str) -> dict[str, Any] | None:
        try:
            return self._client.arm(ctx, "GET", id, self.version).json()
        except ArmFailure as error:
            if error.status == 404:
                return None
            raise


class Session:
    """What the provider's configuration gave."""

    def __init__(self, client: Client, subscription: str, location: str) -> None:
        self.client = client
        self.subscription = subscription
        self.location = location


def _same_place(one: Any, other: Any) -> bool:
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    return one.replace(" ", "").lower() == other.replace(" ", "").lower()
