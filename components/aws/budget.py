"""The bill's alarm: AWS Budgets warns the admins at the shares of the monthly limit that the stack file names."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import budgets

from components.aws.scope import Scope
from components.semester_parts import Budget as Limit


@dataclass(frozen=True)
class BudgetArgs:
    scope: Scope
    limit: Limit
    topic_arn: pulumi.Input[str]


class Budget(pulumi.ComponentResource):
    """Counts what carries the stack's tag; activate `semesterhub:stack` once as a cost allocation tag of the account."""

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Budget", name, None, opts)
        scope = args.scope
        limit = budgets.Budget(
            "monthly",
            name=scope.name("monthly"),
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{args.limit.monthly_usd:.2f}",
            limit_unit="USD",
            cost_filters=[{"name": "TagKeyValue", "values": [f"user:semesterhub:stack${scope.stack}"]}],
            notifications=[
                {
                    "notification_type": "ACTUAL",
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_sns_topic_arns": [args.topic_arn],
                }
                for percent in sorted(set(args.limit.alert_percent))
            ],
            tags=scope.tagged("monthly"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"name": limit.name})
