"""One HTTP request, tried again while the other side is busy or not there yet."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .config import AgentError

METADATA = "http://169.254.169.254"
"""Metadata service of AWS and Azure, the same link-local address in both."""
BUSY = frozenset({429, 500, 502, 503, 504})
PAUSE_S = 1.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token must not travel to wherever an answer points."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def once(request: urllib.request.Request, timeout_s: float) -> Answer:
    try:
        with opener().open(request, timeout=timeout_s) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def opener() -> urllib.request.OpenerDirector:
    # No proxy of the environment: metadata and tokens are for this machine alone.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def send(
    method: str,
    url: str,
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]],
    body: bytes | None = None,
    *,
    allow: tuple[int, ...] = (),
    patience_s: float = 30,
    timeout_s: float = 10,
) -> Answer:
    """The answer, if its status is 2xx or in ``allow``. Tried again for ``patience_s`` while the other side is busy.

    ``headers`` may be a function, called for each try: a signature is good for some minutes only.
    AgentError says who was asked and what came back, never a header or a body that was sent.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fresh = headers() if callable(headers) else headers
            answer = once(urllib.request.Request(url, body, dict(fresh), method=method), timeout_s)
        except (OSError, http.client.HTTPException) as error:
            why = f"{getattr(error, 'reason', error)}"
        else:
            why = f"{answer.status} {answer.body[:300].decode(errors='replace')}"
            busy = answer.status in BUSY or (answer.status == 400 and b"Throttl" in answer.body)
            if not busy and (answer.status in allow or 200 <= answer.status < 300):
                return answer
            if not busy:
                raise AgentError(f"{method} {url.split('?', maxsplit=1)[0]}: {why}")
        if time.monotonic() > deadline:
            raise AgentError(f"{method} {url.split('?', maxsplit=1)[0]} (tried for {patience_s:g} s): {why}")
        time.sleep(PAUSE_S)
