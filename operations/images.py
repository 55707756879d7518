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
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE, ROOT

if TYPE_CHECKING:
    from docker import APIClient

BASE_TAG = "semesterhub/base:bookworm"
"""What every image stands on: Debian bookworm, slim."""

DEBIAN_IMAGE = "debian:bookworm-20250520-slim"
"""Pulled for the base where a registry can be reached; a dated tag, which Debian never moves."""

LOCAL_DEBIAN_IMAGE = "debian:bookworm-slim"
"""Taken for the base where it is already on this host and nothing can be pulled."""

DEBIAN_SUITE = "bookworm"
PULL_TIMEOUT_S = 60
"""A registry that cannot be reached must not cost minutes: no answer for this long, and debootstrap takes over."""

BUILD_SILENCE_TIMEOUT_S = 1800
"""The longest step (the student image's packages) says nothing for minutes; half an hour of silence is a hang."""

CA_BUNDLE = "ca-bundle.crt"
"""In every build context: the host's own certificate authorities (behind a TLS-inspecting proxy), or an empty file."""

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "ALL_PROXY")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The classic builder paints what a step writes to standard error red."""

OnLine = Callable[[str], None]


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


def _client(timeout_s: float) -> APIClient:
    import docker
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        api = docker.APIClient(version="1.41", timeout=int(timeout_s), **kwargs_from_env())
        api.ping()
    except (DockerException, OSError) as error:
        raise UserError(
            f"Docker does not answer: {error}\n  Start it (as root: `systemctl start docker`), then run this again."
        ) from error
    return api


def _inspect(api: APIClient, tag: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound, NotFound

    try:
        return api.inspect_image(tag)
    except (ImageNotFound, NotFound):
        return None


def build(name: str, on_line: OnLine) -> BuiltImage:
    """The image, built unless it is there. `on_line` gets each line of progress and may raise to stop the build.

    Two builds of one image at once: the second waits and finds it built. UserError tells a failed build's step and
    its last lines.
    """
    spec = recipe(name)
    tag = tag_of(name, spec.content_hash)
    api = _client(BUILD_SILENCE_TIMEOUT_S)
    found = _inspect(api, tag)
    if found is None:
        with file_lock(CACHE / "locks" / f"image-{name}.lock", f"building the image {name}", say=on_line):
            found = _inspect(api, tag)
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
    found = None if failed else _inspect(api, tag)
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


def ensure_base(on_line: OnLine) -> str:
    """The image id of `BASE_TAG`, made if it is not there: pulled, else taken from this host, else by debootstrap."""
    api = _client(PULL_TIMEOUT_S)
    found = _inspect(api, BASE_TAG)
    if found is not None:
        return str(found["Id"])
    with file_lock(CACHE / "locks" / "image-base.lock", "making the base image", say=on_line):
        found = _inspect(api, BASE_TAG)
        if found is None:
            why = _pull_base(api, on_line)
            if why:
                on_line(f"{DEBIAN_IMAGE} cannot be pulled ({why}); taking another way")
                if _inspect(api, LOCAL_DEBIAN_IMAGE) is not None:
                    _tag_base(api, LOCAL_DEBIAN_IMAGE)
                else:
                    _debootstrap(why, on_line)
            found = _inspect(api, BASE_TAG)
        if found is None:
            raise UserError(f"the base image {BASE_TAG} was made, but Docker does not know it; see `docker images`")
        return str(found["Id"])


def _pull_base(api: APIClient, on_line: OnLine) -> str:
    """Pull and tag; returns why it did not work, or "". Gives up when there is no progress for PULL_TIMEOUT_S."""
    from docker.errors import DockerException
    from requests import RequestException

    on_line(f"pulling {DEBIAN_IMAGE}")
    repository, tag = DEBIAN_IMAGE.split(":")
    try:
        if _inspect(api, DEBIAN_IMAGE) is None:
            for message in api.pull(repository, tag=tag, stream=True, decode=True):
                if message.get("error"):
                    return str(message["error"])
        _tag_base(api, DEBIAN_IMAGE)
    except (DockerException, RequestException) as error:
        return str(error)
    return ""


def _tag_base(api: APIClient, image: str) -> None:
    repository, tag = BASE_TAG.split(":")
    api.tag(image, repository, tag)


def _debootstrap(why_not_pulled: str, on_line: OnLine) -> None:
    """Debian's minimal system by debootstrap (about 100 s), imported as the base image."""
    from operations import packages, setup

    tool = shutil.which("debootstrap") or shutil.which("/usr/sbin/debootstrap")
    if tool is None and os.geteuid() == 0 and packages.is_debian():
        on_line("installing debootstrap")
        tool = str(setup.debootstrap())
    if tool is None or os.geteuid() != 0:
        what = "debootstrap is not installed" if tool is None else "debootstrap needs root"
        raise UserError(
            f"the base image cannot be made: {DEBIAN_IMAGE} cannot be pulled ({why_not_pulled}), and {what}.\n"
            f"  Make the image available (`docker pull {DEBIAN_IMAGE}` or `docker load`),\n"
            "  or on Debian or Ubuntu: `apt-get install debootstrap`, and run this as root."
        )
    on_line("making Debian's minimal system with debootstrap (about 2 minutes)")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="debootstrap-") as folder:
        target = Path(folder) / "root"
        lines: list[str] = []
        process = subprocess.Popen(
            [tool, "--variant=minbase", "--include=ca-certificates", DEBIAN_SUITE, str(target), *_debian_mirror()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (only calls prctl)
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines = [*lines[-30:], line.rstrip()]
                on_line(line.removeprefix("I: ").strip())
        except BaseException:
            process.terminate()
            raise
        finally:
            code = process.wait()
        if code:
            last = "\n".join(f"  | {line}" for line in lines[-15:])
            raise UserError(f"debootstrap of Debian {DEBIAN_SUITE} failed (exit {code}):\n{last}")
        _slim(target)
        on_line("importing it into Docker")
        _import(target)


def _die_with_parent() -> None:
    """In the child: end when the thread that waits for it ends (PR_SET_PDEATHSIG = 1), so that a killed provider leaves
    no debootstrap behind."""
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def _debian_mirror() -> list[str]:
    """The mirror this host uses itself, if it says so in its apt sources; else debootstrap's own default."""
    for source in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        try:
            text = source.read_text("utf-8")
        except OSError:
            continue
        for line in text.splitlines():
            words = [w for w in line.split() if not w.startswith(("[", "signed-by", "arch="))]
            if len(words) >= 3 and words[0] == "deb" and words[2] == DEBIAN_SUITE:
                return [words[1]]
            if line.startswith("URIs:") and f"Suites: {DEBIAN_SUITE}" in text and "security" not in line:
                return [line.split()[1]]
    return []


def _slim(target: Path) -> None:
    """Leave out what Debian's own slim image leaves out, and the package cache."""
    for path in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(target / path, ignore_errors=True)
        (target / path).mkdir(parents=True, exist_ok=True)


def _import(target: Path) -> None:
    """`tar | docker import`: docker-py's import reads whole files, the command streams."""
    docker = shutil.which("docker")
    if docker is None:
        raise UserError("the command `docker` is not installed; install the package docker.io, then run this again.")
    with subprocess.Popen(["tar", "--numeric-owner", "-C", str(target), "-c", "."], stdout=subprocess.PIPE) as tar:
        done = subprocess.run(
            [docker, "import", "--change", 'CMD ["bash"]', "-", BASE_TAG],
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or tar.returncode:
        raise UserError(f"`docker import` of the base image failed: {done.stderr.strip()}")
