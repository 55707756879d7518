"""Switching the cloud site off when it does not answer itself, and reading back that it is off.

    power_of("fa16", semester).stop()   # -> Proof(how="cloud", detail="AWS account …: i-0abc… is off; …")

Everything is found by names and tags, with the credentials of whoever is signed in, as in `./hub preflight`: the cloud
site may be gone together with Pulumi's backend and the stack's outputs.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from operations.power.fence import Fence
from operations.power.model import NoMachineError, Power, PowerError, Proof, State

if TYPE_CHECKING:
    from components.semester import Semester

__all__ = ["NoMachineError", "Power", "PowerError", "Proof", "State", "power_of"]


def power_of(stack: str, semester: Semester, *, endpoint: str = "") -> Fence:
    """The switch of a stack's cloud site. `endpoint`: an emulator of its cloud instead.

    Nobody is asked yet. Raises PowerError when the stack file does not say whose account it is.
    """
    if semester.cloud == "local":
        from operations.power.local import LocalSite

        return Fence(LocalSite(stack))
    if semester.account is None:
        raise PowerError(
            "semesterhub:account is missing in the stack file, so nothing says whose machines these are: write it, or switch the "
            "hub VM off in the cloud's console"
        )
    if semester.cloud == "aws":
        from operations.power.aws import AwsSite
        from operations.preflight import aws_clients

        clients = functools.cache(aws_clients(semester, endpoint))
        return Fence(AwsSite(stack, semester.account, str(semester.region), clients))
    from operations.power.azure import AzureSite
    from operations.preflight.arm import MANAGEMENT, Arm, signed_in

    arm = Arm((lambda _scope: "sandbox") if endpoint else signed_in(), endpoint or MANAGEMENT)
    return Fence(AzureSite(stack, semester.account, arm))
