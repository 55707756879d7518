"""What every resource of a stack on AWS shares: names, tags, and the account and region in its ARNs. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.images_lock import ecr_registry

PREFIX = "semesterhub"
_CHANGING = ("semesterhub:semester", "semesterhub:course")


@dataclass(frozen=True)
class Scope:
    """One stack in one region of one account."""

    stack: str
    region: str
    account: str
    tags: Mapping[str, str]

    def name(self, part: str) -> str:
        """`semesterhub-<stack>-<part>`."""
        return f"{PREFIX}-{self.stack}-{part}"

    def tagged(self, part: str) -> dict[str, str]:
        """The stack's tags and the name that the console shows."""
        return {**self.tags, "Name": self.name(part)}

    def lasting(self, part: str) -> dict[str, str]:
        """The same without title and courses. For what a launch template puts on disks and network interfaces: a new
        course would be a new version of the template, and a new version exchanges every node.
        """
        return {key: value for key, value in self.tagged(part).items() if key not in _CHANGING}

    @property
    def partition(self) -> str:
        """`aws`, or the separate clouds of the US government and China."""
        if self.region.startswith("us-gov-"):
            return "aws-us-gov"
        return "aws-cn" if self.region.startswith("cn-") else "aws"

    @property
    def dns_suffix(self) -> str:
        """Of the region's service endpoints and registries."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """Of a resource in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def managed_policy(self, name: str) -> str:
        """ARN of a policy that AWS maintains (with its path, such as `service-role/…`)."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    @property
    def root(self) -> str:
        """The account itself, as a principal: whoever its own IAM policies allow."""
        return f"arn:{self.partition}:iam::{self.account}:root"

    @property
    def parameters(self) -> str:
        """Folder of the stack's parameters in the SSM Parameter Store."""
        return f"/{PREFIX}/{self.stack}"

    def parameter_arn(self, name: str) -> str:
        """Of one parameter below `parameters`; `*` for all."""
        return self.arn("ssm", f"parameter{self.parameters}/{name}")

    @property
    def bucket(self) -> str:
        """Bucket names are one namespace for all accounts of the world, so the account is part of it."""
        return self.name(self.account)

    @property
    def bundle_key(self) -> str:
        """Object that the hub VM and the workers follow."""
        return "bundle/current.json"

    @property
    def images(self) -> str:
        """The stack's folder in the account's container registry."""
        return ecr_registry(self.account, self.region, self.stack)

    @property
    def registry(self) -> str:
        """Host of the account's container registry in the region."""
        return self.images.partition("/")[0]
