"""What an admin's command wants to know of a site before it moves a class there: disk, images, certificate, hub.

Each is looked at when it is asked for; nothing here decides anything.
"""

from __future__ import annotations

import os
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .config import KeeperConfig
from .engine import Engine

HUB_HEALTH = "http://127.0.0.1:8081/hub/health"
EDGE = ("127.0.0.1", 443)
TIMEOUT_S = 3.0


def all_of(config: KeeperConfig) -> dict[str, Any]:
    """For `status`."""
    until, why = certificate(config)
    return {
        "disk": disk(config.homes_path),
        "release": config.release,
        "missing_images": missing_images(config),
        "certificate_not_after": until,
        "certificate_problem": why,
        "hub": {"answers": hub_answers()},
        "public_key": public_key(config),
    }


def disk(homes: Path) -> dict[str, Any]:
    """Bytes free and used on the file system of the homes, and how many homes there are; zeros and `problem` without it."""
    try:
        found = os.statvfs(homes)
        with os.scandir(homes) as entries:
            users = sum(1 for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        return {"homes_free_bytes": 0, "homes_used_bytes": 0, "users": 0, "problem": str(error)}
    block = found.f_frsize
    return {
        "homes_free_bytes": found.f_bavail * block,
        "homes_used_bytes": (found.f_blocks - found.f_bfree) * block,
        "users": users,
    }


def missing_images(config: KeeperConfig, engine: Engine | None = None) -> list[str]:
    """Which of the images that students' servers need are not on this machine."""
    engine = engine or Engine()
    return [image for image in config.images if not engine.has_image(image)]


def certificate(config: KeeperConfig, address: tuple[str, int] = EDGE) -> tuple[float | None, str]:
    """Until when the certificate is good that this site's edge shows for the hub's name (s since 1970), checked as a browser
    checks it; None and the reason when a browser would not take it."""
    root = config.state_path / "edge/pki/authorities/local/root.crt"
    context = ssl.create_default_context(cafile=str(root) if root.exists() else None)
    try:
        with (
            socket.create_connection(address, timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=config.domain) as secure,
        ):
            shown = secure.getpeercert() or {}
    except (OSError, ValueError) as error:
        return None, str(error)
    return ssl.cert_time_to_seconds(str(shown["notAfter"])), ""


def hub_answers() -> bool:
    """Whether JupyterHub runs on this site."""
    try:
        with urllib.request.urlopen(HUB_HEALTH, timeout=TIMEOUT_S) as answer:
            return bool(answer.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def public_key(config: KeeperConfig) -> str:
    """The key that this site's keeper shows to its peer; "" while there is none."""
    try:
        return (config.secrets_path / "peer_key.pub").read_text().strip()
    except FileNotFoundError:
        return ""
