"""The hub's containers on the hub VM, converged from ``bundle.json``.

A container is left alone while its description (and the files and secrets named in it) has not changed, so
applying the same bundle twice touches nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .config import HUB_DIR, SECRETS_DIR, STATE_DIR, AgentError
from .shell import docker, docker_lines, write_file

BUNDLE_FILE = HUB_DIR / "bundle.json"
APPLIED_FILE = HUB_DIR / "applied.json"
CA_FILE = STATE_DIR / "edge/pki/authorities/local/root.crt"


def load_bundle(path: Path = BUNDLE_FILE) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AgentError(f"{path} cannot be read: {error}") from error


def fingerprint(container: dict[str, Any], secrets_dir: Path = SECRETS_DIR) -> str:
    """Digest of all that makes a container what it is. Keyed with a secret of this VM where secrets are part of it."""
    digest = hashlib.blake2b(json.dumps(container, sort_keys=True).encode(), digest_size=16)
    for name in container.get("files", []):
        digest.update(Path(name).read_bytes())
    for name in sorted({*container.get("secret_env", {}).values(), *container.get("secret_files", [])}):
        digest.update((secrets_dir / name).read_bytes())
    return digest.hexdigest()


def generate_secrets(names: list[str]) -> None:
    """Secrets that never leave this VM: made once, kept for the semester."""
    SECRETS_DIR.mkdir(parents=True, exist_ok=True)
    SECRETS_DIR.chmod(0o700)
    for name in names:
        path = SECRETS_DIR / name
        if not path.exists() or not path.read_text().strip():
            write_file(path, secrets.token_hex(32), mode=0o600)


def run_arguments(container: dict[str, Any], mark: str) -> list[str]:
    """Arguments of ``docker run`` for one container of the bundle."""
    arguments = ["--detach", "--name", container["name"], "--network", "host", "--restart", "always", "--init"]
    arguments += ["--label", "semesterhub.bundle=1", "--label", f"semesterhub.fingerprint={mark}"]
    if container.get("memory_mib"):
        arguments += ["--memory", f"{container['memory_mib']}m"]
    for key, value in sorted(container.get("env", {}).items()):
        arguments += ["--env", f"{key}={value}"]
    for key in sorted(container.get("secret_env", {})):
        arguments += ["--env", key]
    for mount in container.get("mounts", []):
        suffix = ":ro" if mount.get("read_only") else ""
        arguments += ["--volume", f"{mount['source']}:{mount['target']}{suffix}"]
    return [*arguments, container["image"], *container.get("command", [])]


def existing() -> dict[str, dict[str, Any]]:
    rows = docker_lines("ps", "-a", "--filter", "label=semesterhub.bundle=1", "--no-trunc")
    if not rows:
        return {}
    inspected = json.loads(docker("inspect", *[row["ID"] for row in rows]))
    return {item["Name"].lstrip("/"): item for item in inspected}


def start(container: dict[str, Any], mark: str) -> None:
    import os
    import subprocess

    environment = dict(os.environ)
    for key, name in container.get("secret_env", {}).items():
        environment[key] = (SECRETS_DIR / name).read_text().strip()
    done = subprocess.run(
        ["docker", "run", *run_arguments(container, mark)], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise AgentError(f"container {container['name']} does not start: {done.stderr.strip()[-400:]}")


def probe(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return answer.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def wait_healthy(containers: list[dict[str, Any]], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = [c for c in containers if c.get("health_url")]
    # A site that may not write has a file in place of an answering hub (keeper).
    while waiting := [c for c in waiting if not (Path(c.get("closed_file", "/-")).exists() or probe(c["health_url"]))]:
        if time.monotonic() > deadline:
            name = waiting[0]["name"]
            log = docker("logs", "--tail", "15", name, check=False).strip()
            raise AgentError(f"{name} does not answer {waiting[0]['health_url']} after {timeout_s:g} s. Its log: {log}")
        time.sleep(0.25)


def apply(bundle: dict[str, Any], pull: Callable[[str], object] | None = None) -> list[str]:
    """Converge; names of the containers that were (re)started. ``pull`` gets an image that may not be there."""
    pull = pull or (lambda reference: docker("pull", "--quiet", reference, timeout_s=600))
    generate_secrets(bundle.get("generated_secrets", []))
    for directory in bundle.get("directories", []):
        path = Path(directory["path"])
        path.mkdir(parents=True, exist_ok=True)
        if "uid" in directory:
            import os

            os.chown(path, directory["uid"], directory["gid"])
        path.chmod(int(directory.get("mode", "0755"), 8))
    for file, text in bundle.get("texts", {}).items():
        write_file(Path(file), text)
    wanted = {c["name"]: c for c in bundle["containers"]}
    present = existing()
    started: list[str] = []
    for name in present.keys() - wanted.keys():
        docker("rm", "--force", name)
    for name, container in wanted.items():
        mark = fingerprint(container)
        there = present.get(name)
        if there and there["Config"]["Labels"].get("semesterhub.fingerprint") == mark and there["State"]["Running"]:
            continue
        pull(container["image"])
        if there:
            docker("rm", "--force", name)
        start(container, mark)
        started.append(name)
    wait_healthy(list(wanted.values()))
    write_file(APPLIED_FILE, json.dumps({"revision": bundle["revision"]}))
    return started


def status() -> dict[str, Any]:
    """What runs against what was asked: revision, health, and the local CA's certificate where there is one."""
    try:
        revision = json.loads(APPLIED_FILE.read_text())["revision"]
        bundle = load_bundle()
    except (OSError, AgentError, ValueError, KeyError):
        return {"revision": None, "healthy": False, "containers": {}, "ca_certificate": ""}
    present = existing()
    containers = {
        c["name"]: bool(
            (there := present.get(c["name"]))
            and there["State"]["Running"]
            and there["Config"]["Labels"].get("semesterhub.fingerprint") == fingerprint(c)
        )
        for c in bundle["containers"]
    }
    certificate = CA_FILE.read_text() if CA_FILE.exists() else ""
    return {
        "revision": revision,
        "healthy": all(containers.values()),
        "containers": containers,
        "ca_certificate": certificate,
    }
