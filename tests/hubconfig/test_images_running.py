"""The student, edge and light images, run for real: what is in them, what a student may do, what a start costs."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import docker
import pytest
from docker.models.containers import Container

from operations.images import build
from operations.start_cost import BUDGET_CPU_S, free_port, measure

MERGE_NOTEBOOKS = r"""
import copy, subprocess, sys, pathlib, nbformat.v4 as v, nbformat
def git(*a): subprocess.run(["git", *a], check=True, capture_output=True)
pathlib.Path("/tmp/repo").mkdir(); import os; os.chdir("/tmp/repo")
git("init", "-b", "main"); git("config", "user.email", "a@example.org"); git("config", "user.name", "a")
q = ["# Question %d\nt = Table()\nanswer = ..." % i for i in range(3)]
base = v.new_notebook(cells=[v.new_code_cell(c, id="c%d" % i) for i, c in enumerate(q)])
nbformat.write(base, "n.ipynb"); git("add", "."); git("commit", "-m", "base")
git("checkout", "-b", "faculty"); theirs = copy.deepcopy(base); theirs.cells.insert(1, v.new_code_cell("new = 1", id="new"))
nbformat.write(theirs, "n.ipynb"); git("commit", "-am", "faculty"); git("checkout", "main")
ours = copy.deepcopy(base)
for cell in ours.cells:
    cell.source = cell.source.replace("...", "42")
    cell.outputs = [v.new_output("execute_result", {"text/plain": "42"}, execution_count=1)]
nbformat.write(ours, "n.ipynb"); git("commit", "-am", "student"); git("merge", "-Xours", "faculty", "-m", "merged")
done = nbformat.read("n.ipynb", 4); nbformat.validate(done)
print([cell.source.splitlines()[-1] for cell in done.cells], [len(cell.outputs) for cell in done.cells])
"""


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture(scope="module")
def student_tag() -> str:
    return build("student", lambda line: None).tag


@pytest.fixture(scope="module")
def student(client: docker.DockerClient, student_tag: str) -> Iterator[Container]:
    """A container of the student image that only sleeps."""
    container = client.containers.run(student_tag, ["sleep", "600"], detach=True, user="1000:100", network_mode="none")
    yield container
    container.remove(force=True, v=True)


def run(container: Container, *command: str) -> str:
    """The command's standard output; an unsuccessful one fails the test with all it said."""
    code, streams = container.exec_run(list(command), demux=True)
    out, err = cast(tuple[bytes | None, bytes | None], streams)
    assert code == 0, (out or b"").decode() + (err or b"").decode()
    return (out or b"").decode()


@pytest.mark.swarm
def test_the_student_is_nobody_special(student: Container) -> None:
    assert run(student, "id", "-u", "-n").strip() == "jovyan"
    assert run(student, "sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null; true") == ""
    assert run(student, "sh", "-c", "command -v sudo pip docker caddy; true") == ""
    assert run(
        student, "sh", "-c", "touch /opt/venv/x /opt/semesterhub/x /usr/bin/x 2>/dev/null; ls /opt/venv/x 2>&1; true"
    )
    assert "touch" not in run(student, "sh", "-c", "test -w /opt/venv -o -w /opt/semesterhub && echo touch; true")


@pytest.mark.swarm
def test_nothing_of_the_build_machine_is_in_the_image(student: Container) -> None:
    assert run(student, "sh", "-c", "find / -xdev -name 'ca-bundle*' 2>/dev/null; true") == ""
    assert run(student, "sh", "-c", "env | grep -E 'PIP_|SSL_CERT|_proxy|_PROXY' || true") == ""


@pytest.mark.swarm
def test_the_course_packages_work_together(student: Container) -> None:
    code = (
        "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt, numpy, pandas, nbgitpuller, nbdime;"
        "from datascience import Table, make_array;"
        "t = Table().with_columns('x', make_array(1, 2), 'y', make_array(3, 4)); t.hist('x'); plt.savefig('/tmp/p.png');"
        "print(t.column('y').sum(), pandas.DataFrame({'a': [1, 2]}).a.sum())"
    )
    assert run(student, "python3", "-c", code).split() == ["7", "3"]


@pytest.mark.swarm
def test_every_module_is_compiled_and_valid_whatever_its_time_stamp(student: Container) -> None:
    code = (
        "import importlib.util as u, pathlib, sys;"
        "files = [p for p in pathlib.Path('/opt/venv/lib').rglob('*.py') if 'site-packages/pandas' in str(p)];"
        "flags = [open(u.cache_from_source(str(p)), 'rb').read(8)[4] for p in files];"
        "print(len(files) > 100, set(flags))"
    )
    # Flag 1: hash-based and unchecked (3: hash-based and checked, 0: by time stamp).
    assert run(student, "python3", "-c", code).strip() == "True {1}"


