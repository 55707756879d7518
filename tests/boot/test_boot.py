"""The boot chain of both clouds, for real: the user-data that a cloud's machines get, cloud-init, Docker, Swarm, the hub.

One hub VM and one worker of each cloud boot side by side on a stand-in of the clouds' services. What is not real here: the
services themselves, homes over NFS (this kernel has none) and the hub VM's own disk.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components import cloud_init, hub_bundle
from components.cloud_nodes import node_config
from components.plan import plan
from components.semester import Semester, load_stack_file
from components.semester_access import GoogleAuthenticator
from operations import images
from tests.boot import standin
from tests.boot.ground import Ground, ground, until
from tests.boot.to_standin import signature_by_botocore

pytestmark = pytest.mark.swarm

CLIENT_ID = "01234567-89ab-cdef-0123-456789abcdef"
ECR, ACR = "123456789012.dkr.ecr.us-west-2.amazonaws.com", "semesterhubsp16.azurecr.io"
VAULT, BLOBS = "kv-sp16-0a1b2c.vault.azure.net", "semesterhubsp16.blob.core.windows.net"
BUCKET = "semesterhub-fa16-0a1b2c"
SERVICES = [
    "ssm.us-west-2.amazonaws.com", "autoscaling.us-west-2.amazonaws.com", "api.ecr.us-west-2.amazonaws.com",
    f"{BUCKET}.s3.us-west-2.amazonaws.com", ECR, ACR, VAULT, BLOBS,
]  # fmt: skip
METADATA = {"placement/region": "us-west-2", "instance-id": "i-0123456789abcdef0"}
DRAIN_S = 5


@dataclass
class Site:
    """One cloud's semester on the ground."""

    cloud: str
    stack: str
    registry: str
    secret_store: str
    bundle: str
    first_host: int
    semester: Semester
    hub: str = ""
    worker: str = ""

    @property
    def bundle_object(self) -> str:
        host = f"{BUCKET}.s3.us-west-2.amazonaws.com" if self.cloud == "aws" else BLOBS
        return f"{host}/bundle/current.json"

    def user_data(self, here: Ground, role: str) -> str:
        """As the cloud's machine gets it: packed, unpacked by cloud-init (here by the test)."""
        planned = plan(self.semester)
        node = node_config(
            self.semester, planned, role,
            secret_store=self.secret_store, homes="", bundle=self.bundle, registry=self.registry,
            identity_client_id=CLIENT_ID if self.cloud == "azure" else "",
            node_group=f"semesterhub-{self.stack}-workers", lifecycle_hook="drain",
        )  # fmt: skip
        node = replace(
            node, hub_ip=here.ip(self.first_host), cluster_cidr=f"{here.subnet}.0/24", drain_timeout_s=DRAIN_S,
            student_memory_mib=0 if role == "hub" else 1024,
        )  # fmt: skip
        packed = base64.b64decode(cloud_init.encoded(cloud_init.user_data(node)))
        assert len(packed) <= 16_384
        return gzip.decompress(packed).decode()

    def write_bundle(self, here: Ground, digests: dict[str, str]) -> None:
        references = {name: f"{self.registry}/semesterhub/{name}@{digest}" for name, digest in digests.items()}
        planned = replace(plan(self.semester), hub_ip=here.ip(self.first_host))
        text = hub_bundle.current(self.stack, self.semester, planned, references)
        here.control(objects={self.bundle_object: text})


def semester(stack: str) -> Semester:
    """The stack file's, with light servers and a certificate authority of its own: no ACME server is here."""
    read = load_stack_file(Path(f"stacks/Pulumi.{stack}.yaml"))
    courses = tuple(course.model_copy(update={"image": "light"}) for course in read.courses)
    return read.model_copy(update={"hub": read.hub.model_copy(update={"acme_email": None}), "courses": courses})


def with_a_client_secret(read: Semester) -> Semester:
    values = {
        "kind": "google",
        "client_id": "id",
        "client_secret": {"secure": "v1:x"},
        "hosted_domain": ("example.edu",),
    }
    return read.model_copy(update={"authenticator": GoogleAuthenticator.model_validate(values)})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    machine = images.build("machine", print).tag
    with ground(tmp_path_factory.mktemp("boot"), machine, SERVICES, METADATA, CLIENT_ID) as made:
        yield made


@pytest.fixture(scope="module")
def sites(here: Ground) -> dict[str, Site]:
    """All four machines, booted side by side; as in life, images and bundles come when they are up already."""
    tags = {name: images.build(name, print).tag for name in (*hub_bundle.HUB_IMAGES, "light")}
    made = {
        "aws": Site(
            "aws", "fa16", ECR, "ssm:us-west-2:/semesterhub/fa16", f"s3://{BUCKET}/bundle/current.json", 10,
            with_a_client_secret(semester("fa16")),
        ),
        "azure": Site("azure", "sp16", ACR, f"keyvault:https://{VAULT}", f"https://{BLOBS}/bundle/current.json", 20, semester("sp16")),
    }  # fmt: skip
    here.control(
        secrets={"/semesterhub/fa16/oauth_client_secret": "of-the-oauth-client", "join-token": standin.DISABLED}
    )
    for cloud, site in made.items():
        site.hub = here.machine(f"{cloud}-hub", site.first_host, site.user_data(here, "hub"))
        site.worker = here.machine(f"{cloud}-worker", site.first_host + 1, site.user_data(here, "worker"))
    digests = {name: here.publish(tag, f"semesterhub/{name}") for name, tag in tags.items()}
    for site in made.values():
        site.write_bundle(here, digests)
    for site in made.values():
        here.wait_ready(site.hub, 120)
        here.wait_ready(site.worker, 180)
    return made


