"""A running stack as the tests look at it: its machines, its servers, its students."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from operations import crash, scratch_stack
from operations.load.browser import VisitError
from operations.load.student import Student
from operations.load.target import Target

HOMES = "/srv/semesterhub/homes"


@dataclass
class Cluster:
    stack: str
    target: Target
    outputs: dict[str, Any]
    client: docker.DockerClient = field(default_factory=docker.from_env)

    def machine(self, name: str) -> Any:
        """The Docker container that is the machine `hub` or `worker-1`."""
        return self.client.containers.get(f"semesterhub-{self.stack}-{name}")

    def address(self, name: str) -> str:
        """The machine's address in the cluster's network."""
        networks = self.machine(name).attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def sh(self, machine: str, command: str, *, check: bool = True) -> str:
        """Run a shell command as root on a machine."""
        done = self.machine(machine).exec_run(["sh", "-c", command])
        output = done.output.decode(errors="replace").strip()
        assert not check or done.exit_code == 0, f"{machine}: `{command}` ended with {done.exit_code}: {output}"
        return output

    def report(self) -> dict[str, Any]:
        done = self.machine("hub").exec_run(["semesterhub-node", "report", "--json"], stderr=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    def nodes(self) -> list[dict[str, str]]:
        """The Swarm's entries: name, id, state, availability, role."""
        form = "{{.Hostname}} {{.ID}} {{.Status}} {{.Availability}} {{.ManagerStatus}}"
        keys = ("name", "id", "state", "availability", "manager")
        rows = [line.split() for line in self.sh("hub", f"docker node ls --format '{form}'").splitlines()]
        return [dict(zip(keys, row, strict=False)) for row in rows]

    def servers(self) -> list[dict[str, str]]:
        """Student servers that run or are to run: user, node, container, state (quicker than the agent's report)."""
        found = self.sh("hub", _TASKS)
        names = {node["id"]: node["name"] for node in self.nodes()}
        return [
            {
                "user": task["Spec"]["ContainerSpec"]["Labels"]["semesterhub.user"],
                "node": names.get(task.get("NodeID", ""), ""),
                "container": (task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""),
                "state": task["Status"]["State"],
            }
            for task in json.loads(found or "[]")
            if task["Status"]["State"] not in ENDED
        ]

    def server_of(self, user: str) -> dict[str, str] | None:
        """The running server of a student."""
        return next((s for s in self.servers() if s["user"] == user and s["state"] == "running"), None)

    def node_of(self, user: str) -> str:
        server = self.server_of(user)
        assert server, f"{user} has no running server"
        return server["node"]

    def container_of(self, user: str) -> str:
        server = self.server_of(user)
        assert server, f"{user} has no running server"
        return server["container"]

    def workers(self) -> list[str]:
        return sorted(n["name"] for n in self.nodes() if not n.get("manager") and n["state"] == "Ready")

    def cordon(self, *nodes: str) -> None:
        """No new servers on these nodes."""
        for node in nodes:
            self.sh("hub", f"docker node update --availability pause {shlex.quote(node)}")

    def uncordon(self) -> None:
        for node in self.nodes():
            if not node.get("manager") and node["availability"] != "Active":
                self.sh("hub", f"docker node update --availability active {node['id']}")

    def kill_service(self, name: str) -> float:
        """SIGKILL every process of a container of the hub VM, as a crash would; returns the moment (monotonic).

        Not `docker kill`: Docker takes that for a wish of the admin and does not restart the container.
        """
        pid = self.sh("hub", f"docker inspect --format '{{{{.State.Pid}}}}' {name}")
        assert int(pid) > 1
        moment = time.monotonic()
        self.sh("hub", f"kill -KILL {pid}")
        return moment

    def home_file(self, user: str, path: str) -> str | None:
        """A file of a student's home as root of the hub VM sees it (only for names without special characters)."""
        full = shlex.quote(f"{HOMES}/{user}/{path}")
        if self.sh("hub", f"test -e {full} && echo yes", check=False) != "yes":
            return None
        return self.sh("hub", f"cat {full}")

    @asynccontextmanager
    async def student(self, name: str, *, computed: bool = True) -> AsyncIterator[Student]:
        """A student who is signed in with a running server (and, unless told otherwise, a kernel that computed)."""
        import random

        async with Student(self.target, name, give_up_s=300) as student:
            await student.login()
            await student.start_server()
            await student.open_lab()
            if computed:
                await student.compute(random.Random(name))
            yield student

    async def stop_all(self) -> None:
        """Stop every student's server, so that the next test begins with an empty class."""
        token = self.sh("hub", "cat /var/lib/semesterhub/secrets/operator_token")
        users = [server["user"] for server in self.servers()]
        if users:
            self.sh("hub", f"python3 -c {shlex.quote(_DELETE)} {token} {' '.join(users)}")
        await wait_for(lambda: not self.servers(), 120, "all servers to stop")

    async def hub(self, *arguments: str) -> Any:
        """`./hub … --stack <this one>`; websockets of the test stay alive meanwhile."""
        done = await asyncio.to_thread(scratch_stack.hub, *arguments, "--stack", self.stack)
        assert done.returncode == 0, f"./hub {' '.join(arguments)}: {scratch_stack.tail(done, 25)}"
        return done

    def last(self, action: str) -> dict[str, Any]:
        """The engine's record of the newest up, preview or destroy."""
        return json.loads(crash.newest(self.stack, action, ".json").read_text("utf-8"))

    def changes(self, action: str) -> list[tuple[str, str, str]]:
        """(operation, kind, name) of everything the newest run of `action` changed, without the components."""
        quiet = {"same", "refresh", "read", "replace"}
        return [
            (r["op"], r["type"].rsplit(":", 1)[-1], r["name"])
            for r in self.last(action)["resources"]
            if r["op"] not in quiet and r["type"].startswith("localcloud:")
        ]


