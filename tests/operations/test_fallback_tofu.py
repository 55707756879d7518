"""The module `fallback/` as real OpenTofu runs it, its steps played by a stand-in: what runs when, and what a failure says."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from operations import fallback_folder, fallback_tofu
from operations.errors import UserError
from operations.fallback_folder import Folder, write_json
from operations.fallback_tofu import Tofu

pytestmark = pytest.mark.sandbox
ALL = ["machine", "images", "secrets", "site", "peer"]
STAND_IN = """\
#!/bin/sh
# Called as a step is: -m operations.fallback_step STACK STEP
echo "$4" >> HERE/ran
[ -e "HERE/fails-$4" ] || exit 0
cp "HERE/fails-$4" FAILURE
exit 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(fallback_folder, "WORK_DIR", tmp_path / "work")
    made = Folder("trial")
    made.make()
    program = tmp_path / "python"
    program.write_text(STAND_IN.replace("HERE", str(tmp_path)).replace("FAILURE", str(made.failure)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    write_json(made.variables, variables(tmp_path))
    return made


def variables(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "stack": "trial",
        "machine": {"host": "hub0.example.edu", "port": 22, "user": "root", "host_key": "ssh-ed25519 AAAA", "id": "m1"},
        "address": "192.0.2.10",
        "hub_url": "https://hub.example.edu",
        "files": {"/etc/semesterhub/node.json": "1" * 64},
        "images": {"hub": "sha256:" + "a" * 64},
        "secrets": ["cookie_secret"],
        "site": {"revision": "r1", "settings": "2" * 64},
        "peer_key": "ssh-ed25519 BBBB",
        "python": str(tmp_path / "python"),
        "root": str(tmp_path),
        **changes,
    }


def ran(tmp_path: Path) -> list[str]:
    """The steps since the last look, in order."""
    path = tmp_path / "ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def up(folder: Folder) -> None:
    Tofu(folder).apply(lambda _text: None)


def test_the_first_run_makes_all_steps_in_order_and_a_second_one_none(folder: Folder, tmp_path: Path) -> None:
    assert {change.name for change in Tofu(folder).plan()} == {"presence", *ALL}
    assert not folder.state.exists() and ran(tmp_path) == []
    up(folder)
    steps = ran(tmp_path)
    assert sorted(steps) == sorted(ALL) and steps[0] == "machine" and steps[-2:] == ["site", "peer"]
    assert Tofu(folder).plan() == []
    up(folder)
    assert ran(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "because", "steps"),
    [
        ({"images": {"hub": "sha256:" + "c" * 64}}, ("images", ("images",)), {"images", "site", "peer"}),
        ({"site": {"revision": "r2", "settings": "2" * 64}}, ("site", ("site",)), {"site", "peer"}),
        ({"peer_key": "ssh-ed25519 CCCC"}, ("peer", ("key",)), {"peer"}),
        ({"files": {"/etc/semesterhub/node.json": "9" * 64}}, ("machine", ("files",)), set(ALL)),
    ],
)
def test_a_change_runs_what_depends_on_it_and_the_plan_says_why(
    folder: Folder, tmp_path: Path, changes: dict[str, Any], because: tuple[str, tuple[str, ...]], steps: set[str]
) -> None:
    up(folder)
    ran(tmp_path)
    seen = Tofu(folder).plan(variables(tmp_path, **changes))
    assert {change.name for change in seen} == steps
    assert because in [(change.name, change.because) for change in seen]
    assert Tofu(folder).plan() == [], "a preview with other values leaves what is written down"
    write_json(folder.variables, variables(tmp_path, **changes))
    up(folder)
    assert set(ran(tmp_path)) == steps


def test_a_machine_installed_anew_is_configured_from_the_beginning(folder: Folder, tmp_path: Path) -> None:
    up(folder)
    ran(tmp_path)
    again = variables(tmp_path)
    again["machine"]["id"] = "m2"
    write_json(folder.variables, again)
    up(folder)
    assert set(ran(tmp_path)) == set(ALL)


def test_a_failed_step_says_its_sentence_and_the_next_run_goes_on_there(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "fails-site").write_text("hub does not answer.\n  Look at its log.\n")
    with pytest.raises(UserError) as failed:
        up(folder)
    assert str(failed.value) == "hub does not answer.\n  Look at its log."
    assert sorted(ran(tmp_path)) == sorted([*ALL[:-1]])
    (tmp_path / "fails-site").unlink()
    up(folder)
    assert ran(tmp_path) == ["site", "peer"]


def test_an_image_without_a_digest_is_refused_by_the_module_itself(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pinned by digest"):
        Tofu(folder).plan(variables(tmp_path, images={"hub": "latest"}))


def test_destroy_takes_down_once_and_at_the_end(folder: Folder, tmp_path: Path) -> None:
    up(folder)
    ran(tmp_path)
    Tofu(folder).destroy(lambda _text: None)
    assert ran(tmp_path) == ["teardown"]
    assert {change.name for change in Tofu(folder).plan()} == {"presence", *ALL}


def test_nothing_is_downloaded_and_the_users_own_configuration_does_not_matter(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_ARGS", "-no-such-option")
    monkeypatch.setenv("TF_DATA_DIR", str(tmp_path / "elsewhere"))
    up(folder)
    assert not (tmp_path / "elsewhere").exists() and not list(folder.data.rglob("terraform-provider-*"))
    assert os.environ["TF_CLI_ARGS"] == "-no-such-option" and os.environ["TF_DATA_DIR"] == str(tmp_path / "elsewhere")
    assert not list(fallback_tofu.MODULE.glob("*.tfstate*")) and not (fallback_tofu.MODULE / ".terraform").exists()


def test_working_data_that_was_cut_off_is_made_anew(folder: Folder, tmp_path: Path) -> None:
    up(folder)
    ran(tmp_path)
    for path in folder.data.rglob("*"):
        if path.is_file():
            path.write_text("{")
    assert Tofu(folder).plan() == []
