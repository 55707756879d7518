"""What a node mounts before Docker starts: students' homes over NFS, and the hub VM's own disk.

Both are systemd mount units that Docker requires: a container started on an unmounted folder would write students'
files to the machine's own disk.

NFS travels in TLS through stunnel, which Debian has; AWS's and Azure's own mount helpers, which Debian has not, do the
same (EFS user guide, "Encrypting data in transit", without the mount helper; AZNFS's NFSv4 mount script): both services
take TLS on port 2049 and show a certificate of a public authority.
"""

from __future__ import annotations

import time
from pathlib import Path

from .config import HOMES_DIR, STATE_MOUNT, AgentError, NodeConfig
from .shell import run, write_file

UNITS = Path("/etc/systemd/system")
TLS_UNIT = "semesterhub-homes-tls.service"
TLS_FILE = Path("/etc/semesterhub/homes-tls.conf")
TLS_PORT = 20049
"""Where stunnel listens on this machine; the mount helpers begin at the same port."""
STATE_LABEL = "semesterhub"
DEVICE_TIMEOUT_S = 300
NFS_OPTIONS = {
    # EFS user guide, "Recommended NFS mount options".
    "aws": "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport",
    # Azure Files, "Mount an NFS Azure file share"; nconnect does not work through TLS.
    "azure": "vers=4,minorversion=1,sec=sys,hard,noresvport,actimeo=30",
}


def tls_config(host: str) -> str:
    """stunnel's configuration for one NFS host: its certificate must carry its name."""
    return f"""\
foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
syslog = no
[homes]
client = yes
accept = 127.0.0.1:{TLS_PORT}
connect = {host}:2049
sslVersionMin = TLSv1.2
renegotiation = no
TIMEOUTbusy = 20
TIMEOUTclose = 0
TIMEOUTidle = 70
delay = yes
verifyChain = yes
checkHost = {host}
CAfile = /etc/ssl/certs/ca-certificates.crt
"""


def mount_unit(what: str, where: Path, kind: str, options: str, needs: str = "") -> str:
    after = f"Requires={needs}\nAfter={needs}\n" if needs else ""
    return f"""\
[Unit]
Description=Semesterhub: {where}
{after}Before=docker.service

[Mount]
What={what}
Where={where}
Type={kind}
Options={options}
TimeoutSec=120

[Install]
WantedBy=multi-user.target
RequiredBy=docker.service
"""


def enable(unit: str, text: str) -> None:
    if write_file(UNITS / unit, text):
        run("systemctl", "daemon-reload")
    run("systemctl", "enable", unit)
    run("systemctl", "start", unit, timeout_s=150)


def unit_name(where: Path) -> str:
    return str(where).strip("/").replace("/", "-") + ".mount"


def mount_homes(node: NodeConfig) -> None:
    """Students' homes at /srv/semesterhub/homes; nothing where the node names none."""
    if not node.homes:
        return
    kind, _, rest = node.homes.partition(":")
    host, separator, export = rest.partition(":")
    if kind != "nfs4" or not separator or not export.startswith("/"):
        raise AgentError(f"homes {node.homes!r} is not understood; allowed: nfs4:<host>:/<export>")
    HOMES_DIR.mkdir(parents=True, exist_ok=True)
    write_file(TLS_FILE, tls_config(host))
    enable(
        TLS_UNIT,
        "[Unit]\nDescription=Semesterhub: TLS to the homes\nWants=network-online.target\nAfter=network-online.target\n\n"
        f"[Service]\nExecStart=/usr/bin/stunnel4 {TLS_FILE}\nRestart=always\nRestartSec=1\n\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    options = f"{NFS_OPTIONS[node.cloud]},port={TLS_PORT},_netdev"
    enable(unit_name(HOMES_DIR), mount_unit(f"127.0.0.1:{export}", HOMES_DIR, "nfs4", options, TLS_UNIT))
    if not HOMES_DIR.is_mount():
        raise AgentError(f"{HOMES_DIR} is not mounted from {host}:{export}; see journalctl -u {TLS_UNIT}")


def in_use(device: str) -> bool:
    """Whether a disk has partitions or is mounted: then it is somebody else's."""
    return len(run("lsblk", "-n", "-o", "NAME,MOUNTPOINT", device, check=False).split()) > 1


def find_device(pattern: str, timeout_s: float = DEVICE_TIMEOUT_S) -> str:
    """The disk that a glob means; a cloud may attach it some seconds after the machine's start."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = {str(path.resolve()) for path in Path("/").glob(pattern.lstrip("/"))}
        free = sorted(name for name in found if not in_use(name))
        if len(free) == 1:
            return free[0]
        if len(free) > 1:
            raise AgentError(f"state_device {pattern}: {', '.join(free)} are all unused; name one")
        if time.monotonic() > deadline:
            raise AgentError(f"state_device {pattern}: no unused disk after {timeout_s:g} s (seen: {sorted(found)})")
        time.sleep(1)


def mount_state(node: NodeConfig) -> None:
    """The hub VM's disk at /var/lib/semesterhub. Made a file system once, and only when nothing at all is on it."""
    if not node.state_device or not node.is_hub or STATE_MOUNT.is_mount():
        return
    device = find_device(node.state_device)
    label = run("blkid", "-o", "value", "-s", "LABEL", device, check=False).strip()
    if label != STATE_LABEL:
        # -p looks at the disk itself; what is recognized there in any way is not ours to overwrite.
        content = run("blkid", "-p", "-o", "export", device, check=False).strip()
        if content:
            raise AgentError(
                f"{device} has something else on it ({' '.join(content.split()[:4])}): it is not formatted. "
                "Attach an empty disk, or one of this stack"
            )
        run("mkfs.ext4", "-q", "-L", STATE_LABEL, device, timeout_s=600)
        run("udevadm", "settle", check=False)
    STATE_MOUNT.mkdir(parents=True, exist_ok=True)
    uuid = run("blkid", "-o", "value", "-s", "UUID", device).strip()
    enable(unit_name(STATE_MOUNT), mount_unit(f"/dev/disk/by-uuid/{uuid}", STATE_MOUNT, "ext4", "defaults,noatime"))
    if not STATE_MOUNT.is_mount():
        raise AgentError(f"{device} is not mounted at {STATE_MOUNT}; see journalctl -u {unit_name(STATE_MOUNT)}")
