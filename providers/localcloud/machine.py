"""localcloud:index:Machine: a node of the semester, as a container with its own Docker that boots by cloud-init."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from providers.base import (
    Cancelled,
    CheckFailure,
    Context,
    Created,
    Field,
    Handler,
    Observed,
    PartialFailure,
    ProviderError,
    Schema,
)
from providers.base.schema import ListOf
from providers.localcloud import checks, docker_api, owned
from providers.localcloud.machine_boot import Boot, phase_of, wait_ready
from providers.localcloud.machine_container import docker_volume, launch, limits_drift, resize

PULL_TIMEOUT_S = 900
PULL_ATTEMPTS = 3
PARALLEL_PULLS = 3
STOP_TIMEOUT_S = 30
DRAIN_OVERRIDE = "SEMESTERHUB_DRAIN_TIMEOUT_S"
"""Environment variable that replaces every drain timeout; 0 gives nobody time, and does not insist on a clean drain."""

_MOUNT = Schema(
    {
        "volume": Field(str, "Docker name of the volume"),
        "path": Field(str, "where it is mounted in the machine", check=checks.absolute_path),
        "read_only": Field(bool, "whether the machine may only read it", default=False),
    }
)
_PORT = Schema(
    {
        "host_ip": Field(str, "address of this host to listen on", default="127.0.0.1", check=checks.ip),
        "host_port": Field(int, "port of this host", check=checks.port),
        "container_port": Field(int, "port of the machine", check=checks.port),
    }
)


def _role(value: str) -> str | None:
    return None if value in ("hub", "worker") else f"{value!r} is not a role; allowed are hub and worker."


def _user_data(value: str) -> str | None:
    if value.startswith(("#cloud-config", "#!", "Content-Type: multipart", "#include")):
        return None
    return "is not cloud-init user-data: its first line must be #cloud-config (or a script's #! line)."


def _whole(values: Mapping[str, Any]) -> list[CheckFailure]:
    wrong: list[CheckFailure] = []
    paths = [m["path"] for m in values["mounts"]]
    published = [(p["host_ip"], p["host_port"]) for p in values["ports"]]
    wrong += [
        CheckFailure(f"mounts[{i}].path", f"{p} is mounted twice.") for i, p in enumerate(paths) if p in paths[:i]
    ]
    wrong += [
        CheckFailure(f"ports[{i}].host_port", f"{host}:{port} is published twice.")
        for i, (host, port) in enumerate(published)
        if (host, port) in published[:i]
    ]
    if values["role"] == "hub" and values["manager"]:
        wrong.append(CheckFailure("manager", "a hub VM is its own Swarm manager; leave `manager` out."))
    return wrong


class MachineHandler(Handler):
    """Id: the container's name. Ready means that its agent says so: Docker runs inside, the Swarm is joined."""

    token: ClassVar[str] = "localcloud:index:Machine"
    schema: ClassVar[Schema] = Schema(
        {
            "stack": Field(str, "the stack it belongs to", replace=True, check=checks.name),
            "name": Field(str, "its name within the stack, and its hostname", replace=True, check=checks.name),
            "image": Field(str, "tag of the machine image on this host", replace=True),
            "network": Field(str, "Docker name of its network", replace=True),
            "ip": Field(str, "its address in the network", replace=True, check=checks.ip),
            "role": Field(str, "hub or worker", replace=True, check=_role),
            "user_data": Field(str, "cloud-init user-data", replace=True, check=_user_data),
            "memory_mib": Field(int, "memory limit in MiB", check=checks.at_least(64, "MiB")),
            "cpus": Field(float, "CPU limit in CPUs", check=checks.at_least(0.1, "CPUs")),
            "mounts": Field(ListOf(_MOUNT), "volumes", default=[], replace=True),
            "ports": Field(ListOf(_PORT), "published ports", default=[], replace=True),
            "images": Field(ListOf(str), "images to pull inside once it is ready", default=[]),
            "drain_timeout_s": Field(
                int,
                "seconds that running servers get to end before it is removed",
                default=300,
                check=checks.at_least(0, "s"),
            ),
            "manager": Field(str, "Docker name of the hub VM, for a worker", default="", replace=True),
        },
        whole=_whole,
    )
    outputs: ClassVar[tuple[str, ...]] = ("container_id", "boot_s")
    stable_outputs: ClassVar[frozenset[str]] = frozenset({"container_id", "boot_s"})
    delete_before_replace: ClassVar[bool] = True

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        name = owned.object_name(inputs["stack"], inputs["name"])
        try:
            boot = self._boot(ctx, name, inputs, adopt=True)
        except Cancelled as stopped:
            found = docker_api.inspect("container", name)
            if found is None:
                raise
            # Recorded, so that a destroy after Ctrl-C removes it.
            outputs = {"container_id": found["Id"], "boot_s": 0.0}
            raise PartialFailure(f"cancelled while the machine {name} booted", id=name, outputs=outputs) from stopped
        try:
            _pull(ctx, name, inputs["images"])
        except ProviderError as error:
            raise PartialFailure(str(error), id=name, outputs=boot.outputs) from error
        return Created(name, boot.outputs)

    def _boot(self, ctx: Context, name: str, inputs: Mapping[str, Any], *, adopt: bool) -> Boot:
        """A ready machine: adopted if a killed run left a good one, else made. PartialFailure when it does not boot."""
        identity = _identity(inputs)
        found = docker_api.inspect("container", name)
        if found is not None:
            owned.require_ours("container", name, found["Config"].get("Labels"))
            alive = docker_api.alive(found)
            same = found["Config"]["Labels"].get(owned.SPEC) == owned.spec_hash(identity)
            if not (adopt and alive and same and phase_of(name).phase != "failed"):
                ctx.status("removing what an earlier run left")
                _remove(name)
                _forget(ctx, inputs)
                found = None
        if found is None:
            _check_surroundings(inputs)
            ctx.status("starting the machine")
            found = launch(name, inputs, owned.labels(inputs["stack"], inputs["name"], "machine", identity))
        else:
            resize(name, inputs["memory_mib"], inputs["cpus"])
        return wait_ready(ctx, name, found["Id"])

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        found = docker_api.inspect("container", id)
        if found is None or not docker_api.alive(found) or not owned.is_ours(found["Config"].get("Labels")):
            return None
        actual = limits_drift(found["HostConfig"], inputs)
        outputs = {"container_id": found["Id"], "boot_s": state.get("boot_s", 0.0)}
        seen = phase_of(id)
        if seen.phase == "ready":
            return Observed(outputs, actual)
        return Observed(
            outputs,
            actual,
            (f"the machine {id} is not ready: {seen.phase}{': ' + seen.message if seen.message else ''}",),
        )

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        seen = phase_of(id)
        if seen.phase == "ready":
            resize(id, news["memory_mib"], news["cpus"])
            outputs = {"container_id": old_state["container_id"], "boot_s": old_state["boot_s"]}
        else:
            # It failed to boot, or is still at it (recorded as a partial failure): wait for it, or make it anew.
            outputs = self._boot(ctx, id, news, adopt=seen.phase != "failed").outputs
        _pull(ctx, id, news["images"])
        return outputs

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        known = inputs or state
        found = docker_api.inspect("container", id)
        if found is not None:
            owned.require_ours("container", id, found["Config"].get("Labels"))
            if known.get("manager") and docker_api.alive(found):
                _drain(ctx, known)
            else:
                _forget(ctx, known)
            ctx.status("stopping the machine")
        else:
            _forget(ctx, known)
        _remove(id)


