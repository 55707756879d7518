"""What a deployed semester is: reachable by its certificate, the same after a second `up`, safe for every student."""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest

from operations import status
from operations.load.browser import VisitError
from operations.load.student import Student
from tests.end_to_end.cluster import Cluster, tell, wait_for

pytestmark = pytest.mark.swarm

MIB = 1024 * 1024


def chain(cluster: Cluster, context: ssl.SSLContext) -> dict[str, object]:
    url = urlsplit(cluster.target.hub_url)
    assert url.hostname
    with (
        socket.create_connection(("127.0.0.1", url.port or 443), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=url.hostname) as tls,
    ):
        return dict(tls.getpeercert() or {})


def test_the_certificate_is_the_hubs_and_signed_by_its_own_authority(cluster: Cluster) -> None:
    context = cluster.target.ssl_context()
    assert context is not None
    host = urlsplit(cluster.target.hub_url).hostname
    assert ("DNS", host) in chain(cluster, context)["subjectAltName"]  # type: ignore[operator]
    with pytest.raises(ssl.SSLCertVerificationError):
        chain(cluster, ssl.create_default_context())


def test_status_tells_nodes_services_and_the_age_of_the_last_backup(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    status.show(cluster.stack)
    said = capsys.readouterr().out
    for words in (cluster.target.hub_url, "manager", "worker-1", "worker-2", "proxy", "last backup: "):
        assert words in said
    assert "last backup: not known" not in said


async def test_a_wrong_password_is_refused(cluster: Cluster) -> None:
    async with Student(cluster.target, "mallory") as student:
        with pytest.raises(VisitError, match="refused the login"):
            await student.login("not the password")


async def test_up_again_changes_nothing_and_disturbs_nobody(empty: Cluster) -> None:
    async with empty.student("ada") as ada:
        container = empty.container_of("ada")
        await empty.hub("up")
        assert empty.changes("up") == []
        assert empty.container_of("ada") == container
        await ada.stay(0, _any())


FACTS = """
import json, os, pathlib, subprocess
def tries(command):
    try:
        return subprocess.run(command, capture_output=True, timeout=20, stdin=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False
status = dict(l.split(":\\t", 1) for l in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\\t" in l)
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": [int(status[k].strip(), 16) for k in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")],
    "sudo": tries(["sudo", "-n", "true"]),
    "su": tries(["su", "-c", "true"]),
    "docker_socket": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
    "docker_command": tries(["docker", "version"]),
    "writable": [p for p in ("/", "/etc", "/usr", "/opt", "/etc/passwd") if os.access(p, os.W_OK)],
    "homes": sorted(os.listdir("/home")),
    "other_homes": os.path.exists("/srv/semesterhub/homes") and os.listdir("/srv/semesterhub/homes"),
    "secrets": os.path.exists("/run/semesterhub/secrets") or os.path.exists("/var/lib/semesterhub"),
    "home_is_mine": os.stat("/home/jovyan").st_uid == os.getuid(),
    "devices": [d for d in ("/dev/sda", "/dev/vda", "/dev/mem", "/dev/kmsg") if os.access(d, os.R_OK)],
}))
"""


async def test_a_student_is_nobody_special_inside_the_server(empty: Cluster) -> None:
    async with empty.student("ada") as ada:
        facts = await tell(ada, FACTS)
    assert facts["uid"] == 1000
    assert facts["capabilities"] == [0, 0, 0, 0, 0]
    assert not facts["sudo"]
    assert not facts["su"]
    assert facts["docker_socket"] == []
    assert not facts["docker_command"]
    assert facts["writable"] == []
    assert facts["homes"] == ["jovyan"]
    assert not facts["other_homes"]
    assert not facts["secrets"]
    assert facts["home_is_mine"]
    assert facts["devices"] == []


CONNECT = """
import concurrent.futures, json, socket
def opens(where):
    try:
        socket.create_connection(where, timeout=5).close()
        return True
    except OSError:
        return False
places = %s
with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(zip(places, pool.map(opens, places.values())))))
"""
LISTEN = "import http.server as h; h.HTTPServer(('169.254.169.254', 80), h.SimpleHTTPRequestHandler).serve_forever()"
"""A stand-in for a cloud's metadata service, on the node itself where it is hardest to keep away from."""


PROBE = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"


async def test_a_student_reaches_the_hub_and_nothing_else_of_the_cluster(empty: Cluster) -> None:
    near, far = empty.workers()[:2]
    hub_ip, addresses = empty.address("hub"), {node: empty.address(node) for node in (near, far)}
    empty.cordon(far)
    # Bob is on Ada's node: every node's containers use the same addresses, so a far one's could be Ada's own.
    async with empty.student("ada") as ada, empty.student("bob", computed=False):
        empty.uncordon()
        empty.cordon(near)
        async with empty.student("carol", computed=False):
            ports = {user: _published(empty, user) for user in ("bob", "carol")}
            assert (empty.node_of("ada"), empty.node_of("bob"), empty.node_of("carol")) == (near, near, far)
            bob_inside = _inspect(empty, "bob")["Networks"]["bridge"]["IPAddress"]
            assert bob_inside != _inspect(empty, "ada")["Networks"]["bridge"]["IPAddress"]
            places = {
                "hub api": (hub_ip, 8081),
                "metadata": ("169.254.169.254", 80),
                "bob on the bridge": (bob_inside, 8888),
                "bob at the node": (addresses[near], ports["bob"]),
                "carol at her node": (addresses[far], ports["carol"]),
                "registry": (hub_ip, 5000),
                "swarm": (hub_ip, 2377),
                "proxy's api": (hub_ip, 8001),
                "edge of the hub vm": (hub_ip, 443),
                "ssh of the own node": (addresses[near], 22),
                "swarm of the own node": (addresses[near], 7946),
            }
            empty.sh(near, "ip address add 169.254.169.254/32 dev lo")
            empty.sh(near, f"nohup python3 -c {shlex.quote(LISTEN)} >/dev/null 2>&1 & echo $! > /run/metadata.pid")
            try:
                reach = f"python3 -c {shlex.quote(PROBE)} 169.254.169.254 80 && echo open"
                await wait_for(
                    lambda: empty.sh(near, reach, check=False).endswith("open"), 10, "the stand-in to listen"
                )
                found = await tell(ada, CONNECT % repr(places))
            finally:
                stop = "kill $(cat /run/metadata.pid); ip address del 169.254.169.254/32 dev lo"
                empty.sh(near, stop, check=False)
            # The servers do answer the hub VM: it is the filter that keeps students away from each other.
            for user, node in (("bob", near), ("carol", far)):
                empty.sh("hub", f"python3 -c {shlex.quote(PROBE)} {addresses[node]} {ports[user]}")
    assert found.pop("hub api") is True
    assert [name for name, opened in found.items() if opened] == []


def _inspect(cluster: Cluster, user: str) -> dict[str, Any]:
    command = f"docker inspect {cluster.container_of(user)}"
    return json.loads(cluster.sh(cluster.node_of(user), command))[0]["NetworkSettings"]


def _published(cluster: Cluster, user: str) -> int:
    """The port of the node at which the student's server is published."""
    return int(_inspect(cluster, user)["Ports"]["8888/tcp"][0]["HostPort"])


async def test_a_student_cannot_open_another_students_server_through_the_edge(empty: Cluster) -> None:
    async with empty.student("ada", computed=False) as ada, empty.student("bob", computed=False) as bob:
        await bob.put_file("secret.txt", "bob's")
        for path in ("api/contents/secret.txt", "api/kernels", "files/secret.txt", "api/status"):
            status_code, answer = await ada.browser.call("GET", f"{bob.server_url}{path}", allow=(401, 403, 404))
            assert status_code in {401, 403, 404}, path
            assert "bob's" not in json.dumps(answer)
        page = await ada.browser.open(bob.server_url)
        assert page.status == 403
        with pytest.raises(VisitError, match=r"40[134]"):
            await ada.browser.call("DELETE", f"{ada.target.hub_url}/hub/api/users/bob/server")
        assert await bob.get_file("secret.txt") == "bob's"
    assert empty.home_file("bob", "secret.txt") == "bob's"
    assert empty.home_file("ada", "secret.txt") is None


EAT = """
held = []
while True:
    held.append(bytearray(32 * 1024 * 1024))
"""


async def test_memory_limit_ends_the_notebook_and_nothing_else(empty: Cluster) -> None:
    async with empty.student("ada") as ada, empty.student("bob") as bob:
        container = empty.container_of("ada")
        limit = json.loads(empty.sh(empty.node_of("ada"), f"docker inspect {container}"))[0]["HostConfig"]["Memory"]
        assert 0 < limit <= 1024 * MIB
        assert ada.kernel is not None
        with pytest.raises(VisitError, match=r"died|closed|did not finish"):
            await ada.kernel.run(EAT, timeout_s=90)
        await bob.stay(0, _any())
        async with Student(empty.target, "carol") as carol:
            await carol.login()
        containers = {c["name"] for c in empty.report()["containers"]}
        assert {"hub", "proxy", "edge"} <= containers


def _any() -> random.Random:
    return random.Random(0)


async def test_two_students_run_at_the_same_time_on_workers_only(empty: Cluster) -> None:
    names = [f"spread-{i}" for i in range(4)]

    async def visit(name: str) -> None:
        async with empty.student(name, computed=False):
            pass

    await asyncio.gather(*(visit(name) for name in names))
    nodes = [empty.node_of(name) for name in names]
    assert "hub" not in nodes
    assert len(set(nodes)) == 2
