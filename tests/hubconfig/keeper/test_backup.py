"""When a site backs up, what it asks restic for, and each refusal. restic itself: test_backup_real.py."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hubconfig.keeper import backup, config, history, keeper, restore, verify
from hubconfig.keeper import repositories as places
from hubconfig.keeper.config import KeeperConfig
from hubconfig.keeper.errors import KeeperError
from hubconfig.keeper.restic import ResticError, moment, sentence
from hubconfig.keeper.store import Store
from tests.hubconfig.keeper.fake_restic import FakeRestic

pytestmark = pytest.mark.unit

SUMMARY = {
    "message_type": "summary",
    "snapshot_id": "aaaa1111",
    "files_new": 2,
    "files_changed": 1,
    "total_files_processed": 10,
    "total_bytes_processed": 5000,
    "data_added": 700,
}


def site(folder: Path, **more: Any) -> KeeperConfig:
    paths = {name: str(folder / name) for name in ("homes_path", "state_path", "secrets_path", "run_path")}
    document = {
        "site": "cloud",
        "hub_url": "https://hub.test",
        "domain": "hub.test",
        "first_role": "active",
        **paths,
        **more,
    }
    made = config.parse(document)
    for path in (made.homes_path, made.state_path, made.secrets_path):
        path.mkdir(parents=True, exist_ok=True)
    return made


def make_writable(own: KeeperConfig) -> None:
    assert keeper.renew(Store(own), None).renew


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRestic:
    fake = FakeRestic(tmp_path / "bin")
    monkeypatch.setenv("PATH", fake.path())
    fake.answers("backup", out=json.dumps(SUMMARY))
    fake.answers("snapshots", out=[])
    fake.answers("forget", out=[{"remove": [{}, {}]}])
    return fake


@pytest.fixture
def own(tmp_path: Path) -> KeeperConfig:
    made = site(tmp_path / "cloud")
    make_writable(made)
    return made


def test_a_backup_is_one_snapshot_of_homes_and_hub_state_tagged_with_epoch_site_and_machine(
    own: KeeperConfig, restic: FakeRestic
) -> None:
    done = backup.backup(own)
    [call] = restic.calls("backup")
    assert call[-2:] == [str(own.homes_path), str(own.state_path / "backup-stage")]
    tags = [call[place + 1] for place, word in enumerate(call) if word == "--tag"]
    assert tags == ["epoch-1", "site-cloud", f"machine-{socket.gethostname()}"]
    assert call[call.index("--host") + 1] == "hub.test"
    assert call[call.index("--exclude") + 1] == str(own.homes_path / ".semesterhub-restore")
    assert (done["snapshot"], done["changed_files"], done["forgotten"]) == ("aaaa1111", 3, 2)
    assert backup.status(own)["last"]["snapshot"] == "aaaa1111" and backup.status(own)["age_s"] < 60


def test_copies_beyond_those_to_keep_are_forgotten_and_their_space_comes_back_once_a_day(
    tmp_path: Path, restic: FakeRestic
) -> None:
    own = site(tmp_path / "cloud", snapshots={"keep_hourly": 5, "keep_daily": 0, "keep_weekly": 3})
    make_writable(own)
    backup.backup(own)
    [forget] = restic.calls("forget")
    assert forget[-4:] == ["--keep-hourly", "5", "--keep-weekly", "3"]
    backup.backup(own)
    assert not restic.calls("prune")
    history.remember(own, pruned_at=time.time() - 86401)
    backup.backup(own)
    backup.backup(own)
    assert len(restic.calls("prune")) == 1


def test_no_secret_is_an_argument_and_the_hubs_environment_stays_out(
    own: KeeperConfig, restic: FakeRestic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "leaky")
    backup.backup(own)
    password = (own.secrets_path / "restic_password").read_text().strip()
    assert len(password) == 64 and (own.secrets_path / "restic_password").stat().st_mode & 0o777 == 0o600
    assert password not in json.dumps(restic.calls()) and all("leaky" not in e.values() for e in restic.environments())


def test_the_hubs_database_is_copied_while_it_is_in_use(own: KeeperConfig, restic: FakeRestic) -> None:
    live = own.state_path / "hub" / "jupyterhub.sqlite"
    live.parent.mkdir()
    with sqlite3.connect(live) as hub:
        hub.execute("create table users (name text)")
        hub.execute("insert into users values ('ada')")
        hub.commit()
        hub.execute("insert into users values ('not yet committed')")
        (own.secrets_path / "cookie_secret").write_text("c00kie")
        backup.backup(own)
        hub.rollback()
    stage = own.state_path / "backup-stage"
    assert sqlite3.connect(stage / "jupyterhub.sqlite").execute("select name from users").fetchall() == [("ada",)]
    assert (stage / "cookie_secret").read_text() == "c00kie"
    assert stage.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o077 for file in stage.iterdir()} == {0}


def test_a_site_that_may_not_write_does_not_back_up(tmp_path: Path, restic: FakeRestic) -> None:
    standby = site(tmp_path / "fallback", site="fallback", first_role="standby", dials=False)
    with pytest.raises(KeeperError, match="the fallback site is standby"):
        backup.backup(standby)
    assert not restic.calls()
    assert "standby" in backup.status(standby)["trouble"]["text"]


def test_a_backup_stops_when_the_site_loses_its_lease(own: KeeperConfig, restic: FakeRestic, tmp_path: Path) -> None:
    slow = (
        (tmp_path / "bin" / "restic")
        .read_text()
        .replace("answers =", "if 'backup' in arguments: __import__('time').sleep(60)\nanswers =")
    )
    (tmp_path / "bin" / "restic").write_text(slow)
    threading.Timer(0.5, (own.site_path / "lease.json").unlink).start()
    began = time.monotonic()
    with pytest.raises(KeeperError, match="has no lease at the moment"):
        backup.backup(own)
    assert time.monotonic() - began < 15


def test_a_site_that_was_overtaken_does_not_write_into_the_newer_ones_history(
    own: KeeperConfig, restic: FakeRestic
) -> None:
    restic.answers("snapshots", out=[{"time": "2016-03-02T10:00:00Z", "tags": ["epoch-7", "site-fallback"]}])
    with pytest.raises(KeeperError, match="copies of epoch 7, this site is in epoch 1"):
        backup.backup(own)
    assert not restic.calls("backup")


def snapshot(epoch: int, machine: str) -> dict[str, Any]:
    return {"time": "2016-03-02T10:00:00Z", "tags": [f"epoch-{epoch}", f"machine-{machine}"]}


@pytest.mark.parametrize(
    ("holders", "everything"),
    [
        ([socket.gethostname()], True),  # a process of this machine: this site's lock is ours, so it died
        (["old-hub"], True),  # a machine of an older epoch
        (["admins-laptop"], False),
        (["old-hub", "admins-laptop"], False),
    ],
)
def test_only_locks_of_dead_processes_and_of_older_epochs_are_broken(
    own: KeeperConfig, restic: FakeRestic, holders: list[str], everything: bool
) -> None:
    restic.answers("snapshots", out=[snapshot(1, "old-hub"), snapshot(2, "new-hub")])
    restic.answers("list", "locks", out="\n".join(holders))
    for holder in holders:
        restic.answers("cat", "lock", holder, out={"hostname": holder, "pid": 7})
    history.drop_dead_locks(history.Restic("/r", own.secrets_path / "p", {}))
    [call] = restic.calls("unlock")
    assert ("--remove-all" in call) is everything


def test_without_locks_nothing_is_unlocked(own: KeeperConfig, restic: FakeRestic) -> None:
    backup.backup(own)
    assert not restic.calls("unlock")


def test_a_repository_that_vanished_is_not_silently_begun_anew(own: KeeperConfig, restic: FakeRestic) -> None:
    backup.backup(own)
    missing = "Fatal: unable to open config file: stat /r/config: no such file or directory\nIs there a repository at the following"
    restic.answers("cat", "config", code=1, problems=missing)
    with pytest.raises(KeeperError, match=r"was there, and is gone. Is its disk mounted"):
        backup.backup(own)
    assert not restic.calls("init")


def test_a_repository_that_cannot_be_asked_is_not_begun_anew(own: KeeperConfig, restic: FakeRestic) -> None:
    denied = "Fatal: unable to open config file: Stat: Access Denied.\nIs there a repository at the following location?"
    restic.answers("cat", "config", code=1, problems=denied)
    with pytest.raises(KeeperError, match="may not use the repository"):
        backup.backup(own)
    assert not restic.calls("init")


def test_two_at_once_wait_for_each_other_and_then_say_so(own: KeeperConfig, restic: FakeRestic) -> None:
    with history.opened(own, make=True), pytest.raises(KeeperError, match=r"process .* has been using the backups"):
        backup.backup(own, wait_s=0.6)


class NoDoors:
    """The hub of a semester with one site: nobody may touch it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the keeper of a single site has no business with {name}")


