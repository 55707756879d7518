"""Backups with real restic, in a container of the hub image: an hour ago comes back, damage is found, killed ones go on.

The copies of earlier hours are made with restic's own `--time`; nobody waits an hour.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import docker
import pytest
from docker.models.containers import Container

from operations.images import build

pytestmark = pytest.mark.sandbox

HOMES = "/srv/semesterhub/homes"
STATE = "/var/lib/semesterhub/state"
CONFIG = {
    "site": "cloud",
    "hub_url": "https://hub.test",
    "domain": "hub.test",
    "first_role": "active",
    "dials": False,
    "guards": False,
}
KEEPER = ("python3", "-m", "hubconfig.keeper")

FILES = f"""
import os, sqlite3
from pathlib import Path
homes = Path({HOMES!r})
for student in ("ada", "grace", *(f"student{{n}}" for n in range(8))):
    for n in range(20):
        file = homes / student / f"lab{{n % 2}}" / f"answer {{n}}.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{{student}} {{n}}\\n" * 200)
    (homes / student / "data.bin").write_bytes(os.urandom(2_000_000 if student == "ada" else 100))
    (homes / student / "link").symlink_to("lab0")
    for path in (homes / student, *(homes / student).rglob("*")):
        os.chown(path, 1000, 100, follow_symlinks=False)
Path("{STATE}/hub").mkdir(parents=True)
Path("/var/lib/semesterhub/secrets").mkdir(parents=True)
with sqlite3.connect("{STATE}/hub/jupyterhub.sqlite") as hub:
    hub.execute("create table users (name text)")
    hub.execute("insert into users values ('ada')")
"""
FINGERPRINT = f"""
import hashlib, json, os
from pathlib import Path
found = {{}}
for path in sorted(Path({HOMES!r}).rglob("*")):
    about = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
    link = os.readlink(path) if path.is_symlink() else ""
    when = 0 if path.is_dir() else about.st_mtime_ns
    found[str(path.relative_to({HOMES!r}))] = [about.st_uid, about.st_gid, about.st_mode, when, content, link]
