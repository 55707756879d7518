"""The one user-data that boots a node on every cloud, and on this machine through the real cloud-init.

It carries the node agent (a zip application, standard library only), the node's description and two units, and
nothing secret: the join token comes from the cloud's secret store at boot.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zipfile
from functools import cache
from pathlib import Path

import yaml

from components.node_agent.config import NodeConfig

AGENT_PATH = "/usr/local/sbin/semesterhub-node"
USER_DATA_LIMIT_BYTES = 16_384
"""EC2 takes at most 16 KB of user-data before base64 (EC2 user guide, "Work with instance user data")."""

UNIT = """\
[Unit]
Description=Semesterhub node: Docker, packet filter, Swarm membership
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/semesterhub-node boot

[Install]
WantedBy=multi-user.target
"""

# Socket activation (-H fd://) would let a stray client start dockerd before its configuration is written.
DOCKER_DROP_IN = """\
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd
Restart=always
"""


@cache
def agent_archive() -> bytes:
    """The agent as an executable zip. Fixed timestamps, so equal sources give equal bytes and no false diff."""
    package = Path(__file__).parent / "node_agent"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(package.glob("*.py")):
            archive.writestr(zip_entry(f"node_agent/{path.name}"), path.read_bytes())
        archive.writestr(
            zip_entry("__main__.py"), "import sys\nfrom node_agent.__main__ import main\nsys.exit(main())\n"
        )
    return b"#!/usr/bin/env python3\n" + buffer.getvalue()


def zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def agent_digest() -> str:
    return hashlib.sha256(agent_archive()).hexdigest()


def user_data(node: NodeConfig) -> str:
    """Cloud-config of one machine. ValueError when it would not fit the smallest cloud's limit."""
    description = vars(node)
    document = {
        "preserve_hostname": False,
        "ssh_pwauth": False,
        "disable_root": True,
        "package_update": False,
        "write_files": [
            {
                "path": AGENT_PATH,
                "permissions": "0755",
                "encoding": "b64",
                "content": base64.b64encode(agent_archive()).decode(),
            },
            {
                "path": "/etc/semesterhub/node.json",
                "permissions": "0644",
                "content": json.dumps(description, indent=1, sort_keys=True) + "\n",
            },
            {"path": "/etc/systemd/system/semesterhub-node.service", "permissions": "0644", "content": UNIT},
            {
                "path": "/etc/systemd/system/docker.service.d/semesterhub.conf",
                "permissions": "0644",
                "content": DOCKER_DROP_IN,
            },
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "semesterhub-node.service"],
            ["systemctl", "start", "semesterhub-node.service"],
        ],
    }
    text = "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False, width=1_000_000)
    packed = len(compressed(text))
    if packed > USER_DATA_LIMIT_BYTES:
        raise ValueError(f"user-data is {packed} bytes compressed; EC2 takes {USER_DATA_LIMIT_BYTES}")
    return text


def compressed(text: str) -> bytes:
    """As a machine gets it: cloud-init unpacks gzip by itself. Equal texts give equal bytes."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def encoded(text: str) -> str:
    """User-data as a cloud's API takes it, base64 of gzip: a launch template's `user_data`, an instance's
    `user_data_base64`, a VM's `customData`."""
    return base64.b64encode(compressed(text)).decode()
