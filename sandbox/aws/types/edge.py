"""Names and looks from outside: Route 53."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from providers.base import UNKNOWN
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAG_KEYS, TAGS, TOKEN, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import ask, known


def _tagging(kind: str) -> Tagging:
    of = {"ResourceType": kind, "ResourceId": ID}
    return Tagging(
        set=Call("route53", "change_tags_for_resource", {**of, "AddTags": TAGS}),
        unset=Call("route53", "change_tags_for_resource", {**of, "RemoveTagKeys": TAG_KEYS}),
    )


def _tags_look(kind: str) -> Look:
    return Look(
        Call("route53", "list_tags_for_resource", {"ResourceType": kind, "ResourceId": ID}),
        "ResourceTagSet.Tags",
        under="Tags",
    )


def _put_tags(kind: str) -> Call:
    return Call("route53", "change_tags_for_resource", {"ResourceType": kind, "ResourceId": ID, "AddTags": TAGS})


def _records_left(scope: Any, inputs: Mapping[str, Any]) -> str | None:
    if inputs.get("forceDestroy"):
        return None
    path = "ResourceRecordSets[?Type!='NS' && Type!='SOA'].Name"
    found = ask(scope, "route53", "list_resource_record_sets", path, HostedZoneId=scope.id)
    return f"HostedZoneNotEmpty: the zone {scope.id} still has {', '.join(found)}" if found else None


ZONE = Spec(
    type="aws:route53/zone:Zone",
    docs=PROVIDER_DOCS + "route53_zone",
    create=Call(
        "route53",
        "create_hosted_zone",
        {
            "Name": In("name"),
            "CallerReference": TOKEN,
            "HostedZoneConfig": {"Comment": In("comment"), "PrivateZone": False},
        },
    ),
    id=lambda answer, _s: answer["HostedZone"]["Id"].rpartition("/")[2],
    looks=(Look(Call("route53", "get_hosted_zone", {"Id": ID}), ""), _tags_look("hostedzone")),
    updates=(
        Update("comment", (Call("route53", "update_hosted_zone_comment", {"Id": ID, "Comment": In("comment")}),)),
        Update("name", (_put_tags("hostedzone"),), create=True),
    ),
    delete=Call("route53", "delete_hosted_zone", {"Id": ID}),
    tagging=_tagging("hostedzone"),
    force_new="name",
    defaults={"comment": "Managed by Pulumi"},
    seen={"name": lambda z: z["HostedZone"]["Name"].rstrip("."), "comment": "HostedZone.Config.Comment"},
    outputs={
        "arn": "arn:aws:route53:::hostedzone/{id}",
        "zoneId": "{id}",
        "nameServers": "DelegationSet.NameServers",
        "primaryNameServer": "DelegationSet.NameServers[0]",
    },
    kept="forceDestroy",
    autoname="name",
    refuse_delete=(_records_left,),
)


def _records_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    kind = values.get("type")
    for i, data in enumerate(values.get("records") or []):
        if data is UNKNOWN or kind not in ("A", "AAAA"):
            continue
        try:
            fits = ipaddress.ip_address(data).version == (4 if kind == "A" else 6)
        except ValueError:
            fits = False
        if not fits:
            wrong.append((f"records[{i}]", f"{data!r} is no address for a record of type {kind}"))
    if kind is not UNKNOWN and kind == "CNAME" and len(values.get("records") or []) > 1:
        wrong.append(("records", "a CNAME has one target"))
    if values.get("aliases") is None and (values.get("records") is None or values.get("ttl") is None):
        wrong.append(("records", "a record needs records and ttl"))
    if known(values, "ttl") and not 0 <= values["ttl"] <= 2147483647:
        wrong.append(("ttl", "is between 0 and 2147483647 seconds"))
    return wrong


def _full(scope: Any) -> str:
    """A record's name, with its zone where the program left that out."""
    zone = scope.api.call("route53", "get_hosted_zone", {"Id": scope.inputs["zoneId"]}, scope.region)["HostedZone"][
        "Name"
    ].rstrip(".")
    name = scope.inputs["name"].rstrip(".")
    return name if name == zone or name.endswith("." + zone) else f"{name}.{zone}"