print(json.dumps(found))
"""
DAMAGE = f"""
from pathlib import Path
pack = max(Path("{STATE}/backups/data").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
content = bytearray(pack.read_bytes())
content[len(content) // 2] ^= 1
pack.chmod(0o600)
pack.write_bytes(content)
"""


@dataclass
class Site:
    """The cloud's site of a semester, alone."""

    container: Container

    def run(self, *command: str) -> tuple[int, str, str]:
        code, streams = self.container.exec_run(list(command), demux=True)
        out, problems = (stream.decode() if stream else "" for stream in cast("tuple[bytes, bytes]", streams))
        return code, out, problems

    def python(self, text: str) -> str:
        code, out, problems = self.run("python3", "-c", text)
        assert code == 0, problems
        return out

    def keeper(self, *arguments: str) -> dict[str, Any]:
        code, out, problems = self.run(*KEEPER, *arguments)
        assert code == 0, problems
        return json.loads(out)

    def refused(self, *arguments: str) -> str:
        code, out, problems = self.run(*KEEPER, *arguments)
        assert (code, out) == (3, ""), problems
        return problems.strip()

    def backup_of(self, hours_ago: float) -> None:
        self.python(
            "from datetime import datetime, timedelta; from hubconfig.keeper import backup, config; "
            f"backup.backup(config.load(), at=datetime.now() - timedelta(hours={hours_ago}))"
        )

    def configure(self, **more: Any) -> None:
        text = json.dumps({**CONFIG, **more})
        self.python(
            f"from pathlib import Path; p = Path('/etc/semesterhub/keeper.json'); p.parent.mkdir(exist_ok=True); p.write_text({text!r})"
        )

    def files(self) -> dict[str, list[Any]]:
        return json.loads(self.python(FINGERPRINT))


@pytest.fixture(scope="module")
def hub_image() -> str:
    return build("hub", lambda _line: None).tag


@pytest.fixture
def site(hub_image: str) -> Iterator[Site]:
    client = docker.from_env()
    container = client.containers.run(hub_image, ["sleep", "900"], detach=True, init=True, network_mode="none")
    try:
        made = Site(container)
        made.configure()
        made.python(FILES)
        container.exec_run([*KEEPER, "run"], detach=True)
        deadline = time.monotonic() + 30
        while not made.keeper("status")["writable"]:
            assert time.monotonic() < deadline, "the keeper of a single site takes no lease"
            time.sleep(0.2)
        yield made
    finally:
        container.remove(force=True, v=True)
        client.close()


def below(files: dict[str, list[Any]], folder: str) -> dict[str, list[Any]]:
    return {name.removeprefix(f"{folder}/"): about for name, about in files.items() if name.startswith(f"{folder}/")}


def test_a_directory_of_an_hour_ago_comes_back_beside_the_present_one_and_the_rest_is_untouched(site: Site) -> None:
    before = site.files()
    site.backup_of(hours_ago=2)
    site.python(
        f"open('{HOMES}/ada/lab0/answer 0.ipynb', 'w').write('spoiled'); import os; os.remove('{HOMES}/ada/lab1/answer 1.ipynb')"
    )
    site.keeper("backup")
    present = site.files()

    done = site.keeper("restore", "--user", "ada", "--at", "1 hour ago")

    [path] = done["paths"]
    folder = path.removeprefix(f"{HOMES}/")
    assert folder.startswith("ada/restored 20") and (done["users"], done["restored"]) == (1, 1)
    after = site.files()
    assert below(after, folder) == below(before, "ada")
    assert after[folder][:2] == [1000, 100]
    assert {
        name: about for name, about in after.items() if name != folder and not name.startswith(f"{folder}/")
    } == present
    assert site.run("ls", f"{STATE}/site/changed-homes")[1].split() == ["ada"], "replication would not look"
    again = site.keeper("restore", "--user", "ada", "--at", "1 hour ago")
    assert (again["restored"], again["already"]) == (0, 1) and site.files() == after


def test_all_homes_come_back_also_of_a_student_whose_home_is_gone(site: Site) -> None:
    before = site.files()
    site.keeper("backup")
    site.python(f"import shutil; shutil.rmtree('{HOMES}/grace')")
    done = site.keeper("restore", "--all", "--at", "now", "--into", "from the backup")
    assert (done["users"], done["restored"]) == (10, 10)
    after = site.files()
    for student in ("ada", "grace", "student7"):
        assert below(after, f"{student}/from the backup") == below(before, student)
    assert after["grace"][:2] == [1000, 100]
    read = f"import sqlite3; print(sqlite3.connect('{done['hub_state']}/jupyterhub.sqlite').execute('select * from users').fetchall())"
    assert site.python(read).strip() == "[('ada',)]"
    assert not [name for name in after if name.startswith(".")]


def test_every_refusal_is_a_sentence(site: Site) -> None:
    assert "nothing was backed up yet" in site.refused("restore", "--user", "ada", "--at", "now")
    site.backup_of(hours_ago=2)
    assert "there is no student 'adda' in the copy of" in site.refused("restore", "--user", "adda", "--at", "now")
    assert "no copy is as old as" in site.refused("restore", "--user", "ada", "--at", "3 hours ago")
    assert "is not understood" in site.refused("restore", "--user", "ada", "--at", "some time")
    site.run("mv", "/var/lib/semesterhub/secrets/restic_password", "/tmp/kept")
    assert "the password of the repository" in site.refused("backup")
    site.run("sh", "-c", "echo another > /var/lib/semesterhub/secrets/restic_password")
    assert "the password on this machine does not open" in site.refused("backup")


def test_one_stored_file_damaged_by_hand_fails_the_verification(site: Site) -> None:
    site.keeper("backup")
    good = site.keeper("backup-verify", "--sample", "6")
    assert good["files"] == good["same_as_present"] == 6 and (good["part"], good["parts"]) == (1, 1)
    assert site.keeper("backup-status")["verify"]["ok"] is True
    site.python(DAMAGE)
    said = site.refused("backup-verify", "--sample", "6")
    assert "are NOT good" in said and "stored data is damaged" in said
    assert site.keeper("backup-status")["verify"]["ok"] is False


def test_copies_are_thinned_out_and_each_stays_restorable(site: Site) -> None:
    site.configure(snapshots={"keep_hourly": 2, "keep_daily": 2, "keep_weekly": 0})
    for hours_ago in (26, 25, 2, 1):
        site.backup_of(hours_ago=hours_ago)
    site.python("from hubconfig.keeper import config, history; history.remember(config.load(), pruned_at=1)")
    site.keeper("backup")
    ages_h = [(time.time() - taken_s) / 3600 for _, taken_s, _, _ in site.keeper("backups")["snapshots"]]
    # The last two hours, and the last copy of the day before, which may be one of them.
    assert len(ages_h) in {2, 3} and max(ages_h) < 25.9 and sorted(ages_h)[1] < 1.1
    site.keeper("backup-verify", "--sample", "6")


def test_a_killed_backup_leaves_nothing_that_stops_the_next_one(site: Site) -> None:
    site.keeper("backup")
    site.python(f"import os; open('{HOMES}/ada/big', 'wb').write(os.urandom(400_000_000))")
    site.container.exec_run([*KEEPER, "backup"], detach=True)
    deadline = time.monotonic() + 30
    while site.run("sh", "-c", f"ls {STATE}/backups/locks/*")[0] != 0:
        assert time.monotonic() < deadline, "no backup began"
        time.sleep(0.05)
    # Both at once: restic has no time to remove its lock.
    site.run(
        "sh",
        "-c",
        "for p in /proc/[0-9]*; do grep -qa 'keeper.backup\\|restic' $p/cmdline && kill -9 ${p#/proc/}; done",
    )
    assert site.run("sh", "-c", f"ls {STATE}/backups/locks/*")[0] == 0, "the killed one was done already"
    assert site.keeper("backup")["files"] == 212
    assert site.run("sh", "-c", f"ls {STATE}/backups/locks/*")[0] != 0


def test_a_killed_restore_is_swept_away_by_the_next_one(site: Site) -> None:
    site.keeper("backup")
    site.run("sh", "-c", f"mkdir -m 700 {HOMES}/.semesterhub-restore && touch {HOMES}/.semesterhub-restore/half")
    done = site.keeper("restore", "--user", "ada", "--at", "now")
    assert done["restored"] == 1 and site.run("test", "-e", f"{HOMES}/.semesterhub-restore")[0] != 0
