"""Passwords, images in the registry, and the hub's deployment, by real `pulumi` commands on the real Docker."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from operations import images
from providers.base import Context, ProviderError
from providers.localcloud import registry as local_registry
from providers.localcloud.password import ALPHABET
from tests.providers import fake_registry
from tests.providers.conftest import docker, machine
from tests.providers.harness import Stack

pytestmark = pytest.mark.sandbox

SECRET = "hunter2-must-not-show"


def test_password_is_secret_stable_and_versioned(stack: Stack) -> None:
    stack.add("pw", "Password", length=12)
    made = stack.up()
    value = stack.outputs("pw")["value"]
    assert len(value) == 12 and set(value) <= set(ALPHABET)
    assert value not in made.text and value not in json.dumps(stack.exported())
    assert stack.up().changed == {} and stack.outputs("pw")["value"] == value
    stack.add("pw", "Password", length=12, version=2)
    assert stack.up().changed == {"pw": "replace"}
    assert stack.outputs("pw")["value"] != value


@pytest.fixture
def tiny() -> Iterator[str]:
    """A tiny image of this test's own."""
    tag = f"semesterhub/test-tiny:{secrets.token_hex(4)}"
    subprocess.run(
        ["docker", "build", "-q", "-t", tag, "-"],
        input=f'FROM scratch\nLABEL it="{tag}"\nCMD ["x"]\n',
        text=True,
        check=True,
        capture_output=True,
    )
    yield tag
    docker("rmi", "-f", tag, check=False)


def test_image_is_pushed_once_and_again_when_the_registry_lost_it(stack: Stack, tiny: str) -> None:
    with fake_registry.running() as registry:
        image_id = docker("image", "inspect", "-f", "{{.Id}}", tiny)
        inputs = {
            "stack": stack.name,
            "name": "tiny",
            "tag": tiny,
            "image_id": image_id,
            "push_address": registry.address,
            "pull_address": "10.1.2.3:5000",
            "repository": "tiny",
        }
        stack.add("image", "RegistryImage", **inputs)
        stack.up()
        made = stack.outputs("image")
        assert registry.pushes == 1 and ("tiny", made["digest"]) in registry.manifests
        assert made["ref"] == f"10.1.2.3:5000/tiny@{made['digest']}"
        assert docker("images", "-q", f"{registry.address}/tiny") == "", "the push leaves no tag on this host"
        assert stack.up().changed == {}

        # The state forgot, the registry did not: no second push.
        forgotten = stack.exported()["deployment"]["resources"]
        urn = next(r["urn"] for r in forgotten if r["urn"].endswith("::image"))
        subprocess.run(
            stack.command("state", "delete", urn, "--yes"),
            cwd=stack.folder,
            env=stack.env,
            check=True,
            capture_output=True,
        )
        assert stack.up().changed == {"image": "create"} and registry.pushes == 1
        assert stack.outputs("image") == made

        # The registry lost it: drift.
        registry.manifests.clear()
        registry.blobs.clear()
        assert stack.up().changed == {"image": "create"} and registry.pushes == 2

        # Another machine with the registry: pushed again in the same run.
        registry.manifests.clear()
        stack.add("image", "RegistryImage", **inputs, machine_id="another")
        assert stack.run("up").changed == {"image": "replace"} and registry.pushes == 3


class Silent:
    """Progress goes nowhere."""

    def send(self, *_: object) -> None:
        return None


def test_registry_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_registry.running() as registry:
        address = registry.address
    monkeypatch.setattr(local_registry, "WAIT_S", 1)
    with pytest.raises(ProviderError, match=f"the image registry at {address} does not answer after 1 s .*/hub status"):
        local_registry.Registry(address).wait(Context("urn::registry", Silent()))


def test_registry_of_another_machine_is_refused(stack: Stack, tiny: str) -> None:
    image = docker("image", "inspect", "-f", "{{.Id}}", tiny)
    names = {"stack": stack.name, "name": "tiny", "tag": tiny, "image_id": image, "repository": "tiny"}
    stack.add("image", "RegistryImage", **names, push_address="10.1.2.3:5000", pull_address="10.1.2.3:5000")
    assert "is not a loopback address" in stack.run("preview").text


def test_image_of_the_project_is_adopted_when_it_is_built(stack: Stack) -> None:
    name = "machine"
    tag = images.tag_of(name, images.content_hash(name))
    there = docker("images", "-q", tag) != ""
    if not there:
        docker("tag", images.BASE_TAG, tag)
    try:
        stack.add("machine", "Image", name=name, content_hash=images.content_hash(name))
        assert "tag" in stack.run("preview").text
        stack.up()
        made = stack.outputs("machine")
        assert (
            made["tag"] == tag
            and made["build_s"] == 0
            and made["image_id"] == docker("image", "inspect", "-f", "{{.Id}}", tag)
        )
        stack.wanted["machine"][1]["content_hash"] = "0" * 64
        failed = stack.run("up")
        assert failed.code != 0 and "changed while this ran" in failed.text
        stack.wanted["machine"][1]["content_hash"] = images.content_hash(name)
        assert stack.run("destroy").code == 0
        assert docker("images", "-q", tag), "an image is a cache: it stays"
    finally:
        if not there:
            docker("rmi", tag)


