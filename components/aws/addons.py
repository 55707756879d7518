"""EKS addons, kept up by EKS: the pods' network (with network policies), DNS, kube-proxy, and the driver for the homes.

Two of them act on the account; they do so with roles of their own (IRSA), not with the nodes'. The network must be there
before the first node, DNS and the driver need nodes to run on, so the addons come in two halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import eks, iam

from components.aws import policies
from components.aws.scope import Scope

NAMESPACE = "kube-system"


@dataclass(frozen=True)
class Account:
    """An addon that acts on the AWS account: its Kubernetes service accounts and the managed policy it needs."""

    names: tuple[str, ...]
    policy: str


ACCOUNTS = {
    "vpc-cni": Account(("aws-node",), "AmazonEKS_CNI_Policy"),
    "aws-efs-csi-driver": Account(
        ("efs-csi-controller-sa", "efs-csi-node-sa"), "service-role/AmazonEFSCSIDriverPolicy"
    ),
}
BEFORE_NODES, AFTER_NODES = ("vpc-cni", "kube-proxy"), ("coredns", "aws-efs-csi-driver")
CONFIGURATION: dict[str, dict[str, object]] = {
    # Without this the hub's NetworkPolicy is accepted and does nothing.
    "vpc-cni": {"enableNetworkPolicy": "true"},
}


@dataclass(frozen=True)
class AddonsArgs:
    scope: Scope
    cluster: eks.Cluster
    issuer: pulumi.Input[str]


class Addons(pulumi.ComponentResource):
    """`network`: what nodes depend on. `complete()` adds the rest once there are nodes."""

    network: list[pulumi.Resource]

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Addons", name, None, opts)
        self._args, self._child = args, pulumi.ResourceOptions(parent=self)
        self._identity = iam.OpenIdConnectProvider(
            "pods",
            url=args.issuer,
            client_id_lists=["sts.amazonaws.com"],
            tags=args.scope.tagged("pods"),
            opts=self._child,
        )
        self.network = [self._addon(addon, []) for addon in BEFORE_NODES]
        self.register_outputs({"identity_provider": self._identity.arn})

    def complete(self, nodes: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """DNS and the driver for the homes, when these nodes are there."""
        return [self._addon(addon, nodes) for addon in AFTER_NODES]

    def _addon(self, addon: str, after: Sequence[pulumi.Resource]) -> eks.Addon:
        needs, role_arn = list(after), None
        if account := ACCOUNTS.get(addon):
            role, attached = self._role(addon, account)
            role_arn, needs = role.arn, [*needs, attached]
        configuration = CONFIGURATION.get(addon)
        return eks.Addon(
            addon,
            addon_name=addon,
            cluster_name=self._args.cluster.name,
            service_account_role_arn=role_arn,
            configuration_values=pulumi.Output.json_dumps(configuration) if configuration else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            tags=self._args.scope.tagged(addon),
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )

    def _role(self, addon: str, account: Account) -> tuple[iam.Role, pulumi.Resource]:
        scope = self._args.scope
        trust = pulumi.Output.all(self._identity.arn, self._args.issuer).apply(
            lambda made: policies.assumed_by_service_account(made[0], made[1], NAMESPACE, account.names)
        )
        role = iam.Role(
            addon,
            name=scope.name(addon),
            description=f"The addon {addon} of the cluster",
            assume_role_policy=pulumi.Output.json_dumps(trust),
            tags=scope.tagged(addon),
            opts=self._child,
        )
        attached = iam.RolePolicyAttachment(
            addon, role=role.name, policy_arn=scope.managed_policy(account.policy), opts=self._child
        )
        return role, attached
