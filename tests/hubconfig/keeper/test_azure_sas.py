"""A container's token by the machine's identity, against a metadata service and a blob service on loopback."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hubconfig.keeper import azure_sas
from hubconfig.keeper.errors import KeeperError

pytestmark = pytest.mark.unit

KEY = {
    "SignedOid": "oid",
    "SignedTid": "tid",
    "SignedStart": "2026-03-02T09:45:00Z",
    "SignedExpiry": "2026-03-03T10:00:00Z",
    "SignedService": "b",
    "SignedVersion": "2020-12-06",
    "Value": base64.b64encode(b"k" * 32).decode(),
}
SIGNATURE = "IfJVA2nqIFa4k7x0dZZzy0BeXYJQt33oAkA/QKgM0q8="
"""As azure-storage-blob 12.19.0 signs the same container, key and times for service version 2020-12-06."""


class Azure(ThreadingHTTPServer):
    """Notes requests as (method, path with query, headers, body)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.blobs: dict[str, bytes] = {}
        self.refuse = False
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Azure

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, body))
        code, text = 200, b""
        if self.server.refuse:
            code, text = 403, b"<Error><Code>AuthorizationPermissionMismatch</Code></Error>"
        elif self.path.startswith("/metadata/identity"):
            text = json.dumps({"access_token": "t0ken"}).encode()
        elif "userdelegationkey" in self.path:
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in KEY.items())
            text = f"<?xml version='1.0'?><UserDelegationKey>{inner}</UserDelegationKey>".encode()
        elif self.command == "PUT":
            path = urllib.parse.unquote(self.path.partition("?")[0])
            code = 409 if path in self.server.blobs else 201
            self.server.blobs.setdefault(path, body)
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    server = Azure()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(azure_sas, "METADATA", server.url)
    monkeypatch.setattr(azure_sas, "blob_host", lambda _account: server.url)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_identity_signs_a_token_for_the_one_container_as_azures_own_library_does(azure: Azure) -> None:
    token = azure_sas.container_token("acct", "backups", "client-1", now=datetime(2026, 3, 2, 10, 0, tzinfo=UTC))
    found = dict(urllib.parse.parse_qsl(token))
    assert found["sig"] == SIGNATURE
    assert (found["sp"], found["sr"], found["spr"]) == ("racwdl", "c", "https")
    assert (found["st"], found["se"]) == ("2026-03-02T09:45:00Z", "2026-03-03T10:00:00Z")
    asked, signed = azure.seen
    assert "client_id=client-1" in asked[1] and asked[2]["metadata"] == "true"
    assert signed[2]["authorization"] == "Bearer t0ken" and b"<Expiry>2026-03-03T10:00:00Z</Expiry>" in signed[3]


def test_a_refusal_is_a_sentence_without_the_token(azure: Azure) -> None:
    azure.refuse = True
    with pytest.raises(KeeperError, match=r"identity service refuses \(403 .*AuthorizationPermissionMismatch"):
        azure_sas.container_token("acct", "backups", "")
    with pytest.raises(KeeperError) as refusal:
        azure_sas.delegation_key(azure.url, "t0ken", "a", "b")
    assert "the backups account refuses" in str(refusal.value) and "t0ken" not in str(refusal.value)


def test_a_new_repository_is_uploaded_with_its_config_last(azure: Azure, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "config").write_bytes(b"c")
    (tmp_path / "keys" / "abc").write_bytes(b"k")
    (tmp_path / "zz").write_bytes(b"z")
    names = azure_sas.upload(tmp_path, azure.url, "backups", "/fa 26/", "sig=x")
    assert names == ["fa 26/keys/abc", "fa 26/zz", "fa 26/config"]
    assert azure.blobs["/backups/fa 26/config"] == b"c"
    assert all(headers["if-none-match"] == "*" for _, _, headers, _ in azure.seen)
    with pytest.raises(KeeperError, match="409"):
        azure_sas.upload(tmp_path, azure.url, "backups", "/fa 26/", "sig=x")
