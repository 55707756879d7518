"""The emulator's wire, as any ARM client sees it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.azure.rig import emulator
from tests.sandbox.azure.world import GROUP, LOCATION, SUBNET, VNET, account, properties, subnet, vault, vm, vnet

pytestmark = pytest.mark.unit
VERSION = "?api-version=2024-05-01"


class Wire:
    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Authorization": "Bearer x", **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(
            self.address + path, method=method, data=content, headers={k: v for k, v in sent.items() if v}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def code(self, *request: Any, **headers: str) -> tuple[int, str]:
        """The status and ARM's code of a refusal."""
        status, _, body = self(*request, **headers)
        return status, json.loads(body)["error"]["code"]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with emulator(duration_s=0.05) as (address, _):
        made = Wire(address)
        assert made("PUT", GROUP + VERSION, LOCATION)[0] == 201
        yield made


def test_every_request_names_its_version_and_who_asks(wire: Wire) -> None:
    assert wire.code("GET", GROUP) == (400, "MissingApiVersionParameter")
    assert wire.code("GET", GROUP + "?api-version=newest") == (400, "InvalidApiVersionParameter")
    assert wire.code("GET", GROUP + VERSION, Authorization="") == (401, "AuthenticationFailed")
    assert wire.code("PUT", VNET + VERSION, b"{") == (400, "InvalidRequestContent")
    assert wire.code("PUT", VNET + VERSION, b"[]") == (400, "InvalidRequestContent")
    assert wire.code("GET", "/nonsense" + VERSION) == (400, "InvalidResourceId")


def test_a_change_for_what_was_seen_is_refused_when_it_is_otherwise(wire: Wire) -> None:
    id = f"{GROUP}/providers/Microsoft.Network/dnsZones/example.edu"
    assert wire.code("PUT", id + VERSION, {"location": "global"}, If_Match='W/"x"') == (412, "PreconditionFailed")
    etag = json.loads(wire("PUT", id + VERSION, {"location": "global"}, If_None_Match="*")[2])["etag"]
    assert wire.code("PUT", id + VERSION, {"location": "global"}, If_None_Match="*") == (412, "PreconditionFailed")
    assert wire("PUT", id + VERSION, {"location": "global", "tags": {"a": "b"}}, If_Match=etag)[0] == 200
    assert wire.code("DELETE", id + VERSION, If_Match=etag) == (412, "PreconditionFailed")
    assert wire("DELETE", id + VERSION, If_Match="*")[0] in (200, 202)


def test_a_machine_is_told_to_stop_and_looked_at(wire: Wire) -> None:
    machine = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/hub"

    def power() -> str:
        view = json.loads(wire("GET", f"{machine}/instanceView{VERSION}")[2])
        return view["statuses"][1]["code"].removeprefix("PowerState/")

    wire("PUT", VNET + VERSION, vnet(subnets=[{"name": "nodes", **subnet("10.20.0.0/24")}]))
    card = {"name": "primary", "properties": {"subnet": {"id": SUBNET}}}
    wire(
        "PUT",
        f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic{VERSION}",
        properties(ipConfigurations=[card]),
    )
    time.sleep(0.1)
    assert wire("PUT", machine + VERSION, vm())[0] == 201
    time.sleep(0.1)
    assert power() == "running"
    for action, during, after in (
        ("deallocate", "deallocating", "deallocated"),
        ("start", "starting", "running"),
        ("powerOff", "stopping", "stopped"),
    ):
        status, headers, _ = wire("POST", f"{machine}/{action}{VERSION}", {})
        assert status == 202 and headers["azure-asyncoperation"] and power() == during
        time.sleep(0.1)
        assert power() == after
    assert wire.code("POST", f"{machine}/explode{VERSION}", {}) == (400, "InvalidRequestUri")
    assert wire.code("GET", f"{machine}x/instanceView{VERSION}") == (404, "ResourceNotFound")


def test_slow_work_is_followed_by_its_operation(wire: Wire) -> None:
    status, headers, _ = wire("PUT", VNET + VERSION, vnet())
    assert status == 201 and headers["retry-after"] == "1"
    operation = headers["azure-asyncoperation"].removeprefix(wire.address)
    seen = set()
    while "Succeeded" not in seen:
        seen.add(json.loads(wire("GET", operation)[2])["status"])
    assert seen == {"InProgress", "Succeeded"}
    status, headers, _ = wire("DELETE", GROUP + VERSION)
    assert status == 202 and "azure-asyncoperation" in headers
    assert wire("HEAD", GROUP + VERSION)[0] in (204, 404)


def test_a_client_finds_everything_from_one_address(wire: Wire) -> None:
    found = json.loads(wire("GET", "/metadata/endpoints?api-version=2022-09-01", Authorization="")[2])
    assert found["resourceManager"] == wire.address and found["authentication"]["audiences"] == [wire.address]
    login = found["authentication"]["loginEndpoint"].removeprefix(wire.address)
    tenant = json.loads(wire("GET", f"{login}common/v2.0/.well-known/openid-configuration", Authorization="")[2])
    token = json.loads(
        wire("POST", tenant["token_endpoint"].removeprefix(wire.address), b"grant_type=x", Authorization="")[2]
    )
    assert token["token_type"] == "Bearer" and token["access_token"].count(".") == 2
    assert wire("GET", GROUP + VERSION, Authorization=f"Bearer {token['access_token']}")[0] == 200


def test_secrets_through_the_vault(wire: Wire) -> None:
    id = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-hub"
    assert wire.code("GET", "/_vault/kv-hub/secrets/token") == (404, "VaultNotFound")
    wire("PUT", id + VERSION, vault())
    assert wire("PUT", "/_vault/kv-hub/secrets/token", {"value": "one"})[0] == 200
    assert json.loads(wire("GET", "/secrets/token", Host="kv-hub.vault.azure.net")[2])["value"] == "one"
    assert wire.code("GET", "/_vault/kv-hub/secrets/token", Authorization="") == (401, "Unauthorized")
    assert wire("DELETE", "/_vault/kv-hub/secrets/token")[0] == 200
    assert wire.code("PUT", "/_vault/kv-hub/secrets/token", {"value": "two"}) == (409, "Conflict")
    assert wire("POST", "/_vault/kv-hub/deletedsecrets/token/recover")[0] == 200
    assert json.loads(wire("GET", "/_vault/kv-hub/secrets/token")[2])["value"] == "one"


def test_blobs_through_the_account(wire: Wire) -> None:
    id = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/blobs1"
    wire("PUT", id + VERSION, account())
    place = "/_blob/blobs1/bundle/current.json"
    assert wire("PUT", place, b"{}")[0] == 404
    wire("PUT", f"{id}/blobServices/default/containers/bundle{VERSION}", {})
    assert wire("PUT", place, b"{}")[0] == 201
    status, headers, content = wire("GET", "/bundle/current.json", Host="blobs1.blob.core.windows.net")
    assert (status, content) == (200, b"{}") and headers["etag"]
    assert b"current.json" in wire("GET", "/_blob/blobs1/bundle?comp=list")[2]
    assert wire("GET", place, Authorization="")[0] == 401
    assert wire("DELETE", place)[0] == 202 and wire("GET", place)[0] == 404
