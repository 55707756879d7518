"""What keeps an offline run offline, and a real one real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from operations import state
from operations.errors import UserError
from operations.paths import CACHE, ROOT
from sandbox import clouds, session
from sandbox.isolation import NotLoopbackError, isolated, require_loopback
from sandbox.plugins import install_plugins
from sandbox.stackfile import offline

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("url", ["http://127.0.0.1:4100", "http://127.8.0.1:1", "http://[::1]:5000"])
def test_loopback_is_accepted(url: str) -> None:
    assert require_loopback(url, "the endpoint") == url


@pytest.mark.parametrize(
    "url",
    [
        "https://ec2.us-west-2.amazonaws.com",
        "http://10.0.0.1:80",
        "http://localhost:4100",
        "http://127.0.0.1",
        "file:///tmp/x",
        "http://127.0.0.1.example.org:80",
        "http://user@10.1.1.1:80",
        "",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(NotLoopbackError, match="only to loopback"):
        require_loopback(url, "the endpoint")


def test_nothing_that_leads_to_an_account_stays(tmp_path: Path) -> None:
    given = {
        "AWS_PROFILE": "production",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "ARM_CLIENT_SECRET": "s3cret",
        "AZURE_TENANT_ID": "t",
        "PULUMI_ACCESS_TOKEN": "s3cret",
        "PULUMI_CONFIG_PASSPHRASE_FILE": "/root/passphrase",
        "KUBECONFIG": "/root/.kube/config",
        "PATH": "/bin",
    }
    over = isolated(tmp_path / "home", tmp_path / "state", given)
    left = {name: value for name, value in {**given, **over}.items() if value is not None}
    assert "s3cret" not in str(left) and "production" not in str(left) and "KUBECONFIG" not in left
    assert left["PATH"] == "/bin" and left["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/state"
    assert left["AWS_CONFIG_FILE"] == left["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_stand_ins_carry_the_sdks_exact_version(tmp_path: Path) -> None:
    import importlib.metadata

    path, second = install_plugins(tmp_path, clouds.CLOUDS.values())
    version = importlib.metadata.version("pulumi-aws")
    assert path == tmp_path / "plugins" / f"resource-aws-v{version}" / "pulumi-resource-aws"
    assert second.name == "pulumi-resource-azure-native"
    before = path.stat()
    install_plugins(tmp_path, clouds.CLOUDS.values())
    assert path.stat().st_mtime_ns == before.st_mtime_ns and before.st_mode & 0o111


def test_no_stand_in_is_where_a_real_run_looks() -> None:
    assert not list((CACHE / "pulumi" / "home").glob("plugins/resource-a*"))
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text("utf-8"))
    assert {p["name"] for p in project["plugins"]["providers"]} == {"localcloud"}


def test_a_real_run_does_not_import_the_sandbox() -> None:
    text = (
        "import sys, tasks, operations.deploy, operations.engine, operations.main, operations.passthrough, operations.status;"
        "import components.semester, components.plan, providers.localcloud.provider;"
        "print([m for m in sys.modules if m.split('.')[0] in ('sandbox', 'moto')])"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_deploy_and_tasks_of_the_sandbox_lead_there() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for folder in ("components", "hubconfig", "providers", "toolchain")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            line.strip().startswith(("import sandbox", "from sandbox")) for line in path.read_text("utf-8").splitlines()
        )
    }
    assert importing == set()


@pytest.mark.parametrize(
    ("stand_in", "stand_ins", "said"),
    [(True, False, "made by the sandbox's stand-in"), (False, True, "made by the official provider")],
)
def test_each_kind_refuses_the_others_stack(tmp_path: Path, stand_in: bool, stand_ins: bool, said: str) -> None:
    path = state.state_file(tmp_path, "fa16")
    path.parent.mkdir(parents=True)
    inputs = {"region": "us-west-2", **({state.STAND_IN: "1"} if stand_in else {})}
    resources = [{"type": "pulumi:pulumi:Stack"}, {"type": "pulumi:providers:aws", "inputs": inputs}]
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    with pytest.raises(UserError, match=said):
        state.refuse_others(tmp_path, "fa16", stand_ins=stand_ins)
    state.refuse_others(tmp_path, "fa16", stand_ins=not stand_ins)
    state.refuse_others(tmp_path, "another", stand_ins=stand_ins)


def test_a_local_stack_has_no_sandbox() -> None:
    with pytest.raises(UserError, match="Leave the option out"), session("demo", "local", banner=False):
        pass


def test_secrets_of_a_stack_file_need_no_passphrase_and_still_differ() -> None:
    text = (
        "secretsprovider: awskms://alias/x\nencryptionsalt: v1:abc:v1:def:ghi\nconfig:\n  semesterhub:title: T\n"
        "  semesterhub:authenticator:\n    kind: google\n    client_secret:\n      secure: v1:one:two\n"
        "  semesterhub:list:\n  - secure: v1:other\n"
    )
    document = yaml.safe_load(offline(text))
    assert "secretsprovider" not in document and document["encryptionsalt"].startswith("v1:")
    first = document["config"]["semesterhub:authenticator"]["client_secret"]["secure"]
    second = document["config"]["semesterhub:list"][0]["secure"]
    assert first != second and "one" not in first
    assert offline(text) == offline(text)
    assert "encryptionsalt" not in offline("config:\n  semesterhub:title: T\n")
