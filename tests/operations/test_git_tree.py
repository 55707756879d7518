"""Another version of the repository in a folder: whole, and without a trace in the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from operations import git_tree
from operations.errors import UserError

pytestmark = pytest.mark.unit


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository_of_two(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "stacks").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    (root / "stacks" / "Pulumi.fa26.yaml").write_text("config: {one: 1}\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    (root / "stacks" / "Pulumi.fa26.yaml").write_text("config: {two: 2}\n")
    git(root, "commit", "-qam", "two")
    (root / "stacks" / "Pulumi.fa26.yaml").write_text("not committed\n")
    return root


def test_an_older_version_lies_in_its_folder_and_the_checkout_stays(repository_of_two: Path, tmp_path: Path) -> None:
    root = repository_of_two
    before = git(root, "status", "--porcelain"), git(root, "worktree", "list")
    version = git_tree.resolve("HEAD~1", root)
    folder = git_tree.unpack(version, tmp_path / "trees" / "old", root)
    assert (folder / "stacks" / "Pulumi.fa26.yaml").read_text() == "config: {one: 1}\n"
    assert git_tree.unpack(version, folder, root) == folder, "a second call finds it"
    assert [p.name for p in folder.parent.iterdir()] == ["old"]
    assert (git(root, "status", "--porcelain"), git(root, "worktree", "list")) == before


def test_a_version_says_what_it_holds_and_how_it_was_named(repository_of_two: Path) -> None:
    root = repository_of_two
    version = git_tree.resolve("main", root)
    assert version.told == f"main ({version.commit[:10]})"
    assert git_tree.resolve(version.commit, root).told == version.commit[:10]
    assert version.epoch_s > 1_700_000_000
    assert git_tree.has(version, "stacks/Pulumi.fa26.yaml", root)
    assert not git_tree.has(version, "sandbox", root)
    assert git_tree.text_of(version, "stacks/Pulumi.fa26.yaml", root) == "config: {two: 2}\n"
    assert git_tree.text_of(version, "nothing", root) == ""


@pytest.mark.parametrize("ref", ["no-such-branch", "--upload-pack=x", "", "HEAD~99"])
def test_what_is_no_ref_is_refused_with_what_to_write(repository_of_two: Path, ref: str) -> None:
    with pytest.raises(UserError, match="--against"):
        git_tree.resolve(ref, repository_of_two)