def _change(action: str) -> Any:
    def change(scope: Any) -> None:
        given = scope.inputs
        records = [{"Value": f'"{r}"' if given["type"] == "TXT" else r} for r in given.get("records") or []]
        record: dict[str, Any] = {
            "Name": _full(scope),
            "Type": given["type"],
            "TTL": given.get("ttl"),
            "ResourceRecords": records,
        }
        if given.get("setIdentifier"):
            record["SetIdentifier"] = given["setIdentifier"]
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        scope.api.call(
            "route53",
            "change_resource_record_sets",
            {"HostedZoneId": given["zoneId"], "ChangeBatch": batch},
            scope.region,
        )

    return change


def _record(answer: Any, scope: Any) -> Any:
    wanted = _full(scope).lower()
    for record in answer["ResourceRecordSets"]:
        if record["Name"].rstrip(".").lower() == wanted and record["Type"] == scope.inputs.get("type"):
            return record
    return None


RECORD = Spec(
    type="aws:route53/record:Record",
    docs=PROVIDER_DOCS + "route53_record",
    create=_change("CREATE"),
    id="{zoneId}_{name}_{type}",
    looks=(
        Look(
            Call("route53", "list_resource_record_sets", {"HostedZoneId": In("zoneId")}, missing=("NoSuchHostedZone",)),
            _record,
        ),
    ),
    updates=(Update("records ttl", (_change("UPSERT"),)),),
    delete=_change("DELETE"),
    force_new="zoneId name type setIdentifier",
    seen={
        "zoneId": None,
        "setIdentifier": None,
        "name": lambda _r, s: s.inputs["name"],
        "records": lambda r: [x["Value"].strip('"') for x in r.get("ResourceRecords") or []],
        "ttl": "TTL",
    },
    outputs={"fqdn": lambda r: r["Name"].rstrip(".")},
    kept="zoneId name type setIdentifier allowOverwrite",
    check=_records_check,
)

_HEALTH = {
    "Type": In("type"),
    "FullyQualifiedDomainName": In("fqdn"),
    "IPAddress": In("ipAddress"),
    "Port": In("port"),
    "ResourcePath": In("resourcePath"),
    "SearchString": In("searchString"),
    "RequestInterval": In("requestInterval"),
    "FailureThreshold": In("failureThreshold"),
    "MeasureLatency": In("measureLatency"),
    "EnableSNI": In("enableSni"),
}
_CHANGEABLE = {
    name: value for name, value in _HEALTH.items() if name not in {"Type", "RequestInterval", "MeasureLatency"}
}

HEALTH_CHECK = Spec(
    type="aws:route53/healthCheck:HealthCheck",
    docs=PROVIDER_DOCS + "route53_health_check",
    create=Call("route53", "create_health_check", {"CallerReference": TOKEN, "HealthCheckConfig": _HEALTH}),
    id="HealthCheck.Id",
    looks=(
        Look(Call("route53", "get_health_check", {"HealthCheckId": ID}), "HealthCheck.HealthCheckConfig"),
        _tags_look("healthcheck"),
    ),
    updates=(
        Update(
            "fqdn ipAddress port resourcePath searchString failureThreshold enableSni",
            (Call("route53", "update_health_check", {"HealthCheckId": ID, **_CHANGEABLE}),),
        ),
        Update("type", (_put_tags("healthcheck"),), create=True),
    ),
    delete=Call("route53", "delete_health_check", {"HealthCheckId": ID}),
    tagging=_tagging("healthcheck"),
    force_new="type requestInterval measureLatency",
    seen={"fqdn": "FullyQualifiedDomainName", "ipAddress": "IPAddress", "enableSni": "EnableSNI"},
    outputs={"arn": "arn:aws:route53:::healthcheck/{id}"},
)

SPECS = (ZONE, RECORD, HEALTH_CHECK)
