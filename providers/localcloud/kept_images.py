"""Images as a registry has them (manifest and compressed layers), kept on this host after their first push.

`docker push` compresses every layer anew for every registry: 42 CPU-seconds for a semester's images, measured on 2026-11-28. From
here they are sent as they were the first time: the same bytes, so also the same digest. It is a cache: what is missing or
damaged is dropped, and pushed the ordinary way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from operations.paths import CACHE
from providers.base import Context
from providers.localcloud import docker_api
from providers.localcloud.registry import MANIFEST, Registry

FOLDER = CACHE / "images"
TIMEOUT_S = 120
"""For one layer, several hundred MB, on a busy machine."""
UNFINISHED_S = 3600
"""Older than any run that still writes."""
_CHUNK = 1 << 20


def send(ctx: Context, registry: Registry, repository: str, tag: str, image_id: str) -> str | None:
    """The image is in the registry under the tag; its digest. None, and nothing is under the tag, when it is not kept here."""
    folder = _folder(image_id)
    try:
        manifest = (folder / "manifest.json").read_bytes()
        parts = list(_parts(manifest))
        for number, digest in enumerate(parts, start=1):
            ctx.check_cancelled()
            ctx.status(f"sending {repository}: part {number} of {len(parts)}")
            if registry.has(repository, digest, "blobs"):
                continue
            with _file(folder, digest).open("rb") as content:
                registry.upload(repository, digest, content, os.fstat(content.fileno()).st_size, TIMEOUT_S)
        path = f"/v2/{repository}/manifests/{tag}"
        with registry.ask("PUT", path, manifest, {"Content-Type": MANIFEST}, TIMEOUT_S) as answer:
            if answer.status != 201:
                raise OSError(f"manifest refused: status {answer.status}")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        ctx.status(f"the kept copy of {repository} is not used: {error}")
    else:
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    shutil.rmtree(folder, ignore_errors=True)
    return None


def keep(ctx: Context, registry: Registry, repository: str, digest: str, image_id: str) -> None:
    """Keeps what the registry has, whole or not at all, and drops images that Docker no longer has. A full disk is no error."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        _drop_forgotten()
        with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".", ignore_cleanup_errors=True) as name:
            folder = Path(name) / "image"
            folder.mkdir()
            with registry.ask("GET", f"/v2/{repository}/manifests/{digest}", timeout_s=TIMEOUT_S) as answer:
                manifest = answer.read()
            if f"sha256:{hashlib.sha256(manifest).hexdigest()}" != digest:
                raise OSError(f"another manifest than {digest}")
            for part in _parts(manifest):
                ctx.check_cancelled()
                _fetch(registry, repository, part, _file(folder, part))
            (folder / "manifest.json").write_bytes(manifest)
            folder.rename(_folder(image_id))  # fails when another run has kept it meanwhile
    except (OSError, ValueError) as error:
        ctx.status(f"{repository} is not kept for the next time: {error}")


def _fetch(registry: Registry, repository: str, digest: str, file: Path) -> None:
    """One part; a layer that another kept image has as well is shared with it."""
    for other in FOLDER.glob(f"[0-9a-f]*/{file.name}"):
        with contextlib.suppress(OSError):
            os.link(other, file)
            return
    seen = hashlib.sha256()
    with registry.ask("GET", f"/v2/{repository}/blobs/{digest}", timeout_s=TIMEOUT_S) as answer, file.open("wb") as out:
        while chunk := answer.read(_CHUNK):
            seen.update(chunk)
            out.write(chunk)
    if f"sha256:{seen.hexdigest()}" != digest:
        raise OSError(f"other bytes than {digest}")


def _drop_forgotten() -> None:
    for folder in FOLDER.glob("[0-9a-f]*"):
        if docker_api.inspect("image", f"sha256:{folder.name}") is None:
            shutil.rmtree(folder, ignore_errors=True)
    for unfinished in FOLDER.glob(".*"):  # of a run that was killed
        if time.time() - unfinished.stat().st_mtime > UNFINISHED_S:
            shutil.rmtree(unfinished, ignore_errors=True)


def _parts(manifest: bytes) -> Iterator[str]:
    """Digests of the configuration and the layers. Raises ValueError for anything but one image's manifest."""
    document = json.loads(manifest)
    try:
        yield document["config"]["digest"]
        yield from (layer["digest"] for layer in document["layers"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an image's manifest: {error!r}") from error


def _folder(image_id: str) -> Path:
    return FOLDER / image_id.removeprefix("sha256:")


def _file(folder: Path, digest: str) -> Path:
    return folder / digest.removeprefix("sha256:")
