"""`./hub backup` and `./hub restore`: what the keeper is asked, what a person is told, what is refused before anybody is asked."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hubconfig.keeper import sealed
from hubconfig.keeper.errors import KeeperError
from operations import backup
from operations.errors import UserError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 10, 2, 18, 30, tzinfo=UTC)  # 11:30 in the demo's timezone


class Site:
    """Notes what it is asked, and answers what a test gave it."""

    def __init__(self, **answer: Any) -> None:
        self.answer, self.asked, self.stdin = answer, [], ""

    def keeper(self, *arguments: str, stdin: str = "", timeout_s: float = 0) -> dict[str, Any]:
        self.asked.append(arguments)
        self.stdin = stdin
        return self.answer

    def secret(self, name: str) -> str:
        return f"secret of {name}"


@pytest.fixture
def paper() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


def said(paper: Console) -> str:
    assert isinstance(paper.file, io.StringIO)
    return paper.file.getvalue()


RESTORED = {
    "taken": "2026-10-02T10:00:05-07:00",
    "folder": "restored 2026-10-02 10.00",
    "users": 1,
    "paths": ["/srv/semesterhub/homes/ada/restored 2026-10-02 10.00"],
    "already": 0,
    "hub_state": "",
}


def test_a_restore_is_asked_for_in_the_semesters_time(paper: Console) -> None:
    site = Site(**RESTORED)
    backup.restore("demo", "ada", "1 hour ago", site=site, console=paper, now=NOW)
    assert site.asked == [("restore", "--user", "ada", "--at", "2026-10-02T10:30:00-07:00")]
    assert "/srv/semesterhub/homes/ada/restored 2026-10-02 10.00" in said(paper)
    assert "nothing that was there before has been touched" in said(paper)


def test_all_homes_are_restored_with_a_name_for_the_folder(paper: Console) -> None:
    site = Site(**{**RESTORED, "users": 480, "already": 3, "hub_state": "/var/lib/x"})
    backup.restore("demo", "", "2026-10-01", everybody=True, into="before", site=site, console=paper, now=NOW)
    assert site.asked == [("restore", "--all", "--at", "2026-10-01T23:59:59-07:00", "--into", "before")]
    for words in ("and 479 more", "3 of them had been restored before", "database of then: /var/lib/x"):
        assert words in said(paper)


@pytest.mark.parametrize(
    ("user", "at", "everybody", "words"),
    [
        ("", "1 hour ago", False, "say whose files"),
        ("ada", "1 hour ago", True, "say whose files"),
        ("ada", "", False, "say as of when"),
        ("ada", "the other day", False, "--at: the time 'the other day' is not understood"),
        ("ada", "2030-01-01", False, "is in the future"),
    ],
)
def test_a_restore_that_cannot_be_meant_asks_nobody(user: str, at: str, everybody: bool, words: str) -> None:
    site = Site(**RESTORED)
    with pytest.raises(UserError, match=words):
        backup.restore("demo", user, at, everybody=everybody, site=site, now=NOW)
    assert not site.asked


def test_a_backup_tells_what_it_could_not_read(paper: Console) -> None:
    answer = {
        "files": 12345,
        "bytes": 3 * 2**30,
        "changed_files": 12,
        "added_bytes": 2048,
        "took_s": 4.2,
        "repository": "s3:x",
    }
    backup.back_up("demo", Site(**answer, incomplete=["error: lstat /x[1]: gone"]), paper)
    assert "12,345 files (3.0 GiB), 12 of them new or changed; 2.0 KiB added in 4.2 s to s3:x" in said(paper)
    assert "not in this copy: error: lstat /x[1]: gone" in said(paper)


def test_a_verification_tells_how_much_was_read(paper: Console) -> None:
    answer = {"files": 20, "same_as_present": 18, "changed_since": 2, "part": 2, "parts": 3, "took_s": 60}
    site = Site(**answer)
    backup.verify("demo", 20, site=site, console=paper)
    assert site.asked == [("backup-verify", "--sample", "20")]
    assert "part 2 of 3 of the stored data was read" in said(paper)


def test_the_list_is_newest_first_in_the_semesters_time(paper: Console) -> None:
    rows = [["aaaa", 1790956800, 1, "cloud"], ["bbbb", 1790960400, 2, "fallback"]]  # 9:00 and 10:00 in Berkeley
    backup.show("demo", Site(repository="/r", snapshots=rows, age_s=100), paper)
    lines = said(paper).splitlines()
    assert "2026-10-02 10:00 PDT  fallback  2" in lines[2] and "2026-10-02 09:00 PDT  cloud" in lines[3]


def test_credentials_reach_the_site_sealed_and_are_nowhere_in_the_clear(paper: Console, tmp_path: Path) -> None:
    site = Site(names=["AWS_ACCESS_KEY_ID"], public_key=sealed.make_key(tmp_path))
    backup.give_credentials("demo", "AWS_ACCESS_KEY_ID=x", site, paper)
    assert site.asked == [("backup-key",), ("backup-credentials",)]
    assert "AWS_ACCESS_KEY_ID" not in site.stdin
    assert sealed.unseal(tmp_path, site.stdin) == "AWS_ACCESS_KEY_ID=x"
    with pytest.raises(KeeperError, match="not sealed for this site's present key"):
        sealed.unseal(tmp_path, site.stdin)  # a key opens one message
    with pytest.raises(UserError, match="on standard input"):
        backup.give_credentials("demo", " ", site)


def test_the_password_comes_as_restic_wants_it() -> None:
    text = backup.password("demo", Site(repository="/r"))
    assert text == "RESTIC_REPOSITORY=/r\nRESTIC_PASSWORD=secret of restic_password"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"kept": False}, "none are kept"),
        ({"age_s": None}, "last backup: never"),
        ({"age_s": 42.0}, "last backup: less than a minute ago"),
        (
            {"age_s": 3600.0 * 2.5, "verify": {"ok": True, "age_s": 86400.0 * 3}},
            "2 hours ago\nbackups verified: 3 days ago",
        ),
        ({"age_s": 3600.0 * 4}, "[red]last backup: 4 hours ago"),
        ({"age_s": 60.0, "trouble": {"text": "the disk is full"}}, "the last attempt failed[/]: the disk is full"),
        (
            {"age_s": 60.0, "verify": {"ok": False, "age_s": 60, "text": "damaged"}},
            "NOT good[/] (1 minute ago): damaged",
        ),
        ({"age_s": 60.0, "verify": {"ok": True, "age_s": 86400.0 * 9}}, "[yellow]backups verified: 9 days ago"),
    ],
)
def test_the_status_says_how_old_and_how_good_the_backups_are(found: dict[str, Any], words: str) -> None:
    assert words in backup.summary(found)
