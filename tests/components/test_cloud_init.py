"""The user-data: the same bytes for the same node, small enough for every cloud, nothing secret in it."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from pathlib import Path

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
    cloud_init.agent_archive.cache_clear()
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


def test_the_agent_in_the_user_data_runs_without_anything_installed(tmp_path: Path) -> None:
    agent = tmp_path / "semesterhub-node"
    agent.write_bytes(base64.b64decode(files("hub")[cloud_init.AGENT_PATH]["content"]))
    done = subprocess.run([sys.executable, "-I", "-S", str(agent), "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 and "drain" in done.stdout
    wrong = subprocess.run([sys.executable, "-I", "-S", str(agent), "apply"], capture_output=True, text=True, timeout=30, check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("semesterhub-node: /etc/semesterhub/node.json")
    assert "Traceback" not in wrong.stderr
