"""What the SDKs' constructors say, read without importing them."""

from __future__ import annotations

import pytest

from providers.base import ANY, UNKNOWN
from providers.base.schema import REQUIRED, ListOf, MapOf
from sandbox.sdk import Sdk, UnknownTypeError

pytestmark = pytest.mark.unit
AWS = Sdk("pulumi_aws", "aws")
AZURE = Sdk("pulumi_azure_native", "azure-native")


def test_names_types_and_what_must_be_given() -> None:
    shape = AWS.resource("aws:ec2/route:Route")
    assert shape.schema.fields["routeTableId"].default is REQUIRED
    assert shape.schema.fields["destinationCidrBlock"].default is None
    assert "state" in shape.outputs and "routeTableId" not in shape.outputs
    _, wrong = shape.schema.check({"destinationCidrBlok": "0.0.0.0/0"})
    assert {w.property for w in wrong} == {"routeTableId", "destinationCidrBlok"}
    assert "Did you mean `destinationCidrBlock`?" in wrong[0].reason


def test_nested_classes_are_followed() -> None:
    schema = AWS.resource("aws:ec2/launchTemplate:LaunchTemplate").schema
    given = {"blockDeviceMappings": [{"ebs": {"volumeSize": "ten", "volumSize": 1}}], "tags": {"a": 1}, "name": UNKNOWN}
    _, wrong = schema.check(given)
    assert {w.property for w in wrong} == {
        "blockDeviceMappings[0].ebs.volumeSize",
        "blockDeviceMappings[0].ebs.volumSize",
        "tags.a",
    }


def test_secrets_and_free_values() -> None:
    assert AWS.resource("aws:ssm/parameter:Parameter").schema.fields["value"].secret
    assert AWS.resource("aws:iam/role:Role").schema.fields["assumeRolePolicy"].kind is ANY  # a text or an object
    assert AWS.resource("aws:iam/role:Role").schema.fields["tags"].kind == MapOf(str)


def test_functions_and_the_provider() -> None:
    found = AWS.function("aws:index/getAvailabilityZones:getAvailabilityZones")
    assert found.schema.fields["excludeNames"].kind == ListOf(str) and "zoneIds" in found.outputs
    assert "defaultTags" in AWS.provider().schema.fields


def test_azure_speaks_the_same() -> None:
    schema = AZURE.resource("azure-native:network:VirtualNetwork").schema
    assert schema.fields["resourceGroupName"].default is REQUIRED
    _, wrong = schema.check({"resourceGroupName": "g", "addressSpace": {"addressPrefixs": []}})
    assert [w.property for w in wrong] == ["addressSpace.addressPrefixs"]


@pytest.mark.parametrize("token", ["aws:ec2/vpcc:Vpcc", "aws:ec2/vpc:VpcX", "azure-native:network:Subnet", "nonsense"])
def test_an_unknown_token_is_refused(token: str) -> None:
    with pytest.raises(UnknownTypeError):
        AWS.resource(token)
