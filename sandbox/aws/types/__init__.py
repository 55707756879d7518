"""The tables: one `Spec` a resource type, gathered by family."""

from __future__ import annotations

from sandbox.aws.spec import Spec
from sandbox.aws.types import autoscaling, compute, copies, edge, efs, eks, firewall, iam, kms, network, s3, watch

SPECS: dict[str, Spec] = {
    spec.type: spec
    for family in (autoscaling, compute, copies, edge, efs, eks, firewall, iam, kms, network, s3, watch)
    for spec in family.SPECS
}