def test_the_keeper_of_a_single_site_renews_its_lease_and_leaves_the_hub_alone(tmp_path: Path) -> None:
    own = site(tmp_path / "cloud", guards=False)
    doors: Any = NoDoors()
    keeper.Site(own, doors=doors).look()
    assert Store(own).writable()
    standby = site(tmp_path / "fallback", site="fallback", first_role="standby", guards=False)
    keeper.Site(standby, doors=doors).look()
    assert not Store(standby).writable()


def test_a_semester_without_copies_says_which_key_to_change(tmp_path: Path, restic: FakeRestic) -> None:
    own = site(tmp_path / "c", snapshots={"keep_hourly": 0, "keep_daily": 0, "keep_weekly": 0})
    make_writable(own)
    with pytest.raises(KeeperError, match=r"homes.snapshots has keep_hourly, keep_daily and keep_weekly at 0"):
        backup.backup(own)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Fatal: wrong password or no key found", "the password on this machine does not open"),
        (
            "repository is already locked by PID 7 on laptop by ada\nlock was created",
            "is locked by PID 7 on laptop by ada",
        ),
        ("write /r/data/x: no space left on device", "the disk of the repository /r is full"),
        ("Fatal: client.PutObject: Access Denied", "may not use the repository /r"),
        ("a\nFatal: something new\nb", "restic failed on the repository /r: something new"),
    ],
)
def test_restics_failures_are_sentences(said: str, told: str) -> None:
    assert told in sentence(ResticError(said, 1), "/r")


