"""One stack is one semester: read it, plan it, build it on its cloud, export what people and tools need."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os

import pulumi

from components.cost import monthly_cost, within_budget
from components.plan import plan
from components.semester import SemesterError, fixed, from_pulumi_config

# The program lives for seconds: collecting while the SDK loads costs a quarter of that and finds nothing.
gc.disable()
try:
    semester = from_pulumi_config()
    semester_plan = plan(semester)
    within_budget(semester, monthly_cost(semester, semester_plan))
except SemesterError as error:
    raise pulumi.RunError(str(error)) from None

if semester.alone:
    raise pulumi.RunError(
        f"this semester runs on bare metal alone: ./hub up --stack {pulumi.get_stack()} brings it there by OpenTofu."
    )
if importlib.util.find_spec(f"components.{semester.cloud}") is None:
    raise pulumi.RunError(f"semesterhub:cloud: {semester.cloud} cannot be deployed yet; `cloud: local` can.")

# Only the chosen cloud's SDK is imported: the other one would cost a second and 100 MB.
cloud = importlib.import_module(f"components.{semester.cloud}")
try:
    if os.environ.get("SEMESTERHUB_ONLY") == "registry" and semester.cloud != "local":
        # `image.publish` of a stack that is not there yet: operations/publish.py
        first = importlib.import_module(f"components.{semester.cloud}.first")
        outputs = first.build(pulumi.get_stack(), semester)
    else:
        outputs = cloud.build(pulumi.get_stack(), semester, semester_plan)
except SemesterError as error:
    raise pulumi.RunError(str(error)) from None
for name, value in outputs.items():
    pulumi.export(name, value)
pulumi.export("fixed", fixed(semester))  # what the next run must not change: operations/planning.py
