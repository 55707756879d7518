"""Offline clouds: the same program, the real Pulumi engine, no account.

`./hub up --stack fa16 --sandbox` runs a semester against an emulator on loopback through stand-ins for the official
provider plugins. A stand-in re-implements what a provider does, so a green sandbox does not prove that the official
provider agrees: it finds mistakes in the program, in names and types, in order and in repeated runs.

Nothing outside this folder imports it, except a task that was given `--sandbox` (operations/deploy.py).

    with session("fa16", "aws") as sandbox:         # emulator started, plugins installed, environment stripped
        Pulumi("fa16", folder, place=sandbox.place).run("up")
"""

from __future__ import annotations

from sandbox.session import BANNER, Session, session

__all__ = ["BANNER", "Session", "session"]
