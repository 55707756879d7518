"""Posts the reports of a pull request's preview as one comment that updates itself: `python -m operations.preview_comment FOLDER`.

Runs in `.github/workflows/preview-comment.yml` with a token that may write comments, so it trusts nothing that the pull
request made: the reports are parsed strictly and rendered here, with everything in them escaped, and the pull request
is found by the run's own commit, never by what the folder says. Standard library only; no environment is built for it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from operations.preview_diff.markdown import words
from operations.preview_diff.model import Report
from operations.preview_diff.render import COMMENT_LIMIT, render
from operations.preview_diff.wire import BadReport, from_json

MARKER: Final = "<!-- semesterhub-preview -->"
"""First line of the comment: by it the next run finds it again."""
REPORT_MAX_BYTES: Final = 32 * 1024 * 1024
REPORTS_MAX: Final = 50
_REPORT_NAME: Final = re.compile(r"report-[a-z][a-z0-9-]{0,19}\.json")
_AUTHOR: Final = "github-actions[bot]"
_PAGES_MAX: Final = 50
_ATTEMPTS: Final = 4
_NOTE: Final = (
    "Made offline, with stand-ins for the cloud providers and without credentials: the real plan may differ in what only "
    "the cloud knows. Red means replaced."
)


class CommentError(Exception):
    """GitHub refused something; the text says what and why."""


@dataclass(frozen=True)
class GitHub:
    """The REST API of one repository (`owner/name`)."""

    api: str
    repository: str
    token: str
    pause_s: float = 2.0

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request, repeated when GitHub is busy. Raises CommentError."""
        url = f"{self.api}/repos/{self.repository}/{path}"
        data = None if body is None else json.dumps(body).encode()
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(self.pause_s * 2**attempt)
            request = urllib.request.Request(url, data=data, method=method, headers=self._headers())
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                problem = f"{method} {path}: {error.code} {error.read(500).decode('utf-8', 'replace')}"
                limited = error.code == 429 or (error.code == 403 and error.headers.get("Retry-After"))
                if error.code < 500 and not limited:
                    break
            except (urllib.error.URLError, TimeoutError, ValueError) as error:
                problem = f"{method} {path}: {error}"
        raise CommentError(problem)

    def pages(self, path: str) -> Iterator[Any]:
        """Every item of a list."""
        for page in range(1, _PAGES_MAX + 1):
            items = self.call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
            yield from items
            if len(items) < 100:
                return

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "semesterhub-preview",
        }


def pull_request(github: GitHub, run: Mapping[str, Any]) -> int | None:
    """The open pull request whose newest commit the run was for; None when it was closed or has a newer commit."""
    head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
    for pull in github.pages(f"pulls?state=open&head={urllib.parse.quote(head, safe='')}"):
        if pull["head"]["sha"] == run["head_sha"] and pull["base"]["repo"]["full_name"] == github.repository:
            return int(pull["number"])
    return None


def read_reports(folder: Path) -> list[Report]:
    """The reports in the folder, ordered by name; one that is none becomes a report that says so."""
    reports: list[Report] = []
    names = sorted(p.name for p in folder.iterdir() if _REPORT_NAME.fullmatch(p.name)) if folder.is_dir() else []
    for name in names[:REPORTS_MAX]:
        path = folder / name
        stack = name.removeprefix("report-").removesuffix(".json")
        if path.is_symlink() or not path.is_file() or path.stat().st_size > REPORT_MAX_BYTES:
            reports.append(Report(stack=stack, cloud="", baseline="", error=f"{name} is not a file of a usable size"))
            continue
        try:
            reports.append(from_json(path.read_text("utf-8", "replace")))
        except BadReport as error:
            reports.append(Report(stack=stack, cloud="", baseline="", error=f"{name}: {error}"))
    return reports


def comment_body(reports: Sequence[Report], run: Mapping[str, Any], server: str, repository: str) -> str:
    """The comment, within GitHub's limit."""
    link = f"{server}/{repository}/actions/runs/{int(run['id'])}"
    commit = words(str(run["head_sha"])[:10])
    foot = f"\n---\n<sub>Commit {commit}, [run]({link}). {_NOTE}</sub>\n"
    head = f"{MARKER}\n## What this pull request does to the infrastructure\n\n"
    room = COMMENT_LIMIT - len((head + foot).encode())
    changed = [r for r in reports if r.changes or r.error or r.broken or r.notes]
    still = [r.stack for r in reports if r not in changed]
    quiet = f"No changes to {', '.join(words(name) for name in still)}.\n" if still else ""
    if not reports:
        text = f"The preview did not finish; [its run]({link}) says why.\n"
    else:
        whole = "The artifact of the run has everything."
        text = (render(changed, limit=room - len(quiet.encode()) - 1, whole=whole) + "\n" if changed else "") + quiet
    return head + text + foot


def post(github: GitHub, number: int, body: str) -> str:
    """Write the comment, or bring the one there is up to date; returns what was done. Older twins are removed."""
    own = [
        c
        for c in github.pages(f"issues/{number}/comments")
        if (c["body"] or "").startswith(MARKER) and c["user"]["login"] == _AUTHOR
    ]
    for twin in own[1:]:
        github.call("DELETE", f"issues/comments/{int(twin['id'])}")
    if not own:
        github.call("POST", f"issues/{number}/comments", {"body": body})
        return "posted"
    if own[0]["body"] == body:
        return "unchanged"
    github.call("PATCH", f"issues/comments/{int(own[0]['id'])}", {"body": body})
    return "updated"


def main(arguments: Sequence[str]) -> int:
    """Run for the event of GITHUB_EVENT_PATH; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m operations.preview_comment FOLDER", file=sys.stderr)
        return 2
    environment = os.environ
    run = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text("utf-8"))["workflow_run"]
    repository = environment["GITHUB_REPOSITORY"]
    api = environment.get("GITHUB_API_URL", "https://api.github.com")
    pause_s = float(environment.get("SEMESTERHUB_PAUSE_S", "2"))
    github = GitHub(api, repository, environment["GITHUB_TOKEN"], pause_s)
    try:
        number = pull_request(github, run)
        if number is None:
            print("no open pull request has this commit as its newest: nothing to say")
            return 0
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        body = comment_body(read_reports(Path(arguments[0])), run, server, repository)
        print(f"comment of pull request {number}: {post(github, number, body)}")
    except CommentError as error:
        print(f"::error::{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
