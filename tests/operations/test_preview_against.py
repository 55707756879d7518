"""`./hub preview --against HEAD~1` for prepared changes: the real program, the real engine, an offline cloud, no account.

Each change is a commit on top of a base; its Markdown is compared with a golden file. `SEMESTERHUB_GOLDEN=write` writes
the files anew, for a look with `git diff`: components that change, change these.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from operations.preview_diff import Report, from_json

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

GOLDEN = Path(__file__).with_name("golden_against")
SECRET_BEFORE, SECRET_AFTER = "v1:AAAAAAAAAAAA:not-a-real-one-b3f0re", "v1:AAAAAAAAAAAA:not-a-real-one-aft3r"


@dataclass
class Repository:
    """A repository of its own with this checkout's files as its first commit."""

    root: Path

    def git(self, *arguments: str) -> str:
        own = {"GIT_AUTHOR_DATE": "2016-09-20T12:00:00Z", "GIT_COMMITTER_DATE": "2016-09-20T12:00:00Z"}
        command = [
            "git",
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "commit.gpgsign=false",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=self.root, env={**os.environ, **own}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "change")

    def back(self) -> None:
        """To the base, with nothing of a change left."""
        self.git("reset", "-q", "--hard", "base")
        shutil.rmtree(self.root / "out", ignore_errors=True)

    def stack(self, name: str) -> Path:
        return self.root / "stacks" / f"Pulumi.{name}.yaml"

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text("utf-8")
        assert old in text, f"{path} no longer holds {old!r}: the prepared change needs another place"
        file.write_text(text.replace(old, new, 1), "utf-8")

    def preview(self, stack: str, *options: str, ref: str = "HEAD~1") -> tuple[int, str, str]:
        """Exit code, Markdown (with the commit's hash taken out), and what was told besides."""
        done = subprocess.run(
            ["./hub", "preview", "--stack", stack, "--against", ref, *options],
            cwd=self.root, capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "must-not-be-used", "AWS_PROFILE": "none", "ARM_CLIENT_SECRET": "x"},
        )  # fmt: skip
        text = re.sub(r"\([0-9a-f]{10}\)", "(COMMIT)", done.stdout)
        return done.returncode, text, done.stderr

    def report(self, stack: str) -> Report:
        """What `--output out` wrote."""
        return from_json((self.root / "out" / f"report-{stack}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def changes(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("against") / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, root / name)
    made = Repository(root)
    made.git("init", "-q", "-b", "main")
    # A stack with a secret in its file. What is under `secure:` opens nowhere, and need not.
    data = yaml.safe_load(made.stack("fa16").read_text("utf-8"))
    data["config"]["semesterhub:authenticator"] = {
        "kind": "google",
        "client_id": "1.apps.googleusercontent.com",
        "client_secret": {"secure": SECRET_BEFORE},
        "hosted_domain": ["example.edu"],
    }
    made.stack("fa16").write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    made.commit()
    made.git("tag", "base")
    with (root / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.write(".venv\n")  # a link here, a folder elsewhere
    (root / ".venv").symlink_to(repository / ".venv")
    return made


@pytest.fixture
def change(changes: Repository) -> Iterator[Repository]:
    changes.back()
    yield changes
    changes.back()


def golden(name: str, text: str) -> None:
    text = re.sub(r"\d+ unchanged", "SOME unchanged", text)  # what else the components make is not the matter here
    text = re.sub(r'"revision": "[0-9a-f]{16}"', '"revision": "REVISION"', text)  # of all that the hub's machine runs
    path = GOLDEN / f"{name}.md"
    if os.environ.get("SEMESTERHUB_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_a_larger_class_is_more_nodes_at_the_calendars_hours(change: Repository) -> None:
    change.edit("stacks/Pulumi.fa16.yaml", "students: 400", "students: 600")
    change.commit()
    code, text, told = change.preview("fa16", "--output", "out")
    assert code == 0, text + told
    assert {c.type for c in change.report("fa16").changes} == {"aws:autoscaling/schedule:Schedule"}
    assert "workers, r6i.2xlarge" in text
    golden("larger-class", text)


def test_ssh_for_the_whole_internet_by_a_change_of_the_program(change: Repository) -> None:
    change.edit("components/aws/firewall.py", "in args.admin_cidrs:", 'in [*args.admin_cidrs, "0.0.0.0/0"]:')
    change.commit()
    code, text, told = change.preview("fa16")
    assert code == 1, text + told
    assert "no SSH or other administration port for the whole internet" in text
    assert text.index("Policies: 1 finding") < text.index("Security-relevant") < text.index("#### Created")
    golden("open-ssh", text)


def test_another_network_replaces_what_is_in_it(change: Repository) -> None:
    change.edit("stacks/Pulumi.fa16.yaml", "cidr: 10.17.0.0/16", "cidr: 10.18.0.0/16")
    change.commit()
    code, text, _ = change.preview("fa16")
    assert code == 1
    assert "**what may not change on a running semester stays**" in text
    assert "- ec2.Vpc vpc: deleted and made anew because of cidrBlock" in text
    golden("another-network", text)


def test_a_secret_is_changed_and_told_without_its_value(change: Repository) -> None:
    change.edit("stacks/Pulumi.fa16.yaml", SECRET_BEFORE, SECRET_AFTER)
    change.commit()
    code, text, told = change.preview("fa16", "--output", "out")
    assert code == 0, text + told
    assert "| secrets |" in text
    assert "(secret, another value)" in text
    written = "".join(path.read_text("utf-8") for path in (change.root / "out").iterdir())
    logs = "".join(path.read_text("utf-8") for path in (change.root / ".semesterhub" / "logs").glob("*"))
    for words in ("b3f0re", "aft3r", "sandbox-"):
        assert words not in re.sub(r"sandbox-\d{8}", "", text + written), words
    assert "aft3r" not in logs
    golden("secret", text)


def test_half_the_class_on_azure(change: Repository) -> None:
    stack = change.stack("sp16")
    data = yaml.safe_load(stack.read_text("utf-8"))
    data["config"]["semesterhub:courses"][0]["students"] //= 2
    stack.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    change.commit()
    code, text, told = change.preview("sp16")
    assert code == 0, text + told
    golden("azure-smaller-class", text)


def test_no_change_is_said_in_one_line_and_the_same_twice(change: Repository) -> None:
    (change.root / "README.md").write_text("other words\n", "utf-8")
    change.commit()
    code, text, told = change.preview("fa16", "--output", "out")
    assert code == 0, text + told
    assert text.startswith("### Preview of `fa16` on AWS\n\n**No changes**, ")
    report = change.report("fa16")
    assert report.changes == ()
    assert report.unchanged > 80
    assert len(report.verdicts) >= 11
    assert change.preview("fa16")[1] == text


def test_a_stack_that_the_ref_does_not_have_is_all_created(change: Repository) -> None:
    shutil.copy2(change.stack("fa16"), change.stack("fa17"))
    change.edit("stacks/Pulumi.fa17.yaml", "10.17.0.0/16", "10.19.0.0/16")
    change.commit()
    code, text, told = change.preview("fa17")
    assert code == 0, text + told
    assert "> HEAD&#126;1 (COMMIT) has no stack fa17, so everything shows as created." in text
    assert "**0 unchanged" not in text
    assert "to create**, 0 unchanged" in text


def test_a_stack_file_with_a_mistake_is_told_as_it_is(change: Repository) -> None:
    change.edit("stacks/Pulumi.fa16.yaml", "students: 400", "students: -1")
    change.commit()
    code, text, _ = change.preview("fa16")
    assert code == 1
    assert "semesterhub:courses[0].students" in text
    assert "-1" in text
