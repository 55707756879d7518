"""Stacks that come and go: a copy of a stack file under a name, a network and ports of its own, for tests and drills.

The copy never shares anything with the stack it was made from, so a semester that is up is not touched.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import yaml

from operations import leftovers, state
from operations.errors import UserError
from operations.locks import file_lock, process_start_epoch_s
from operations.paths import CONFIG_DIR, LOCKS_DIR, ROOT, STACKS_DIR, owner_label, stack_file
from operations.progress import note
from operations.stacks import path_of

OWNER = re.compile(r"# Scratch stack of process (\d+):")
"""First line of a scratch stack's file: who made it."""

LIGHT: dict[str, Any] = {
    "courses": [
        {
            "id": "light",
            "title": "A course without notebooks",
            "students": 2,
            "image": "light",
            "memory_guarantee_gib": 0.1,
            "memory_limit_gib": 0.2,
        }
    ],
    "nodes": {"vcpus": 2, "memory_gib": 1.5, "max": 1, "hub_memory_gib": 1.5, "drain_timeout_s": 0},
}
"""One worker and the image `light`: everything a semester has but the big image. For crash tests."""


@contextlib.contextmanager
def scratch_stack(
    prefix: str, changes: Mapping[str, Any] | None = None, *, like: str = "demo", keep: bool = False
) -> Iterator[str]:
    """A stack file made from `like` with `changes` (keys of the namespace `semesterhub:`); yields the stack's name.

    At the end everything of it is removed: machines, homes, state, file. `keep` leaves it all, to look at.
    """
    sweep()
    name = f"{prefix}-{secrets.token_hex(2)}"
    write(name, changes or {}, like=like)
    try:
        yield name
    except BaseException as problem:
        if not keep:
            # What went wrong first is what the caller must hear; what the removal says comes with it.
            try:
                remove(name)
            except Exception as second:  # noqa: BLE001
                problem.add_note(f"and its removal failed: {second}")
        raise
    if not keep:
        remove(name)


def sweep() -> list[str]:
    """Remove scratch stacks whose process was killed before it could do so; their names."""
    swept: list[str] = []
    # One at a time: a run's processes all begin with this, and two cannot destroy the same stack.
    with file_lock(LOCKS_DIR / "scratch-stacks", "removing scratch stacks of earlier runs", say=note):
        for path in STACKS_DIR.glob("Pulumi.*.yaml"):
            found = OWNER.match(_text(path))
            if found and process_start_epoch_s(int(found[1])) is None:
                name = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
                note(f"scratch stack '{name}' of an earlier run is removed")
                remove(name)
                swept.append(name)
    return swept


def _text(path: Path) -> str:
    """A stack file's text; "" when another test has just removed it."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def write(name: str, changes: Mapping[str, Any], *, like: str = "demo") -> Path:
    """Write the stack file of `name`; its network and ports are free at this moment."""
    document = yaml.safe_load(path_of(like).read_text("utf-8"))
    config: dict[str, Any] = document["config"]
    config["semesterhub:domain"] = f"{name}.localhost"
    network = free_network()
    config["semesterhub:network"] = {**(config.get("semesterhub:network") or {}), "cidr": str(network)}
    https, registry, ssh, names = free_ports(4)
    if fallback := config.get("semesterhub:fallback"):
        config["semesterhub:fallback"] = own_fallback(name, fallback, str(next(network.hosts())), ssh, names)
    config["semesterhub:local"] = {
        **(config.get("semesterhub:local") or {}),
        "https_port": https,
        "registry_port": registry,
    }
    config["semesterhub:homes"] = {**(config.get("semesterhub:homes") or {}), "protect": False}
    set_keys(config, changes)
    _save(name, document, os.getpid())
    return stack_file(name)


def own_fallback(name: str, fallback: dict[str, Any], host: str, ssh: int, names: int) -> dict[str, Any]:
    """The same with a machine, a name server, a zone and keys of the stack's own."""
    here = f".semesterhub/fallback/{name}"
    changed = {**fallback, "host": host, "port": ssh, "ssh_key": f"{here}/id_ed25519"}
    if dns := fallback.get("dns"):
        changed["dns"] = {**dns, "port": names, "zone": f"{name}.localhost", "key_file": f"{here}/dns.key"}
    return changed


def _save(name: str, document: dict[str, Any], owner: int) -> None:
    head = f"# Scratch stack of process {owner}: removed when that process ends, or by the next one that finds it.\n"
    stack_file(name).write_text(head + yaml.safe_dump(document, sort_keys=False), "utf-8")


def change(name: str, changes: Mapping[str, Any]) -> None:
    """Change keys of a scratch stack's file."""
    text = stack_file(name).read_text("utf-8")
    owner = OWNER.match(text)
    if owner is None:
        raise UserError(f"stack '{name}' is not a scratch stack; its file is changed by people only")
    document = yaml.safe_load(text)
    set_keys(document["config"], changes)
    _save(name, document, int(owner[1]))


