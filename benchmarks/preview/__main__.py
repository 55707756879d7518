"""The real program's resources SEMESTERHUB_COPIES times over, each copy under names of its own, with one provider.

Only for `./hub load.preview`: nobody deploys ten semesters in one stack.
"""

from __future__ import annotations

import gc
import importlib
import os

import pulumi

from components.cost import monthly_cost, within_budget
from components.plan import plan
from components.semester import from_pulumi_config

gc.disable()
semester = from_pulumi_config()
semester_plan = plan(semester)
within_budget(semester, monthly_cost(semester, semester_plan))
cloud = importlib.import_module(f"components.{semester.cloud}")
make_provider, providers = cloud.provider, []


def one_provider(*args: object, **more: object) -> pulumi.ProviderResource:
    """Each provider is a process of its own; ten semesters share one here."""
    if not providers:
        providers.append(make_provider(*args, **more))
    return providers[0]


cloud.provider = one_provider

copy = 0
register = pulumi.Resource.__init__


def renamed(self: pulumi.Resource, t: str, name: str, *args: object, **more: object) -> None:
    prefix = f"copy-{copy}-" if copy else ""
    register(self, t, prefix + name, *args, **more)  # pyright: ignore[reportArgumentType]


pulumi.Resource.__init__ = renamed  # pyright: ignore[reportAttributeAccessIssue]
for copy in range(int(os.environ["SEMESTERHUB_COPIES"])):
    suffix = f"-{copy}" if copy else ""
    cloud.build(pulumi.get_stack() + suffix, semester, semester_plan)
