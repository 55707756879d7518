"""The official release: an archive whose SHA-256 is known before it is unpacked."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from toolchain.pins import Tool
from toolchain.sources import Unavailable

CONNECT_TIMEOUT_S = 8.0
"""Short: where there is no way out, the next source should not wait for this one."""
CHUNK_BYTES = 1 << 20

# A socket that stalls, a reset, a response shorter than announced.
NETWORK_ERRORS = (urllib.error.URLError, OSError, http.client.HTTPException)


class Release:
    """Downloads, verifies and unpacks the release that the pins name."""

    name = "official release"

    def fill(self, tool: Tool, into: Path, cache: Path, tell: Callable[[str], None]) -> None:
        url = tool.release_url()
        if url is None:
            raise Unavailable("there is no release for this operating system and processor")
        archive_name = url.rsplit("/", 1)[1]
        wanted = tool.sha256.get(archive_name) or self._published(tool.checksums_url(), archive_name)
        archive = into / archive_name
        found = download(url, archive, tell)
        if found != wanted:
            raise Unavailable(f"{url} has SHA-256 {found}, expected {wanted}: not used")
        unpack(archive, tool, into)
        archive.unlink()

    @staticmethod
    def _published(url: str, archive_name: str) -> str:
        """The digest from the project's checksum file (lines `<digest>  <name>`)."""
        try:
            with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as answer:
                lines = answer.read().decode("ascii", "replace").splitlines()
        except NETWORK_ERRORS as error:
            raise Unavailable(f"{url}: {describe(error)}") from None
        for line in lines:
            digest, _, name = line.partition(" ")
            if name.strip().lstrip("*") == archive_name and len(digest) == 64:
                return digest.lower()
        raise Unavailable(f"{url} has no line for {archive_name}")


def describe(error: BaseException) -> str:
    """The network's own words, short."""
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__


def download(url: str, to: Path, tell: Callable[[str], None]) -> str:
    """Fetch `url` into the file `to`; returns its SHA-256. Raises Unavailable when it breaks off."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as answer, to.open("wb") as out:
            announced = int(answer.headers.get("Content-Length") or 0)
            got = 0
            while chunk := answer.read(CHUNK_BYTES):
                out.write(chunk)
                digest.update(chunk)
                got += len(chunk)
                tell(f"{got >> 20} of {announced >> 20} MiB" if announced else f"{got >> 20} MiB")
    except NETWORK_ERRORS as error:
        raise Unavailable(f"{url}: {describe(error)}") from None
    if announced and got != announced:
        raise Unavailable(f"{url}: broke off after {got} of {announced} bytes")
    return digest.hexdigest()


def unpack(archive: Path, tool: Tool, into: Path) -> None:
    """Take exactly the tool's files out of the archive; nothing else of it is written anywhere."""
    wanted = {tool.strip_prefix + name: name for name in tool.files}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = wanted.pop(member.name.removeprefix("./"), None)
                content = tar.extractfile(member) if name and member.isfile() else None
                if name and content:
                    with (into / name).open("wb") as out:
                        shutil.copyfileobj(content, out)
                    (into / name).chmod(0o755)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Unavailable(f"{archive.name} cannot be unpacked: {error}") from None
    if wanted:
        raise Unavailable(f"{archive.name} lacks {', '.join(sorted(wanted))}")
