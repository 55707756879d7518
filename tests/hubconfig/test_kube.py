"""Students' servers on Kubernetes, over a fake API server: who the hub says it is, what a pod may do, what its states mean.

Queue, courses, adoption and the rest are the same code as on Swarm and tested there (test_spawner.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from kubespawner import clients
from traitlets.config import Config

from hubconfig import class_spawner, kube, kube_api, kube_identity, kube_keeper, kube_manifests, kube_spawner
from hubconfig.cluster import ENDED_STATES, STARTING_STATES
from hubconfig.kube_spawner import SemesterKubeSpawner
from hubconfig.settings import HubSettings
from tests.boot.standin import CREDENTIALS, StandIn, jwt, reply
from tests.hubconfig.fake_kubernetes import FakeKubernetes, node, serving
from tests.hubconfig.fakes import FakeUser, course, make_settings

pytestmark = pytest.mark.unit
PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe\n-----END CERTIFICATE-----\n"


def settings(cloud: str = "azure", api_url: str = "https://api.example", **changes: Any) -> HubSettings:
    cluster = {
        "cloud": cloud,
        "api_url": api_url,
        "ca_certificate": PEM,
        "cluster_name": "semesterhub-fa26-cluster",
        "region": "us-west-2",
        "identity_client_id": "client-1" if cloud == "azure" else "",
        "homes": {"driver": "efs.csi.aws.com", "volume_handle": "fs-1::fsap-1", "attributes": {"a": "b"}},
        "cluster_cidr": "10.26.0.0/16",
        "node_labels": {"hub.jupyter.org/node-purpose": "user"},
        "node_taints": {"hub.jupyter.org/dedicated": "user"},
        "pods_max": 700,
        **changes,
    }
    return make_settings(semester="fa26", hub_ip="10.26.0.10", orchestrator="kubernetes", kubernetes=cluster)


# -- identity ----------------------------------------------------------------------------------------------------------


async def test_the_token_for_eks_is_signed_as_botocore_presigns_it() -> None:
    with serving(StandIn()) as metadata:
        token = await kube_identity.MachineToken(kube_manifests.cluster_of(settings("aws")), metadata).get()
    assert token.startswith("k8s-aws-v1.") and "=" not in token
    url = base64.urlsafe_b64decode(token.removeprefix("k8s-aws-v1.") + "==").decode()
    given = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
    assert given["Action"] == "GetCallerIdentity" and given["X-Amz-Expires"] == "60"
    plain = "https://sts.us-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    again = AWSRequest("GET", plain, headers={"x-k8s-aws-id": "semesterhub-fa26-cluster"})
    again.context["timestamp"] = given["X-Amz-Date"]
    credentials = Credentials(CREDENTIALS["AccessKeyId"], CREDENTIALS["SecretAccessKey"], CREDENTIALS["Token"])
    signer = SigV4QueryAuth(credentials, "sts", "us-west-2", expires=60)
    signer._modify_request_before_signing(again)
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert given["X-Amz-Signature"] == signature


async def test_the_token_for_aks_is_the_machines_own_and_asked_for_once() -> None:
    stand_in = StandIn()
    with serving(stand_in) as metadata:
        machine = kube_identity.MachineToken(kube_manifests.cluster_of(settings()), metadata)
        assert await asyncio.gather(machine.get(), machine.get()) == [jwt("kubernetes")] * 2
        stand_in.client_id = "another"
        assert await machine.get() == jwt("kubernetes")
        stranger = kube_identity.MachineToken(kube_manifests.cluster_of(settings()), metadata)
        with pytest.raises(kube_identity.IdentityError, match="Identity not found"):
            await stranger.get()


# -- manifests ---------------------------------------------------------------------------------------------------------


def manifest(end: str) -> dict[str, Any]:
    return next(made for path, made in kube_manifests.manifests(settings()) if path.endswith(end))


def test_paths_and_manifests_say_the_same() -> None:
    for path, made in kube_manifests.manifests(settings()):
        assert path.rpartition("/")[2] == made["metadata"]["name"]
        assert made["metadata"].get("namespace", "students") in path + "students"
        version = path.split("/namespaces/")[0].split("/")[1:]
        assert "/".join(version[1:3] if version[0] == "apis" else version[1:2]).startswith(made["apiVersion"])


def test_students_reach_the_hubs_api_names_and_the_internet_and_only_the_hub_vm_reaches_them() -> None:
    assert manifest("nothing-else")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    rules = manifest("networkpolicies/servers")["spec"]
    assert rules["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "10.26.0.10/32"}}], "ports": [{"protocol": "TCP", "port": 8888}]}
    ]
    hub, names, internet = rules["egress"]
    assert hub == {"to": [{"ipBlock": {"cidr": "10.26.0.10/32"}}], "ports": [{"protocol": "TCP", "port": 8081}]}
    assert {port["port"] for port in names["ports"]} == {53}
    assert internet["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.26.0.0/16", "169.254.0.0/16"]}}]


def test_homes_are_one_volume_that_nothing_deletes() -> None:
    volume, claim = manifest("semesterhub-fa26-homes"), manifest("persistentvolumeclaims/homes")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["csi"] == {
        "driver": "efs.csi.aws.com",
        "volumeHandle": "fs-1::fsap-1",
        "volumeAttributes": {"a": "b"},
    }
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["claimRef"]["namespace"] == claim["metadata"]["namespace"] == "students"


def test_the_namespace_is_restricted_and_has_a_fuse() -> None:
    space = next(made for _, made in kube_manifests.manifests(settings()) if made["kind"] == "Namespace")
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert manifest("fuse")["spec"]["hard"] == {"pods": "700", "services": "0", "persistentvolumeclaims": "1"}


# -- states ------------------------------------------------------------------------------------------------------------


def pod(
    phase: str = "Running", node: str = "n1", *, deleted: bool = False, container: Any = None, **status: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": "server-ada", "uid": "u", "labels": {"semesterhub.io/role": "server"}}
    return {
        "metadata": {**meta, **({"deletionTimestamp": "now"} if deleted else {})},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"memory": "536870912"}}}]},
        "status": {
            "phase": phase,
            "podIP": "10.26.32.7",
            "containerStatuses": [{"state": container}] if container else [],
            **status,
        },
    }


UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
]


@pytest.mark.parametrize(
    ("raw", "state", "words"),
    [
        (pod("Pending", node=""), "pending", ""),
        (pod("Pending", node="", conditions=UNSCHEDULABLE), "pending", "no suitable node (0/3 nodes are available)"),
        (pod("Pending"), "preparing", ""),
        (pod("Pending", container={"waiting": {"reason": "ContainerCreating"}}), "preparing", ""),
        (pod("Pending", container={"waiting": {"reason": "ErrImagePull"}}), "preparing", ""),
        (
            pod("Pending", container={"waiting": {"reason": "ImagePullBackOff", "message": "no"}}),
            "rejected",
            "ImagePullBackOff: no",
        ),
        (pod("Running", container={"running": {}}), "running", ""),
        (pod("Running", container={"running": {}}, deleted=True), "shutdown", "its pod was removed"),
        (
            pod("Running", container={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "failed",
            "more memory than its limit",
        ),
        (pod("Failed", reason="Evicted", message="disk pressure"), "failed", "Evicted: disk pressure"),
        (pod("Succeeded", container={"terminated": {"exitCode": 0}}), "complete", ""),
        (pod("Unknown"), "preparing", ""),
    ],
)
def test_a_pods_state_is_said_in_the_hubs_words(raw: dict[str, Any], state: str, words: str) -> None:
    task = kube.task_from_api(raw)
    assert task.state == state and state in STARTING_STATES | ENDED_STATES | {"running"}
    assert words in task.error or words in task.why
    assert task.no_room == words.startswith("no suitable node")
    assert (task.memory_mib, task.address, task.port, task.is_server) == (512, "10.26.32.7", 8888, True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("16Gi", 16384), ("15900Ki", 15), ("536870912", 512), ("512M", 488), ("x", 0), ("1073741824000m", 1024)],
)
def test_memory_is_counted_in_mib(text: str, wanted: int) -> None:
    assert kube.mib(text) == wanted


def test_only_nodes_that_are_ready_and_open_take_servers() -> None:
    assert kube.node_from_api(node("a")).takes_servers
    assert not kube.node_from_api(node("a", cordoned=True)).takes_servers
    assert kube.node_from_api(node("a", ready=False)).state == "down"


# -- the spawner -------------------------------------------------------------------------------------------------------


@pytest.fixture
def metadata() -> Iterator[str]:
    with serving(StandIn()) as address:
        yield address


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    yield FakeKubernetes(jwt("kubernetes"))


@pytest.fixture
async def hub(
    api: FakeKubernetes, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Makes spawners of one hub, with the configuration as the hub writes it."""
    for name, value in (("LOOK_EVERY_S", 0), ("LOOK_FOR_ROOM_EVERY_S", 0), ("ASK_AGAIN_S", (0,)), ("PLACE_AGAIN_S", 0)):
        monkeypatch.setattr(class_spawner, name, value)
    monkeypatch.setattr(kube, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(SemesterKubeSpawner, "_desk", None)
    monkeypatch.setattr("hubconfig.desk.StartDesk.export_metrics", lambda self: None)
    monkeypatch.setattr("hubconfig.desk.StartDesk.keep_fresh", lambda self: None)
    monkeypatch.setattr(SemesterKubeSpawner, "_join_group", lambda self, course: None)
    monkeypatch.setattr(SemesterKubeSpawner, "server", SimpleNamespace(base_url="/user/ada/"), raising=False)
    monkeypatch.setattr(
        SemesterKubeSpawner, "get_env", lambda self: {"JUPYTERHUB_API_TOKEN": f"token-{self.user.name}"}
    )
    asked: list[str] = []

    async def answers(where: str) -> bool:
        asked.append(where)
        return True

    monkeypatch.setattr(SemesterKubeSpawner, "answers", staticmethod(answers))
    monkeypatch.setattr(
        kube_spawner, "connection", lambda cluster, folder: kube_api.connection(cluster, folder, metadata)
    )
    monkeypatch.setattr("ssl.create_default_context", lambda *_a, **_k: None)
    monkeypatch.setenv("KUBECONFIG", "")
    with serving(api) as address:
        made = settings(api_url=address)
        c = Config()
        kube_spawner.configure(c, made, tmp_path)
        c.ClassSpawner.hub_settings = made
        c.ClassSpawner.port = 8888

        def make(name: str = "ada", **user: Any) -> Any:
            person = FakeUser(name, **user)
            person.id = 1
            spawner = SemesterKubeSpawner(
                config=c, user=person, make_home=lambda homes, username: f"{homes}/{username}",
                orm_spawner=SimpleNamespace(name="", state={}, server=None),
            )  # fmt: skip
            spawner.user_options = {}
            spawner.test_asked = asked
            return spawner

        yield make
        await c.SemesterKubeSpawner.kube_api.close()
        for client in list(clients._client_cache.values()):
            await client.api_client.close()
        clients._client_cache.clear()


async def test_a_start_ends_at_the_pods_own_address(hub: Any, api: FakeKubernetes) -> None:
    spawner = hub()
    assert await spawner.start() == ("10.26.32.1", 8888)
    assert spawner.test_asked == ["http://10.26.32.1:8888/user/ada/api"]
    assert await spawner.poll() is None
    assert spawner.get_state()["address"] == "10.26.32.1"


async def test_the_pod_isolates_and_limits_the_student(hub: Any, api: FakeKubernetes) -> None:
    await hub("ada").start()
    made = api.pods["server-ada"]
    assert made["metadata"]["labels"]["semesterhub.io/role"] == "server"
    assert (
        made["metadata"]["annotations"] | {"semesterhub.user": "ada", "semesterhub.course": "data8"}
        == made["metadata"]["annotations"]
    )
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert container["image"] == course()["image"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": str(1024 * 2**20)}
    assert container["resources"]["requests"] == {"cpu": "0.1", "memory": str(512 * 2**20)}
    security = container["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["allowPrivilegeEscalation"]) == (1000, 100, False)
    assert security["capabilities"] == {"drop": ["ALL"]} and security["runAsNonRoot"] is True
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Never", 10)
    assert spec["nodeSelector"] == {"hub.jupyter.org/node-purpose": "user"}
    assert spec["tolerations"] == [
        {"key": "hub.jupyter.org/dedicated", "operator": "Equal", "value": "user", "effect": "NoSchedule"}
    ]
    assert container["volumeMounts"] == [{"name": "homes", "mountPath": "/home/jovyan", "subPath": "ada"}]
    assert spec["volumes"] == [{"name": "homes", "persistentVolumeClaim": {"claimName": "homes"}}]


async def test_a_pod_that_still_ends_makes_way_first(hub: Any, api: FakeKubernetes) -> None:
    await hub().start()
    api.lingering["server-ada"] = 2
    assert await hub().start() == ("10.26.32.2", 8888)
    assert sum(line.startswith("POST") for line in api.asked) == 4


async def test_a_full_cluster_is_said_and_does_not_hold_a_slot(hub: Any, api: FakeKubernetes) -> None:
    api.new_status = {"phase": "Pending", "conditions": UNSCHEDULABLE}
    spawner = hub()
    start = asyncio.create_task(spawner.start())
    async with asyncio.timeout(10):
        while not spawner.desk.admission.aside:
            await asyncio.sleep(0.01)
    assert spawner.desk.admission.starting == 0
    api.pods["server-ada"] |= {"spec": {**api.pods["server-ada"]["spec"], "nodeName": "n1"}}
    api.pods["server-ada"]["status"] = {
        "phase": "Running",
        "podIP": "10.26.32.9",
        "containerStatuses": [{"state": {"running": {}}}],
    }
    assert await start == ("10.26.32.9", 8888)


async def test_an_ended_pod_is_removed_and_a_cluster_that_cannot_be_asked_ends_nobody(
    hub: Any, api: FakeKubernetes
) -> None:
    spawner = hub()
    await spawner.start()
    api.refuse = [reply(503, {"message": "overloaded"}) for _ in range(3)]
    assert await spawner.poll() is None and "server-ada" in api.pods
    api.refuse = []
    api.pods["server-ada"]["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 137}}}],
    }
    spawner.cluster._snapshot._fetched = float("-inf")
    assert "more memory than its limit" in str(await spawner.poll())
    assert api.pods == {}


async def test_a_start_that_a_killed_hub_left_behind_is_adopted(hub: Any, api: FakeKubernetes) -> None:
    await hub().start()
    later = hub()
    assert await later.poll() is None
    assert (later.address, later.published_port, later.api_token) == ("10.26.32.1", 8888, "token-ada")
    await later.stop(now=True)
    assert api.pods == {}


# -- the keeper --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def client(
    api: FakeKubernetes, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    monkeypatch.setattr("ssl.create_default_context", lambda *_a, **_k: None)
    with serving(api) as address:
        made = kube_api.KubeApi(
            kube_api.connection(kube_manifests.cluster_of(settings(api_url=address)), tmp_path, metadata)
        )
        yield made
        await made.close()


async def test_everything_is_applied_in_order_and_again_without_change(client: Any, api: FakeKubernetes) -> None:
    await kube_keeper.prepare(client, settings())
    first = json.dumps(api.applied, sort_keys=True)
    assert list(api.applied) == [path for path, _ in kube_manifests.manifests(settings())]
    await kube_keeper.prepare(client, settings())
    assert json.dumps(api.applied, sort_keys=True) == first


STEPS = [{"at": "2026-09-01T16:00:00Z", "nodes": 3}, {"at": "2026-09-01T18:00:00Z", "nodes": 1}]


async def test_placeholders_bring_the_calendars_nodes_and_go_after_the_class(client: Any, api: FakeKubernetes) -> None:
    made = settings(calendar=STEPS)

    async def hold(hour: int) -> set[str]:
        await kube_keeper.hold(client, made, datetime(2026, 9, 1, hour, 30, tzinfo=UTC))
        return set(api.pods)

    assert await hold(15) == set()
    assert await hold(16) == {"placeholder-1", "placeholder-2", "placeholder-3"}
    api.pods["placeholder-2"]["status"] = {"phase": "Failed", "reason": "Preempted"}
    assert await hold(16) == {"placeholder-1", "placeholder-3"}
    assert await hold(17) == {"placeholder-1", "placeholder-2", "placeholder-3"}
    assert await hold(18) == {"placeholder-1"}


def test_a_placeholder_wants_a_node_for_itself_and_gives_way_to_students() -> None:
    spec = kube_manifests.placeholder(settings(), 1)["spec"]
    term = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert term["topologyKey"] == "kubernetes.io/hostname" and "@sha256:" in spec["containers"][0]["image"]
    assert spec["priorityClassName"] == manifest("priorityclasses/semesterhub-placeholder")["metadata"]["name"]
    assert manifest("priorityclasses/semesterhub-placeholder")["value"] < 0


async def test_no_token_means_no_answer_from_the_cluster(client: Any, api: FakeKubernetes) -> None:
    api.token = "another"
    with pytest.raises(kube_api.ApiException) as refused:
        await kube_keeper.prepare(client, settings())
    assert refused.value.status == 401
