"""Runs the tables: one handler for every resource type of the provider `aws`."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jmespath

from providers.base import UNKNOWN, CheckFailure, Context, Created, Handler, Observed, PartialFailure, ProviderError
from providers.base.schema import Change, Schema, differences
from sandbox.aws.api import Api, ApiError
from sandbox.aws.convert import ConversionError, TableError, like, member, same_document
from sandbox.aws.scope import NOTHING, Scope, Settings, as_map, extract, plain, supported
from sandbox.aws.spec import Call, Look, Spec, Step, words
from sandbox.sdk import Sdk

VISIBLE_WITHIN_S = 20.0
"""How long what was just made may stay invisible: the API is eventually consistent, the official provider waits, too."""
PARENT_WITHIN_S = 3.0


class SpecHandler(Handler):
    """The handler of one table."""

    def __init__(self, spec: Spec, sdk: Sdk, api: Api, settings: Settings) -> None:
        self.spec, self._api, self._settings = spec, api, settings
        shape = sdk.resource(spec.type)
        self.token = spec.type  # type: ignore[misc]
        force_new = {*words(spec.force_new), "region"}
        fields = {
            name: replace(field, replace=name in force_new, default=spec.defaults.get(name, field.default))
            for name, field in shape.schema.fields.items()
        }
        self.schema = Schema(fields)  # type: ignore[misc]
        self._known = supported(spec)
        computed = [
            name for name in (*words(spec.computed), *(("region",) if "region" in fields else ())) if name in fields
        ]
        self._computed = tuple(dict.fromkeys(computed))
        self.outputs = tuple(dict.fromkeys((*shape.outputs, *self._computed)))  # type: ignore[misc]
        volatile = words(spec.volatile)
        self.stable_outputs = frozenset(o for o in self.outputs if o not in volatile and o != "tagsAll")  # type: ignore[misc]

    # --- before anything happens

    def check(
        self, ctx: Context, olds: Mapping[str, Any], news: Mapping[str, Any], hidden: frozenset[str]
    ) -> tuple[dict[str, Any], list[CheckFailure]]:
        given = {name: value for name, value in news.items() if not name.startswith("__")}
        generated = self._generated_name(ctx, olds, given)
        values, failures = self.schema.check({**given, **generated}, hidden)
        failures += [
            CheckFailure(
                name,
                f"the stand-in for {self.token} does not know `{name}` yet; add it to its table in sandbox/aws/types.",
            )
            for name in given
            if name in self.schema.fields and name not in self._known
        ]
        if not failures:
            wrong = self.spec.check(values) if self.spec.check else []
            wrong = [*wrong, *(self.spec.check_change(olds, values) if self.spec.check_change else [])]
            failures += [CheckFailure(name, reason) for name, reason in wrong]
            failures += self._check_calls(values)
        if generated:
            values["__defaults"] = sorted(generated)
        return values, failures

    def _check_calls(self, values: Mapping[str, Any]) -> list[CheckFailure]:
        """What the API's model says of the values, before any call is made."""
        scope = Scope(self._api, self._settings.region, values, tags={})
        calls = [self.spec.create, *(call for update in self.spec.updates for call in update.calls)]
        try:
            for call in calls:
                if isinstance(call, Call):
                    scope.parameters(replace(call, more={}))
            for convert in self.spec.converts:
                convert(scope)
        except ConversionError as error:
            name, _, reason = str(error).partition(": ")
            return [CheckFailure(name.removeprefix("data."), reason)]
        return []

    def _generated_name(self, ctx: Context, olds: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
        name = self.spec.autoname
        if not name or given.get(name) is not None:
            return {}
        if name in (olds.get("__defaults") or []) and olds.get("namePrefix") == given.get("namePrefix"):
            return {name: olds[name]}
        prefix = given.get("namePrefix")
        if prefix is UNKNOWN:
            return {name: UNKNOWN}
        seed = ctx.random_seed or ctx.urn.encode()
        end = hashlib.sha256(seed + ctx.urn.encode()).hexdigest()[:7]
        return {name: (str(prefix or f"{ctx.name}-") + end)[-self.spec.autoname_max :]}

    def diff(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> list[Change]:
        found = differences(old_inputs, news, self.schema)
        found = [c for c in found if not same_document(_at(old_inputs, c.top), _at(news, c.top))]
        forced = {*words(self.spec.force_new)} | (self.spec.forces(old_inputs, news) if self.spec.forces else set())
        found = [replace(c, replace=c.replace or _within(c.path, forced)) for c in found]
        recorded = old_state.get("tagsAll") if "tagsAll" in self.outputs else None
        if recorded is not None and recorded != self._tags(news) and not any(c.top == "tags" for c in found):
            found.append(Change("tagsAll", "update", False))
        return found

    def deletes_first(self, old_inputs: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """As the official provider's bridge: two things of one given name cannot exist at once."""
        name = self.spec.autoname
        generated = name in (news.get("__defaults") or [])
        return bool(name) and not generated and old_inputs.get(name) == news.get(name)

    # --- what happens

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        self._refuse(self.spec.refuse_create, inputs, "", {})
        token = hashlib.sha256(f"{ctx.urn}{time.time_ns()}".encode()).hexdigest()[:32]
        scope = self._scope(inputs, token=token)
        answer = self._create_call(ctx, scope)
        scope.id = str(extract(self.spec.id, answer, scope))
        if scope.id in ("", "None"):
            raise TableError(f"{self.token}: no id at {self.spec.id!r} in {answer}")
        try:
            shown = self._wait_visible(ctx, scope)
            more = [
                u
                for u in self.spec.updates
                if u.create and any(inputs.get(name) is not None for name in words(u.inputs))
            ]
            for update in more:
                self._calls(scope, update.calls)
            if more:
                shown = self._wait_visible(ctx, scope)
        except ProviderError as error:
            known = {"region": scope.region} if "region" in self._computed else {}
            raise PartialFailure(str(error), id=scope.id, outputs=known | self._guess(scope, answer)) from None
        return Created(scope.id, self._outputs(scope, shown))

    def _guess(self, scope: Scope, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of something that was made but not finished: what a look shows, if it shows anything."""
        with contextlib.suppress(ProviderError):
            shown = self._look(scope)
            if shown is not None:
                return self._outputs(scope, shown)
        return {}

    def _create_call(self, ctx: Context, scope: Scope) -> dict[str, Any]:
        deadline = time.monotonic() + PARENT_WITHIN_S
        while True:
            try:
                create = self.spec.create
                answer = scope.call(create) if isinstance(create, Call) else create(scope)
                return answer or {}
            except ConversionError as error:
                raise ProviderError(str(error)) from None
            except ApiError as error:
                # What it refers to may have been made a moment ago, and not be visible everywhere yet.
                if "notfound" not in error.code.lower() or "lag" not in str(error) or time.monotonic() > deadline:
                    raise
                ctx.sleep(0.1)

    def _wait_visible(self, ctx: Context, scope: Scope) -> dict[str, Any]:
        deadline = time.monotonic() + VISIBLE_WITHIN_S
        pause_s = 0.05
        while True:
            shown = self._look(scope)
            if shown is not None:
                return shown
            if time.monotonic() > deadline:
                raise ProviderError(f"{self.spec.kind} {scope.id} was made but does not show up")
            ctx.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    def preview_create(self, ctx: Context, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        unknown = {name: UNKNOWN for name in self.outputs if inputs.get(name) is None}
        if "region" in unknown:
            unknown["region"] = self._settings.region
        if "tagsAll" in self.outputs:
            unknown["tagsAll"] = self._tags(inputs)
        return unknown

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        if not inputs:  # an import or a get: there is nothing recorded to compare with
            inputs = {name: value for name, value in state.items() if name in self._known}
        scope = self._scope(inputs, id, state)
        shown = self._look(scope)
        if shown is None:
            return None
        return Observed(self._outputs(scope, shown), self._drift(scope, shown))

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        scope = self._scope(news, id, old_state)
        shown = self._look(scope)
        if shown is None:
            raise ProviderError(f"{self.spec.kind} {id} is gone; run it again with a refresh")
        # Changed by the program, or not as recorded: an update that failed half-way, or someone else's hand.
        changed = {c.top for c in differences(old_inputs, news)} | set(self._drift(scope, shown))
        self._refuse(self.spec.refuse_create, news, id, old_state)
        try:
            for update in self.spec.updates:
                if changed & set(words(update.inputs)):
                    self._calls(scope, update.calls)
            self._change_tags(scope, shown)
            known = {name for update in self.spec.updates for name in words(update.inputs)}
            rest = changed - known - {"tags", "region"} - set(words(self.spec.kept))
            if rest:
                raise TableError(
                    f"{self.token}: no call changes {', '.join(sorted(rest))}; add it to its table in sandbox/aws/types"
                )
        except ApiError as error:
            raise PartialFailure(str(error), id=id) from None
        shown = self._look(scope)
        if shown is None:
            raise ProviderError(f"{self.spec.kind} {id} disappeared while it was changed")
        return self._outputs(scope, shown)

    def preview_update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        outputs = dict(super().preview_update(ctx, id, old_inputs, old_state, news))
        if "tagsAll" in self.outputs:
            outputs["tagsAll"] = self._tags(news)
        # An object that stays as it is keeps what AWS put into it, such as the security group in a cluster's vpcConfig.
        kept = {
            name: old_state[name]
            for name, value in news.items()
            if isinstance(value, Mapping) and name != "tags" and value == old_inputs.get(name) and name in old_state
        }
        return kept | {name: value for name, value in outputs.items() if news.get(name) is None}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        scope = self._scope(inputs, id, state)
        if self._look(scope) is None:
            return
        self._refuse(self.spec.refuse_delete, inputs, id, state)
        for call in (*self.spec.before_delete, *((self.spec.delete,) if self.spec.delete else ())):
            self._calls(scope, (call,))

    # --- parts

    def _scope(
        self, inputs: Mapping[str, Any], id: str = "", state: Mapping[str, Any] | None = None, token: str = ""
    ) -> Scope:
        region = str(inputs.get("region") or self._settings.region)
        return Scope(self._api, region, inputs, id, state, self._tags(inputs), token=token)

    def _tags(self, inputs: Mapping[str, Any]) -> Any:
        own = inputs.get("tags") or {}
        if own is UNKNOWN:
            return UNKNOWN
        if not isinstance(own, Mapping):  # an Auto Scaling group's are a list, and its table's own affair
            return {}
        defaults = self._settings.default_tags if "tagsAll" in self.outputs else {}
        return {**defaults, **own}

    def _calls(self, scope: Scope, calls: tuple[Step, ...]) -> None:
        for call in calls:
            if not isinstance(call, Call):
                call(scope)
                continue
            if call.when and not scope.inputs.get(call.when):
                continue
            items = scope.inputs.get(call.each) or [] if call.each else [None]
            for item in items:
                inner = replace(scope, inputs={**scope.inputs, "item": item}) if call.each else scope
                try:
                    inner.call(call)
                except ConversionError as error:
                    raise ProviderError(str(error)) from None
                except ApiError as error:
                    if error.code not in call.missing:
                        raise

    def _change_tags(self, scope: Scope, shown: Mapping[str, Any]) -> None:
        tagging = self.spec.tagging
        if tagging is None or tagging.set is None:
            return
        actual = as_map(jmespath.search(tagging.path, shown))
        wanted = dict(scope.tags or {})
        if {k: v for k, v in wanted.items() if actual.get(k) != v}:
            self._calls(scope, (tagging.set,))
        extra = tuple(k for k in actual if k not in wanted and not k.startswith("aws:"))
        if extra and tagging.unset is not None:
            self._calls(replace(scope, tag_keys=extra, tags={k: actual[k] for k in extra}), (tagging.unset,))

    def _refuse(self, rules: tuple[Any, ...], inputs: Mapping[str, Any], id: str, state: Mapping[str, Any]) -> None:
        for rule in rules:
            wrong = rule(self._scope(inputs, id, state), inputs)
            if wrong:
                raise ProviderError(wrong)

    def _look(self, scope: Scope) -> dict[str, Any] | None:
        """What the API shows; None when it is gone."""
        shown: dict[str, Any] = {}
        for i, look in enumerate(self.spec.looks):
            part = self._part(scope, look)
            if i == 0 and (part is None or (isinstance(part, Mapping) and self.spec.gone and self.spec.gone(part))):
                return None
            if not look.under:
                shown |= part if isinstance(part, Mapping) else {"value": part}
            elif part is not None:
                shown[look.under] = part
        return shown

    def _part(self, scope: Scope, look: Look) -> Any:
        try:
            answer = scope.call(look.call)
        except ApiError as error:
            if error.code in look.call.missing or "notfound" in error.code.lower() or error.code.startswith("NoSuch"):
                return None
            raise
        if not isinstance(look.path, str):
            return look.path(answer, scope)
        return jmespath.search(look.path, answer) if look.path else answer

    def _drift(self, scope: Scope, shown: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs that are not as recorded, as they are."""
        found: dict[str, Any] = {}
        skipped = {*words(self.spec.kept), "region", "namePrefix"}
        for name, recorded in scope.inputs.items():
            if name.startswith("__") or name in skipped or (name == "tags" and self.spec.tagging is not None):
                continue
            actual = self._actual(name, shown, scope)
            if actual is _UNSEEN:
                continue
            value = like(recorded, actual)
            if value != recorded and not (value in NOTHING and recorded in (False, 0, *NOTHING)):
                found[name] = value
        if self.spec.tagging is not None:
            actual_tags = {
                k: v
                for k, v in as_map(jmespath.search(self.spec.tagging.path, shown)).items()
                if not k.startswith("aws:")
            }
            own = dict(scope.inputs.get("tags") or {})
            if actual_tags != dict(scope.tags or {}):
                hidden = {k for k, v in self._settings.default_tags.items() if k not in own and actual_tags.get(k) == v}
                found["tags"] = {k: v for k, v in actual_tags.items() if k not in hidden}
        return found

    def _actual(self, name: str, shown: Mapping[str, Any], scope: Scope) -> Any:
        if name in self.spec.seen:
            expression = self.spec.seen[name]
            return _UNSEEN if expression is None else extract(expression, shown, scope)
        key = member(name, shown)
        return _UNSEEN if key is None else shown[key]

    def _outputs(self, scope: Scope, shown: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self.outputs:
            if name == "tagsAll":
                seen = as_map(jmespath.search(self.spec.tagging.path, shown)) if self.spec.tagging else scope.tags or {}
                values[name] = {k: v for k, v in seen.items() if not k.startswith("aws:")}
            elif name == "region":
                values[name] = scope.region
            elif name in self.spec.outputs:
                values[name] = plain(extract(self.spec.outputs[name], shown, scope))
            elif (key := member(name, shown)) is not None and not isinstance(shown[key], (dict, list)):
                values[name] = plain(shown[key])
        return {name: value for name, value in values.items() if value is not None}


_UNSEEN = object()


def _within(path: str, names: set[str]) -> bool:
    """Whether a property path (`rootBlockDevice[0].encrypted`) is one of the names, or inside one."""
    bare = "".join(part for i, part in enumerate(path.replace("]", "[").split("[")) if i % 2 == 0)
    return any(bare == name or bare.startswith(f"{name}.") for name in names)


def _at(values: Mapping[str, Any], name: str) -> Any:
    return values.get(name)
