"""The naive hub of `benchmarks/naive/`: started in one machine container, measured like any hub, removed without trace.

It gives the figures of the tuned hub something to be compared with, on the same machine and in the same hour.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import shlex
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any

import docker
from docker.errors import NotFound

from operations import images, paths
from operations.errors import UserError
from operations.load.target import Target

CONFIG = paths.ROOT / "benchmarks" / "naive" / "jupyterhub_config.py"
IMAGES = ("machine", "hub", "proxy", "student-naive")
UNREACHABLE_REGISTRY = "127.0.0.1:9"
"""Swarm asks the registry in an image's name before it uses the copy it has. Nothing listens here, so that question is
over in a millisecond and costs the naive side nothing; a name without a registry would wait for Docker Hub."""
BOOT_DOCKERD = """
mount -o remount,rw /sys
mount -o remount,bind,rw /sys/fs/cgroup
for controller in /sys/fs/cgroup/*/; do mountpoint -q "$controller" && mount -o remount,bind,rw "$controller"; done
exec dockerd --host unix:///var/run/docker.sock
"""
START_TIMEOUT_S = 120


class NaiveHub:
    """`with NaiveHub() as hub:` runs it; `hub.target` is where a class is sent. Leaves nothing behind."""

    def __init__(self, memory_mib: int | None = None, on_line: Any = None) -> None:
        self._memory_mib = memory_mib
        self._say = on_line or (lambda line: None)
        self._docker = docker.from_env()
        self._name = f"semesterhub-naive-{secrets.token_hex(3)}"
        self._password = secrets.token_urlsafe(12)
        self._machine: Any = None
        self.target: Target

    def __enter__(self) -> NaiveHub:
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _start(self) -> None:
        built = {name: images.build(name, self._say) for name in IMAGES}
        self._boot(built["machine"].tag)
        names = {name: f"{UNREACHABLE_REGISTRY}/{name}:naive" for name in IMAGES if name != "machine"}
        for name, local in names.items():
            self._say(f"naive hub: copying the {name} image into its machine")
            self._copy_image(built[name].tag, local)
        self._exec("docker swarm init --advertise-addr eth0")
        self._exec("docker network create --driver overlay --attachable naive")
        token = secrets.token_hex(32)
        self._put("/srv/naive/jupyterhub_config.py", CONFIG.read_bytes())
        self._exec(
            f"docker run --detach --name proxy --network naive --publish 8000:8000"
            f" --env CONFIGPROXY_AUTH_TOKEN={token} {names['proxy']}"
            " --ip 0.0.0.0 --port 8000 --api-ip 0.0.0.0 --api-port 8001 --default-target http://hub:8081"
        )
        self._exec(
            f"docker run --detach --name hub --network naive --env CONFIGPROXY_AUTH_TOKEN={token}"
            f" --env NAIVE_STUDENT_PASSWORD={shlex.quote(self._password)} --env NAIVE_IMAGE={names['student-naive']}"
            " --volume /var/run/docker.sock:/var/run/docker.sock --volume /srv/naive:/srv/naive:ro"
            f" {names['hub']} jupyterhub -f /srv/naive/jupyterhub_config.py"
        )
        self._machine.reload()
        port = self._machine.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        url = f"http://127.0.0.1:{port}"
        self._wait_for(url)
        self.target = Target(
            name="naive",
            hub_url=url,
            student_password=self._password,
            machines=(self._name,),
            short_names=((self._name, "naive node"),),
        )

    def _boot(self, image: str) -> None:
        self._say("naive hub: starting its machine")
        # The command, not docker-py: only the command knows how to leave the system paths unconfined.
        command = ["docker", "run", "--detach", "--name", self._name, "--hostname", "naive", "--entrypoint", "sh"]
        command += ["--publish", "127.0.0.1::8000", "--volume", f"{self._name}-docker:/var/lib/docker"]
        command += ["--cgroupns", "private"]
        for capability in ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD"):
            command += ["--cap-add", capability]
        for confinement in ("seccomp", "apparmor", "systempaths"):
            command += ["--security-opt", f"{confinement}=unconfined"]
        for label in ("semesterhub.benchmark=naive", f"semesterhub.owner={paths.owner_label()}"):
            command += ["--label", label]
        if self._memory_mib:
            command += ["--memory", f"{self._memory_mib}m"]
        done = subprocess.run([*command, image, "-c", BOOT_DOCKERD], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"the naive hub's machine does not start: {done.stderr.strip()}")
        self._machine = self._docker.containers.get(self._name)
        until = time.monotonic() + START_TIMEOUT_S
        while self._machine.exec_run(["docker", "info"]).exit_code != 0:
            self._machine.reload()
            if self._machine.status != "running" or time.monotonic() > until:
                log = self._machine.logs(tail=15).decode(errors="replace")
                raise UserError(f"dockerd inside the naive hub's machine does not come up:\n{log}")
            time.sleep(0.5)

    def _copy_image(self, tag: str, name: str) -> None:
        """Stream an image of the host's dockerd into the machine's, under `name`."""
        with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as save:
            load = subprocess.run(
                ["docker", "exec", "-i", self._name, "docker", "load", "--quiet"],
                stdin=save.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if save.returncode or load.returncode:
            raise UserError(f"{tag} cannot be copied into the naive hub's machine: {load.stderr.strip()[-300:]}")
        self._exec(f"docker tag {shlex.quote(tag)} {shlex.quote(name)}")

    def _put(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        self._exec(f"mkdir -p {shlex.quote(folder)}")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
        self._machine.put_archive(folder, archive.getvalue())

    def _exec(self, command: str) -> str:
        done = self._machine.exec_run(["sh", "-c", command])
        output = done.output.decode(errors="replace").strip()
        if done.exit_code:
            raise UserError(f"naive hub: `{command.partition(' --env')[0]}` failed: {output[-400:]}")
        return output

    def _wait_for(self, url: str) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{url}/hub/api/", timeout=3) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            if time.monotonic() > until:
                raise UserError(
                    f"the naive hub does not answer at {url}: {self._exec('docker logs --tail 20 hub 2>&1')}"
                )
            time.sleep(0.5)

    def _remove(self) -> None:
        """Remove the machine and its volume; also what is left of a half-made one."""
        with contextlib.suppress(NotFound):
            self._docker.containers.get(self._name).remove(force=True, v=True)
        with contextlib.suppress(NotFound):
            self._docker.volumes.get(f"{self._name}-docker").remove(force=True)


def remove_leftovers() -> list[str]:
    """Remove machines of naive hubs of this checkout whose run was killed; their names."""
    client = docker.from_env()
    labels = ["semesterhub.benchmark=naive", f"semesterhub.owner={paths.owner_label()}"]
    removed: list[str] = []
    for machine in client.containers.list(all=True, filters={"label": labels}):
        name = str(machine.name)
        machine.remove(force=True, v=True)
        with contextlib.suppress(NotFound):
            client.volumes.get(f"{name}-docker").remove(force=True)
        removed.append(name)
    return removed
