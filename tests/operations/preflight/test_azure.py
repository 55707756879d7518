"""Checks of an Azure subscription, against a server of the test's own that answers as Azure Resource Manager does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.plan import plan
from components.semester import Semester, load_stack_file
from operations.preflight import arm, azure
from operations.preflight.finding import Finding
from operations.preflight.questions import NotKnownError

pytestmark = pytest.mark.unit

DIGEST = "sha256:" + "b" * 64


def jwt(claims: dict[str, str]) -> str:
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".c2ln"


class Server:
    """Answers by path. `requests`: what came, with its query."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            del format, args

        def answer(self) -> None:
            parts = urlsplit(self.path)
            told.requests.append((parts.path, parse_qs(parts.query)))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = told.answers.get(self.path, told.answers.get(parts.path, 404))
            status = body if isinstance(body, int) else 200
            error = {"error": {"code": "ResourceNotFound", "message": "It is not there."}}
            content = json.dumps(error if isinstance(body, int) else body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        told.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield told
        http.shutdown()
        thread.join(5)


@pytest.fixture
def reader(server: Server) -> arm.Arm:
    return arm.Arm(lambda _scope: jwt({"upn": "ada@example.edu"}), server.url)


@pytest.fixture
def sp16(repository: Path) -> Semester:
    return load_stack_file(repository / "stacks" / "Pulumi.sp16.yaml")


def subscription(semester: Semester) -> str:
    return f"/subscriptions/{semester.account}"


def usage(name: str, limit: int, used: int = 0) -> dict[str, Any]:
    return {"name": {"value": name, "localizedValue": name}, "limit": limit, "currentValue": used, "unit": "Count"}


def test_who_one_is(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    server.answers[subscription(sp16)] = {"displayName": "Campus", "state": "Enabled"}
    found = azure.who(sp16, reader)
    assert (found.state, found.said) == ("pass", f"ada@example.edu in Campus ({sp16.account})")
    assert server.requests == [(subscription(sp16), {"api-version": [azure.SUBSCRIPTIONS]})]


def test_disks_encrypted_on_their_host_need_a_feature_of_the_subscription(
    server: Server, reader: arm.Arm, sp16: Semester
) -> None:
    path = f"{subscription(sp16)}/providers/Microsoft.Features/providers/Microsoft.Compute/features/EncryptionAtHost"
    assert azure.host_encryption(sp16, reader).state == "unknown"
    for state, wanted in (("Registered", "pass"), ("NotRegistered", "fail"), ("Pending", "fail")):
        server.answers[path] = {"properties": {"state": state}}
        found = azure.host_encryption(sp16, reader)
        assert found.state == wanted, state
    assert "wait" in found.remedy
    server.answers[path] = {"properties": {"state": "NotRegistered"}}
    assert (
        "az feature register --namespace Microsoft.Compute --name EncryptionAtHost"
        in azure.host_encryption(sp16, reader).remedy
    )


def test_another_subscription_a_disabled_one_or_nobody_fails(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    assert "does not reach the subscription" in azure.who(sp16, reader).said
    server.answers[subscription(sp16)] = {"displayName": "Campus", "state": "Disabled"}
    assert azure.who(sp16, reader).state == "fail"
    server.answers[subscription(sp16)] = 401
    assert "az login" in azure.who(sp16, reader).remedy

    def nobody(_scope: str) -> str:
        raise arm.ArmError(401, "", "DefaultAzureCredential failed")

    assert "az login" in azure.who(sp16, arm.Arm(nobody, server.url)).remedy


def test_resource_providers(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    for name in azure.PROVIDERS:
        server.answers[f"{subscription(sp16)}/providers/{name}"] = {"registrationState": "Registered"}
    assert azure.providers(sp16, reader).state == "pass"
    kubernetes = sp16.model_copy(update={"orchestrator": "kubernetes"})
    path = f"{subscription(sp16)}/providers/Microsoft.ContainerService"
    server.answers[path] = {"registrationState": "NotRegistered"}
    found = azure.providers(kubernetes, reader)
    assert found.state == "fail" and "az provider register --namespace Microsoft.ContainerService" in found.remedy
    assert azure.providers(sp16.model_copy(update={"account": "other"}), reader).state == "unknown"


def limits(server: Server, semester: Semester, **changes: int) -> None:
    """Exactly enough for sp16: 5 workers of 8 cores (E) and a hub of 2 (D), with 10 cores in use by others."""
    values = {"cores": 52, "standardEASv5Family": 40, "standardDASv5Family": 2, **changes}
    base = f"{subscription(semester)}/providers"
    compute = f"{base}/Microsoft.Compute/locations/westus2/usages"
    rows = [usage(name, limit, 10 if name == "cores" else 0) for name, limit in values.items() if name[0] in "cs"]
    # A list in two pages, as long ones come.
    server.answers[compute] = {"value": rows[:1], "nextLink": f"{server.url}{compute}?page=2"}
    server.answers[f"{compute}?page=2"] = {"value": rows[1:]}
    network = [
        usage("PublicIPAddresses", values.get("PublicIPAddresses", 12), 10),
        usage("VirtualNetworks", values.get("VirtualNetworks", 1)),
    ]
    server.answers[f"{base}/Microsoft.Network/locations/westus2/usages"] = {"value": network}
    accounts = [usage("StorageAccounts", values.get("StorageAccounts", 3))]
    server.answers[f"{base}/Microsoft.Storage/locations/westus2/usages"] = {"value": accounts}


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.check.removeprefix("quota: "): finding.state for finding in findings}


def test_quotas_are_enough_to_the_last_core(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    limits(server, sp16)
    found = states(azure.quotas(sp16, plan(sp16), False, reader))
    assert set(found.values()) == {"pass"} and len(found) == 6


@pytest.mark.parametrize(
    ("limit", "value", "check"),
    [
        ("cores", 51, "cores"),
        ("standardEASv5Family", 39, "standardEASv5Family"),
        ("standardDASv5Family", 1, "standardDASv5Family"),
        ("PublicIPAddresses", 11, "public addresses"),
        ("VirtualNetworks", 0, "virtual network"),
        ("StorageAccounts", 2, "storage accounts"),
    ],
)
def test_one_too_few_fails(limit: str, value: int, check: str, server: Server, reader: arm.Arm, sp16: Semester) -> None:
    limits(server, sp16, **{limit: value})
    found = states(azure.quotas(sp16, plan(sp16), False, reader))
    assert [name for name, state in found.items() if state == "fail"] == [check]


def test_a_stack_that_is_there_needs_only_the_workers_to_come(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    limits(server, sp16, cores=42, standardEASv5Family=32, standardDASv5Family=0)
    assert set(states(azure.quotas(sp16, plan(sp16), True, reader)).values()) == {"pass"}


def test_limits_that_cannot_be_read_are_unknown(reader: arm.Arm, sp16: Semester) -> None:
    assert states(azure.quotas(sp16, plan(sp16), False, reader)) == {"cores": "unknown"}


def sku(name: str, *restrictions: str) -> dict[str, Any]:
    return {"resourceType": "virtualMachines", "name": name, "restrictions": [{"type": kind} for kind in restrictions]}


def test_machine_types(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    path = f"{subscription(sp16)}/providers/Microsoft.Compute/skus"
    hub, worker = "Standard_D2as_v5", "Standard_E8as_v5"
    server.answers[path] = {"value": [sku(hub), sku(worker, "Zone"), {"resourceType": "disks", "name": "x"}]}
    assert azure.machine_types(sp16, plan(sp16), reader).state == "pass"
    server.answers[path] = {"value": [sku(hub), sku(worker, "Location")]}
    assert "not for this subscription: Standard_E8as_v5" in azure.machine_types(sp16, plan(sp16), reader).said
    server.answers[path] = {"value": [sku(worker)]}
    assert "not in westus2: Standard_D2as_v5" in azure.machine_types(sp16, plan(sp16), reader).said
    server.answers[path] = {"value": []}
    assert azure.machine_types(sp16, plan(sp16), reader).state == "unknown"


@pytest.mark.parametrize(
    ("size", "family"),
    [
        ("Standard_E8as_v5", "standardEASv5Family"),
        ("Standard_D16as_v5", "standardDASv5Family"),
        ("Standard_D2s_v3", "standardDSv3Family"),
    ],
)
def test_families_are_named_as_azure_counts_them(size: str, family: str) -> None:
    assert azure.family(size) == family


def test_the_marketplace_image(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    image = ("Debian", "debian-12", "12-gen2", "0.20250316.2053")
    assert azure.machine_image(sp16, image, reader).state == "fail"
    path = (
        f"{subscription(sp16)}/providers/Microsoft.Compute/locations/westus2/publishers/Debian/artifacttypes/vmimage"
        "/offers/debian-12/skus/12-gen2/versions/0.20250316.2053"
    )
    server.answers[path] = {"name": "0.20250316.2053"}
    assert azure.machine_image(sp16, image, reader).state == "pass"
    server.answers[path] = 403
    assert azure.machine_image(sp16, image, reader).state == "unknown"


def test_the_zone_and_its_servers(server: Server, reader: arm.Arm, sp16: Semester) -> None:
    with pytest.raises(NotKnownError, match="campus-dns"):
        azure.zone_servers(sp16, "campus-dns", "example.edu", reader)
    path = f"{subscription(sp16)}/resourceGroups/campus-dns/providers/Microsoft.Network/dnsZones/example.edu"
    server.answers[path] = {"properties": {"nameServers": ["NS1-01.azure-dns.com.", "ns2-01.azure-dns.net."]}}
    assert azure.zone_servers(sp16, "campus-dns", "example.edu", reader) == {
        "ns1-01.azure-dns.com",
        "ns2-01.azure-dns.net",
    }


def test_images_exist_by_digest(server: Server) -> None:
    host = server.url.removeprefix("http://")

    def there() -> bool:
        return arm.registry_has(host, "semesterhub/hub", DIGEST, lambda _scope: "aad", scheme="http")

    with pytest.raises(arm.ArmError):
        there()
    server.answers |= {"/oauth2/exchange": {"refresh_token": "r"}, "/oauth2/token": {"access_token": "a"}}
    assert not there()
    server.answers[f"/v2/semesterhub/hub/manifests/{DIGEST}"] = {}
    assert there()
    server.answers[f"/v2/semesterhub/hub/manifests/{DIGEST}"] = 401
    with pytest.raises(arm.ArmError, match="401"):
        there()
