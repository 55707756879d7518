"""The machine image of hub VM and Swarm nodes: one dated build of Ubuntu 24.04 LTS, which brings the SSM agent.

Named by its date, not "the newest": a new build must not replace running machines because a day has passed. To move to
a newer one, change `BUILD` (`aws ec2 describe-images --owners 099720109477 --filters
'Name=name,Values=ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*'` lists them), look at the preview, deploy.
"""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2

BUILD = "20260218"
NAME = f"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-{BUILD}"
OWNERS = {"aws": "099720109477", "aws-us-gov": "513442679011", "aws-cn": "837727238323"}
"""Canonical's accounts (documentation.ubuntu.com/aws, "Find Ubuntu images on AWS"): nobody else's image of that name counts."""
ROOT_DEVICE = "/dev/sda1"


def machine_image(partition: str, ask: pulumi.InvokeOptions) -> str:
    """Its id in the provider's region."""
    return ec2.get_ami(
        owners=[OWNERS[partition]],
        filters=[{"name": "name", "values": [NAME]}],
        include_deprecated=True,  # an image is marked so after two years, and a semester must still be able to grow
        opts=ask,
    ).id