@pytest.mark.parametrize(
    ("last_at", "is_due"), [(None, True), (1000.0, False), (999.0 - 3600, True), (2000.0, True)],
    ids=["never", "just now", "over an hour ago", "the clock was set back"],
)  # fmt: skip
def test_a_backup_is_due_every_hour(last_at: float | None, is_due: bool) -> None:
    assert backup.due(last_at, 3600, now=1000.0) is is_due


def test_times_of_restic_are_read_with_nanoseconds_and_offsets() -> None:
    assert moment("2016-03-02T10:00:00.123456789Z") == datetime(2016, 3, 2, 10, 0, 0, 123456, UTC)
    assert moment("2016-03-02T10:00:00.5+01:00") == datetime(2016, 3, 2, 9, 0, 0, 500000, UTC)
    assert moment("2016-03-02T10:00:00-08:00") == datetime(2016, 3, 2, 18, 0, tzinfo=UTC)


# -- repositories -----------------------------------------------------------------------------------------------------


def no_token(*_: str) -> str:
    raise AssertionError("nobody asks for a token")


def test_s3_is_entered_with_the_machines_role_unless_credentials_were_handed_over(tmp_path: Path) -> None:
    own = site(tmp_path, snapshots={"repository": "s3:https://s3.us-west-2.amazonaws.com/bucket/restic"})
    assert places.environment(own, no_token) == {"AWS_DEFAULT_REGION": "us-west-2"}
    done = backup.take_credentials(own, "# campus\nexport AWS_ACCESS_KEY_ID='AK'\nAWS_SECRET_ACCESS_KEY=s3cret=\n")
    assert done == {"names": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]}
    assert places.environment(own, no_token)["AWS_SECRET_ACCESS_KEY"] == "s3cret="
    assert (own.secrets_path / "restic_credentials").stat().st_mode & 0o777 == 0o600


def test_azure_is_entered_with_a_token_of_the_machines_identity(tmp_path: Path) -> None:
    snapshots = {"repository": "azure:backups:/", "azure_account": "keep1", "identity_client_id": "id1"}
    own = site(tmp_path, snapshots=snapshots)
    found = places.environment(own, lambda *asked: "sas of " + " ".join(asked))
    assert found == {"AZURE_ACCOUNT_NAME": "keep1", "AZURE_ACCOUNT_SAS": "sas of keep1 backups id1"}


def test_azure_without_identity_and_credentials_says_what_to_hand_over(tmp_path: Path) -> None:
    with pytest.raises(KeeperError, match=r"AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY.*backup.credentials"):
        places.environment(site(tmp_path, snapshots={"repository": "azure:backups:/"}), no_token)


@pytest.mark.parametrize("line", ["AWS_SECRET_ACCES_KEY=s3cret", "just words s3cret", "AWS_ACCESS_KEY_ID="])
def test_wrong_credentials_are_refused_by_name_and_never_shown(tmp_path: Path, line: str) -> None:
    with pytest.raises(KeeperError, match="line 1 of the credentials") as refusal:
        backup.take_credentials(site(tmp_path), line)
    assert "s3cret" not in str(refusal.value)


# -- restoring --------------------------------------------------------------------------------------------------------

TIMES = [
    {"id": "old", "time": "2016-03-02T17:00:05.1Z"},
    {"id": "mid", "time": "2016-03-02T18:00:05Z"},
    {"id": "new", "time": "2016-03-02T19:00:05Z"},
]


def test_the_newest_copy_that_is_old_enough_is_taken_and_named_by_its_own_time() -> None:
    copy = restore.choose(TIMES, datetime.fromisoformat("2016-03-02T10:30:00-08:00"))
    assert (copy.id, copy.folder) == ("mid", "restored 2016-03-02 10.00")


