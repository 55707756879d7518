"""A bare-metal machine before anything is done to it: what it is, and every reason not to touch it, each a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components import metal
from operations.errors import UserError

if TYPE_CHECKING:
    from components.plan import Plan
    from components.semester import Semester
    from operations.ssh import Machine

LEAST_FREE_GIB = 6
"""Packages, the images twice (registry and Docker) and some room to work in."""
OLDEST_DOCKER = (20, 10)
OLDEST = {"debian": 11, "ubuntu": 22}
"""Their Python is the first that runs the node agent (3.9)."""
ID_FILE = "/var/lib/semesterhub/machine-id"
GIB, MIB = 2**30, 2**20
BUNDLE = ("hub", "proxy", "edge", "keeper")

PROBE = r"""
. /etc/os-release 2>/dev/null
echo "os=${ID:-unknown}"; echo "like=${ID_LIKE:-}"; echo "version=${VERSION_ID:-}"; echo "name=${PRETTY_NAME:-}"
echo "uid=$(id -u)"; echo "cpus=$(nproc 2>/dev/null)"; echo "arch=$(uname -m)"
echo "memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
echo "limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1)"
for folder in /var/lib/docker /var/lib / ; do [ -d $folder ] && break; done
echo "free_kib=$(df -Pk $folder | awk 'NR == 2 {print $4}')"
echo "id=$(cat FILE 2>/dev/null)"
echo "ours=$([ -e /etc/semesterhub/node.json ] && echo yes)"
echo "systemctl=$(command -v systemctl)"
echo "docker=$(dockerd --version 2>/dev/null | sed -n 's/^Docker version \([0-9.]*\).*/\1/p')"
echo "containers=$(docker ps --format '{{.Names}}:{{.Label "semesterhub.bundle"}}:{{.Label "semesterhub.user"}}' 2>/dev/null | tr '\n' ' ')"
echo "listening=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" {n = split($2, a, ":"); print a[n]}' | tr '\n' ' ')"
""".replace("FILE", ID_FILE)


@dataclass(frozen=True)
class Facts:
    """What the probe found."""

    os: str
    like: str
    version: str
    name: str
    is_root: bool
    arch: str
    cpus: int
    memory_mib: int
    free_gib: float
    id: str
    """Of this installation; "" before the first `fallback.up`."""
    is_ours: bool
    """Whether it has been configured by `fallback.up` before."""
    has_systemctl: bool
    docker: str
    """Version of a Docker that is there; "" when there is none."""
    foreign_containers: tuple[str, ...] = ()
    listening: frozenset[int] = field(default_factory=frozenset)


def look(machine: Machine) -> Facts:
    """Asks once; changes nothing. Raises UserError."""
    return parse(machine.run(PROBE, timeout_s=30).text)


def parse(text: str) -> Facts:
    """The probe's lines, understood."""
    found = {line.partition("=")[0]: line.partition("=")[2] for line in text.splitlines()}
    memory = int(found.get("memory_kib") or 0) * 1024
    limit = found.get("limit", "")
    if limit.isdigit():
        memory = min(memory, int(limit))
    rows = [row.split(":") for row in found.get("containers", "").split()]
    return Facts(
        os=found.get("os", "unknown"),
        like=found.get("like", ""),
        version=found.get("version", ""),
        name=found.get("name", ""),
        is_root=found.get("uid") == "0",
        arch=found.get("arch", ""),
        cpus=int(found.get("cpus") or 0),
        memory_mib=memory // MIB,
        free_gib=int(found.get("free_kib") or 0) * 1024 / GIB,
        id=found.get("id", "").strip(),
        is_ours=found.get("ours") == "yes",
        has_systemctl=bool(found.get("systemctl")),
        docker=found.get("docker", ""),
        foreign_containers=tuple(row[0] for row in rows if not any(row[1:])),
        listening=frozenset(int(port, 16) for port in found.get("listening", "").split()),
    )


