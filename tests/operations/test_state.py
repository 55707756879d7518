"""The file:// state survives kills: torn files are put right, pending operations are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operations import state
from operations.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = state.state_file(tmp_path, "demo")
    made.parent.mkdir(parents=True)
    return made


def content(**latest: object) -> str:
    return json.dumps({"version": 3, "checkpoint": {"stack": "demo", "latest": latest}})


def test_a_whole_state_is_left_alone(tmp_path: Path, path: Path) -> None:
    path.write_text(content())
    said: list[str] = []
    state.repair(tmp_path, "demo", said.append)
    assert path.read_text() == content()
    assert said == []


def test_a_torn_state_is_replaced_by_the_version_before(tmp_path: Path, path: Path) -> None:
    path.write_text('{"version": 3, "checkp')
    path.with_name("demo.json.bak").write_text(content(resources=[]))
    said: list[str] = []
    state.repair(tmp_path, "demo", said.append)
    assert path.read_text() == content(resources=[])
    assert path.with_name("demo.json.broken").read_text() == '{"version": 3, "checkp'
    assert len(said) == 1


def test_a_torn_state_without_a_backup_is_refused_with_the_way_out(tmp_path: Path, path: Path) -> None:
    path.write_text("")
    with pytest.raises(UserError, match="copy one over it"):
        state.repair(tmp_path, "demo", lambda _: None)
    assert path.read_text() == ""


def test_scratch_files_of_a_killed_writer_are_removed(tmp_path: Path, path: Path) -> None:
    path.write_text(content())
    path.with_name("fileblob123").write_text("half")
    state.repair(tmp_path, "demo", lambda _: None)
    assert [p.name for p in path.parent.iterdir()] == ["demo.json"]


def test_a_torn_description_beside_the_state_is_removed_and_a_whole_one_kept(tmp_path: Path, path: Path) -> None:
    path.write_text(content())
    torn = [path.with_name("demo.json.attrs"), tmp_path / "meta.yaml.attrs"]
    for file in torn:
        file.write_text("")
    whole = path.with_name("demo.json.bak.attrs")
    whole.write_text('{"user.content_type": "text/plain"}')
    half = [path.with_name("demo.json.18eaa78e230be5c0.tmp"), path.with_name("demo.json.bak.18ea.tmp")]
    for file in half:
        file.write_text("half")
    state.repair(tmp_path, "demo", lambda _: None)
    assert path.read_text() == content()
    assert whole.exists()
    assert not any(file.exists() for file in (*torn, *half))


def test_pending_operations_are_named(tmp_path: Path, path: Path) -> None:
    urn = "urn:pulumi:demo::semesterhub::localcloud:index:Machine::worker-1"
    path.write_text(content(pending_operations=[{"type": "creating", "resource": {"urn": urn}}]))
    assert state.pending_operations(tmp_path, "demo") == ["creating worker-1"]


def test_a_stack_that_never_ran_has_nothing_pending(tmp_path: Path) -> None:
    assert state.pending_operations(tmp_path, "demo") == []


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/state", Path("/srv/state/.pulumi")),
        ("file:///srv/my%20state?no_tmp_dir=true", Path("/srv/my state/.pulumi")),
        ("file://~/state", Path.home() / "state" / ".pulumi"),
        ("s3://bucket/state", None),
        ("https://api.pulumi.com", None),
    ],
)
def test_only_a_file_backend_has_a_folder(url: str, folder: Path | None) -> None:
    assert state.local_folder(url) == folder


def test_letting_go_unprotects_what_was_kept_and_lets_it_be_emptied_and_touches_nothing_else() -> None:
    bucket = {
        "urn": "b",
        "protect": True,
        "retainOnDelete": True,
        "inputs": {"bucket": "x"},
        "outputs": {"forceDestroy": False},
    }
    homes = {"urn": "h", "retainOnDelete": True, "inputs": {"encrypted": True}, "outputs": None}
    other = {"urn": "o", "inputs": {"forceDestroy": False}, "outputs": {"forceDestroy": False}}
    assert state.release([bucket, homes, other]) is True
    assert bucket == {"urn": "b", "inputs": {"bucket": "x"}, "outputs": {"forceDestroy": True}}
    assert homes == {"urn": "h", "inputs": {"encrypted": True}, "outputs": None}
    assert other["outputs"] == {"forceDestroy": False}
    assert state.release([bucket, homes, other]) is False