both = pytest.mark.parametrize("cloud", ["aws", "azure"])


def nodes(here: Ground, site: Site) -> dict[str, dict[str, Any]]:
    """The Swarm's nodes, as the hub VM reports them."""
    report = json.loads(here.sh(site.hub, "semesterhub-node report"))
    return {node["name"]: node for node in report["nodes"]}


@both
def test_a_worker_joins_with_the_token_that_the_hub_vm_stored(here: Ground, sites: dict[str, Site], cloud: str) -> None:
    site = sites[cloud]
    joined = nodes(here, site)
    assert set(joined) == {site.hub, site.worker}
    assert (joined[site.hub]["role"], joined[site.hub]["availability"]) == ("manager", "drain")
    assert (joined[site.worker]["state"], joined[site.worker]["student_memory_mib"]) == ("ready", 1024)
    stored = here.control()["secrets"]["/semesterhub/fa16/join-token" if cloud == "aws" else "join-token"]
    assert stored == here.sh(site.hub, "docker swarm join-token -q worker")
    for machine in (site.hub, site.worker):
        assert "SWMTKN" not in here.sh(machine, "cat /var/lib/cloud/instance/user-data.txt /etc/semesterhub/node.json")


@both
def test_a_worker_holds_its_images_before_the_first_student_and_keeps_no_password(
    here: Ground, sites: dict[str, Site], cloud: str
) -> None:
    site = sites[cloud]
    held = here.sh(site.worker, "docker images --digests --format '{{.Repository}}@{{.Digest}}'").split()
    assert [name.partition("@")[0] for name in held] == [f"{site.registry}/semesterhub/light"]
    kept = "ls -d /run/semesterhub-docker-* /root/.docker/config.json 2>/dev/null || true"
    for machine in (site.hub, site.worker):
        # While the hub VM pulls, the password's folder is there.
        until(lambda machine=machine: here.sh(machine, kept) == "", 120, lambda machine=machine: here.sh(machine, kept))


@both
def test_the_hub_answers_over_tls(here: Ground, sites: dict[str, Site], cloud: str) -> None:
    site = sites[cloud]
    authority = "/var/lib/semesterhub/state/edge/pki/authorities/local/root.crt"
    code = (
        "import ssl, urllib.request\n"
        f"context = ssl.create_default_context(cafile='{authority}')\n"
        f"print(urllib.request.urlopen('https://{site.semester.domain}/hub/health', context=context, timeout=10).status)\n"
    )
    here.sh(
        site.hub, f"grep -q {site.semester.domain} /etc/hosts || echo 127.0.0.1 {site.semester.domain} >> /etc/hosts"
    )

    def healthy() -> bool:
        return here.sh(site.hub, f'python3 -c "{code}"', check=False) == "200"

    def why() -> str:
        return here.sh(
            site.hub, "docker ps -a; docker logs --tail 20 hub 2>&1; semesterhub-node follow 2>&1", check=False
        )

    until(healthy, 180, why)
    assert json.loads(here.sh(site.hub, "semesterhub-node bundle-status"))["healthy"] is True


def test_the_client_secret_is_a_root_only_file_of_the_hub_vm(here: Ground, sites: dict[str, Site]) -> None:
    file = "/var/lib/semesterhub/secrets/oauth_client_secret"
    assert here.sh(sites["aws"].hub, f"cat {file}; stat -c ' %a %U' {file}") == "of-the-oauth-client 600 root"


def test_every_request_to_aws_is_signed_as_botocore_signs(here: Ground, sites: dict[str, Site]) -> None:
    signed = [request for request in here.requests() if request.headers.get("authorization", "").startswith("AWS4")]
    assert {request.host.partition(".")[0] for request in signed} >= {"ssm", "api", BUCKET}
    assert all(signature_by_botocore(request) == request.headers["authorization"] for request in signed)


def test_a_worker_that_its_cloud_takes_away_is_drained_first_and_the_cloud_is_told(
    here: Ground, sites: dict[str, Site]
) -> None:
    for site in sites.values():
        image = here.sh(site.worker, "docker images --digests --format '{{.Repository}}@{{.Digest}}'")
        labels = "--label semesterhub.user=ada --container-label semesterhub.user=ada"
        here.sh(
            site.hub,
            f"docker service create --detach --name server-ada --constraint node.role==worker {labels} "
            f"--restart-condition none --entrypoint sleep {image} 600",
        )
    for site in sites.values():
        until(lambda site=site: here.sh(site.worker, "docker ps -q --filter label=semesterhub.user"), 60)
    event = {
        "EventId": "e-1",
        "EventType": "Terminate",
        "Resources": ["workers_3"],
        "EventStatus": "Scheduled",
        "NotBefore": "",
    }
    here.control(metadata={"autoscaling/target-lifecycle-state": "Terminated"}, events=[event])

    def left(site: Site) -> bool:
        return set(nodes(here, site)) == {site.hub}

    for site in sites.values():
        until(
            lambda site=site: left(site),
            120,
            lambda site=site: here.sh(site.hub, "docker node ls; docker service ls", check=False),
        )
        assert here.sh(site.hub, "docker service ls -q") == ""

    def told() -> bool:
        completed = [
            request.form for request in here.requests() if request.form.get("Action") == "CompleteLifecycleAction"
        ]
        return bool(completed) and here.control()["events"] == []

    until(told, 90)
    completed = next(
        request.form for request in here.requests() if request.form.get("Action") == "CompleteLifecycleAction"
    )
    assert (
        completed["AutoScalingGroupName"] == "semesterhub-fa16-workers"
        and completed["InstanceId"] == METADATA["instance-id"]
    )
    for site in sites.values():
        assert here.sh(site.worker, "docker info --format '{{.Swarm.LocalNodeState}}'") == "inactive"
