"""Runs inside a machine container: prints CPU and memory of every container of its dockerd, once per interval.

Standard library only, and sent as text through `docker exec`, so that nothing has to be installed in the machine. It
ends by itself: when its standard input closes (the measuring process is gone), or at its deadline.
One JSON line per sample: {"t": monotonic seconds, "c": {id: [CPU-seconds, working set in MiB]}, "new": {id: {...}}}.
"""

import http.client
import json
import os
import re
import select
import socket
import sys
import time
from pathlib import Path

V1_CPU = ["/sys/fs/cgroup/cpuacct/docker", "/sys/fs/cgroup/cpu,cpuacct/docker"]
V2 = ["/sys/fs/cgroup/docker", "/sys/fs/cgroup/system.slice"]
ID = re.compile(r"^(?:docker-)?([0-9a-f]{64})(?:\.scope)?$")


class Docker(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("docker", timeout=20)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect("/var/run/docker.sock")


def describe(container):
    """Name and JupyterHub user of a container; empty when it is already gone."""
    connection = Docker()
    try:
        connection.request("GET", "/containers/" + container + "/json")
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    if answer.status != 200:
        return {}
    environment = dict(e.partition("=")[::2] for e in document["Config"].get("Env") or [])
    return {"name": document.get("Name", "").lstrip("/"), "user": environment.get("JUPYTERHUB_USER", "")}


def read(path):
    return Path(path).read_text()


def fields(text):
    return dict(line.split(None, 1) for line in text.splitlines() if " " in line)


def cgroups():
    """(container id, CPU-seconds, working set in MiB) of every container, on cgroup v1 or v2."""
    for base in V1_CPU:
        if Path(base).is_dir():
            for entry in Path(base).iterdir():
                found = ID.match(entry.name)
                if found:
                    memory = "/sys/fs/cgroup/memory/docker/" + entry.name
                    cpu_s = int(read(entry / "cpuacct.usage")) / 1e9
                    stat = fields(read(memory + "/memory.stat"))
                    used = int(read(memory + "/memory.usage_in_bytes")) - int(stat.get("total_inactive_file", 0))
                    yield found.group(1), cpu_s, used / 2**20
            return
    for base in V2:
        if Path(base).is_dir():
            for entry in Path(base).iterdir():
                found = ID.match(entry.name)
                if found:
                    cpu_s = int(fields(read(entry / "cpu.stat"))["usage_usec"]) / 1e6
                    stat = fields(read(entry / "memory.stat"))
                    used = int(read(entry / "memory.current")) - int(stat.get("inactive_file", 0))
                    yield found.group(1), cpu_s, used / 2**20


def main(interval_s, deadline_s):
    until = time.monotonic() + deadline_s
    known = set()
    while time.monotonic() < until:
        sample, new = {}, {}
        walk = cgroups()
        while True:
            try:
                container, cpu_s, memory_mib = next(walk)
            except StopIteration:
                break
            except (OSError, ValueError, KeyError):  # a container that ended while it was read
                walk = iter(())
                continue
            sample[container[:12]] = [round(cpu_s, 4), round(memory_mib, 2)]
            if container not in known:
                described = describe(container)
                if described:
                    known.add(container)
                    new[container[:12]] = described
        print(json.dumps({"t": time.monotonic(), "c": sample, "new": new}), flush=True)
        readable, _, _ = select.select([sys.stdin], [], [], interval_s)
        if readable and not os.read(0, 4096):
            return


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
