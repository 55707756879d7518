"""The machine's Docker daemon: used if it answers; installed and started where that can be done without asking."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import docker
import requests.exceptions
from docker.errors import DockerException

from operations import packages
from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE
from operations.progress import note, step

ANSWER_TIMEOUT_S = 10
START_TIMEOUT_S = 90.0
DEFAULT_SOCKET = Path("/var/run/docker.sock")


@dataclass(frozen=True)
class StartedDaemon:
    """A daemon that this process started. `pid` is 0 when systemd runs it."""

    pid: int

    def stop(self) -> None:
        """End it: containers it runs are stopped first by dockerd itself."""
        if self.pid == 0:
            subprocess.run(["systemctl", "stop", "docker.socket", "docker"], check=False, capture_output=True)
            return
        try:
            os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                done, _ = os.waitpid(self.pid, os.WNOHANG)
                if done:
                    return
                time.sleep(0.2)
            os.kill(self.pid, signal.SIGKILL)
        except (ProcessLookupError, ChildProcessError):
            pass


def problem() -> str | None:
    """Why Docker cannot be used, in the client's words, or None when it answers."""
    try:
        client = docker.from_env(timeout=ANSWER_TIMEOUT_S)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        return str(error)
    return None


def ensure() -> StartedDaemon | None:
    """Make Docker answer. Returns the daemon if this call started it. Raises UserError with what to do instead."""
    reason = problem()
    if reason is None:
        return None
    host = os.environ.get("DOCKER_HOST")
    if host:
        raise UserError(
            f"Docker at DOCKER_HOST={host} does not answer: {reason}\n  Start it, or unset DOCKER_HOST to use this machine's."
        )
    if "Permission denied" in reason or "PermissionError" in reason:
        raise UserError(
            f"Docker runs, but this user may not use it ({DEFAULT_SOCKET}: permission denied).\n"
            "  sudo usermod -aG docker $USER   then log in again"
        )
    if os.geteuid() != 0 or not packages.is_debian():
        raise UserError(
            f"Docker does not answer: {reason}\n  Debian, Ubuntu:\n"
            "    sudo apt-get install docker.io iptables\n    sudo systemctl start docker\n"
            "    sudo usermod -aG docker $USER   then log in again\n"
            "  elsewhere: https://docs.docker.com/engine/install/"
        )
    with file_lock(CACHE / "locks" / "docker", "starting Docker", say=note):
        if problem() is None:
            return None
        if not (shutil.which("dockerd") and shutil.which("iptables")):
            packages.install(["docker.io", "iptables"], why="Docker")
            if problem() is None:
                return None  # the package's own scripts started it: it stays, as on any Debian machine
        return _start()


def _start() -> StartedDaemon:
    with step("starting Docker") as tell:
        if Path("/run/systemd/system").is_dir():
            done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
            if done.returncode == 0 and _answers_within(START_TIMEOUT_S):
                return StartedDaemon(pid=0)
            raise UserError(
                f"systemd could not start Docker: {done.stderr.strip()}\n  Look at: journalctl -u docker -n 50"
            )
        log = CACHE / "dockerd.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        # A daemon that was killed leaves its pid file, and a recycled pid would keep the new one from starting.
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        (CACHE / "dockerd.pid").write_text(f"{process.pid}\n", "utf-8")
        tell(f"log in {log}")
        if _answers_within(START_TIMEOUT_S, process):
            return StartedDaemon(process.pid)
        if process.poll() is None:
            process.terminate()
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-8:])
        raise UserError(f"dockerd did not start within {START_TIMEOUT_S:.0f} s. The end of {log}:\n{tail}")


def _answers_within(timeout_s: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if problem() is None:
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.3)
    return False
