"""A machine's identity: a role that only EC2 takes on, with exactly the rights given, and its instance profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components.aws import policies
from components.aws.scope import Scope


@dataclass(frozen=True)
class IdentityArgs:
    scope: Scope
    part: str
    """`hub` or `worker`: part of the role's name."""
    description: str
    rights: Sequence[policies.Statement]


class Identity(pulumi.ComponentResource):
    """`role_arn`, `role_name`, `profile_arn`, `profile_name`. Machines depend on `rights`: they use them as they boot."""

    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    profile_arn: pulumi.Output[str]
    profile_name: pulumi.Output[str]
    rights: pulumi.Resource

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Identity", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            args.part,
            name=scope.name(args.part),
            description=args.description,
            assume_role_policy=pulumi.Output.json_dumps(policies.assumed_by("ec2.amazonaws.com")),
            tags=scope.tagged(args.part),
            opts=child,
        )
        self.rights = iam.RolePolicy(
            args.part,
            name="own",
            role=role.name,
            policy=pulumi.Output.json_dumps(policies.document(*args.rights)),
            opts=child,
        )
        profile = iam.InstanceProfile(
            args.part, name=scope.name(args.part), role=role.name, tags=scope.tagged(args.part), opts=child
        )
        self.role_arn, self.role_name = role.arn, role.name
        self.profile_arn, self.profile_name = profile.arn, profile.name
        self.register_outputs({"role_arn": self.role_arn, "profile_arn": self.profile_arn})
