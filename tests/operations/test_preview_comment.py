"""One comment that updates itself, on the right pull request, whatever a fork put into the artifact."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from operations import preview_comment
from operations.preview_diff import COMMENT_LIMIT, Change, Difference, Report, to_json

pytestmark = pytest.mark.unit

SHA = "a" * 40
RUN = {"id": 77, "head_sha": SHA, "head_branch": "feature", "head_repository": {"owner": {"login": "forker"}}}
BOT = {"login": "github-actions[bot]", "type": "Bot"}


class FakeGitHub:
    """What the poster needs of the REST API, on loopback; `busy` answers that come first are 503."""

    def __init__(self) -> None:
        self.pulls = [self.pull(12)]
        self.comments: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.busy = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self, "GET")

            def do_POST(self) -> None:
                outer.answer(self, "POST")

            def do_PATCH(self) -> None:
                outer.answer(self, "PATCH")

            def do_DELETE(self) -> None:
                outer.answer(self, "DELETE")

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def pull(number: int, sha: str = SHA, repository: str = "uni/hub") -> dict[str, Any]:
        return {"number": number, "head": {"sha": sha}, "base": {"repo": {"full_name": repository}}}

    def answer(self, http: BaseHTTPRequestHandler, method: str) -> None:
        url = urlsplit(http.path)
        sent = json.loads(http.rfile.read(int(http.headers.get("Content-Length") or 0)) or b"null")
        self.calls.append(f"{method} {url.path}")
        assert http.headers["Authorization"] == "Bearer t0ken"
        status, body = (503, None) if self.busy else self.route(method, url.path, parse_qs(url.query), sent)
        self.busy = max(0, self.busy - 1)
        payload = json.dumps(body).encode()
        http.send_response(status)
        http.send_header("Content-Length", str(len(payload)))
        http.end_headers()
        http.wfile.write(payload)

    def route(self, method: str, path: str, query: dict[str, list[str]], sent: Any) -> tuple[int, Any]:
        rest = path.removeprefix("/repos/uni/hub/")
        page = int(query.get("page", ["1"])[0])
        if (method, rest) == ("GET", "pulls"):
            assert query["head"] == ["forker:feature"]
            assert query["state"] == ["open"]
            return 200, self.pulls
        if (method, rest) == ("GET", "issues/12/comments"):
            return 200, self.comments[(page - 1) * 100 : page * 100]
        if (method, rest) == ("POST", "issues/12/comments"):
            self.comments.append({"id": 1000 + len(self.comments), "user": BOT, "body": sent["body"]})
            return 201, self.comments[-1]
        for comment in self.comments:
            if rest == f"issues/comments/{comment['id']}":
                if method == "DELETE":
                    self.comments.remove(comment)
                else:
                    comment["body"] = sent["body"]
                return 200, None
        return 404, {"message": "Not Found"}


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    fake = FakeGitHub()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def report(stack: str = "fa26", size: int = 1) -> Report:
    change = Change(
        op="update", type="aws:ec2/vpc:Vpc", name="vpc", differences=(Difference("p", "a" * size, "b" * size),)
    )
    return Report(stack=stack, cloud="aws", baseline="main", changes=(change,), unchanged=9)


def run(github: FakeGitHub, folder: Path, tmp_path: Path, *, root: Path) -> subprocess.CompletedProcess[str]:
    """The workflow's own step: an isolated Python without the project's packages."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"workflow_run": RUN}))
    return subprocess.run(
        [sys.executable, "-S", "-m", "operations.preview_comment", str(folder)],
        cwd=root, capture_output=True, text=True, check=False, timeout=60,
        env={
            "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "uni/hub", "GITHUB_TOKEN": "t0ken",
            "GITHUB_API_URL": github.api, "SEMESTERHUB_PAUSE_S": "0.01", "PATH": "/usr/bin:/bin",
        },
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "preview"
    made.mkdir()
    (made / "report-fa26.json").write_text(to_json(report()))
    return made


def test_the_first_run_posts_and_the_next_ones_update_it(
    github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path
) -> None:
    github.comments = [{"id": n, "user": {"login": "student"}, "body": f"chat {n}"} for n in range(150)]
    done = run(github, folder, tmp_path, root=repository)
    assert (done.returncode, done.stdout) == (0, "comment of pull request 12: posted\n"), done.stderr
    assert "ec2.Vpc" in github.comments[-1]["body"]
    assert run(github, folder, tmp_path, root=repository).stdout == "comment of pull request 12: unchanged\n"
    (folder / "report-fa26.json").write_text(to_json(report(size=3)))
    assert run(github, folder, tmp_path, root=repository).stdout == "comment of pull request 12: updated\n"
    assert len(github.comments) == 151
    assert "+ bbb" in github.comments[-1]["body"]


def test_a_comment_by_somebody_else_with_the_marker_is_left_alone(
    github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path
) -> None:
    github.comments = [{"id": 5, "user": {"login": "mallory"}, "body": preview_comment.MARKER + " mine"}]
    assert "posted" in run(github, folder, tmp_path, root=repository).stdout
    assert github.comments[0]["body"].endswith("mine")


def test_twins_are_merged_into_one(github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path) -> None:
    github.comments = [{"id": n, "user": BOT, "body": preview_comment.MARKER} for n in (5, 6, 7)]
    assert "updated" in run(github, folder, tmp_path, root=repository).stdout
    assert [c["id"] for c in github.comments] == [5]


@pytest.mark.parametrize(
    "pulls", [[], [FakeGitHub.pull(12, sha="b" * 40)], [FakeGitHub.pull(12, repository="somebody/else")]]
)
def test_a_run_that_is_no_longer_the_newest_says_nothing(
    github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path, pulls: list[dict[str, Any]]
) -> None:
    github.pulls = pulls
    done = run(github, folder, tmp_path, root=repository)
    assert done.returncode == 0
    assert "nothing to say" in done.stdout
    assert github.comments == []


def test_a_busy_github_is_asked_again(github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path) -> None:
    github.busy = 2
    assert "posted" in run(github, folder, tmp_path, root=repository).stdout


def test_a_refusal_is_told_and_fails(github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path) -> None:
    github.pulls = [FakeGitHub.pull(13)]
    done = run(github, folder, tmp_path, root=repository)
    assert done.returncode == 1
    assert "::error::GET issues/13/comments" in done.stderr
    assert "404" in done.stderr


def test_a_run_without_reports_says_that_it_did_not_finish(
    github: FakeGitHub, tmp_path: Path, repository: Path
) -> None:
    assert run(github, tmp_path / "nothing", tmp_path, root=repository).returncode == 0
    assert "did not finish; [its run](https://github.com/uni/hub/actions/runs/77)" in github.comments[0]["body"]


def test_an_artifact_made_by_hand_is_only_data(
    github: FakeGitHub, folder: Path, tmp_path: Path, repository: Path
) -> None:
    evil = Report(stack="x", cloud="<script>", baseline="@everyone", error="", notes=("<!-- semesterhub-preview -->",))
    (folder / "report-evil.json").write_text(to_json(evil))
    (folder / "report-broken.json").write_text('{"format": "semesterhub-preview/1"')
    (folder / "report-link.json").symlink_to("/etc/passwd")
    (folder / "preview.md").write_text("# take this instead")
    (folder / "number").write_text("1")
    assert run(github, folder, tmp_path, root=repository).returncode == 0
    body = github.comments[0]["body"]
    assert body.count("<!--") == 1
    assert "<script>" not in body
    assert "root:" not in body
    assert "take this instead" not in body
    assert "report-broken.json: not JSON" in body
    assert "ec2.Vpc" in body


def test_the_comment_keeps_githubs_limit_and_names_quiet_stacks() -> None:
    loud = [report(f"s{n}", size=40_000) for n in range(6)]
    quiet = Report(stack="sp16", cloud="azure", baseline="main", unchanged=80)
    body = preview_comment.comment_body([*loud, quiet], RUN, "https://github.com", "uni/hub")
    assert len(body.encode()) <= COMMENT_LIMIT
    assert "No changes to sp16." in body
    assert body.rstrip().endswith("</sub>")
