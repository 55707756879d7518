"""localcloud:index:Volume: a Docker volume. One that is to be retained outlives the stack: students' homes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Context, Created, Field, Handler, Observed, Schema
from providers.localcloud import checks, docker_api, owned
from providers.localcloud.sweep import RETAIN, release

DELETE_HOMES = "SEMESTERHUB_DELETE_HOMES"
"""Environment variable that holds the one stack whose retained volumes may be deleted."""


class VolumeHandler(Handler):
    """Id: the Docker name. Creation adopts a volume that a destroyed stack of this checkout left."""

    token: ClassVar[str] = "localcloud:index:Volume"
    schema: ClassVar[Schema] = Schema(
        {
            "stack": Field(str, "the stack it belongs to", replace=True, check=checks.name),
            "name": Field(str, "its name within the stack", replace=True, check=checks.name),
            "retain": Field(bool, "whether it is kept when the stack is destroyed", default=False),
            "purpose": Field(str, "what it is for, in words", default=""),
        }
    )
    delete_before_replace: ClassVar[bool] = False

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        name = owned.object_name(inputs["stack"], inputs["name"])
        found = docker_api.inspect("volume", name)
        if found is not None:
            owned.require_ours("volume", name, found.get("Labels"))
            if inputs["retain"]:
                ctx.info(f"the volume {name} is there from before: its files are kept")
            return Created(name)
        with docker_api.explained(f"making the Docker volume {name}"):
            # Only the identity goes into the labels: they cannot be changed later, the other inputs can.
            identity = {"stack": inputs["stack"], "name": inputs["name"]}
            marks = owned.labels(inputs["stack"], inputs["name"], "volume", identity)
            docker_api.client().create_volume(name, labels={**marks, RETAIN: str(inputs["retain"]).lower()})
        return Created(name)

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        found = docker_api.inspect("volume", id)
        return Observed({}) if found is not None and owned.is_ours(found.get("Labels")) else None

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return {}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        found = docker_api.inspect("volume", id)
        if found is None:
            return
        owned.require_ours("volume", id, found.get("Labels"))
        if inputs.get("retain", state.get("retain")) and os.environ.get(DELETE_HOMES) != inputs.get(
            "stack", state.get("stack")
        ):
            ctx.info(f"kept the volume {id} with its files ({inputs.get('purpose') or 'to be retained'})")
            return
        release(ctx, "volume", id, str(inputs.get("stack", state.get("stack"))))
        docker_api.remove("volume", id)
