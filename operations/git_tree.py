"""Another version of this repository, laid out in a folder without touching the checkout or git's own records."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from operations.errors import UserError
from operations.paths import ROOT


@dataclass(frozen=True)
class Version:
    """A commit, and how the user named it."""

    ref: str
    commit: str
    epoch_s: int = 0
    """When it was committed, seconds since 1970."""

    @property
    def told(self) -> str:
        """For a reader: `main (0123abc)`, or the commit alone where it was named by its own hash."""
        short = self.commit[:10]
        return short if self.commit.startswith(self.ref) else f"{self.ref} ({short})"


def resolve(ref: str, root: Path = ROOT) -> Version:
    """The commit a ref names. Raises UserError when there is none."""
    if not ref or ref.startswith("-"):
        raise UserError(
            f"--against {ref!r} is no git ref. Write a branch, a tag or a commit, for instance main or HEAD~1."
        )
    done = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if done.returncode != 0:
        shallow = (root / ".git").is_dir() and (root / ".git" / "shallow").exists()
        hint = (
            "This clone is shallow: `git fetch --unshallow` gets the rest."
            if shallow
            else "`git branch -a` and `git log` list them."
        )
        raise UserError(f"--against {ref}: this repository has no such branch, tag or commit. {hint}")
    commit = done.stdout.decode().strip()
    return Version(ref, commit, int(_git(root, "show", "--no-patch", "--format=%ct", commit).stdout or 0))


def has(version: Version, path: str, root: Path = ROOT) -> bool:
    """Whether the commit holds a file or folder."""
    return _git(root, "cat-file", "-e", f"{version.commit}:{path}").returncode == 0


def text_of(version: Version, path: str, root: Path = ROOT) -> str:
    """The text of a file of the commit; empty where there is none."""
    done = _git(root, "show", f"{version.commit}:{path}")
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def unpack(version: Version, folder: Path, root: Path = ROOT) -> Path:
    """The commit's files in `folder`, whole or not at all; a second call finds them there."""
    if folder.is_dir():
        return folder
    done = _git(root, "archive", "--format=tar", version.commit)
    if done.returncode != 0:
        raise UserError(f"`git archive {version.commit[:10]}` failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(fresh, filter="data")
        fresh.replace(folder)
    except tarfile.TarError as error:  # a link that leads out of the tree
        raise UserError(f"{version.told} cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError("`git` is not installed, and --against needs it. Debian, Ubuntu: apt-get install git") from None
