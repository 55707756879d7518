"""The EKS cluster: a private API, secrets under the stack's key, all control plane logs, and the hub VM's access to it.

Who may do what in the cluster is decided by access entries, not by a ConfigMap. Managed node groups get theirs from EKS
itself; one made here as well would be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_aws import cloudwatch, eks, iam, vpc

from components.aws import policies
from components.aws.scope import Scope

VERSION = "1.35"
"""Kubernetes release; EKS supports it in the standard way for about 14 months (docs.aws.amazon.com/eks, "Kubernetes versions")."""
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
LOG_RETENTION_DAYS = 90
_NOT_PUBLIC = tuple(IPv4Network(space) for space in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))


@dataclass(frozen=True)
class ClusterArgs:
    scope: Scope
    subnet_ids: Sequence[pulumi.Input[str]]
    admin_cidrs: Sequence[IPv4Network]
    """Networks from which the API may be asked besides the VPC."""
    key_arn: pulumi.Input[str]
    hub_role_arn: pulumi.Input[str]
    hub_security_group_id: pulumi.Input[str]


def cluster_name(scope: Scope) -> str:
    """Known before the cluster is: the hub's rights name it."""
    return scope.name("cluster")


def public_networks(cidrs: Sequence[IPv4Network]) -> list[str]:
    """Those that EKS takes for its public endpoint; a private network reaches the API through the VPC or not at all."""
    return [str(cidr) for cidr in cidrs if not any(cidr.overlaps(space) for space in _NOT_PUBLIC)]


class Cluster(pulumi.ComponentResource):
    """`cluster` and what others need of it: `name`, `arn`, `endpoint`, `ca_certificate`, `security_group_id`, `issuer`."""

    cluster: eks.Cluster
    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    ca_certificate: pulumi.Output[str]
    """Base64 of PEM."""
    security_group_id: pulumi.Output[str]
    issuer: pulumi.Output[str]
    access: list[pulumi.Resource]
    """What the hub depends on before it asks the API."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:aws:Cluster", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        logs = cloudwatch.LogGroup(
            "control-plane",
            name=f"/aws/eks/{cluster_name(scope)}/cluster",
            retention_in_days=LOG_RETENTION_DAYS,
            kms_key_id=args.key_arn,
            tags=scope.tagged("control-plane"),
            opts=child,
        )
        role, rights = self._role(args)
        public = public_networks(args.admin_cidrs)
        self.cluster = eks.Cluster(
            "cluster",
            name=cluster_name(scope),
            version=VERSION,
            role_arn=role.arn,
            vpc_config={
                "subnet_ids": list(args.subnet_ids),
                "endpoint_private_access": True,
                "endpoint_public_access": bool(public),
                "public_access_cidrs": public or None,
            },
            encryption_config={"provider": {"key_arn": args.key_arn}, "resources": ["secrets"]},
            enabled_cluster_log_types=list(LOG_TYPES),
            # Who deploys the stack is its first admin; nobody else comes in without an entry.
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": True},
            bootstrap_self_managed_addons=False,
            upgrade_policy={"support_type": "STANDARD"},
            tags=scope.tagged("cluster"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, *rights]),
        )
        self.name, self.arn, self.endpoint = self.cluster.name, self.cluster.arn, self.cluster.endpoint
        self.ca_certificate = self.cluster.certificate_authority.apply(lambda made: made.data or "")
        self.security_group_id = self.cluster.vpc_config.apply(lambda made: made.cluster_security_group_id or "")
        self.issuer = self.cluster.identities.apply(_issuer)
        entry = eks.AccessEntry(
            "hub",
            cluster_name=self.cluster.name,
            principal_arn=args.hub_role_arn,
            type="STANDARD",
            tags=scope.tagged("hub-access"),
            opts=child,
        )
        # The hub makes namespaces and volumes, which belong to the whole cluster; the cluster is this semester's alone.
        admin = eks.AccessPolicyAssociation(
            "hub",
            cluster_name=self.cluster.name,
            principal_arn=args.hub_role_arn,
            policy_arn=f"arn:{scope.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
            access_scope={"type": "cluster"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
        )
        door = vpc.SecurityGroupIngressRule(
            "api-from-hub",
            security_group_id=self.security_group_id,
            description="Kubernetes API of the hub",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            referenced_security_group_id=args.hub_security_group_id,
            tags=scope.tagged("api-from-hub"),
            opts=child,
        )
        self.access = [admin, door]
        self.register_outputs({"name": self.name, "endpoint": self.endpoint})

    def _role(self, args: ClusterArgs) -> tuple[iam.Role, list[pulumi.Resource]]:
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            "control-plane",
            name=scope.name("control-plane"),
            description="The EKS control plane",
            assume_role_policy=pulumi.Output.json_dumps(policies.assumed_by("eks.amazonaws.com")),
            tags=scope.tagged("control-plane"),
            opts=child,
        )
        managed = iam.RolePolicyAttachment(
            "control-plane",
            role=role.name,
            policy_arn=scope.managed_policy("AmazonEKSClusterPolicy"),
            opts=child,
        )
        wrap = iam.RolePolicy(
            "control-plane",
            name="wrap-secrets",
            role=role.name,
            policy=pulumi.Output.json_dumps(policies.encrypt_cluster_secrets(args.key_arn)),
            opts=child,
        )
        return role, [managed, wrap]


def _issuer(identities: Sequence[eks.outputs.ClusterIdentity]) -> str:
    """Address of the cluster's OpenID Connect issuer."""
    return next((oidc.issuer for made in identities for oidc in made.oidcs or [] if oidc.issuer), "")
