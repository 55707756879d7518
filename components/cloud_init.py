"""The one user-data that boots a node on every cloud, and on this machine through the real cloud-init.

It carries the node agent (standard library only; of the clouds' parts only the machine's own), the node's description
and its units, and nothing secret: the join token comes from the cloud's secret store at boot.
"""

from __future__ import annotations

import ast
import base64
import gzip
import io
import json
import tokenize
from functools import cache
from pathlib import Path

import yaml

from components.node_agent.config import NodeConfig

AGENT_PATH = "/usr/local/sbin/semesterhub-node"
USER_DATA_LIMIT_BYTES = 16_384
"""EC2 takes at most 16 KB of user-data before base64 (EC2 user guide, "Work with instance user data")."""

LIBRARY = "/usr/local/lib/semesterhub"
"""The agent's package, as source: user-data is read by people, too, and packs better as one text than as an archive."""

LAUNCHER = """\
#!/usr/bin/python3 -I
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib/semesterhub"))
from node_agent.__main__ import main
sys.exit(main())
"""

UNIT = """\
[Unit]
Description=Semesterhub node: disks, Docker, packet filter, images, cluster membership
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/semesterhub-node boot
Restart=on-failure
RestartSec=20

[Install]
WantedBy=multi-user.target
"""

WATCH_UNIT = """\
[Unit]
Description=Semesterhub node: follows the bundle, drains before the cloud takes the machine
After=semesterhub-node.service

[Service]
ExecStart=/usr/local/sbin/semesterhub-node watch
Restart=always
RestartSec=10

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

COMMON_MODULES = frozenset({"__init__", "__main__", "boot", "config", "firewall", "secretstore", "shell"})
ROLE_MODULES = {"hub": frozenset({"bundle", "swarm"}), "worker": frozenset[str]()}
CLOUD_MODULES = frozenset({"disks", "follow", "images", "notice", "watch", "web"})
CLOUD_ROLE_MODULES = {"hub": frozenset({"drains"}), "worker": frozenset({"leave"})}
"""Which modules of the agent a machine carries: one of the local cloud only the first two sets, one of a cloud also
those of its cloud; :func:`modules` puts them together."""


class _Literal(str):
    """Text that YAML shows as it is."""


class _Dumper(yaml.SafeDumper):
    """Several lines as a block."""


_Dumper.add_representer(
    _Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def lean(source: str) -> str:
    """Python source without docstrings, comments of their own line and blank lines. It does the same.

    By lines, not by `ast.unparse`, whose output differs between Python versions: equal sources must give equal bytes.
    """
    drop: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        for child in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            text = child.value if isinstance(child, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str) and len(node.body) > 1:  # type: ignore[attr-defined]
                drop.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    drop.update(token.start[0] for token in tokens if token.type == tokenize.COMMENT and token.line.lstrip()[0] == "#")
    inside = _inside_strings(source)
    lines = enumerate(source.splitlines(), start=1)
    return "".join(f"{line}\n" for number, line in lines if number not in drop and (line.strip() or number in inside))


def _inside_strings(source: str) -> set[int]:
    """Lines of texts that span several: a blank one there means something."""
    spans = (
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant | ast.JoinedStr)
    )
    return {number for span in spans for number in span}


def modules(cloud: str, role: str) -> frozenset[str]:
    """Modules of the agent that such a machine carries."""
    here = COMMON_MODULES | ROLE_MODULES[role]
    return here if cloud == "local" else here | CLOUD_MODULES | CLOUD_ROLE_MODULES[role] | {cloud}


@cache
def agent_files(cloud: str, role: str) -> dict[str, str]:
    """The agent for such a machine: path -> text."""
    package = Path(__file__).parent / "node_agent"
    names = sorted(modules(cloud, role))
    files = {f"{LIBRARY}/node_agent/{name}.py": lean((package / f"{name}.py").read_text()) for name in names}
    return {**files, AGENT_PATH: LAUNCHER}


def user_data(node: NodeConfig) -> str:
    """Cloud-config of one machine. ValueError when it would not fit the smallest cloud's limit."""
    units = {"semesterhub-node.service": UNIT}
    if node.cloud != "local":
        units["semesterhub-watch.service"] = WATCH_UNIT
    files = {
        **agent_files(node.cloud, node.role),
        "/etc/semesterhub/node.json": json.dumps(vars(node), indent=1, sort_keys=True) + "\n",
        **{f"/etc/systemd/system/{name}": text for name, text in units.items()},
        "/etc/systemd/system/docker.service.d/semesterhub.conf": DOCKER_DROP_IN,
    }
    document = {
        "preserve_hostname": False,
        "ssh_pwauth": False,
        "disable_root": True,
        "package_update": False,
        "write_files": [
            {"path": path, "permissions": "0755" if path == AGENT_PATH else "0644", "content": _Literal(text)}
            for path, text in files.items()
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            *(["systemctl", "enable", name] for name in units),
            *(["systemctl", "start", name] for name in units),
        ],
    }
    text = "#cloud-config\n" + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000_000)
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
