"""Secrets in the SSM Parameter Store, encrypted with the stack's key.

The Swarm join token is written by the hub VM. Its parameter is made here with a placeholder, so that it has an owner and
goes with the stack; as a write-only value it is never read back into Pulumi's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import ssm

from components.aws.scope import Scope
from components.node_agent.secretstore import PENDING
from components.semester import Semester, secret_paths

JOIN_TOKEN = "join-token"
CLIENT_SECRET = "oauth_client_secret"


@dataclass(frozen=True)
class SecretsArgs:
    scope: Scope
    semester: Semester
    key_arn: pulumi.Input[str]


class Secrets(pulumi.ComponentResource):
    """`parameters`: what the hub VM depends on. `revision` changes with a secret's value, and tells nothing of it."""

    parameters: list[pulumi.Resource]
    revision: pulumi.Output[str]

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Secrets", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        self.parameters, self.revision = [], pulumi.Output.from_input("")
        if args.semester.orchestrator == "swarm":
            token = ssm.Parameter(
                JOIN_TOKEN,
                name=f"{scope.parameters}/{JOIN_TOKEN}",
                description="Token with which nodes join the Swarm; the hub VM writes it",
                type="SecureString",
                key_id=args.key_arn,
                value_wo=PENDING,
                value_wo_version=1,
                tags=scope.tagged(JOIN_TOKEN),
                opts=child,
            )
            self.parameters.append(token)
        if "authenticator.client_secret" in secret_paths(args.semester):
            secret = ssm.Parameter(
                "oauth-client-secret",
                name=f"{scope.parameters}/{CLIENT_SECRET}",
                description="Secret of the OAuth client with which people sign in",
                type="SecureString",
                key_id=args.key_arn,
                value=client_secret(),
                tags=scope.tagged("oauth-client-secret"),
                opts=child,
            )
            self.parameters.append(secret)
            self.revision = secret.version.apply(str)
        self.register_outputs({"count": len(self.parameters)})


def client_secret() -> pulumi.Output[str]:
    """The OAuth client's secret of the stack's configuration. Stays a secret in Pulumi's state."""
    authenticator = pulumi.Config("semesterhub").require_secret_object("authenticator")
    return authenticator.apply(lambda value: str(value["client_secret"]))
