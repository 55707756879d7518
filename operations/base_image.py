"""The image that every image of the project stands on: Debian bookworm, slim, however this host can get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE

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

OnLine = Callable[[str], None]


def docker_client(timeout_s: float) -> APIClient:
    """A client of this host's Docker; UserError when none answers. `timeout_s`: of silence, for every call."""
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


def inspect_image(api: APIClient, tag: str) -> dict[str, Any] | None:
    """Docker's description of an image on this host; None when it is not there."""
    from docker.errors import ImageNotFound, NotFound

    try:
        return api.inspect_image(tag)
    except (ImageNotFound, NotFound):
        return None


def ensure_base(on_line: OnLine) -> str:
    """The image id of `BASE_TAG`, made if it is not there: pulled, else taken from this host, else by debootstrap."""
    api = docker_client(PULL_TIMEOUT_S)
    found = inspect_image(api, BASE_TAG)
    if found is not None:
        return str(found["Id"])
    with file_lock(CACHE / "locks" / "image-base.lock", "making the base image", say=on_line):
        found = inspect_image(api, BASE_TAG)
        if found is None:
            why = _pull_base(api, on_line)
            if why:
                on_line(f"{DEBIAN_IMAGE} cannot be pulled ({why}); taking another way")
                if inspect_image(api, LOCAL_DEBIAN_IMAGE) is not None:
                    _tag_base(api, LOCAL_DEBIAN_IMAGE)
                else:
                    _debootstrap(why, on_line)
            found = inspect_image(api, BASE_TAG)
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
        if inspect_image(api, DEBIAN_IMAGE) is None:
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
