"""The stand-in for azure-native: what it refuses, what it makes of inputs, what it sees, and how it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from aiohttp import web

from providers.base.proto import provider_pb2, status_pb2
from providers.base.values import UNKNOWN, decode, encode
from sandbox.azure.emulator.errors import ArmError
from sandbox.azure.plugin.provider import StandIn
from tests.sandbox.azure import rig as rigs
from tests.sandbox.azure.rig import SUBSCRIPTION_ID, Made, Rig

pytestmark = pytest.mark.unit

GUARD = "subnets[0].networkSecurityGroup.securityRules"
GROUP = {"resourceGroupName": "rg"}
SPACE = {"addressSpace": {"addressPrefixes": ["10.20.0.0/16"]}}
RULE = {
    "name": "web",
    "priority": 100,
    "direction": "Inbound",
    "access": "Allow",
    "protocol": "Tcp",
    "sourceAddressPrefix": "Internet",
    "sourcePortRange": "*",
    "destinationAddressPrefix": "*",
    "destinationPortRange": "443",
}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigs.rig() as made:
        made.create("resources:ResourceGroup", GROUP)
        yield made


def network(rig: Rig, **more: Any) -> Made:
    return rig.create("network:VirtualNetwork", {**GROUP, "virtualNetworkName": "vnet", **SPACE, **more})


def account(rig: Rig, **more: Any) -> Made:
    inputs = {**GROUP, "accountName": "blobs1", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, **more}
    return rig.create("storage:StorageAccount", inputs)


def partial(error: grpc.RpcError) -> Any:
    metadata = dict(error.trailing_metadata() or ())  # pyright: ignore[reportAttributeAccessIssue]
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    return detail


# --- inputs


def test_it_has_exactly_the_sdks_version() -> None:
    assert StandIn().version == "3.29.0" and StandIn().name == "azure-native"


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("network:Subnett", "the SDK pulumi_azure_native 3.29.0 has no resource type"),
        ("quantum:Workspace", "has no resource type `azure-native:quantum:Workspace` yet"),
        ("network/v20240501:Subnet", "is no type of azure-native's default versions"),
    ],
)
def test_an_unknown_type_is_refused_loudly(rig: Rig, token: str, says: str) -> None:
    with pytest.raises(grpc.RpcError, match=says.replace("`", ".")):
        rig.check(token, {})


@pytest.mark.parametrize(
    ("inputs", "property", "says"),
    [
        ({**SPACE, "adressSpace": {}}, "adressSpace", "Did you mean `addressSpace`?"),
        ({"addressSpace": {"addressPrefixs": []}}, "addressSpace.addressPrefixs", "Did you mean `addressPrefixes`?"),
        ({"addressSpace": {"addressPrefixes": "10.0.0.0/8"}}, "addressSpace.addressPrefixes", "must be a list"),
        ({"subnets": [{"name": 7}]}, "subnets[0].name", "must be a text"),
        ({"privateEndpointVNetPolicies": "Sometimes"}, "privateEndpointVNetPolicies", "is not one of Disabled, Basic"),
        (
            {"subnets": [{"networkSecurityGroup": {"securityRules": [{"name": "x"}]}}]},
            GUARD + "[0].access",
            "missing",
        ),
        ({"enableDdosProtection": "yes"}, "enableDdosProtection", "must be true or false"),
    ],
)
def test_inputs_are_checked_against_the_sdk(rig: Rig, inputs: dict[str, Any], property: str, says: str) -> None:
    _, failures = rig.check("network:VirtualNetwork", {**GROUP, **inputs})
    assert says in failures[property]


def test_required_inputs_are_required(rig: Rig) -> None:
    assert set(rig.check("storage:StorageAccount", {})[1]) == {"resourceGroupName", "kind", "sku"}


def test_unknowns_pass_at_any_depth(rig: Rig) -> None:
    inputs, failures = rig.check(
        "network:VirtualNetwork", {"resourceGroupName": UNKNOWN, "addressSpace": {"addressPrefixes": [UNKNOWN]}}
    )
    assert not failures and inputs["addressSpace"]["addressPrefixes"] == [UNKNOWN]


def test_a_missing_name_is_made_from_the_seed_and_kept(rig: Rig) -> None:
    first, _ = rig.check("network:NatGateway", GROUP, seed=b"\x01\x02\x03\x04\x05")
    assert first["natGatewayName"] == "a-thing01020304"
    again, _ = rig.check("network:NatGateway", GROUP, olds=first, seed=b"\x09\x09\x09\x09")
    assert again["natGatewayName"] == "a-thing01020304"
    assert rig.check("network:Subnet", {**GROUP, "virtualNetworkName": "v"})[0]["subnetName"] == "a-thing"
    scope = {"scope": "/x", "principalId": "p", "roleDefinitionId": "r"}
    assert len(rig.check("authorization:RoleAssignment", scope)[0]["roleAssignmentName"]) == 36


def test_the_location_is_the_providers_where_none_is_given(rig: Rig) -> None:
    assert network(rig).outputs["location"] == "westus2"


def test_bodies_are_arms(rig: Rig) -> None:
    made = account(rig, enableHttpsTrafficOnly=True, networkRuleSet={"defaultAction": "Deny"}, tags={"course": "data8"})
    body = rig.arm.need(made.id).body
    assert body["properties"]["supportsHttpsTrafficOnly"] is True and body["tags"] == {"course": "data8"}
    assert body["properties"]["networkAcls"]["defaultAction"] == "Deny" and body["sku"]["name"] == "Standard_LRS"
    assert made.outputs["networkRuleSet"]["defaultAction"] == "Deny" and made.outputs["enableHttpsTrafficOnly"] is True
    guard = rig.create(
        "network:NetworkSecurityGroup", {**GROUP, "networkSecurityGroupName": "nsg", "securityRules": [RULE]}
    )
    assert rig.arm.need(f"{guard.id}/securityRules/web").body["properties"]["priority"] == 100
    assert guard.outputs["securityRules"][0]["priority"] == 100


# --- life


def test_a_resource_lives(rig: Rig) -> None:
    made = network(rig)
    group = f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/rg"
    assert made.id == f"{group}/providers/Microsoft.Network/virtualNetworks/vnet"
    assert made.outputs["provisioningState"] == "Succeeded" and made.outputs["azureApiVersion"] == "2024-05-01"
    assert made.read()[1] == made.inputs
    assert list(made.diff(tags={"a": "b"}).diffs) == ["tags"]
    assert made.update(tags={"a": "b"})["tags"] == {"a": "b"}
    made.delete()
    assert made.read()[0] == ""
    made.delete()  # what is gone is fine


def test_a_preview_touches_nothing_and_knows_what_it_can(rig: Rig) -> None:
    inputs = {**GROUP, "virtualNetworkName": "vnet", **SPACE}
    made = rig.create("network:VirtualNetwork", inputs, preview=True)
    assert (
        made.id == ""
        and made.outputs["provisioningState"] is UNKNOWN
        and made.outputs["addressSpace"] == SPACE["addressSpace"]
    )
    assert rig.arm.store.of_type("Microsoft.Network/virtualNetworks") == []
    real = network(rig)
    seen = real.update(preview=True, tags={"a": "b"})
    assert seen["provisioningState"] == "Succeeded" and seen["tags"] == {"a": "b"} and "tags" not in real.outputs


def test_a_preview_does_not_know_what_azure_will_write_within_an_object(rig: Rig) -> None:
    identity = {"type": "SystemAssigned"}
    workers = {**GROUP, "vmScaleSetName": "workers", "identity": identity}
    made = rig.create("compute:VirtualMachineScaleSet", workers, preview=True)
    assert made.outputs["identity"] == {**identity, "principalId": UNKNOWN, "tenantId": UNKNOWN}
    registry = {**GROUP, "registryName": "hubimages", "sku": {"name": "Basic"}, "identity": identity}
    real = rig.create("containerregistry:Registry", registry)
    assert real.outputs["identity"]["principalId"]
    seen = real.update(preview=True, tags={"a": "b"}, identity={"type": "SystemAssigned, UserAssigned"})
    assert seen["identity"]["principalId"] == real.outputs["identity"]["principalId"]


def test_identities_are_a_list_for_the_program_and_a_map_for_azure(rig: Rig) -> None:
    own = rig.create("managedidentity:UserAssignedIdentity", {**GROUP, "resourceName": "hub-identity"})
    identity = {"type": "UserAssigned", "userAssignedIdentities": [own.id]}
    workers = {**GROUP, "vmScaleSetName": "workers", "identity": identity}
    seen = rig.create("compute:VirtualMachineScaleSet", workers, preview=True)
    assert seen.outputs["identity"]["userAssignedIdentities"] is UNKNOWN
    cluster = {
        **GROUP,
        "resourceName": "hub",
        "dnsPrefix": "hub",
        "identity": identity,
        "agentPoolProfiles": [{"name": "system", "mode": "System", "vmSize": "Standard_D4s_v5", "count": 1}],
    }
    made = rig.create("containerservice:ManagedCluster", cluster)
    assert made.outputs["identity"]["userAssignedIdentities"][own.id]["clientId"] == own.outputs["clientId"]
    assert made.read()[1] == made.inputs
    rig.arm.need(made.id).body["identity"]["userAssignedIdentities"] = {}
    assert made.read()[1]["identity"]["userAssignedIdentities"] == []


def test_what_is_there_already_is_not_taken_over(rig: Rig) -> None:
    network(rig)
    with pytest.raises(grpc.RpcError, match=r"cannot create already existing resource '.*vnet'.*pulumi import"):
        network(rig)


def test_an_update_sends_back_the_subnets_it_does_not_name(rig: Rig) -> None:
    made = network(rig)
    subnet = rig.create(
        "network:Subnet", {**GROUP, "virtualNetworkName": "vnet", "subnetName": "a", "addressPrefix": "10.20.0.0/24"}
    )
    made.update(tags={"a": "b"})
    assert subnet.read()[0] == subnet.id
    assert "subnets" not in made.read()[1]


def test_drift_is_seen_and_azures_own_defaults_are_none(rig: Rig) -> None:
    made = network(rig, tags={"a": "b"})
    body = rig.arm.need(made.id).body
    body["properties"]["enableVmProtection"] = False
    body["tags"] = {"a": "changed"}
    _, inputs, outputs = made.read()
    assert inputs["tags"] == {"a": "changed"} and outputs["tags"] == {"a": "changed"}
    assert inputs["addressSpace"] == made.inputs["addressSpace"]
    del body["tags"]
    assert "tags" not in made.read()[1]


def test_drift_within_lists_and_objects(rig: Rig) -> None:
    guard = rig.create(
        "network:NetworkSecurityGroup", {**GROUP, "networkSecurityGroupName": "nsg", "securityRules": [RULE]}
    )
    assert guard.read()[1] == guard.inputs
    rig.arm.need(f"{guard.id}/securityRules/web").body["properties"]["sourceAddressPrefix"] = "*"
    assert guard.read()[1]["securityRules"] == [{**RULE, "sourceAddressPrefix": "*"}]


def test_an_import_finds_its_inputs(rig: Rig) -> None:
    made = network(rig, tags={"a": "b"})
    _, inputs, _ = made.read(known=False)
    assert (
        inputs["virtualNetworkName"] == "vnet" and inputs["resourceGroupName"] == "rg" and inputs["tags"] == {"a": "b"}
    )


# --- differences


def test_names_groups_and_places_are_for_good(rig: Rig) -> None:
    made = network(rig)
    assert made.replaces(virtualNetworkName="other") == ["virtualNetworkName"]
    assert made.replaces(resourceGroupName="other") == ["resourceGroupName"]
    assert made.replaces(location="eastus") == ["location"]
    assert made.diff(location="West US 2").changes == provider_pb2.DiffResponse.DIFF_NONE
    assert made.diff(virtualNetworkName="other").deleteBeforeReplace
    assert made.replaces(addressSpace={"addressPrefixes": ["10.30.0.0/16"]}) == []


def test_a_generated_name_lets_the_new_one_be_made_first(rig: Rig) -> None:
    made = rig.create("network:NatGateway", {**GROUP, "sku": {"name": "Standard"}, "zones": ["1"]})
    answer = made.diff(zones=["2"])
    assert list(answer.replaces) == ["zones"] and not answer.deleteBeforeReplace


# --- secrets


def test_secrets_stay_secret_and_are_deleted_through_the_vault(rig: Rig) -> None:
    tenant = rig.invoke("authorization:getClientConfig")[0]["tenantId"]
    properties = {"tenantId": tenant, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    rig.create("keyvault:Vault", {**GROUP, "vaultName": "kv-hub", "properties": properties})
    inputs = {**GROUP, "vaultName": "kv-hub", "secretName": "token", "properties": {"value": "tell-nobody"}}
    made = rig.create("keyvault:Secret", inputs, ("properties",))
    assert made.secrets == {"properties"} and "value" not in made.outputs["properties"]
    assert made.outputs["properties"]["secretUri"] == "https://kv-hub.vault.azure.net/secrets/token"
    assert made.read()[1] == inputs
    made.delete()
    assert made.read()[0] == ""
    with pytest.raises(grpc.RpcError, match="softly deleted"):
        rig.create("keyvault:Secret", inputs, ("properties",))


def test_keys_are_secret_results(rig: Rig) -> None:
    account(rig)
    results, secrets = rig.invoke("storage:listStorageAccountKeys", accountName="blobs1", resourceGroupName="rg")
    assert len(results["keys"]) == 2 and secrets == {"keys"}
    assert (
        rig.invoke("storage:getStorageAccount", accountName="blobs1", resourceGroupName="rg")[0]["kind"] == "StorageV2"
    )
    with pytest.raises(grpc.RpcError, match="no function"):
        rig.invoke("storage:getBlobInventoryPolicy")


def test_a_blob_is_uploaded_seen_changed_and_removed(rig: Rig) -> None:
    account(rig)
    rig.create("storage:BlobContainer", {**GROUP, "accountName": "blobs1", "containerName": "bundle"})

    def text(value: str) -> dict[str, str]:
        return {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "text": value, "hash": value}

    place = {**GROUP, "accountName": "blobs1", "containerName": "bundle", "blobName": "current.json"}
    made = rig.create("storage:Blob", {**place, "source": text("one"), "contentType": "application/json"})
    assert made.outputs["url"] == "https://blobs1.blob.core.windows.net/bundle/current.json"
    assert made.read()[1] == made.inputs
    made.update(source=text("two"))
    assert made.read()[1]["source"]["text"] == "two" and made.replaces(blobName="x") == ["blobName"]
    rig.arm.store.state.blobs["blobs1/bundle/current.json"]["content"] = "c29tZWJvZHk="
    assert made.read()[1]["source"]["text"] == "somebody"
    made.delete()
    assert made.read()[0] == ""


# --- failures


def test_what_azure_made_but_not_well_is_recorded(rig: Rig) -> None:
    rig.arm.fail_next.append(("natGateways", ArmError(500, "InternalServerError", "half made")))
    with pytest.raises(grpc.RpcError) as failed:
        rig.create("network:NatGateway", {**GROUP, "natGatewayName": "nat", "sku": {"name": "Standard"}})
    detail = partial(failed.value)
    assert detail.id.endswith("/natGateways/nat") and "half made" in detail.reasons[0]
    assert decode(detail.properties)[0]["provisioningState"] == "Failed"


def test_a_failed_resource_is_unhealthy_until_it_is_mended(rig: Rig) -> None:
    made = rig.create("network:NatGateway", {**GROUP, "natGatewayName": "nat", "sku": {"name": "Standard"}})
    rig.arm.need(made.id).state = "Failed"
    with pytest.raises(grpc.RpcError) as ill:
        made.read()
    assert "provisioningState: Failed" in partial(ill.value).reasons[0]
    made.update()
    assert made.read()[0] == made.id


def test_a_refusal_names_azures_words(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError, match=r"overlaps itself.*AddressSpacesOverlap, status 400"):
        network(rig, addressSpace={"addressPrefixes": ["10.0.0.0/8", "10.1.0.0/16"]})


def test_slow_work_is_waited_for() -> None:
    with rigs.rig(duration_s=0.3) as rig:
        began = time.monotonic()
        group = rig.create("resources:ResourceGroup", GROUP)
        made = network(rig)
        assert made.outputs["provisioningState"] == "Succeeded" and time.monotonic() - began >= 0.3
        made.delete()
        assert made.read()[0] == ""
        group.delete()
        assert group.read()[0] == ""


def test_a_busy_neighbour_and_too_many_requests_are_waited_for() -> None:
    refusals = iter([429, 503, 429])

    async def before(request: web.Request) -> web.StreamResponse | None:
        status = next(refusals, None) if request.method == "PUT" else None
        return web.Response(status=status, headers={"x-ms-retry-after-ms": "10"}) if status else None

    with rigs.rig(duration_s=0.3, before=before) as rig:
        rig.create("resources:ResourceGroup", GROUP)
        network(rig)
        place = {**GROUP, "virtualNetworkName": "vnet"}
        for number in (1, 2):
            rig.create("network:Subnet", {**place, "subnetName": f"s{number}", "addressPrefix": f"10.20.{number}.0/24"})
        assert next(refusals, None) is None


def test_no_answer_is_one_sentence(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(request: web.Request) -> web.StreamResponse | None:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    monkeypatch.setattr("sandbox.azure.plugin.client.WAIT_S", 0.01)
    with rigs.rig(before=nobody) as silent, pytest.raises(grpc.RpcError, match="no answer from the offline Azure"):
        silent.create("resources:ResourceGroup", GROUP)


# --- configuration


def test_it_talks_to_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    standin = StandIn()
    for address, says in (("", "no offline Azure runs"), ("https://management.azure.com", "only to loopback")):
        monkeypatch.setenv("SEMESTERHUB_SANDBOX_AZURE", address)
        with pytest.raises(Exception, match=says):
            standin.configure({})


def test_its_options_are_the_official_ones(rig: Rig) -> None:
    def failures(**news: Any) -> dict[str, str]:
        answer = rig.stub.CheckConfig(
            provider_pb2.CheckRequest(urn=rigs.urn("pulumi:providers:azure-native"), news=encode(news))
        )
        assert decode(answer.inputs)[0]["semesterhubStandIn"] == "sandbox"
        return {f.property: f.reason for f in answer.failures}

    assert failures(subscriptionId=SUBSCRIPTION_ID, location="westus2", useOidc=True) == {}
    wrong = failures(subscriptionId="mine", regio="x", metadataHost="management.azure.com")
    assert set(wrong) == {"subscriptionId", "regio", "metadataHost"} and "only to loopback" in wrong["metadataHost"]
    assert failures(metadataHost="127.0.0.1:4100") == {}
