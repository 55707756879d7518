"""localcloud:index:Network: a Docker bridge network with a fixed CIDR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Context, Created, Field, Handler, Observed, ProviderError, Schema
from providers.localcloud import checks, docker_api, host, owned
from providers.localcloud.sweep import release


class NetworkHandler(Handler):
    """Id: the Docker name."""

    token: ClassVar[str] = "localcloud:index:Network"
    schema: ClassVar[Schema] = Schema(
        {
            "stack": Field(str, "the stack it belongs to", replace=True, check=checks.name),
            "name": Field(str, "its name within the stack", replace=True, check=checks.name),
            "cidr": Field(str, "its addresses, for example 10.88.0.0/24", replace=True, check=checks.cidr),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("docker_id",)
    stable_outputs: ClassVar[frozenset[str]] = frozenset({"docker_id"})
    delete_before_replace: ClassVar[bool] = True

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        name = owned.object_name(inputs["stack"], inputs["name"])
        marks = owned.labels(inputs["stack"], inputs["name"], "network", inputs)
        found = docker_api.inspect("network", name)
        if found is not None:
            owned.require_ours("network", name, found.get("Labels"))
            if _cidr(found) == inputs["cidr"]:
                return Created(name, {"docker_id": found["Id"]})
            docker_api.remove("network", name)  # left by a killed run with another CIDR
        holder = host.who_holds_cidr(inputs["cidr"])
        if holder:
            raise ProviderError(
                f"the network {inputs['cidr']} overlaps with {holder}. Change `semesterhub:network.cidr` in the stack file "
                "to a private network that is free here."
            )
        api = docker_api.client()
        with docker_api.explained(f"making the Docker network {name} ({inputs['cidr']})"):
            made = api.create_network(
                name,
                driver="bridge",
                check_duplicate=True,
                labels=marks,
                ipam=api_ipam(inputs["cidr"]),
            )
        return Created(name, {"docker_id": made["Id"]})

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        found = docker_api.inspect("network", id)
        if found is None or not owned.is_ours(found.get("Labels")):
            return None
        return Observed({"docker_id": found["Id"]}, {"cidr": _cidr(found)})

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return {"docker_id": old_state["docker_id"]}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        found = docker_api.inspect("network", id)
        if found is None:
            return
        owned.require_ours("network", id, found.get("Labels"))
        release(ctx, "network", id, str(inputs.get("stack", state.get("stack"))))
        docker_api.remove("network", id)


def _cidr(found: Mapping[str, Any]) -> str:
    pools = (found.get("IPAM") or {}).get("Config") or [{}]
    return str(pools[0].get("Subnet", ""))


def api_ipam(cidr: str) -> Any:
    """Docker's address configuration for one CIDR; the gateway is its first address."""
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=cidr)])
