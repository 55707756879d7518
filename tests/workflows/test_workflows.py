"""The workflows: pinned, without rights they do not need, thin, and calling commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tasks

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.y*ml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")


def load(name: str) -> dict[str, Any]:
    return yaml.load((FOLDER / name).read_text("utf-8"), Loader=yaml.BaseLoader)  # `on` is no truth value


def steps(name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(job, step) for job, body in load(name)["jobs"].items() for step in body["steps"]]


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [ZIZMOR, "--offline", "--strict-collection", "--no-progress", "--quiet", folder]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=60)


def test_all_of_them_are_here() -> None:
    assert {"tests.yml", "preview.yml", "preview-comment.yml", "preview-real.yml"} <= set(NAMES)


def test_zizmor_finds_nothing() -> None:
    done = zizmor(FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "audit"),
    [
        (
            "        run: cat preview/preview.md",
            "        run: echo ${{ github.event.pull_request.title }} # ",
            "template-injection",
        ),
        ("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "actions/checkout@v6", "unpinned-uses"),
        ("contents: read", "contents: everything", "permissions"),
        ("  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("timeout-minutes: 30", "timeout-minutes: soon", "timeout-minutes"),
    ],
)
def test_the_lint_sees_what_it_is_there_for(tmp_path: Path, old: str, new: str, audit: str) -> None:
    text = (FOLDER / "preview.yml").read_text("utf-8")
    assert old in text
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "preview.yml").write_text(text.replace(old, new, 1), "utf-8")
    done = zizmor(tmp_path / ".github" / "workflows")
    assert done.returncode != 0
    assert audit in done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(name: str) -> None:
    uses = [line.strip() for line in (FOLDER / name).read_text("utf-8").splitlines() if "uses:" in line]
    assert uses
    for line in uses:
        assert re.fullmatch(r"(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_has_one_version_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for name in NAMES:
        for line in re.findall(r"uses: (\S+)", (FOLDER / name).read_text("utf-8")):
            action, _, commit = line.partition("@")
            found.setdefault("/".join(action.split("/")[:2]), set()).add(commit)
    assert {action: commits for action, commits in found.items() if len(commits) > 1} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends_by_itself_and_supersedes_older_ones(name: str) -> None:
    workflow = load(name)
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert int(job["timeout-minutes"]) <= 90


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_one_command_each(name: str) -> None:
    for _, step in steps(name):
        assert len(step.get("run", "").strip().splitlines()) <= 1, step


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_the_project_exist_with_these_options(name: str) -> None:
    for _, step in steps(name):
        words = step.get("run", "").split()
        if words[:1] == ["./hub"]:
            context = tasks.namespace.task_with_config(words[1])[0]
            known = {f"--{argument.replace('_', '-')}" for argument in context.argspec(context.body).parameters}
            assert {word for word in words if word.startswith("--")} <= known
        if words[:2] == ["python3", "-m"]:
            assert (FOLDER.parents[1] / Path(*words[2].split(".")).with_suffix(".py")).is_file()


def rights(name: str) -> dict[str, str]:
    workflow = load(name)
    merged: dict[str, str] = dict(workflow["permissions"] or {})
    for job in workflow["jobs"].values():
        merged |= job.get("permissions") or {}
    return merged


def test_only_the_comment_may_write_and_only_the_real_preview_gets_tokens() -> None:
    wanted = {
        "tests.yml": {"contents": "read"},
        "preview.yml": {"contents": "read"},
        "preview-comment.yml": {"actions": "read", "contents": "read", "pull-requests": "write"},
        "preview-real.yml": {"contents": "read", "id-token": "write"},
    }
    assert {name: rights(name) for name in wanted} == wanted


def test_what_a_fork_starts_sees_no_secret() -> None:
    for name in ("preview.yml", "tests.yml"):
        assert "secrets." not in (FOLDER / name).read_text("utf-8")
        assert "pull_request_target" not in load(name)["on"]


def test_what_may_write_runs_nothing_of_the_pull_request() -> None:
    workflow = load("preview-comment.yml")
    assert list(workflow["on"]) == ["workflow_run"]
    assert workflow["on"]["workflow_run"]["workflows"] == [load("preview.yml")["name"]]
    for _, step in steps("preview-comment.yml"):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert "ref" not in step["with"]
            assert "repository" not in step["with"]
        # The artifact goes beside the checkout, so that nothing in it can take a module's place.
        if step.get("uses", "").startswith("actions/download-artifact@"):
            assert step["with"]["path"].startswith("${{ runner.temp }}")


def test_the_poster_runs_where_only_the_comment_workflow_is_checked_out(tmp_path: Path) -> None:
    """It imports nothing that is not in the standard library or beside it."""
    root = FOLDER.parents[1]
    shutil.copytree(root / "operations", tmp_path / "operations", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-S", "-m", "operations.preview_comment"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_the_real_preview_is_for_branches_of_the_repository_only() -> None:
    job = load("preview-real.yml")["jobs"]["preview"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    assert job["environment"] == "preview"