ENDED = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
_TASKS = (
    's=$(docker service ls -q --filter label=semesterhub.user); [ -z "$s" ] || '
    '{ t=$(docker service ps -q --no-trunc $s); [ -z "$t" ] || docker inspect --type task $t; }'
)
_DELETE = """
import sys, threading, urllib.error, urllib.request
token, *users = sys.argv[1:]
def stop(user):
    url = "http://127.0.0.1:8081/hub/api/users/" + user + "/server"
    try:
        urllib.request.urlopen(
            urllib.request.Request(url, method="DELETE", headers={"Authorization": "token " + token}), timeout=60)
    except urllib.error.HTTPError:
        pass
threads = [threading.Thread(target=stop, args=(user,)) for user in users]
[t.start() for t in threads]
[t.join() for t in threads]
"""


async def wait_for(condition: Callable[[], Any], timeout_s: float, what: str, every_s: float = 0.5) -> Any:
    """Wait until `condition()` is true and return its value; fail naming what was waited for."""
    until = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"waited {timeout_s:.0f} s for {what}"
        await asyncio.sleep(every_s)


async def answers(student: Student, path: str, *, within_s: float) -> float:
    """Wait until the student's browser gets a 200 from `path` of the hub's site; the monotonic moment it did."""
    url = student.target.hub_url.rstrip("/") + path
    until = time.monotonic() + within_s
    while True:
        try:
            status, _ = await asyncio.wait_for(student.browser.call("GET", url, allow=tuple(range(400, 600))), 3)
            if status == 200:
                return time.monotonic()
        except (VisitError, OSError, TimeoutError):
            pass
        except Exception as problem:  # noqa: BLE001  (aiohttp's errors while the site is down)
            last = problem
            assert "aiohttp" in type(last).__module__, repr(last)
        assert time.monotonic() < until, f"{path} did not answer within {within_s:.0f} s"
        await asyncio.sleep(0.1)


async def tell(student: Student, code: str, timeout_s: float = 120) -> Any:
    """Run a cell that prints one JSON document; the document."""
    assert student.kernel is not None
    result = await student.kernel.run(code, timeout_s)
    assert result.error is None, result.error
    return json.loads(result.text.strip().splitlines()[-1])


def chromium() -> str | None:
    """A Chromium of this machine."""
    import os
    import shutil

    named = os.environ.get("SEMESTERHUB_CHROMIUM")
    found = [named] if named else [shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome")]
    return next((path for path in found if path and Path(path).exists()), None)
