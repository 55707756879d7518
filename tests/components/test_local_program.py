"""The local cloud's program under Pulumi's mocks: which resources it declares, with what inputs, in which order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks
from pulumi.runtime.sync_await import _sync_await

from components.node_agent.config import NodeConfig
from components.plan import plan
from components.semester import Semester, load_stack_file
from components.semester_access import GoogleAuthenticator

pytestmark = pytest.mark.unit
DEMO = load_stack_file(Path("stacks/Pulumi.demo.yaml"))


class Recorder(pulumi.runtime.Mocks):
    """Remembers every resource; gives each what its provider would."""

    def __init__(self) -> None:
        self.resources: dict[str, tuple[str, dict[str, Any]]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources[args.name] = (args.typ, dict(args.inputs))
        made: dict[str, Any] = {
            "localcloud:index:Image": {"tag": f"semesterhub/{args.inputs.get('name')}:x", "image_id": "sha256:1"},
            "localcloud:index:RegistryImage": {
                "ref": f"10.88.0.2:5000/{args.inputs.get('repository')}@sha256:{'a' * 64}",
                "digest": "sha256:" + "a" * 64,
            },
            "localcloud:index:Machine": {"container_id": f"c-{args.name}", "boot_s": 1.0},
            "localcloud:index:Password": {"value": "pw-from-provider"},
            "localcloud:index:HubDeployment": {"revision": "r", "ca_certificate": "PEM"},
        }.get(args.typ, {})
        return f"semesterhub-demo-{args.inputs.get('name', args.name)}", {**args.inputs, **made}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"the program called {args.token}")

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: inputs for name, (typ, inputs) in self.resources.items() if typ == f"localcloud:index:{kind}"}


def declare(semester: Semester) -> tuple[Recorder, dict[str, Any]]:
    """Run the program to its end; what it declared and its outputs, resolved."""
    from components import local

    recorder = Recorder()
    mocks.set_mocks(recorder, project="semesterhub", stack="demo", preview=False)
    resolved: dict[str, Any] = {}

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        outputs = local.build("demo", semester, plan(semester))
        made = {name: value for name, value in outputs.items() if isinstance(value, pulumi.Output)}
        resolved["secret"] = {name for name, value in made.items() if _sync_await(value.is_secret())}
        return pulumi.Output.all(**outputs).apply(resolved.update)

    program()
    return recorder, resolved


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[Recorder, dict[str, Any]]]:
    yield declare(DEMO)


def test_the_demo_is_one_network_six_volumes_one_hub_vm_and_the_planned_workers(
    demo: tuple[Recorder, dict[str, Any]],
) -> None:
    recorder, _ = demo
    assert {n: i["cidr"] for n, i in recorder.of_type("Network").items()} == {"network": "10.88.0.0/24"}
    assert set(recorder.of_type("Volume")) == {"homes", "cluster", "hub-state", "hub-secrets", "hub-engine", "registry"}
    machines = recorder.of_type("Machine")
    assert {n: (m["role"], m["ip"]) for n, m in machines.items()} == {
        "hub-vm": ("hub", "10.88.0.2"),
        "worker-1": ("worker", "10.88.0.11"),
        "worker-2": ("worker", "10.88.0.12"),
    }


def test_only_homes_are_retained_and_every_machine_mounts_them(demo: tuple[Recorder, dict[str, Any]]) -> None:
    recorder, _ = demo
    assert [n for n, v in recorder.of_type("Volume").items() if v["retain"]] == ["homes"]
    for machine in recorder.of_type("Machine").values():
        assert ("semesterhub-demo-homes", "/srv/semesterhub/homes") in {
            (m["volume"], m["path"]) for m in machine["mounts"]
        }


def test_workers_see_no_secret_of_the_hub_and_cannot_change_the_join_token(
    demo: tuple[Recorder, dict[str, Any]],
) -> None:
    for name, machine in demo[0].of_type("Machine").items():
        mounts = {m["volume"].removeprefix("semesterhub-demo-"): m["read_only"] for m in machine["mounts"]}
        if name == "hub-vm":
            assert mounts["hub-secrets"] is False
        else:
            assert set(mounts) == {"homes", "cluster"} and mounts["cluster"] is True


def test_only_the_hub_vm_is_published_and_on_loopback(demo: tuple[Recorder, dict[str, Any]]) -> None:
    machines = demo[0].of_type("Machine")
    assert [(p["host_ip"], int(p["host_port"]), int(p["container_port"])) for p in machines["hub-vm"]["ports"]] == [
        ("127.0.0.1", 8443, 443), ("127.0.0.1", 5443, 5000),
    ]  # fmt: skip
    assert not machines["worker-1"]["ports"] and not machines["worker-2"]["ports"]


def test_workers_hold_the_course_images_before_students_come(demo: tuple[Recorder, dict[str, Any]]) -> None:
    machines = demo[0].of_type("Machine")
    assert machines["worker-1"]["images"] == [f"10.88.0.2:5000/student@sha256:{'a' * 64}"]
    assert machines["worker-1"]["manager"] == "semesterhub-demo-hub"


def test_the_hub_gets_settings_by_digest_and_its_passwords_as_secrets(demo: tuple[Recorder, dict[str, Any]]) -> None:
    recorder, outputs = demo
    deployment = recorder.of_type("HubDeployment")["hub"]
    settings = json.loads(deployment["settings"])
    assert settings["courses"][0]["image"].endswith("@sha256:" + "a" * 64)
    assert "pw-from-provider" not in deployment["settings"] + deployment["bundle"]
    assert {"admin_password", "student_password"} <= outputs["secret"]
    assert not {"hub_url", "nodes", "images"} & outputs["secret"]


def test_a_client_secret_reaches_the_hub_as_a_secret_file_and_nothing_else() -> None:
    values = {
        "kind": "google",
        "client_id": "id",
        "client_secret": {"secure": "v1:x"},
        "hosted_domain": ("example.edu",),
    }
    name = "semesterhub:authenticator"
    pulumi.runtime.set_all_config({name: json.dumps({**values, "client_secret": "the-client-secret"})}, [name])
    try:
        recorder, outputs = declare(
            DEMO.model_copy(update={"authenticator": GoogleAuthenticator.model_validate(values)})
        )
    finally:
        pulumi.runtime.set_all_config({})
    deployment = recorder.of_type("HubDeployment")["hub"]
    given = deployment["secrets"].get("value", deployment["secrets"])  # Pulumi's mark of a secret
    assert set(given) == {"admin_password", "oauth_client_secret"}
    assert given["oauth_client_secret"] == "the-client-secret"
    rest = {**deployment, "secrets": {}}
    assert "the-client-secret" not in json.dumps([rest, *recorder.of_type("Machine").values()])
    assert "student_password" not in outputs


def test_the_outputs_are_the_contract(demo: tuple[Recorder, dict[str, Any]]) -> None:
    _, outputs = demo
    assert outputs["hub_url"] == "https://demo.localhost:8443" and outputs["hub_host"] == "demo.localhost"
    assert outputs["admin_user"] == "admin"
    assert outputs["nodes"] == ["semesterhub-demo-worker-1", "semesterhub-demo-worker-2"]
    assert outputs["homes"] == "semesterhub-demo-homes"
    assert outputs["images"]["student"] == "sha256:" + "a" * 64
    assert outputs["monthly_cost_usd"] == 0 and outputs["node_group"]


def test_a_larger_class_only_adds_a_worker(demo: tuple[Recorder, dict[str, Any]]) -> None:
    larger, _ = declare(DEMO.model_copy(update={"courses": (DEMO.courses[0].model_copy(update={"students": 60}),)}))
    before, after = demo[0].resources, larger.resources
    assert set(after) - set(before) == {"worker-3"}
    assert {
        name for name in before if json.dumps(before[name], sort_keys=True) != json.dumps(after[name], sort_keys=True)
    } == set()


def test_no_password_and_no_join_token_is_in_any_user_data(demo: tuple[Recorder, dict[str, Any]]) -> None:
    for machine in demo[0].of_type("Machine").values():
        assert "pw-from-provider" not in machine["user_data"] and "SWMTKN" not in machine["user_data"]
        assert len(NodeConfig.__dataclass_fields__) > 0


def test_a_local_program_imports_no_cloud_sdk() -> None:
    code = (
        "import sys, importlib\nimportlib.import_module('components.local')\n"
        "print([m for m in sys.modules if m.startswith(('pulumi_aws', 'pulumi_azure', 'boto', 'azure'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
