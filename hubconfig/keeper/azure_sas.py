"""A token for one container of Azure Blob storage, made with the machine's managed identity.

restic 0.14 knows account keys and shared access signatures (SAS), no managed identities (those came with 0.16), and the
backups account allows no account keys. A *user delegation SAS* is signed with a key that the identity asks for and can do no
more than the identity itself may. Sources: learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas and
get-user-delegation-key (service version 2020-12-06).

restic 0.14 wants to create the container when it makes a repository, which no SAS of a container may
(github.com/restic/restic/issues/4004): the repository is made in a folder here, and its few files are uploaded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .errors import KeeperError

METADATA = "http://169.254.169.254"
VERSION = "2020-12-06"
PERMISSIONS = "racwdl"
"""Read, add, create, write, delete, list; in the order that Azure wants."""
VALID = timedelta(hours=24)
"""Longer than any single run; a delegation key may live seven days."""
CLOCKS_DIFFER = timedelta(minutes=15)
TIMEOUT_S = 20.0


def container_token(account: str, container: str, client_id: str, *, now: datetime | None = None) -> str:
    """A SAS for the container, good for a day. KeeperError when the identity gets no key."""
    now = (now or datetime.now(UTC)).astimezone(UTC)
    start, expiry = stamp(now - CLOCKS_DIFFER), stamp(now + VALID)
    key = delegation_key(blob_host(account), identity_token(client_id), start, expiry)
    return signed(account, container, key, start, expiry)


def blob_host(account: str) -> str:
    """Where the account's blobs are."""
    return f"https://{account}.blob.core.windows.net"


def stamp(moment: datetime) -> str:
    """A time as Azure writes it in signatures."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def identity_token(client_id: str) -> str:
    """A token of the machine's identity for storage, from the metadata service."""
    query = {"api-version": "2018-02-01", "resource": "https://storage.azure.com/"}
    if client_id:
        query["client_id"] = client_id
    url = f"{METADATA}/metadata/identity/oauth2/token?{urllib.parse.urlencode(query)}"
    answer = _send("GET", url, {"Metadata": "true"}, what="the machine's identity service")
    return str(json.loads(answer)["access_token"])


def delegation_key(host: str, token: str, start: str, expiry: str) -> dict[str, str]:
    """The key with which a SAS is signed: Value, SignedOid, SignedTid, SignedStart, …"""
    body = f"<?xml version='1.0' encoding='utf-8'?><KeyInfo><Start>{start}</Start><Expiry>{expiry}</Expiry></KeyInfo>"
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": VERSION, "Content-Type": "application/xml"}
    answer = _send(
        "POST", f"{host}/?restype=service&comp=userdelegationkey", headers, body.encode(), what="the backups account"
    )
    return {name.decode(): value.decode() for name, value in re.findall(rb"<(Signed\w+|Value)>([^<]*)</", answer)}


def signed(account: str, container: str, key: Mapping[str, str], start: str, expiry: str) -> str:
    """The SAS' query string."""
    fields = [
        PERMISSIONS, start, expiry, f"/blob/{account}/{container}",
        key["SignedOid"], key["SignedTid"], key["SignedStart"], key["SignedExpiry"], key["SignedService"], key["SignedVersion"],
        "", "", "",  # authorized, unauthorized agent, correlation id
        "", "https", VERSION, "c",  # address, protocol, version, resource: container
        "", "",  # snapshot, encryption scope
        "", "", "", "", "",  # response headers
    ]  # fmt: skip
    text = "\n".join(fields)
    mark = hmac.new(base64.b64decode(key["Value"]), text.encode(), hashlib.sha256).digest()
    return urllib.parse.urlencode(
        {
            "sp": PERMISSIONS,
            "st": start,
            "se": expiry,
            "skoid": key["SignedOid"],
            "sktid": key["SignedTid"],
            "skt": key["SignedStart"],
            "ske": key["SignedExpiry"],
            "sks": key["SignedService"],
            "skv": key["SignedVersion"],
            "spr": "https",
            "sv": VERSION,
            "sr": "c",
            "sig": base64.b64encode(mark).decode(),
        }
    )


def upload(folder: Path, host: str, container: str, prefix: str, token: str) -> list[str]:
    """Puts every file of a fresh repository into the container, `config` last: only then there is a repository.

    A blob that is there already is never overwritten. The names of the blobs, in order.
    """
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: (path.name == "config", str(path))
    )
    names: list[str] = []
    for path in files:
        name = "/".join(part for part in (prefix.strip("/"), path.relative_to(folder).as_posix()) if part)
        headers = {"x-ms-version": VERSION, "x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}
        url = f"{host}/{container}/{urllib.parse.quote(name)}?{token}"
        _send("PUT", url, headers, path.read_bytes(), what="the backups container")
        names.append(name)
    return names


def _send(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, what: str) -> bytes:
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        said = error.read()[:300].decode(errors="replace")
        raise KeeperError(f"{what} refuses ({error.code} {error.reason}): {said}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise KeeperError(f"{what} does not answer: {reason}") from None
