"""The semester's own registry as this host reaches it: plain HTTP on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from providers.base import Context, ProviderError

if TYPE_CHECKING:
    from http.client import HTTPResponse

WAIT_S = 30
REQUEST_TIMEOUT_S = 10
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """A Docker registry at `address`, ``127.0.0.1:<port>``."""

    def __init__(self, address: str) -> None:
        self.address = address

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Iterator[HTTPResponse]:
        """One question, and its answer to read from. Raises OSError when there is no proper one."""
        import http.client  # late: with it come ssl and email, 0.1 s at each start of the plugin

        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s, blocksize=1 << 18)
        try:
            connection.request(method, path, body, {"Accept": MANIFEST, **(headers or {})})
            yield connection.getresponse()
        except http.client.HTTPException as error:
            raise OSError(f"no proper answer: {error!r}") from error
        finally:
            connection.close()

    def _status(self, method: str, path: str) -> int:
        with self.ask(method, path) as answer:
            return answer.status

    def wait(self, ctx: Context) -> None:
        """Until it answers; ProviderError after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        why: object = ""
        while time.monotonic() < deadline:
            try:
                status = self._status("GET", "/v2/")
                if status == 200:
                    return
                why = f"status {status}"
            except OSError as error:
                why = error
            ctx.status(f"waiting for the registry at {self.address}")
            ctx.sleep(0.5)
        raise ProviderError(
            f"the image registry at {self.address} does not answer after {WAIT_S} s ({why}). It runs on the hub VM: "
            "see that the machine is up (`./hub status`), and that nothing else has taken the port."
        )

    def has(self, repository: str, digest: str, kind: str = "manifests") -> bool:
        """Whether it holds the manifest (or what else `kind` says); False as well when it does not answer."""
        try:
            return self._status("HEAD", f"/v2/{repository}/{kind}/{digest}") == 200
        except OSError:
            return False

    def require(self, repository: str, digest: str) -> None:
        """ProviderError unless it holds the manifest."""
        if not self.has(repository, digest):
            raise ProviderError(
                f"the registry at {self.address} took {repository}@{digest} but does not give it back; is its disk full?"
            )

    def digest_of(self, repository: str, tag: str, image_id: str) -> str | None:
        """The digest under a tag, if what is there is the image with this id."""
        with self.ask("GET", f"/v2/{repository}/manifests/{tag}") as answer:
            if answer.status != 200:
                return None
            digest = answer.headers.get("Docker-Content-Digest", "")
            same = json.loads(answer.read()).get("config", {}).get("digest") == image_id
        return digest if same and digest else None

    def upload(self, repository: str, digest: str, content: BinaryIO, size: int, timeout_s: float) -> None:
        """A layer or a configuration in one piece. Raises OSError when it is not taken: among others, when `digest` is not its own."""
        with self.ask("POST", f"/v2/{repository}/blobs/uploads/") as begun:
            where = urlsplit(begun.headers.get("Location", ""))
            if begun.status != 202 or not where.path:
                raise OSError(f"no upload: status {begun.status}")
        query = f"{where.query}&digest={digest}" if where.query else f"digest={digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self.ask("PUT", f"{where.path}?{query}", content, headers, timeout_s) as done:
            if done.status != 201:
                raise OSError(f"{digest} refused: status {done.status} {done.read(200)!r}")
