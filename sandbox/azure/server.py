"""The emulator as a process: `python -m sandbox.azure.server --state FOLDER --listen FD`, started by sandbox/emulator.py."""

from __future__ import annotations

import asyncio
import os
import sys

from sandbox.azure.emulator.arm import Arm
from sandbox.azure.emulator.http import Wire, serve
from sandbox.azure.emulator.store import Store
from sandbox.azure.faults import Faults
from sandbox.emulator import Child, child
from sandbox.faults import Gate


async def _run(own: Child, parent: int, wire: Wire) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.call_soon_threadsafe(ended.set)

    own.end_with_parent(end, parent)
    await serve(wire.application(), own.listener, ended)


def main() -> None:
    """Serve until told to end."""
    parent = os.getppid()
    own = child("An ARM-shaped emulator on loopback, for --sandbox.")
    try:
        gate = Gate.from_environment(own.state_dir, os.environ)
    except ValueError as error:
        sys.exit(str(error))
    wire = Wire(Arm(Store(own.state_dir)), touch=own.touch, before=Faults(gate))
    asyncio.run(_run(own, parent, wire))


if __name__ == "__main__":
    main()
