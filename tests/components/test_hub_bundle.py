"""What the hub VM is told to run: settings that pass the hub's own schema, containers pinned by digest."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from components.history import OwnPlace
from components.hub_bundle import HUB_IMAGES, bundle, course_images, current
from components.keeper_config import keeper_config
from components.plan import plan
from components.semester import Semester, load_stack_file
from components.semester_access import GoogleAuthenticator
from hubconfig.keeper import gate
from hubconfig.keeper.config import parse
from hubconfig.settings import SettingsError

pytestmark = pytest.mark.unit
DEMO = load_stack_file(Path("stacks/Pulumi.demo.yaml"))
PLAN = plan(DEMO)
DIGEST = "@sha256:" + "a" * 64
SP16 = load_stack_file(Path("stacks/Pulumi.sp16.yaml"))
IMAGES = {name: f"10.88.0.2:5000/{name}{DIGEST}" for name in (*HUB_IMAGES, *course_images(DEMO))}
SP16_IMAGES = {name: f"10.88.0.2:5000/{name}{DIGEST}" for name in (*HUB_IMAGES, *course_images(SP16))}


def test_rendering_twice_gives_equal_bytes_and_a_change_gives_another_revision() -> None:
    assert bundle("demo", DEMO, PLAN, IMAGES) == bundle("demo", DEMO, PLAN, IMAGES)
    other = {**IMAGES, "hub": IMAGES["hub"].replace("a" * 64, "b" * 64)}
    revisions = {json.loads(bundle("demo", DEMO, PLAN, images)[1])["revision"] for images in (IMAGES, other)}
    assert len(revisions) == 2


def test_settings_promise_each_student_what_the_plan_counted_with() -> None:
    settings = json.loads(bundle("demo", DEMO, PLAN, IMAGES)[0])
    course, planned = settings["courses"][0], PLAN.courses[0]
    assert course["memory_guarantee_mib"] == planned.memory_guarantee_mib
    assert course["image"] == IMAGES["student"]
    assert settings["hub_ip"] == PLAN.hub_ip and settings["semester"] == "demo"


def test_class_size_alone_does_not_restart_the_hub() -> None:
    larger = DEMO.model_copy(update={"courses": (DEMO.courses[0].model_copy(update={"students": 60}),)})
    assert plan(larger).workers.count > PLAN.workers.count
    assert bundle("demo", larger, plan(larger), IMAGES) == bundle("demo", DEMO, PLAN, IMAGES)


def test_an_image_without_a_digest_is_refused_before_anything_is_touched() -> None:
    with pytest.raises(SettingsError, match="pinned by digest"):
        bundle("demo", DEMO, PLAN, {**IMAGES, "student": "10.88.0.2:5000/student:latest"})


def test_every_container_is_pinned_and_only_the_hub_gets_the_docker_socket() -> None:
    found = {c["name"]: c for c in json.loads(bundle("demo", ALONE, PLAN, IMAGES)[1])["containers"]}
    assert list(found) == ["keeper", "hub", "proxy", "edge"]
    assert all("@sha256:" in c["image"] for c in found.values())
    assert all(found[name]["health_url"] for name in ("hub", "proxy", "edge"))
    sockets = {name for name, c in found.items() for m in c.get("mounts", []) if "docker.sock" in m["source"]}
    assert sockets == {"hub"}


ALONE = DEMO.model_copy(update={"fallback": None})


def described(semester: Semester, **more: Any) -> dict[str, dict[str, Any]]:
    document = json.loads(bundle("s", semester, plan(semester), {**IMAGES, **SP16_IMAGES}, **more)[1])
    return {c["name"]: c for c in document["containers"]} | {"texts": document.get("texts", {})}


def test_only_a_semester_with_a_fallback_has_a_hub_that_asks_for_its_lease() -> None:
    found = described(SP16)
    assert list(found)[:4] == ["keeper", "hub", "proxy", "edge"]
    lease = found["hub"]["env"]["SEMESTERHUB_LEASE"]
    assert any(lease.startswith(f"{m['target']}/") and m["read_only"] for m in found["hub"]["mounts"])
    targets = [m["target"] for m in found["hub"]["mounts"]]
    assert str(gate.RUN_PATH) in targets
    assert not [b for a in targets for b in targets if b.startswith(f"{a}/")], "no mount fits into a read-only one"
    assert found["hub"]["closed_file"] == found["proxy"]["closed_file"] and "closed_file" not in found["edge"]
    alone = described(ALONE)
    assert "env" not in alone["hub"] and "closed_file" not in alone["hub"]


def test_without_a_fallback_the_keeper_keeps_backups_and_has_no_hold_on_the_hub() -> None:
    found = described(ALONE)
    keeper = parse(json.loads(found["texts"]["/etc/semesterhub/keeper.json"]))
    assert (keeper.guards, keeper.peer, keeper.first_role, keeper.snapshots.keep_hourly) == (False, None, "active", 24)
    assert not any("docker.sock" in m["source"] for m in found["keeper"]["mounts"])


def test_a_semester_that_keeps_no_copies_and_has_no_fallback_needs_no_keeper() -> None:
    none = ALONE.homes.snapshots.model_copy(update={"keep_hourly": 0, "keep_daily": 0, "keep_weekly": 0})
    found = described(ALONE.model_copy(update={"homes": ALONE.homes.model_copy(update={"snapshots": none})}))
    assert list(found) == ["hub", "proxy", "edge", "texts"] and not found["texts"]
    assert list(described(ALONE, keeper="")) == ["hub", "proxy", "edge", "texts"]


def test_copies_go_to_the_place_that_the_cloud_offers_or_to_a_disk_that_the_keeper_sees() -> None:
    found = described(SP16, own_backups=OwnPlace("azure:backups:/", "keep1", "id1"))
    kept = parse(json.loads(found["texts"]["/etc/semesterhub/keeper.json"])).snapshots
    assert (kept.repository, kept.azure_account, kept.identity_client_id) == ("azure:backups:/", "keep1", "id1")
    disk = ALONE.homes.snapshots.model_copy(update={"repository": "/mnt/backups"})
    found = described(ALONE.model_copy(update={"homes": ALONE.homes.model_copy(update={"snapshots": disk})}))
    assert {"source": "/mnt/backups", "target": "/mnt/backups"} in found["keeper"]["mounts"]


def test_the_keeper_reads_the_configuration_that_is_rendered_for_it() -> None:
    text = json.loads(bundle("sp16", SP16, plan(SP16), SP16_IMAGES)[1])["texts"]["/etc/semesterhub/keeper.json"]
    cloud = parse(json.loads(text))
    fallback = parse(json.loads(keeper_config(SP16, "fallback", SP16_IMAGES)))
    alone = parse(json.loads(keeper_config(SP16, "fallback", SP16_IMAGES, alone=True)))
    assert SP16.fallback and cloud.peer and cloud.peer.host == SP16.fallback.host
    assert (cloud.dials, cloud.first_role, fallback.dials, fallback.first_role) == (True, "active", False, "standby")
    assert (alone.peer, alone.first_role) == (None, "active")
    assert cloud.images == () and set(fallback.images) == {SP16_IMAGES[name] for name in course_images(SP16)}
    elsewhere = {name: reference.replace("10.88.0.2:5000", "registry.test") for name, reference in SP16_IMAGES.items()}
    assert parse(json.loads(keeper_config(SP16, "fallback", elsewhere))).release == cloud.release


def test_no_secret_value_is_in_the_bundle() -> None:
    text = "".join(bundle("demo", DEMO, PLAN, IMAGES))
    assert json.loads(bundle("demo", DEMO, PLAN, IMAGES)[1])["containers"][2]["secret_env"] == {
        "CONFIGPROXY_AUTH_TOKEN": "proxy_token"
    }
    assert "password" not in text.replace("admin_password", "").replace("student_password", "")


FA16 = load_stack_file(Path("stacks/Pulumi.fa16.yaml"))
ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com/semesterhub"


def in_a_cloud(**changes: Any) -> dict[str, Any]:
    semester = FA16.model_copy(update=changes)
    images = {name: f"{ECR}/{name}{DIGEST}" for name in (*HUB_IMAGES, *course_images(semester))}
    return json.loads(current("fa16", semester, plan(semester), images, secrets_revision="3"))


def test_a_clouds_machines_follow_one_object_with_all_they_need() -> None:
    document = in_a_cloud()
    assert json.loads(document["settings"])["semester"] == "fa16"
    described = document["bundle"]
    assert described["worker_images"] == [f"{ECR}/student{DIGEST}"]
    assert described["secrets_revision"] == "3" and described["store_secrets"] == []
    assert [c["name"] for c in described["containers"]] == ["keeper", "hub", "proxy", "edge"]
    assert described["containers"][3]["env"]["SEMESTERHUB_TLS"] == "hub-admins@example.edu"


def test_a_provider_with_a_client_secret_has_it_fetched_from_the_store_and_nowhere_else() -> None:
    google = GoogleAuthenticator(
        kind="google", client_id="id", client_secret={"secure": "v1:x"}, hosted_domain=("example.edu",)
    )
    document = in_a_cloud(authenticator=google)
    assert document["bundle"]["store_secrets"] == ["oauth_client_secret"]
    assert document["bundle"]["containers"][1]["secret_files"] == ["oauth_client_secret"]
    assert "Secret(" not in json.dumps(document) and '"client_secret"' not in json.dumps(document)


PEM = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("stack", ["fa26", "fa26-azure"])
def test_with_kubernetes_the_hub_knows_its_cluster_and_has_no_docker_socket(stack: str) -> None:
    semester = load_stack_file(Path(f"stacks/Pulumi.{stack}.yaml"))
    images = {name: f"{ECR}/{name}{DIGEST}" for name in (*HUB_IMAGES, *course_images(semester))}
    found = {
        "api_url": "https://api.example",
        "ca_certificate": base64.b64encode(PEM.encode()).decode() if semester.cloud == "aws" else PEM,
        "cluster_name": "c", "region": semester.region, "homes": {"driver": "efs.csi.aws.com", "volume_handle": "fs-1::fsap-1"},
    }  # fmt: skip
    planned = plan(semester)
    document = json.loads(current(stack, semester, planned, images, kubernetes=found))
    sockets = {c["name"] for c in document["bundle"]["containers"] if "docker.sock" in json.dumps(c)}
    assert sockets == {"keeper"} and document["bundle"]["worker_images"] == []
    keeper = next(c for c in document["bundle"]["containers"] if c["name"] == "keeper")
    assert "/etc/semesterhub/settings.json" in {m["target"] for m in keeper["mounts"]} and len(keeper["files"]) == 2
    assert parse(json.loads(document["bundle"]["texts"]["/etc/semesterhub/keeper.json"])).pods, (
        "a fenced site ends students' pods"
    )
    cluster = json.loads(document["settings"])["kubernetes"]
    assert cluster["ca_certificate"] == found["ca_certificate"] and cluster["cluster_cidr"] == str(
        semester.network.cidr
    )
    assert cluster["pods_max"] >= planned.peak_servers
    assert bool(cluster["calendar"]) == (semester.cloud == "azure")
    assert cluster["node_taints"] == {"hub.jupyter.org/dedicated": "user"}
