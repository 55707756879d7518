"""The images of hubconfig/images: what is in them (content hash), the base they stand on, and building them.

Builds go through the classic builder of the host's Docker with the host's network, so they work with Docker 20.10 and
behind a proxy. An image is named by its content, so a build happens once for each content, whoever asks.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.base_image import BASE_TAG, DEBIAN_IMAGE, OnLine, docker_client, ensure_base, inspect_image
from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE, ROOT

if TYPE_CHECKING:
    from docker import APIClient

BUILD_SILENCE_TIMEOUT_S = 1800
"""The longest step (the student image's packages) says nothing for minutes; half an hour of silence is a hang."""

CA_BUNDLE = "ca-bundle.crt"
"""In every build context: the host's own certificate authorities (behind a TLS-inspecting proxy), or an empty file."""

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "ALL_PROXY")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The classic builder paints what a step writes to standard error red."""


@dataclass(frozen=True)
class BuiltImage:
    """An image on this host. `build_s` is 0 when it was there already."""

    image_id: str
    tag: str
    size_mib: int
    build_s: float


@dataclass(frozen=True)
class Recipe:
    """An image's folder, read: the files of its context but the CA bundle (path in the context -> file), its arguments."""

    name: str
    files: Mapping[str, Path]
    args: Mapping[str, str]

    @property
    def content_hash(self) -> str:
        """SHA-256 over paths, executable bits and bytes of all files, the base and the arguments."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            source = self.files[path]
            content = source.read_bytes()
            executable = bool(source.stat().st_mode & stat.S_IXUSR)
            digest.update(f"{path}\0{int(executable)}\0{len(content)}\0".encode() + content)
        digest.update(json.dumps([BASE_TAG, DEBIAN_IMAGE, dict(sorted(self.args.items()))]).encode())
        return digest.hexdigest()


def mib(size_bytes: int) -> int:
    """Bytes as MiB, rounded."""
    return round(size_bytes / 2**20)


def names(images_dir: Path | None = None) -> list[str]:
    """The images that can be built: folders with a Dockerfile."""
    return sorted(p.parent.name for p in (images_dir or ROOT / "hubconfig" / "images").glob("*/Dockerfile"))


def recipe(name: str, root: Path = ROOT) -> Recipe:
    """Read an image's folder. UserError names a missing folder, a wrong `image.toml`, an `include` that finds nothing."""
    folder = root / "hubconfig" / "images" / name
    if not (folder / "Dockerfile").is_file():
        known = ", ".join(names(folder.parent)) or "none"
        raise UserError(f"there is no image {name!r}: hubconfig/images/{name}/Dockerfile is missing. Known: {known}.")
    include, args = _image_toml(folder / "image.toml")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if _belongs(path):
            files[path.relative_to(folder).as_posix()] = path
    for pattern in include:
        found = [p for p in sorted(root.glob(pattern)) if _belongs(p)]
        if not found:
            raise UserError(
                f"hubconfig/images/{name}/image.toml: the include {pattern!r} matches no file of the repository. Correct or remove it."
            )
        files.update({p.relative_to(root).as_posix(): p for p in found})
    return Recipe(name, files, args)


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc" and path.name != CA_BUNDLE


def _image_toml(path: Path) -> tuple[list[str], dict[str, str]]:
    if not path.exists():
        return [], {}
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML ({error})") from error
    include = content.get("context", {}).get("include", [])
    args = content.get("args", {})
    if not isinstance(include, list) or not all(isinstance(i, str) for i in include):
        raise UserError(
            f"{path}: context.include is {include!r}; it must be a list of file patterns relative to the repository."
        )
    if not isinstance(args, dict) or not all(isinstance(v, str) for v in args.values()):
        raise UserError(f"{path}: args is {args!r}; it must map build argument names to texts.")
    return include, args


def content_hash(name: str) -> str:
    """The image's identity: changes exactly when something that goes into it changes."""
    return recipe(name).content_hash


def tag_of(name: str, digest: str) -> str:
    """The tag on this host of an image with this content hash."""
    return f"semesterhub/{name}:{digest[:16]}"