@pytest.fixture
def hub(stack: Stack, machine_image: str) -> Stack:
    """A hub VM with a deployment; not up yet."""
    stack.add("net", "Network", stack=stack.name, name="net", cidr=f"{stack.subnet}.0/24")
    stack.add("shared", "Volume", stack=stack.name, name="shared")
    stack.add("hub", "Machine", **machine(stack, machine_image, "hub", 2, role="hub"))
    deploy(stack, "r1")
    return stack


def deploy(stack: Stack, revision: str, settings: str = "{}", secret: str = SECRET) -> None:
    stack.add(
        "deployment",
        "HubDeployment",
        stack=stack.name,
        machine="$hub.id",
        machine_id="$hub.container_id",
        settings=settings,
        bundle=json.dumps({"revision": revision}),
        secrets={"admin_password": secret},
    )


def in_hub(stack: Stack, *command: str) -> str:
    return docker("exec", stack.docker_name("hub"), *command)


def test_hub_deployment_lives(hub: Stack) -> None:
    made = hub.up()
    assert hub.outputs("deployment")["revision"] == "r1" and hub.outputs("deployment")["ca_certificate"] == "CERT"
    assert in_hub(hub, "cat", "/var/lib/semesterhub/secrets/admin_password") == SECRET
    assert in_hub(hub, "stat", "-c", "%U %a", "/var/lib/semesterhub/secrets/admin_password") == "root 600"
    assert in_hub(hub, "stat", "-c", "%U %a", "/var/lib/semesterhub/secrets") == "root 700"
    assert in_hub(hub, "cat", "/etc/semesterhub/hub/settings.json") == "{}"
    assert SECRET not in made.text and SECRET not in json.dumps(hub.exported())
    assert SECRET not in docker("inspect", hub.docker_name("hub"))
    assert hub.up().changed == {}

    # A secret changes: shown as a change, never as a value.
    deploy(hub, "r1", secret=SECRET + "3")
    seen = hub.run("preview", "--diff")
    assert seen.changed == {"deployment": "update"} and SECRET not in seen.text
    assert hub.up().changed == {"deployment": "update"}
    assert in_hub(hub, "cat", "/var/lib/semesterhub/secrets/admin_password") == SECRET + "3"

    # Containers that do not run are drift, and applied again.
    in_hub(hub, "touch", "/unhealthy")
    refreshed = hub.run("refresh")
    assert refreshed.code == 0 and "not running as described on the hub VM: proxy" in refreshed.text
    in_hub(hub, "rm", "/unhealthy")
    before = in_hub(hub, "cat", "/calls").count("apply")
    assert hub.run("up").changed == {"deployment": "update"}
    assert in_hub(hub, "cat", "/calls").count("apply") == before + 1
    assert hub.up().changed == {}

    # The hub VM dies: both come back, in one run, without a second one.
    docker("rm", "-f", hub.docker_name("hub"))
    assert hub.up().changed == {"hub": "create", "deployment": "create"}
    assert hub.up().changed == {}

    # The hub VM is replaced: the new one is deployed to in the same run.
    hub.wanted["hub"][1]["user_data"] = "#cloud-config\n# 2\n"
    changed = hub.up().changed
    assert changed["hub"] == "replace" and changed["deployment"] in ("update", "replace")
    assert in_hub(hub, "cat", "/etc/semesterhub/hub/applied") == "r1"
    assert hub.run("destroy").code == 0


def test_refused_settings_are_told_with_the_agents_words(hub: Stack) -> None:
    deploy(hub, "r1", settings='{"x": "REFUSE_ME"}')
    failed = hub.run("up")
    assert failed.code != 0 and "settings refused: REFUSE_ME" in failed.text and SECRET not in failed.text
    deploy(hub, "r2")
    assert hub.up().changed == {"deployment": "update"}
    assert hub.outputs("deployment")["revision"] == "r2"


def test_deployment_inputs_are_checked(hub: Stack) -> None:
    deploy(hub, "r1", settings="not json")
    hub.wanted["deployment"][1]["secrets"] = {"../evil": SECRET}
    failed = hub.run("preview")
    assert failed.code != 0 and "is not JSON" in failed.text and SECRET not in failed.text
    deploy(hub, "r1")
    hub.wanted["deployment"][1]["secrets"] = {"../evil": SECRET}
    failed = hub.run("preview")
    assert failed.code != 0 and "'../evil' is not a name for a secret file" in failed.text and SECRET not in failed.text
