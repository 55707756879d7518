"""What of this host is taken: addresses and ports, and by whom."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

from providers.localcloud import docker_api


def who_holds_cidr(cidr: str) -> str | None:
    """The Docker network or host route that overlaps with `cidr`, for a message; None when it is free."""
    wanted = ipaddress.IPv4Network(cidr)
    with docker_api.explained("listing Docker's networks"):
        networks: list[dict[str, Any]] = docker_api.client().networks()
    for network in networks:
        for pool in (network.get("IPAM") or {}).get("Config") or []:
            subnet = pool.get("Subnet", "")
            if "." in subnet and ipaddress.IPv4Network(subnet, strict=False).overlaps(wanted):
                stack = (network.get("Labels") or {}).get("semesterhub.stack")
                whose = f" of the stack {stack}" if stack else ""
                return f"the Docker network {network['Name']}{whose} ({subnet})"
    for route, interface in _routes():
        if route.overlaps(wanted):
            return f"this host's route to {route} on {interface}"
    return None


def _routes() -> list[tuple[ipaddress.IPv4Network, str]]:
    """The host's IPv4 routes but for the default one (Linux; none elsewhere)."""
    try:
        lines = Path("/proc/net/route").read_text("ascii").splitlines()[1:]
    except OSError:
        return []
    found: list[tuple[ipaddress.IPv4Network, str]] = []
    for line in lines:
        columns = line.split()
        address, mask = (struct.unpack("<I", bytes.fromhex(columns[i])[:4])[0] for i in (1, 7))
        # /proc prints host byte order: little endian on every platform Docker runs a semester on.
        prefix = bin(socket.ntohl(mask) & 0xFFFFFFFF).count("1")
        if prefix == 0:
            continue
        network = ipaddress.IPv4Network(
            (socket.inet_ntoa(struct.pack("<I", socket.ntohl(address))), prefix), strict=False
        )
        found.append((network, columns[0]))
    return found


def who_holds_port(host_ip: str, port: int) -> str | None:
    """Who listens on a TCP port already, for a message; None when it is free."""
    with docker_api.explained("listing Docker's containers"):
        containers: list[dict[str, Any]] = docker_api.client().containers()
    for container in containers:
        for published in container.get("Ports") or []:
            if published.get("PublicPort") == port and _same_address(published.get("IP", ""), host_ip):
                return f"the container {container['Names'][0].lstrip('/')}"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host_ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _listener(port) or "another program"
            if error.errno == errno.EACCES:
                return None  # dockerd, not this process, will bind it
            return f"nobody, but it cannot be bound on {host_ip} ({error.strerror})"
    return None


def _same_address(one: str, other: str) -> bool:
    anyone = {"", "0.0.0.0", "::"}  # noqa: S104  (compared with, not bound)
    return one == other or one in anyone or other in anyone


def _listener(port: int) -> str | None:
    """Name and process id of the program that listens on `port`, as far as this user may see it."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
        except OSError:
            continue
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"the program {(process / 'comm').read_text('utf-8').strip()} (process {process.name})"
        except OSError:
            continue
    return None