def context_tar(files: Mapping[str, Path], ca_bundle: bytes) -> bytes:
    """The build context: the same bytes for the same files (times 0, root, modes 0644 or 0755)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted([*files, CA_BUNDLE]):
            entry = tarfile.TarInfo(path)
            source = files.get(path)
            content = ca_bundle if source is None else source.read_bytes()
            entry.size = len(content)
            entry.mode = 0o755 if source is not None and source.stat().st_mode & stat.S_IXUSR else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def ca_bundle() -> bytes:
    """The host's own CA bundle where there is one that images need in order to reach package registries.

    Named by the usual variables, else Debian's file if someone added authorities of their own to it, else nothing.
    """
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = Path(os.environ.get(variable) or "/nonexistent")
        if path.is_file():
            return path.read_bytes()
    added = Path("/usr/local/share/ca-certificates")
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    if system.is_file() and added.is_dir() and any(added.rglob("*.crt")):
        return system.read_bytes()
    return b""


def _proxies() -> dict[str, str]:
    both = [name for upper in PROXY_VARIABLES for name in (upper, upper.lower())]
    return {name: os.environ[name] for name in both if os.environ.get(name)}


def build(name: str, on_line: OnLine) -> BuiltImage:
    """The image, built unless it is there. `on_line` gets each line of progress and may raise to stop the build.

    Two builds of one image at once: the second waits and finds it built. UserError tells a failed build's step and
    its last lines.
    """
    spec = recipe(name)
    tag = tag_of(name, spec.content_hash)
    api = docker_client(BUILD_SILENCE_TIMEOUT_S)
    found = inspect_image(api, tag)
    if found is None:
        with file_lock(CACHE / "locks" / f"image-{name}.lock", f"building the image {name}", say=on_line):
            found = inspect_image(api, tag)
            if found is None:
                ensure_base(on_line)
                started = time.monotonic()
                found = _build(api, spec, tag, on_line)
                return BuiltImage(found["Id"], tag, mib(found["Size"]), round(time.monotonic() - started, 1))
    return BuiltImage(found["Id"], tag, mib(found["Size"]), 0.0)


def _build(api: APIClient, spec: Recipe, tag: str, on_line: OnLine) -> dict[str, Any]:
    from docker.errors import DockerException
    from requests import RequestException

    context = context_tar(spec.files, ca_bundle())
    step, lines, failed = "reading the Dockerfile", [], ""
    on_line(f"building {spec.name}")
    try:
        stream = api.build(
            fileobj=io.BytesIO(context),
            custom_context=True,
            encoding=None,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="host",
            buildargs={"BASE": BASE_TAG, **_proxies(), **spec.args},
        )
        for text, error in _build_messages(stream):
            if error:
                failed = error
                continue
            if text.startswith("Step "):
                step = text
            else:
                lines = [*lines[-60:], text]
            on_line(text)
    except (DockerException, RequestException) as error:
        failed = str(error)
    found = None if failed else inspect_image(api, tag)
    if found is None:
        last = "\n".join(f"  | {line}" for line in lines[-15:])
        raise UserError(
            f"the image {spec.name} could not be built (hubconfig/images/{spec.name}/Dockerfile).\n"
            f"  {step}\n{last}\n  {failed or 'no image came out'}"
        )
    return found


def _build_messages(stream: Iterator[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(line, "") for output, ("", error) for a failure."""
    partial = ""
    for message in stream:
        if message.get("error"):
            yield "", str(message["error"]).strip()
        partial += str(message.get("stream") or "")
        *whole, partial = partial.split("\n")
        for line in whole:
            # apt and pip redraw a line with carriage returns: its last form is what a terminal would show.
            shown = _COLOURS.sub("", line.rstrip("\r").rpartition("\r")[2]).strip()
            if shown and not shown.startswith(("Removing intermediate container", "---> ")):
                yield shown, ""
    if partial.strip():
        yield _COLOURS.sub("", partial).strip(), ""
