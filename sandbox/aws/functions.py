"""The provider's functions that components/aws calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from providers.base import Context, Function, ProviderError
from sandbox.aws.api import Api
from sandbox.aws.scope import Settings, as_map, plain
from sandbox.sdk import Sdk


class Ask(Function):
    """A function whose arguments are checked as the SDK says. `find` gets arguments with their names in camelCase."""

    token: ClassVar[str] = ""

    def __init__(self, sdk: Sdk, api: Api, settings: Settings) -> None:
        self._api, self._settings = api, settings
        self.schema = sdk.function(self.token).schema  # type: ignore[misc]

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        region = str(arguments.get("region") or self._settings.region)
        found = self.find(arguments, region)
        return plain({**arguments, "region": region, **found})

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        """The results besides the arguments."""
        raise NotImplementedError

    def _filters(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        given = arguments.get("filters") or []
        return {"Filters": [{"Name": f["name"], "Values": list(f["values"])} for f in given]} if given else {}


class GetAmi(Ask):
    token = "aws:ec2/getAmi:getAmi"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        call = {
            **self._filters(arguments),
            **({"Owners": list(arguments["owners"])} if arguments.get("owners") else {}),
        }
        images = self._api.call("ec2", "describe_images", call, region)["Images"]
        if arguments.get("nameRegex"):
            images = [i for i in images if re.search(arguments["nameRegex"], i["Name"])]
        if not images:
            raise ProviderError("Your query returned no results. Please change your search criteria and try again.")
        if len(images) > 1 and not arguments.get("mostRecent"):
            raise ProviderError(
                "Your query returned more than one result. Please try a more specific search criteria, or set `mostRecent`."
            )
        image = max(images, key=lambda i: i.get("CreationDate", ""))
        names = {
            "ImageId": "imageId",
            "Name": "name",
            "Architecture": "architecture",
            "OwnerId": "ownerId",
            "RootDeviceName": "rootDeviceName",
            "CreationDate": "creationDate",
            "State": "state",
            "VirtualizationType": "virtualizationType",
            "Description": "description",
        }
        found = {ours: image[theirs] for theirs, ours in names.items() if theirs in image}
        return {
            **found,
            "id": image["ImageId"],
            "arn": f"arn:aws:ec2:{region}::image/{image['ImageId']}",
            "tags": as_map(image.get("Tags")),
        }


class GetZones(Ask):
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        # moto knows the filter `state`, but not the one on opting in, and has no zone that needs it.
        filters = [f for f in arguments.get("filters") or [] if f["name"] != "opt-in-status"]
        call = self._filters({"filters": filters})
        zones = self._api.call("ec2", "describe_availability_zones", call, region)["AvailabilityZones"]
        zones = [z for z in zones if not arguments.get("state") or z["State"] == arguments["state"]]
        zones = [z for z in zones if z["ZoneName"] not in (arguments.get("excludeNames") or [])]
        names = sorted(z["ZoneName"] for z in zones)
        return {
            "id": region,
            "names": names,
            "zoneIds": [z["ZoneId"] for z in sorted(zones, key=lambda z: z["ZoneName"])],
            "groupNames": [region],
        }


class GetCaller(Ask):
    token = "aws:index/getCallerIdentity:getCallerIdentity"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        who = self._api.call("sts", "get_caller_identity", {}, region)
        return {"accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"], "id": who["Account"]}


class GetRegion(Ask):
    token = "aws:index/getRegion:getRegion"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        return {"id": region, "name": region, "description": region, "endpoint": f"ec2.{region}.amazonaws.com"}


class GetPartition(Ask):
    token = "aws:index/getPartition:getPartition"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}


class GetZone(Ask):
    token = "aws:route53/getZone:getZone"

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        wanted = str(arguments.get("name") or "").rstrip(".")
        zones = self._api.call("route53", "list_hosted_zones", {}, region)["HostedZones"]
        found = [
            z for z in zones if z["Name"].rstrip(".") == wanted or z["Id"].rpartition("/")[2] == arguments.get("zoneId")
        ]
        if len(found) != 1:
            raise ProviderError(
                f"{'no' if not found else 'more than one'} matching Route 53 Hosted Zone found for {wanted or arguments.get('zoneId')}"
            )
        id = found[0]["Id"].rpartition("/")[2]
        details = self._api.call("route53", "get_hosted_zone", {"Id": id}, region)
        return {
            "id": id,
            "zoneId": id,
            "name": found[0]["Name"].rstrip("."),
            "arn": f"arn:aws:route53:::hostedzone/{id}",
            "nameServers": (details.get("DelegationSet") or {}).get("NameServers", []),
            "privateZone": False,
        }


class GetParameter(Ask):
    token = "aws:ssm/getParameter:getParameter"
    secret_results = frozenset({"value"})

    def find(self, arguments: Mapping[str, Any], region: str) -> dict[str, Any]:
        seen = self._api.call("ssm", "get_parameter", {"Name": arguments["name"], "WithDecryption": True}, region)[
            "Parameter"
        ]
        return {
            "id": seen["Name"],
            "value": seen["Value"],
            "type": seen["Type"],
            "arn": seen["ARN"],
            "version": seen["Version"],
        }


FUNCTIONS: dict[str, Callable[[Sdk, Api, Settings], Function]] = {
    kind.token: kind for kind in (GetAmi, GetZones, GetCaller, GetRegion, GetPartition, GetZone, GetParameter)
}
