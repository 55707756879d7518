"""localcloud:index:HubDeployment: the hub's settings, secrets and containers on the hub VM, applied by its agent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import (
    Context,
    Created,
    Field,
    Handler,
    Observed,
    PartialFailure,
    ProviderError,
    Schema,
)
from providers.base.schema import MapOf
from providers.localcloud import checks, docker_api, owned

SETTINGS_PATH = "/etc/semesterhub/hub/settings.json"
BUNDLE_PATH = "/etc/semesterhub/hub/bundle.json"
SECRETS_PATH = "/var/lib/semesterhub/secrets"
APPLY_TIMEOUT_S = 900
"""Pulls the hub's images and waits until the hub answers."""
STATUS_TIMEOUT_S = 30


def _json_object(value: str) -> str | None:
    try:
        parsed = json.loads(value)
    except ValueError as error:
        return f"is not JSON: {error}."
    return None if isinstance(parsed, dict) else "must be a JSON object."


def _file_names(value: Mapping[str, Any]) -> str | None:
    wrong = [name for name in value if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name)]
    if not wrong:
        return None
    return f"{wrong[0]!r} is not a name for a secret file: use small letters, digits, hyphens and underscores."


class HubDeploymentHandler(Handler):
    """Id: `<machine>/hub`. Deleting does nothing: the containers go with their machine."""

    token: ClassVar[str] = "localcloud:index:HubDeployment"
    schema: ClassVar[Schema] = Schema(
        {
            "stack": Field(str, "the stack it belongs to", replace=True, check=checks.name),
            "machine": Field(str, "Docker name of the hub VM", replace=True),
            "settings": Field(str, "the hub's settings, as JSON", check=_json_object),
            "bundle": Field(str, "the containers to run, as JSON", check=_json_object),
            "secrets": Field(MapOf(str), "secret files: name -> content", default={}, secret=True, check=_file_names),
            "machine_id": Field(str, "container id of the hub VM: another machine is deployed to again", default=""),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("revision", "ca_certificate")
    delete_before_replace: ClassVar[bool] = True

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        id = f"{inputs['machine']}/hub"
        try:
            return Created(id, _deploy(ctx, inputs))
        except PartialFailure as failure:
            raise PartialFailure(failure.reasons, id=id, outputs=failure.outputs) from failure

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        machine = id.removesuffix("/hub")
        found = docker_api.inspect("container", machine)
        if found is None or not docker_api.alive(found):
            return None
        recorded = {name: state.get(name, "") for name in self.outputs}
        try:
            seen = _status(machine)
        except ProviderError as error:
            return Observed(recorded, unhealthy=(str(error),))
        reasons: list[str] = []
        if seen["revision"] != state.get("revision"):
            reasons.append(f"the hub VM runs revision {seen['revision'] or 'none'}, not {state.get('revision')}")
        if not seen["healthy"]:
            down = [name for name, up in (seen.get("containers") or {}).items() if not up]
            reasons.append(f"not running as described on the hub VM: {', '.join(down) or 'the hub'}")
        outputs = {
            "revision": seen["revision"] or "",
            "ca_certificate": seen.get("ca_certificate") or recorded["ca_certificate"],
        }
        return Observed(outputs, unhealthy=tuple(reasons))

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return _deploy(ctx, news)

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Nothing; see the class."""


def _deploy(ctx: Context, inputs: Mapping[str, Any]) -> dict[str, Any]:
    machine = inputs["machine"]
    found = docker_api.inspect("container", machine)
    if found is None or not docker_api.alive(found):
        raise ProviderError(
            f"the hub VM {machine} does not run, so the hub cannot be deployed on it. Run `./hub up` again: it makes the machine anew."
        )
    owned.require_ours("container", machine, found["Config"].get("Labels"))
    ctx.status("writing the hub's settings and secrets")
    docker_api.put_files(
        machine,
        {
            **{f"{SECRETS_PATH}/{name}": (value.encode(), 0o600) for name, value in inputs["secrets"].items()},
            SETTINGS_PATH: (inputs["settings"].encode(), 0o644),
            BUNDLE_PATH: (inputs["bundle"].encode(), 0o644),
        },
        directories={
            "/etc/semesterhub": 0o755,
            "/etc/semesterhub/hub": 0o755,
            "/var/lib/semesterhub": 0o755,
            SECRETS_PATH: 0o700,
        },
    )
    ctx.status("starting the hub's containers and waiting until they answer")
    done = docker_api.execute(
        machine, ["semesterhub-node", "apply"], APPLY_TIMEOUT_S, on_line=ctx.status, cancelled=ctx.cancel
    )
    ctx.check_cancelled()
    if done.exit_code != 0:
        late = f" (not done after {APPLY_TIMEOUT_S} s)" if done.exit_code == docker_api.TIMED_OUT else ""
        raise PartialFailure(f"the hub could not be deployed on {machine}{late}:\n{done.tail}")
    seen = _status(machine)
    if not seen["healthy"]:
        down = ", ".join(name for name, up in (seen.get("containers") or {}).items() if not up)
        raise PartialFailure(f"the hub was deployed on {machine}, but is not healthy: {down or 'it does not say why'}")
    return {"revision": seen["revision"] or "", "ca_certificate": seen.get("ca_certificate") or ""}


def _status(machine: str) -> dict[str, Any]:
    done = docker_api.execute(machine, ["semesterhub-node", "bundle-status"], STATUS_TIMEOUT_S)
    try:
        seen = json.loads(done.stdout)
    except ValueError:
        seen = None
    if done.exit_code != 0 or not isinstance(seen, dict) or "revision" not in seen:
        raise ProviderError(
            f"the hub VM {machine} does not tell the state of its containers: {done.tail or 'no answer'}"
        )
    return seen