@pytest.mark.swarm
def test_a_cell_the_instructor_inserts_survives_the_students_edits_around_it(student: Container) -> None:
    sources, outputs = run(student, "python3", "-c", MERGE_NOTEBOOKS).strip().split("] [")
    assert sources == "['answer = 42', 'new = 1', 'answer = 42', 'answer = 42'"
    assert outputs == "1, 0, 1, 1]"


@pytest.mark.swarm
def test_the_versions_are_written_down(student: Container) -> None:
    versions = run(student, "cat", "/opt/semesterhub/versions.txt").splitlines()
    assert "jupyterlab 4.6.6" in versions and any(line.startswith("git ") for line in versions)


@pytest.mark.load
def test_a_start_costs_no_more_than_its_budget(student_tag: str) -> None:
    cost = measure(student_tag, runs=3)
    assert cost.cell_cpu_s <= BUDGET_CPU_S
    assert cost.cell_memory_mib <= 146  # what the naive server and kernel held


@pytest.mark.swarm
def test_the_stock_entry_point_is_still_there_when_the_cheap_one_is_switched_off(student_tag: str) -> None:
    cost = measure(student_tag, runs=1, extra_env={"SEMESTERHUB_STUDENT_SERVER": "stock"})
    assert cost.cell_cpu_s > 0


def fetch(url: str, host: str, accept: str = "*/*") -> tuple[int, str]:
    """Status and text from an edge with a certificate of its own authority."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Host": host, "Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def edge(client: docker.DockerClient) -> Iterator[tuple[Container, int]]:
    """An edge that is ready, and its port on this host."""
    port = free_port()
    container = client.containers.run(
        build("edge", lambda line: None).tag,
        detach=True,
        cap_drop=["ALL"],
        cap_add=["NET_BIND_SERVICE"],
        ports={"443/tcp": ("127.0.0.1", port)},
        environment={"SEMESTERHUB_SITE": "demo.localhost", "SEMESTERHUB_TLS": "internal"},
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                assert fetch(f"https://127.0.0.1:{port}/_edge/health", "demo.localhost") == (200, "ok")
                break
            except OSError:
                assert time.monotonic() < deadline, container.logs().decode()
                time.sleep(0.2)
        yield container, port
    finally:
        container.remove(force=True, v=True)


@pytest.mark.swarm
def test_the_edge_explains_an_absent_hub_and_hides_metrics_and_queries(client: docker.DockerClient) -> None:
    with edge(client) as (container, port):
        url = f"https://127.0.0.1:{port}"
        assert fetch(f"{url}/hub/metrics", "demo.localhost")[0] == 404
        assert fetch(f"{url}/metrics", "demo.localhost")[0] == 404
        status, page = fetch(f"{url}/hub/home?token=sesame", "demo.localhost", "text/html")
        assert status == 502 and "Your files and your running notebooks are not affected" in page and "refresh" in page
        status, text = fetch(f"{url}/hub/api", "demo.localhost", "application/json")
        assert status == 502 and "message" in json.loads(text)
        log = container.logs().decode()
        assert "/hub/home" in log and "sesame" not in log


HASTY_HUB = r"""
import socket, threading
from sys import exit
def answer(connection):
    while True:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(65536) or exit()
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000)
        while b"password=b" not in asked:
            asked += connection.recv(65536) or exit()
server = socket.create_server(("127.0.0.1", 8000))
print("ready", flush=True)
while True:
    threading.Thread(target=answer, args=server.accept()[:1]).start()
"""
"""Answers as soon as it has the request's head."""


@pytest.mark.swarm
def test_an_answer_that_comes_before_the_end_of_the_question_arrives_whole(
    client: docker.DockerClient, student_tag: str
) -> None:
    with edge(client) as (container, port):
        hub = client.containers.run(
            student_tag, ["python3", "-c", HASTY_HUB], detach=True, network_mode=f"container:{container.id}"
        )
        try:
            deadline = time.monotonic() + 30
            while b"ready" not in hub.logs():
                assert time.monotonic() < deadline, hub.logs().decode()
                time.sleep(0.2)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            for _ in range(10):
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
                connection.putrequest("POST", "/hub/login", skip_host=True)
                connection.putheader("Host", "demo.localhost")
                connection.putheader("Content-Length", "21")
                connection.endheaders()
                time.sleep(0.05)
                connection.send(b"username=a&password=b")
                answer = connection.getresponse()
                assert (answer.status, len(answer.read())) == (403, 20000)
                connection.close()
        finally:
            hub.remove(force=True, v=True)
