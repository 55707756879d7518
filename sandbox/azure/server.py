"""The emulator as a process: `python -m sandbox.azure.server --state FOLDER --listen FD`, started by sandbox/emulator.py."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.http import Wire, serve
from sandbox.azure.emulator.ids import GROUPS
from sandbox.azure.emulator.store import Resource, State, Store
from sandbox.azure.faults import Faults
from sandbox.emulator import Child, child
from sandbox.faults import Gate

STACK = "SEMESTERHUB_SANDBOX_STACK"
"""What sandbox/session.py tells of the stack, as JSON: account, region, zone, zone_group."""


def campus(store: Store, facts: Mapping[str, str]) -> None:
    """What a university has before the semester: the DNS zone that the stack names, in the group it names."""
    account, group, zone = (facts.get(name) for name in ("account", "zone_group", "zone"))
    if not account or not group or not zone:
        return
    group_id = f"/subscriptions/{account}/resourceGroups/{group}"
    zone_id = f"{group_id}/providers/Microsoft.Network/dnsZones/{zone}"
    if store.get(group_id) is None:
        store.put(Resource(group_id, GROUPS, {"location": facts.get("region") or "westus2"}, by_azure=True))
    if store.get(zone_id) is None:
        store.put(Resource(zone_id, "Microsoft.Network/dnsZones", {"location": "global"}, by_azure=True))
    store.save()


def forget_the_dead(store: Store) -> None:
    """Where nothing is left, what was deleted softly (a vault's name) is over as well: the next `up` is in a new cloud."""
    if all(resource.by_azure for resource in store.all()):
        store.state = State()


async def _run(own: Child, wire: Wire) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.call_soon_threadsafe(ended.set)

    own.end_with_parent(end)
    await serve(wire.application(), own.listener, ended)


def main() -> None:
    """Serve until told to end."""
    own = child("An ARM-shaped emulator on loopback, for --sandbox.")
    try:
        gate = Gate.from_environment(own.state_dir, os.environ)
    except ValueError as error:
        sys.exit(str(error))
    store = Store(own.state_dir)
    forget_the_dead(store)
    campus(store, json.loads(os.environ.get(STACK) or "{}"))
    wire = Wire(Arm(store), touch=own.touch, before=Faults(gate))
    asyncio.run(_run(own, wire))


if __name__ == "__main__":
    main()
