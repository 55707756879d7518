"""A semester on one bare-metal machine and nowhere else (`fallback.alone`): what otherwise comes from the cloud is made here.

Images are built on this host and pushed through the SSH tunnel; which digest each content has there is noted beside OpenTofu's
state. Secrets are made once, on the machine.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.hub_bundle import SECRETS_PATH
from operations import images as built_images
from operations import setup, ssh
from operations.base_image import docker_client
from operations.errors import UserError
from operations.fallback_folder import Folder, write_json
from operations.paths import certificate_file
from operations.progress import step
from operations.publish import PUSH_SILENCE_TIMEOUT_S, TAG_LENGTH, image_names, push_image
from operations.registries import Registry

if TYPE_CHECKING:
    from components.semester import Semester

UNKNOWN = "sha256:" + "0" * 64
"""Digest of an image that the machine does not have yet, in a preview."""
PASSWORD_CHARS = {"admin_password": 40, "student_password": 14}
ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set("0O1lI")))
CA_FILE = "/var/lib/semesterhub/state/edge/pki/authorities/local/root.crt"


def _noted(stack: str, machine_id: str) -> dict[str, dict[str, str]]:
    """Name -> content and digest of what was pushed to this very machine."""
    try:
        kept = json.loads(Folder(stack).built.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return kept["images"] if machine_id and kept.get("machine_id") == machine_id else {}


def images(stack: str, semester: Semester, machine_id: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Name -> digest, `UNKNOWN` for what is not there yet or has changed; and where they come from."""
    noted = _noted(stack, machine_id)
    found = {}
    for name in image_names(semester):
        kept = noted.get(name, {})
        found[name] = kept["digest"] if kept.get("content") == built_images.content_hash(name) else UNKNOWN
    return found, {"kind": "built"}


def missing(brief: Mapping[str, Any]) -> list[str]:
    """Images whose digest nobody knows yet."""
    return [name for name, digest in brief["images"].items() if digest == UNKNOWN]


def publish(stack: str, target: ssh.Target, brief: Mapping[str, Any]) -> None:
    """Build and push what is missing, and note each digest at once. Raises UserError."""
    setup.docker()
    noted = _noted(stack, brief["machine_id"])
    with ssh.connect(target) as machine, machine.tunnel(brief["registry_port"]) as port:
        registry = Registry(f"127.0.0.1:{port}", "none", "none", lambda _repository: "", scheme="http")
        for name in missing(brief):
            with step(f"image {name}") as tell:
                digest = push(registry, name, tell)
            noted[name] = {"content": built_images.content_hash(name), "digest": digest}
            write_json(Folder(stack).built, {"machine_id": brief["machine_id"], "images": noted})


def push(registry: Registry, name: str, tell: Callable[[str], None], *, wanted: str = "") -> str:
    """The image of this checkout in the machine's registry; its digest. UserError when it is not the `wanted` one."""
    built = built_images.build(name, tell)
    tell("pushing")
    api, tag = docker_client(PUSH_SILENCE_TIMEOUT_S), built_images.content_hash(name)[:TAG_LENGTH]
    digest = push_image(api, built.image_id, f"{registry.host}/{name}", tag, registry, tell)
    if wanted and digest != wanted:
        raise UserError(
            f"the image {name} has another digest than it was pushed with before ({digest}, not {wanted}). Run this again."
        )
    return digest


def make_secrets(stack: str, machine: ssh.Machine, names: list[str]) -> None:
    """Those that the machine does not have yet, over standard input."""
    machine.run(["install", "-d", "-m", "0700", SECRETS_PATH])
    have = set(machine.run(["ls", SECRETS_PATH]).text.split())
    made: dict[str, str] = {}
    for name in names:
        if name == "oauth_client_secret":
            made[name] = _client_secret(stack)
        elif name not in have:
            length = PASSWORD_CHARS.get(name, 0)
            made[name] = "".join(secrets.choice(ALPHABET) for _ in range(length)) if length else secrets.token_hex(32)
    machine.put({f"{SECRETS_PATH}/{name}": (value.encode(), 0o600) for name, value in made.items()})


def _client_secret(stack: str) -> str:
    from operations.engine import Pulumi

    return Pulumi(stack, setup.pulumi().folder).secret("semesterhub:authenticator.client_secret")


def finish(stack: str, semester: Semester, target: ssh.Target) -> None:
    """The hub's name leads there, and whoever brought it up is told how to get in."""
    from rich.console import Console

    from operations.deploy import logins

    given = semester.fallback
    assert given is not None
    if given.dns is not None:
        from operations.dns import open_dns

        open_dns(semester, stack).switch((given.address or given.host,), given.dns.ttl_s)
    outputs: dict[str, Any] = {"hub_url": semester.hub_url, "admin_user": semester.admins[0]}
    with ssh.connect(target) as machine:
        for name in PASSWORD_CHARS:
            kept = machine.read(f"{SECRETS_PATH}/{name}")
            if kept and semester.authenticator.kind == "demo":
                outputs[name] = kept.decode()
        authority = machine.read(CA_FILE)
    if authority:
        outputs["ca_certificate"] = authority.decode()
        path = certificate_file(stack)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(authority)
    Console().print(logins(stack, outputs))
