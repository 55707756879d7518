"""What stands before the first image can be pushed: the registry and its resource group. `./hub image.publish` deploys it.

The same resources as in the whole semester, by the same names, so that the `up` that follows finds them as they are.
"""

from __future__ import annotations

from typing import Any

import pulumi

from components.azure.groups import Groups, GroupsArgs
from components.azure.provider import provider
from components.azure.registry import Registry, RegistryArgs
from components.azure.site import site
from components.semester import Semester


def build(stack: str, semester: Semester) -> dict[str, Any]:
    """Declare the registry; the stack's outputs."""
    place = site(stack, semester)
    opts = pulumi.ResourceOptions(providers=[provider(place)])
    groups = Groups("groups", GroupsArgs(site=place, protect=semester.homes.protect), opts)
    Registry("images", RegistryArgs(site=place, group=groups.main), opts)
    return {"registry": place.registry_server}
