"""Two sites of a semester in two folders, with real keepers. A stand-in for `ssh` runs the forced command on the other one."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hubconfig.keeper import config as configuration
from hubconfig.keeper.config import KeeperConfig

REPOSITORY = Path(__file__).resolve().parents[3]
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1hZGUgdXAgZm9yIHRoZSB0ZXN0cw=="
SSH = """#!{python} -IS
# `ssh … host command…`: what the other machine's sshd and its forced command would run.
import os, sys, time
from pathlib import Path
folder = Path({folder!r})
words = sys.argv[1:]
if words and "-V" in words:
    sys.exit(0)
if (folder / "cut").exists():
    print("ssh: connect to host fallback.test port 22: No route to host", file=sys.stderr)
    sys.exit(255)
at = words.index("fallback.test")
# the same path on both machines
command = " ".join(words[at + 1 :]).replace(str(folder / "cloud" / "homes"), str(folder / "fallback" / "homes"))
arguments = ["peer"] if command == "peer" else ["peer-rsync", command]
with (folder / "connections").open("a") as said:
    said.write(command + "\\n")
os.environ["PYTHONPATH"] = {repository!r}
os.execv({python!r}, [{python!r}, "-m", "hubconfig.keeper", "--config", str(folder / "fallback" / "keeper.json"), *arguments])
"""


class Sites:
    """`cloud` dials, `fallback` answers."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        bin_ = folder / "bin"
        bin_.mkdir()
        ssh = bin_ / "ssh"
        ssh.write_text(SSH.format(python=sys.executable, folder=str(folder), repository=str(REPOSITORY)))
        ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
        self.environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        for site in ("cloud", "fallback"):
            top = folder / site
            for name in ("homes", "state/hub", "state/edge", "secrets", "run"):
                (top / name).mkdir(parents=True)
            document = {
                "site": site,
                "hub_url": "https://hub.test",
                "domain": "hub.test",
                "guards": False,
                "first_role": "active" if site == "cloud" else "standby",
                "dials": site == "cloud",
                "peer": {"host": "fallback.test", "host_key": HOST_KEY} if site == "cloud" else None,
                "homes_path": str(top / "homes"),
                "state_path": str(top / "state"),
                "secrets_path": str(top / "secrets"),
                "run_path": str(top / "run"),
                "beat_every_s": 0.3,
                "homes_every_s": 1,
                "state_every_s": 0.3,
                "lease_ttl_s": 5,
                **more,
            }
            (top / "keeper.json").write_text(json.dumps(document))

    def config(self, site: str) -> KeeperConfig:
        return configuration.load(self.folder / site / "keeper.json")

    def homes(self, site: str) -> Path:
        return self.folder / site / "homes"

    def database(self, site: str) -> Path:
        return self.folder / site / "state" / "hub" / "jupyterhub.sqlite"

    def start(self, site: str) -> None:
        log = (self.folder / f"{site}.log").open("ab")
        words = [sys.executable, "-m", "hubconfig.keeper", "--config", str(self.folder / site / "keeper.json"), "run"]
        self.daemons[site] = subprocess.Popen(
            words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def kill(self, site: str) -> None:
        """Without warning, with all that it started."""
        process = self.daemons.pop(site)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for site in list(self.daemons):
            self.kill(site)

    def log(self, site: str) -> str:
        return (self.folder / f"{site}.log").read_text()

    def cut(self, cut: bool = True) -> None:
        """The network between the sites."""
        if cut:
            (self.folder / "cut").touch()
        else:
            (self.folder / "cut").unlink()

    def run(self, site: str, *arguments: str) -> tuple[int, Any]:
        """A command as an admin's task gives it: exit code, and what it answered or why it refused."""
        words = [
            sys.executable,
            "-m",
            "hubconfig.keeper",
            "--config",
            str(self.folder / site / "keeper.json"),
            *arguments,
        ]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 and done.stdout else done.stderr.strip()

    def ask(self, site: str, *arguments: str) -> Any:
        code, said = self.run(site, *arguments)
        assert code == 0, said
        return said

    def watermark(self, site: str) -> dict[str, Any]:
        try:
            return json.loads((self.folder / site / "state" / "site" / "watermark.json").read_text())
        except FileNotFoundError:
            return {"homes_until": 0, "hub_state_until": 0, "epoch": 0, "seq": 0}

    def until(self, condition: Callable[[], Any], within_s: float = 60) -> Any:
        """Waits for it; what it came to."""
        end = time.monotonic() + within_s
        while not (found := condition()):
            assert time.monotonic() < end, f"cloud: {self.log('cloud')[-1500:]}"
            time.sleep(0.05)
        return found

    def copied(self, site: str = "fallback", *, since: float | None = None) -> dict[str, Any]:
        """Waits until a watermark on that site says that homes and hub state as of now are there."""
        moment = time.time() if since is None else since
        self.until(lambda: min(self.watermark(site)["homes_until"], self.watermark(site)["hub_state_until"]) >= moment)
        return self.watermark(site)

    def make_database(self, site: str = "cloud") -> None:
        with sqlite3.connect(self.database(site)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, last_activity TEXT)")
            database.execute(
                "CREATE TABLE spawners (user_id INTEGER, server_id INTEGER, last_activity TEXT, started TEXT)"
            )
        database.close()

    def at_work(self, *names: str, site: str = "cloud") -> None:
        """Users with a server, by the hub's database."""
        with sqlite3.connect(self.database(site)) as database:
            for name in names:
                user = database.execute("INSERT INTO users (name) VALUES (?)", (name,)).lastrowid
                database.execute("INSERT INTO spawners (user_id, server_id) VALUES (?, 1)", (user,))
        database.close()

    def users(self, site: str) -> set[str]:
        with sqlite3.connect(f"file:{self.database(site)}?mode=ro", uri=True) as database:
            names = {row[0] for row in database.execute("SELECT name FROM users")}
        database.close()
        return names

    def promote_unasked(self, target: str, epoch: int, token: str, kind: str) -> None:
        """An unplanned move: the other site is away, and an admin's word that it is off is the proof."""
        self.ask(target, "claim", "--epoch", str(epoch), "--token", token, "--by", "test", "--kind", kind)
        self.ask(target, "proof", "--epoch", str(epoch), "--token", token, "--how", "admin", "--detail", "power is off")
        self.ask(target, "promote", "--epoch", str(epoch), "--token", token)

    def hand_over(self, source: str, target: str, epoch: int, token: str, *, last_copy: bool = True) -> None:
        """A planned move, as the failover task makes it."""
        self.ask(target, "claim", "--epoch", str(epoch), "--token", token, "--by", "test", "--kind", "failover")
        self.ask(source, "fence", "--epoch", str(epoch), "--token", token)
        self.ask(target, "proof", "--epoch", str(epoch), "--token", token, "--how", "ssh", "--detail", "test")
        if last_copy:
            self.ask("cloud", "sync", "--final", "--token", token)
        self.ask(target, "promote", "--epoch", str(epoch), "--token", token)
        self.ask(target, "release", "--token", token)