def refusals(facts: Facts, host: str, semester: Semester, plan: Plan) -> list[str]:
    """Why this machine is not to be touched; empty when it may be."""
    found = []
    needed = f"Debian {OLDEST['debian']} or newer, or Ubuntu {OLDEST['ubuntu']}.04 or newer"
    if not facts.is_root:
        found.append(
            f"{host}: commands do not run as root there. Use `user: root` under semesterhub:fallback, or let the user sudo without "
            "a password."
        )
    if facts.os not in OLDEST and "debian" not in facts.like.split():
        found.append(f"{host} runs {facts.name or facts.os}; the fallback needs {needed}.")
    elif facts.os in OLDEST and _number(facts.version) < OLDEST[facts.os]:
        found.append(f"{host} runs {facts.name}, which is too old; the fallback needs {needed}.")
    if not facts.has_systemctl:
        found.append(f"{host} has no systemctl; the fallback's parts are started by systemd.")
    if facts.docker and tuple(map(int, re.findall(r"\d+", facts.docker)[:2])) < OLDEST_DOCKER:
        wanted = ".".join(map(str, OLDEST_DOCKER))
        found.append(
            f"{host} has Docker {facts.docker}, which is too old. Upgrade it to {wanted} or newer, or remove it: Debian's docker.io "
            "is installed then."
        )
    if facts.foreign_containers:
        found.append(
            f"{host} runs containers that are not the semester's: {', '.join(facts.foreign_containers[:5])}. The machine must be its own: "
            "Docker's network is configured anew. Stop and remove them, or name another machine."
        )
    if not facts.is_ours:
        found += _first_time(facts, host, semester, plan)
    student = metal.student_memory_mib(semester, facts.memory_mib)
    smallest = min(course.memory_guarantee_mib for course in plan.courses)
    if student < smallest:
        found.append(
            f"{host} has {facts.memory_mib / 1024:.1f} GiB of memory; with nodes.hub_memory_gib ({semester.nodes.hub_memory_gib:g}) and "
            f"nodes.system_reserved_gib ({semester.nodes.system_reserved_gib:g}) taken off, not one student's server fits."
        )
    return found


def _first_time(facts: Facts, host: str, semester: Semester, plan: Plan) -> list[str]:
    found = []
    if facts.free_gib < LEAST_FREE_GIB:
        found.append(
            f"{host} has {facts.free_gib:.1f} GiB of disk free; {LEAST_FREE_GIB} GiB is the least. Make room, or name another machine."
        )
    public = (443,) if semester.cloud == "local" else (80, 443)
    taken = sorted(facts.listening & {*public, plan.registry_port, *metal.LOCAL_PORTS})
    if taken:
        found.append(
            f"{host}: port {', '.join(map(str, taken))} is taken by another program. Stop it: the hub's parts listen there."
        )
    return found


def require(facts: Facts, host: str, semester: Semester, plan: Plan) -> None:
    """Raises UserError with every refusal."""
    if found := refusals(facts, host, semester, plan):
        raise UserError("\n  ".join(found))


def room(facts: Facts, semester: Semester, plan: Plan) -> str:
    """A sentence when the machine holds fewer students than the class has at its peak; "" when it holds all of them."""
    offered = metal.student_memory_mib(semester, facts.memory_mib)
    needed = sum(course.peak_servers * course.memory_guarantee_mib for course in plan.courses)
    if offered >= needed:
        return ""
    share = offered / needed
    return (
        f"the machine's memory holds {share:.0%} of the class at its peak ({offered / 1024:.1f} of {needed / 1024:.1f} GiB of guarantees); "
        "the others wait in the queue"
    )


def _number(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def prepare_script(packages: Sequence[str], proxies: Mapping[str, str]) -> str:
    """Installs what is missing, without a question; a Docker that is there stays. Its failure is apt's last line."""
    exports = "".join(f"export {name}='{value}'\n" for name, value in proxies.items() if "'" not in value)
    return f"""set -u
{exports}export DEBIAN_FRONTEND=noninteractive
missing=
for package in {" ".join(packages)}; do
    [ "$package" = docker.io ] && command -v dockerd >/dev/null && continue
    dpkg-query -W -f '${{Status}}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing$missing" >&2
said=$(apt-get -q update 2>&1 && apt-get -qy -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 \\
    install --no-install-recommends $missing 2>&1) && exit 0
echo "$said" | tail -n 4 >&2
exit 1
"""
