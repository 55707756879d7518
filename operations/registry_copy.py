"""An image from one registry to another, byte for byte: the digest stays what it is. What is there is not sent again.

`docker pull` and `docker push` would compress the layers anew, and another Docker's gzip gives another digest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import requests

from operations.errors import UserError
from operations.registries import MANIFESTS, Registry

TIMEOUT_S = 60
CHUNK = 1 << 20


def has(registry: Registry, repository: str, digest: str) -> bool:
    """Whether the registry has the image of that digest. Raises UserError when it does not answer."""
    return _ask("HEAD", registry, repository, f"manifests/{digest}").ok


def copy(
    source: Registry,
    source_repository: str,
    target: Registry,
    repository: str,
    digest: str,
    tell: Callable[[str], None],
) -> bool:
    """The image of that digest is in the target afterwards; False when it was there before. Raises UserError."""
    if has(target, repository, digest):
        return False
    text, kind = _manifest(source, source_repository, digest)
    document = json.loads(text)
    for inner in document.get("manifests", []):
        copy(source, source_repository, target, repository, inner["digest"], tell)
    blobs = [*([document["config"]] if "config" in document else []), *document.get("layers", [])]
    for number, blob in enumerate(blobs, start=1):
        tell(f"{repository}: part {number} of {len(blobs)}")
        if not _ask("HEAD", target, repository, f"blobs/{blob['digest']}").ok:
            _blob(source, source_repository, target, repository, blob["digest"])
    answer = _ask("PUT", target, repository, f"manifests/{digest}", data=text, headers={"Content-Type": kind})
    if not answer.ok:
        raise UserError(
            f"{target.host} does not take the image {repository}@{digest}: {answer.status_code} {answer.text[:200]}"
        )
    return True


def _manifest(source: Registry, repository: str, digest: str) -> tuple[bytes, str]:
    answer = _ask("GET", source, repository, f"manifests/{digest}", headers={"Accept": MANIFESTS})
    if not answer.ok:
        raise UserError(
            f"{source.host} does not give the image {repository}@{digest}: {answer.status_code} {answer.reason}."
        )
    _same(answer.content, digest, f"{source.host}/{repository}")
    return answer.content, answer.headers.get("Content-Type", MANIFESTS.partition(",")[0])


def _blob(source: Registry, source_repository: str, target: Registry, repository: str, digest: str) -> None:
    with tempfile.TemporaryFile() as kept:
        seen = hashlib.sha256()
        try:
            with _ask("GET", source, source_repository, f"blobs/{digest}", stream=True) as answer:
                if not answer.ok:
                    raise UserError(
                        f"{source.host} does not give {source_repository}, {digest}: {answer.status_code} {answer.reason}."
                    )
                for chunk in answer.iter_content(CHUNK):
                    seen.update(chunk)
                    kept.write(chunk)
        except requests.RequestException as error:
            raise UserError(
                f"{source.host} broke off while giving {source_repository}: {error}. Run this again."
            ) from None
        if f"sha256:{seen.hexdigest()}" != digest:
            raise UserError(f"{source.host} gave {source_repository}, {digest} with other bytes. Run this again.")
        size = kept.tell()
        kept.seek(0)
        begun = _ask("POST", target, repository, "blobs/uploads/")
        if not begun.ok:
            raise UserError(f"{target.host} takes no upload for {repository}: {begun.status_code} {begun.text[:200]}")
        where = urljoin(begun.url, begun.headers["Location"])
        where += ("&" if "?" in where else "?") + f"digest={digest}"
        # Without bytes requests would send the body in chunks.
        data: Any = kept if size else b""
        done = _request(
            "PUT", where, target, repository, data=data, headers={"Content-Type": "application/octet-stream"}
        )
        if not done.ok:
            raise UserError(
                f"{target.host} does not keep {repository}, {digest}: {done.status_code} {done.text[:200]}. Is its disk full?"
            )


def _same(content: bytes, digest: str, where: str) -> None:
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise UserError(f"{where} gives other bytes than {digest} under that digest.")


def _ask(method: str, registry: Registry, repository: str, path: str, **more: Any) -> requests.Response:
    return _request(method, f"{registry.scheme}://{registry.host}/v2/{repository}/{path}", registry, repository, **more)


def _request(
    method: str, url: str, registry: Registry, repository: str, headers: Mapping[str, str] | None = None, **more: Any
) -> requests.Response:
    given = {"Accept": MANIFESTS, **(headers or {})}
    if value := registry.authorization(repository):
        given["Authorization"] = value
    try:
        return requests.request(method, url, headers=given, timeout=TIMEOUT_S, **more)
    except requests.RequestException as error:
        raise UserError(f"the registry {registry.host} does not answer: {error}.") from None