def _identity(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that make the container what it is: those whose change needs another one."""
    return {name: inputs[name] for name, spec in MachineHandler.schema.fields.items() if spec.replace}


def _check_surroundings(inputs: Mapping[str, Any]) -> None:
    for mount in inputs["mounts"]:
        # Docker would make a missing volume by itself: empty, unlabelled, and removed by nobody.
        if docker_api.inspect("volume", mount["volume"]) is None:
            raise ProviderError(
                f"the Docker volume {mount['volume']} does not exist; it must be made before the machine {inputs['name']}."
            )
    network = docker_api.inspect("network", inputs["network"])
    if network is None:
        raise ProviderError(
            f"the Docker network {inputs['network']} does not exist; it must be made before the machine {inputs['name']}."
        )
    for pool in (network.get("IPAM") or {}).get("Config") or []:
        if "." in pool.get("Subnet", "") and ipaddress.IPv4Address(inputs["ip"]) not in ipaddress.IPv4Network(
            pool["Subnet"]
        ):
            raise ProviderError(
                f"the machine {inputs['name']} is to have {inputs['ip']}, which is outside its network {pool['Subnet']}."
            )


def _pull(ctx: Context, machine: str, refs: list[str]) -> None:
    """`docker pull` inside the machine, a few at a time, each tried three times. ProviderError names the ones that failed."""
    if not refs:
        return
    done: list[str] = []

    def pull(ref: str) -> str:
        tail = ""
        for attempt in range(PULL_ATTEMPTS):
            ctx.check_cancelled()
            if docker_api.execute(machine, ["docker", "image", "inspect", "--format", "-", ref], 30).exit_code == 0:
                break
            result = docker_api.execute(
                machine, ["docker", "pull", "--quiet", ref], PULL_TIMEOUT_S, cancelled=ctx.cancel
            )
            if result.exit_code == 0:
                break
            tail = result.tail or f"no end after {PULL_TIMEOUT_S} s"
            ctx.sleep(1 + 2 * attempt)
        else:
            return f"{ref}: {tail}"
        done.append(ref)
        ctx.status(f"pulled {len(done)} of {len(refs)} images")
        return ""

    ctx.status(f"pulling {len(refs)} images")
    with ThreadPoolExecutor(PARALLEL_PULLS) as pool:
        failed = [why for why in pool.map(pull, dict.fromkeys(refs)) if why]
    if failed:
        raise ProviderError(
            f"the machine {machine} could not pull (tried {PULL_ATTEMPTS} times):\n" + "\n".join(failed)
        )


def _remove(name: str) -> None:
    """Stop (so that its Docker ends its containers), remove, and remove its own volume."""
    from docker.errors import APIError

    docker_api.thaw(name)
    # Not there, or not running: then the removal by force says what matters.
    with contextlib.suppress(APIError):
        docker_api.client().stop(name, timeout=STOP_TIMEOUT_S)
    docker_api.remove("container", name)
    found = docker_api.inspect("volume", docker_volume(name))
    if found is not None and owned.is_ours(found.get("Labels")):
        docker_api.remove("volume", docker_volume(name))


def _manager_runs(inputs: Mapping[str, Any]) -> bool:
    found = docker_api.inspect("container", inputs["manager"]) if inputs.get("manager") else None
    return found is not None and docker_api.alive(found) and owned.is_ours(found["Config"].get("Labels"))


def _drain(ctx: Context, inputs: Mapping[str, Any]) -> None:
    """Have the manager empty the worker: no new servers, wait for the running ones, stop the rest, leave the Swarm."""
    if not _manager_runs(inputs):
        return
    override = os.environ.get(DRAIN_OVERRIDE, "")
    timeout_s = float(override) if override else float(inputs.get("drain_timeout_s", 0))
    started = time.monotonic()
    ctx.status(f"draining {inputs['name']} (students get {timeout_s:g} s)")
    done = docker_api.execute(
        inputs["manager"],
        ["semesterhub-node", "drain", inputs["name"], "--timeout", f"{timeout_s:g}"],
        timeout_s + 120,
        on_line=ctx.status,
        cancelled=ctx.cancel,
    )
    ctx.check_cancelled()
    if done.exit_code == 0:
        return
    why = f"draining {inputs['name']} failed after {time.monotonic() - started:.0f} s: {done.tail or 'no answer'}"
    if timeout_s > 0:
        raise ProviderError(
            f"{why}\nThe machine is left as it is, since students may be working on it. To remove it all the same, "
            f"run the command again with {DRAIN_OVERRIDE}=0 in the environment."
        )
    ctx.warn(why)


def _forget(ctx: Context, inputs: Mapping[str, Any]) -> None:
    """Have the manager drop the Swarm's memory of a worker that died, so that its successor is the only one of its name."""
    if not _manager_runs(inputs):
        return
    done = docker_api.execute(inputs["manager"], ["semesterhub-node", "forget", inputs["name"]], 60)
    if done.exit_code != 0:
        ctx.warn(f"the hub VM could not forget the dead node {inputs['name']}: {done.tail}")