def test_no_copy_that_old_names_the_oldest() -> None:
    with pytest.raises(
        KeeperError, match=r"no copy is as old as 2016-03-02 08:00 UTC-08:00: the oldest is of 2016-03-02 09:00"
    ):
        restore.choose(TIMES, datetime.fromisoformat("2016-03-02T08:00:00-08:00"))


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a\x00b", "a\\b", "x" * 200])
def test_a_folder_outside_the_home_is_refused(name: str) -> None:
    with pytest.raises(KeeperError, match="give the name of a folder in the student's home"):
        restore.choose(TIMES, datetime(2017, 1, 1, tzinfo=UTC), name)


def listing(homes: Path, *names: str) -> str:
    rows = [{"struct_type": "node", "type": "dir", "name": name, "path": f"{homes}/{name}"} for name in names]
    return "\n".join(json.dumps(row) for row in rows)


def test_an_unknown_student_is_told_with_similar_names(own: KeeperConfig, restic: FakeRestic) -> None:
    backup.backup(own)
    restic.answers("snapshots", out=[{**TIMES[0], "tags": []}])
    restic.answers("ls", out=listing(own.homes_path, "student-2d1", "ada-40example-2eedu"))
    with pytest.raises(
        KeeperError, match="there is no student 'student-11' in the copy of 2016-03-02 17:00 UTC; similar: student-1"
    ):
        restore.restore(own, "student-11", "now")
    (own.homes_path / "grace").mkdir()
    with pytest.raises(KeeperError, match="the student grace had no files at 2016-03-02 17:00 UTC"):
        restore.restore(own, "grace", "now")


def test_a_disk_too_small_is_told_before_anything_is_restored(own: KeeperConfig, restic: FakeRestic) -> None:
    backup.backup(own)
    restic.answers("snapshots", out=[{**TIMES[0], "tags": []}])
    restic.answers("ls", out=listing(own.homes_path, "ada"))
    big = {"struct_type": "node", "type": "file", "name": "big", "path": f"{own.homes_path}/ada/big", "size": 10**15}
    restic.answers("ls", "--recursive", out=json.dumps(big))
    with pytest.raises(KeeperError, match=r"the disk of the homes is too small: the copy needs 931322.57 GiB"):
        restore.restore(own, "ada", "now")
    assert not restic.calls("restore")


def test_a_student_cannot_lead_a_restore_elsewhere_with_a_link(own: KeeperConfig, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (own.homes_path / "mallory").symlink_to(secret)
    restored = tmp_path / "restored"
    restored.mkdir()
    with pytest.raises(KeeperError, match="not a folder of its own"):
        restore._hand_over(own, "mallory", restored, "restored x")
    assert not list(secret.iterdir())


def test_what_bears_the_name_already_is_not_touched(own: KeeperConfig, tmp_path: Path) -> None:
    taken = own.homes_path / "ada" / "restored x"
    taken.mkdir(parents=True)  # empty: rename(2) alone would replace it
    (tmp_path / "new").mkdir()
    with pytest.raises(KeeperError, match="ada has a 'restored x' already"):
        restore._hand_over(own, "ada", tmp_path / "new", "restored x")
    assert (tmp_path / "new").is_dir()


# -- the sample of a verification -------------------------------------------------------------------------------------


class Blobs:
    def __init__(self, **blobs: bytes) -> None:
        self._blobs = blobs

    def cat_blob(self, name: str) -> bytes:
        return self._blobs[name]


def test_content_is_compared_with_the_hashes_that_the_snapshot_names(tmp_path: Path) -> None:
    import hashlib

    file = tmp_path / "f"
    file.write_bytes(b"onetwo")
    one, two = (hashlib.sha256(part).hexdigest() for part in (b"one", b"two"))
    blobs: Any = Blobs(**{one: b"one", two: b"two"})
    whole = hashlib.sha256(b"onetwo").hexdigest()
    assert verify.content_problem(blobs, file, [whole]) == ""
    assert verify.content_problem(blobs, file, [one, two]) == ""
    assert "not what the snapshot names" in verify.content_problem(blobs, file, [one])
    assert "differs from byte 0" in verify.content_problem(blobs, file, [two, one])
    file.write_bytes(b"onetwo more")
    assert "has 11 bytes instead of 6" in verify.content_problem(blobs, file, [one, two])
    damaged: Any = Blobs(**{one: b"one", two: b"twX"})
    assert "differs from byte 3" in verify.content_problem(damaged, file, [one, two])
    assert "was not restored" in verify.content_problem(blobs, tmp_path / "missing", [one])
