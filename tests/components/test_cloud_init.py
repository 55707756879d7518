"""The user-data: the same bytes for the same node, small enough for every cloud, nothing secret in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import cloud_init
from tests.components.test_node_agent import node

pytestmark = pytest.mark.unit


def files(role: str) -> dict[str, dict[str, str]]:
    text = cloud_init.user_data(node(role))
    assert text.startswith("#cloud-config\n")
    return {entry["path"]: entry for entry in yaml.safe_load(text)["write_files"]}


def test_equal_nodes_get_equal_bytes() -> None:
    first = cloud_init.user_data(node())
    cloud_init.agent_files.cache_clear()
    assert cloud_init.user_data(node()) == first
    assert cloud_init.user_data(node("hub")) != first


def test_it_fits_the_smallest_cloud() -> None:
    assert len(gzip.compress(cloud_init.user_data(node("hub")).encode())) <= 16_384


def test_it_says_so_when_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_init, "USER_DATA_LIMIT_BYTES", 1000)
    with pytest.raises(ValueError, match="EC2 takes 1000"):
        cloud_init.user_data(node())


def test_a_cloud_gets_it_packed_and_always_alike() -> None:
    text = cloud_init.user_data(node("hub"))
    packed = base64.b64decode(cloud_init.encoded(text))
    assert gzip.decompress(packed).decode() == text
    assert len(packed) <= 16_384 and cloud_init.encoded(text) == cloud_init.encoded(text)


def test_the_node_file_is_what_the_agent_reads() -> None:
    written = json.loads(files("worker")["/etc/semesterhub/node.json"]["content"])
    assert written["role"] == "worker" and written["student_memory_mib"] == 5376
    assert not {"token", "password", "secret"} & set(written) and "SWMTKN" not in cloud_init.user_data(node())


def unpack(role: str, where: Path, **changes: Any) -> Path:
    """The files of a machine below a folder; its agent."""
    for entry in yaml.safe_load(cloud_init.user_data(node(role, **changes)))["write_files"]:
        path = where / entry["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry["content"])
        path.chmod(int(entry["permissions"], 8))
    return where / cloud_init.AGENT_PATH.lstrip("/")


def run(agent: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(agent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_agent_in_the_user_data_runs_without_anything_installed(tmp_path: Path) -> None:
    agent = unpack("hub", tmp_path)
    done = run(agent, "--help")
    assert done.returncode == 0 and "drain" in done.stdout
    wrong = run(agent, "apply")
    assert wrong.returncode == 1 and wrong.stderr.startswith("semesterhub-node: /etc/semesterhub/node.json")
    assert "Traceback" not in wrong.stderr


CLOUDS = {
    "local": {},
    "aws": {"cloud": "aws", "secret_store": "ssm:us-west-2:/semesterhub/fa26"},
    "azure": {"cloud": "azure", "secret_store": "keyvault:https://kv-fa26-0a1b2c.vault.azure.net"},
}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("role", ["hub", "worker"])
def test_every_module_that_a_machine_carries_finds_the_others(role: str, cloud: str, tmp_path: Path) -> None:
    unpack(role, tmp_path, **CLOUDS[cloud])
    names = sorted(path.stem for path in (tmp_path / "usr/local/lib/semesterhub/node_agent").glob("*.py"))
    code = f"import importlib, sys; sys.path.insert(0, {str(tmp_path / 'usr/local/lib/semesterhub')!r})\n"
    code += "\n".join(f"importlib.import_module('node_agent.{name}')" for name in names if name != "__main__")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"aws", "azure"} & set(names) == {cloud} - {"local"}


@pytest.mark.parametrize("cloud", ["aws", "azure"])
def test_a_machine_of_a_cloud_fits_with_everything_it_may_be_told(cloud: str) -> None:
    registry = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    digests = (hashlib.sha256(name.encode()).hexdigest() for name in "abcdef")
    full = {
        **CLOUDS[cloud],
        "registry": registry,
        "images": tuple(f"{registry}/semesterhub/student@sha256:{digest}" for digest in digests),
        "homes": "nfs4:fs-0123456789abcdef0.efs.us-west-2.amazonaws.com:/",
        "bundle": "s3://semesterhub-fa26-0123456789ab/bundle/current.json",
        "node_group": "semesterhub-fa26-workers",
        "lifecycle_hook": "semesterhub-fa26-drain",
        "identity_client_id": "01234567-89ab-cdef-0123-456789abcdef",
        "state_device": "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*",
    }  # fmt: skip
    for role in ("hub", "worker"):
        # The hub VM pulls what its bundle names; only workers are told images.
        changes = {**full, "images": ()} if role == "hub" else full
        text = cloud_init.user_data(node(role, **changes))
        assert len(base64.b64decode(cloud_init.encoded(text))) <= 16_384
        assert ["systemctl", "start", "semesterhub-watch.service"] in yaml.safe_load(text)["runcmd"]


def test_sources_are_stripped_of_words_and_nothing_else() -> None:
    source = '''"""Module."""

# comment
TEXT = """\\
one

# two
"""


class Thing:
    """Thing."""

    value: int = 1
    """What it is."""

    def only_words(self):
        """Does nothing."""

    def work(self):  # stays
        """Works."""
        return "# no comment"
'''
    lean = cloud_init.lean(source)
    assert (
        lean
        == '''TEXT = """\\
one

# two
"""
class Thing:
    value: int = 1
    def only_words(self):
        """Does nothing."""
    def work(self):  # stays
        return "# no comment"
'''
    )
