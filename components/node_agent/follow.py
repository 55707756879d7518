"""Following the bundle: the hub VM converges to the one object that the deployment writes; workers pull its images."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from . import images
from .config import HUB_DIR, SECRETS_DIR, AgentError, NodeConfig
from .secretstore import cloud_of
from .shell import write_file

ETAG_FILE = Path("/run/semesterhub/bundle-etag")
SETTINGS_FILE = HUB_DIR / "settings.json"


def fetch_secrets(cloud: Any, names: list[str]) -> None:
    """Secrets of the deployment, from the cloud's store to root-only files."""
    for name in names:
        value = cloud.get_secret(name)
        if value is None:
            raise AgentError(f"the secret {name} is not in the secret store (yet); the deployment writes it")
        write_file(SECRETS_DIR / name, value, mode=0o600)


def once(node: NodeConfig) -> dict[str, object]:
    """One look. A hub VM that has seen the newest bundle still converges, so that it heals by itself.

    AgentError when the object or a secret of it cannot be had, or a container does not start; the next look tries again.
    """
    if not node.bundle:
        raise AgentError("this machine follows no bundle: node.json names none")
    seen = ETAG_FILE.read_text() if ETAG_FILE.exists() else ""
    cloud = cloud_of(node)
    news = cloud.fetch(node.bundle, seen)
    etag, text = news or ("", "")
    if news:
        document = json.loads(text)
        described = document["bundle"]
        if node.is_hub:
            from . import bundle

            fetch_secrets(cloud, described.get("store_secrets", []))
            write_file(SETTINGS_FILE, document["settings"])
            write_file(bundle.BUNDLE_FILE, json.dumps(described, sort_keys=True, indent=1) + "\n")
        else:
            images.pull(node, described.get("worker_images", []))
    started: list[str] = []
    if node.is_hub:
        from . import bundle

        if not bundle.BUNDLE_FILE.exists():
            return {"changed": False, "waiting": f"nobody has written {node.bundle} yet"}
        started = bundle.apply(bundle.load_bundle(), lambda reference: images.pull(node, [reference]))
    if news:
        # Last: what did not work out is tried again.
        write_file(ETAG_FILE, etag, mode=0o600)
    return {"changed": bool(news), "started": started}


def first_images(node: NodeConfig) -> None:
    """Before a worker joins: the bundle is there and all images it names are here. AgentError after an hour."""
    deadline = time.monotonic() + images.PUBLISH_TIMEOUT_S
    ETAG_FILE.unlink(missing_ok=True)
    while not ETAG_FILE.exists():
        try:
            once(node)
        except AgentError:
            if time.monotonic() > deadline:
                raise
        if not ETAG_FILE.exists():
            time.sleep(images.RETRY_S)