def set_keys(config: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put `changes` into a stack's config; mappings are merged, everything else is replaced."""
    for key, value in changes.items():
        full = f"semesterhub:{key}"
        if isinstance(value, Mapping) and isinstance(config.get(full), dict):
            config[full] = {**config[full], **value}
        else:
            config[full] = value


def remove(name: str) -> None:
    """Destroy the stack with its homes, then forget its state. Raises UserError when something stays."""
    done = hub("destroy", "--stack", name, "--delete-homes", "--yes") if known(name) else None
    local = state.local_folder(state.backend_url())
    if local is not None and (done is None or done.returncode == 0):
        for kept in ("json", "json.attrs", "json.bak", "json.bak.attrs"):
            state.state_file(local, name).with_name(f"{name}.{kept}").unlink(missing_ok=True)
        (CONFIG_DIR / "stacks" / f"Pulumi.{name}.yaml").unlink(missing_ok=True)
    if done is not None and done.returncode != 0:
        raise UserError(f"scratch stack '{name}' could not be destroyed: {tail(done)}")
    left = objects(name)
    if left:
        raise UserError(f"scratch stack '{name}' left behind: {', '.join(sorted(left))}")
    stack_file(name).unlink(missing_ok=True)


def known(name: str) -> bool:
    """Whether the state has this stack."""
    local = state.local_folder(state.backend_url())
    return local is not None and state.state_file(local, name).exists()


def hub(*arguments: str, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run `./hub …` to its end, as a person would."""
    return subprocess.run(
        [str(ROOT / "hub"), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def tail(done: subprocess.CompletedProcess[str], lines: int = 8) -> str:
    """The end of what a command said, on one line."""
    said = (done.stdout + "\n" + done.stderr).strip().splitlines()
    return " / ".join(line.strip() for line in said[-lines:] if line.strip())


def objects(name: str) -> set[str]:
    """Every Docker object of the stack: `container x`, `network y`, `volume z`, by label and by name."""
    client = docker.from_env()
    try:
        found: set[str] = set()
        for kind, listing in (
            ("container", client.containers.list(all=True, ignore_removed=True)),
            ("network", client.networks.list()),
            ("volume", client.volumes.list()),
        ):
            for thing in listing:
                labels = _labels(thing)
                labelled = (labels.get("semesterhub.stack"), labels.get("semesterhub.owner"))
                unlabelled = labelled[0] is None and str(thing.name).startswith(f"semesterhub-{name}-")
                if labelled == (name, owner_label()) or unlabelled:
                    found.add(f"{kind} {thing.name}")
        return found
    finally:
        client.close()


def processes(name: str) -> list[int]:
    """Engines and providers of the stack that still run."""
    return leftovers.find(name)


def _labels(thing: Any) -> dict[str, str]:
    attributes = thing.attrs
    labels = attributes.get("Labels") or (attributes.get("Config") or {}).get("Labels")
    return labels if isinstance(labels, dict) else {}


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, no stack file of this checkout names, and the kernel hands to no outgoing connection.

    A port of the kernel's own range could be taken by any program between now and the moment the hub VM is made.
    """
    named = {str(p) for file in STACKS_DIR.glob("Pulumi.*.yaml") for p in _numbers(file)}
    low, high = _outgoing_ports()
    candidates = [port for port in range(10_000, 65_000) if not low <= port <= high and str(port) not in named]
    found: list[int] = []
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        if len(found) == count:
            return found
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    raise UserError(f"no {count} free ports are left on this machine outside {low} to {high}")


def _outgoing_ports() -> tuple[int, int]:
    """First and last port that the kernel gives to outgoing connections."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    return int(low), int(high)


def _numbers(file: Path) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in _text(file)).split()


def free_network() -> ipaddress.IPv4Network:
    """A /24 that overlaps no Docker network, no route of this host and no other stack file."""
    taken = [*_docker_networks(), *_routes(), *_planned()]
    for second in range(100, 250):
        candidate = ipaddress.IPv4Network(f"10.{second}.{secrets.randbelow(256)}.0/24")
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise UserError("no free 10.x.y.0/24 network is left on this machine; remove Docker networks that are not used")


def _docker_networks() -> list[ipaddress.IPv4Network]:
    client = docker.from_env()
    try:
        configs = [c for n in client.networks.list() for c in (n.attrs.get("IPAM") or {}).get("Config") or []]
    finally:
        client.close()
    return [ipaddress.IPv4Network(c["Subnet"], strict=False) for c in configs if ":" not in c.get("Subnet", ":")]


def _routes() -> list[ipaddress.IPv4Network]:
    """The host's IPv4 routes but the default one (/proc/net/route holds little-endian hex)."""
    found = []
    for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[i])[::-1]) for i in (1, 7))
        if int(mask):
            found.append(ipaddress.IPv4Network(f"{address}/{mask}", strict=False))
    return found


def _planned() -> list[ipaddress.IPv4Network]:
    """Networks that stack files name, up or not."""
    found = []
    for file in STACKS_DIR.glob("Pulumi.*.yaml"):
        config = (yaml.safe_load(_text(file)) or {}).get("config") or {}
        network = config.get("semesterhub:network") or {}
        for key in ("cidr", "bridge_cidr"):
            with contextlib.suppress(ValueError):
                found.append(ipaddress.IPv4Network(str(network.get(key)), strict=False))
    return found
