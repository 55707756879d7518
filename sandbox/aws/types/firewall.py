"""Security groups and their rules."""

from __future__ import annotations

from typing import Any

from sandbox.aws.spec import ID, PROVIDER_DOCS, TAGS, Call, In, Look, Spec, Update
from sandbox.aws.types.common import EC2_TAGS, ask, ec2_arn, ec2_tags, in_use


def _users_of_group(scope: Any) -> list[str]:
    by_group = [{"Name": "group-id", "Values": [scope.id]}]
    found = list(
        ask(scope, "ec2", "describe_network_interfaces", "NetworkInterfaces[].NetworkInterfaceId", Filters=by_group)
    )
    instances = "Reservations[].Instances[?State.Name!='terminated'][].InstanceId"
    found += ask(
        scope, "ec2", "describe_instances", instances, Filters=[{"Name": "instance.group-id", "Values": [scope.id]}]
    )
    endpoints = (
        f"VpcEndpoints[?State!='deleted' && contains(not_null(Groups[].GroupId, `[]`), '{scope.id}')].VpcEndpointId"
    )
    found += ask(scope, "ec2", "describe_vpc_endpoints", endpoints)
    rules = (
        f"SecurityGroupRules[?ReferencedGroupInfo.GroupId=='{scope.id}' && GroupId!='{scope.id}'].SecurityGroupRuleId"
    )
    return found + (ask(scope, "ec2", "describe_security_group_rules", rules) or [])


def _revoke_all(scope: Any) -> None:
    """Takes every rule out of a group: EC2 makes one that lets everything out, the official provider removes it."""
    group = ask(scope, "ec2", "describe_security_groups", "SecurityGroups[0]", GroupIds=[scope.id])
    for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
        if group.get(key):
            call = {"GroupId": scope.id, "IpPermissions": group[key]}
            scope.api.call("ec2", f"revoke_security_group_{direction}", call, scope.region)


SECURITY_GROUP = Spec(
    type="aws:ec2/securityGroup:SecurityGroup",
    docs=PROVIDER_DOCS + "security_group",
    create=Call(
        "ec2",
        "create_security_group",
        ec2_tags("security-group") | {"GroupName": In("name"), "Description": In("description")},
        take="vpcId",
    ),
    id="GroupId",
    looks=(
        Look(
            Call("ec2", "describe_security_groups", {"GroupIds": [ID]}, missing=("InvalidGroup.NotFound",)),
            "SecurityGroups[0]",
        ),
    ),
    updates=(Update("vpcId", (_revoke_all,), create=True),),
    delete=Call("ec2", "delete_security_group", {"GroupId": ID}),
    tagging=EC2_TAGS,
    force_new="name namePrefix description vpcId",
    seen={"name": "GroupName"},
    outputs={"arn": ec2_arn("security-group")},
    defaults={"description": "Managed by Pulumi"},
    kept="revokeRulesOnDelete",
    autoname="name",
    refuse_delete=(in_use("security group", _users_of_group),),
)

DEFAULT_SECURITY_GROUP = Spec(
    type="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    docs=PROVIDER_DOCS + "default_security_group",
    # Nothing is made: the VPC's own group is taken over, and emptied.
    create=Call(
        "ec2",
        "describe_security_groups",
        {"Filters": [{"Name": "vpc-id", "Values": [In("vpcId")]}, {"Name": "group-name", "Values": ["default"]}]},
    ),
    id="SecurityGroups[0].GroupId",
    looks=(
        Look(
            Call("ec2", "describe_security_groups", {"GroupIds": [ID]}, missing=("InvalidGroup.NotFound",)),
            "SecurityGroups[0]",
        ),
    ),
    updates=(
        Update(
            "vpcId",
            (_revoke_all, Call("ec2", "create_tags", {"Resources": [ID], "Tags": TAGS}, when="tags")),
            create=True,
        ),
    ),
    delete=None,
    tagging=EC2_TAGS,
    force_new="vpcId",
    outputs={"arn": ec2_arn("security-group"), "name": "GroupName", "description": "Description"},
)


def _permission(scope: Any) -> list[dict[str, Any]]:
    given = scope.inputs
    said = {"Description": given["description"]} if given.get("description") else {}
    permission: dict[str, Any] = {"IpProtocol": given["ipProtocol"]}
    permission |= {
        api: given[name]
        for name, api in (("fromPort", "FromPort"), ("toPort", "ToPort"))
        if given.get(name) is not None
    }
    if given.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": given["cidrIpv4"], **said}]
    if given.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": given["cidrIpv6"], **said}]
    if given.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [{"GroupId": given["referencedSecurityGroupId"], **said}]
    if given.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": given["prefixListId"], **said}]
    return [permission]


_RULE_INPUTS = "ipProtocol fromPort toPort cidrIpv4 cidrIpv6 referencedSecurityGroupId prefixListId description"


def _modify_rule(scope: Any) -> None:
    given = scope.inputs
    names = {
        "ipProtocol": "IpProtocol",
        "fromPort": "FromPort",
        "toPort": "ToPort",
        "cidrIpv4": "CidrIpv4",
        "cidrIpv6": "CidrIpv6",
        "referencedSecurityGroupId": "ReferencedGroupId",
        "prefixListId": "PrefixListId",
        "description": "Description",
    }
    rule = {api: given[name] for name, api in names.items() if given.get(name) is not None}
    call = {
        "GroupId": given["securityGroupId"],
        "SecurityGroupRules": [{"SecurityGroupRuleId": scope.id, "SecurityGroupRule": rule}],
    }
    scope.api.call("ec2", "modify_security_group_rules", call, scope.region)


def _rule_check(values: Any) -> list[tuple[str, str]]:
    sources = [
        n for n in ("cidrIpv4", "cidrIpv6", "referencedSecurityGroupId", "prefixListId") if values.get(n) is not None
    ]
    wrong = (
        []
        if len(sources) == 1
        else [("cidrIpv4", f"exactly one source or destination is possible, not {sources or 'none'}")]
    )
    if values.get("ipProtocol") in ("-1", "all") and values.get("fromPort") not in (None, -1):
        wrong.append(("fromPort", "all protocols (-1) have no ports; leave it out"))
    return wrong


def _rule(direction: str, kind: str) -> Spec:
    return Spec(
        type=f"aws:vpc/securityGroup{kind}Rule:SecurityGroup{kind}Rule",
        docs=PROVIDER_DOCS + f"vpc_security_group_{direction}_rule",
        create=Call(
            "ec2",
            f"authorize_security_group_{direction}",
            ec2_tags("security-group-rule") | {"GroupId": In("securityGroupId"), "IpPermissions": _permission},
        ),
        id="SecurityGroupRules[0].SecurityGroupRuleId",
        looks=(
            Look(
                Call(
                    "ec2",
                    "describe_security_group_rules",
                    {"SecurityGroupRuleIds": [ID]},
                    missing=("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"),
                ),
                "SecurityGroupRules[0]",
            ),
        ),
        updates=(Update(_RULE_INPUTS, (_modify_rule,)),),
        delete=Call(
            "ec2",
            f"revoke_security_group_{direction}",
            {"GroupId": In("securityGroupId"), "SecurityGroupRuleIds": [ID]},
            missing=("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"),
        ),
        tagging=EC2_TAGS,
        force_new="securityGroupId",
        seen={
            "securityGroupId": "GroupId",
            "referencedSecurityGroupId": "ReferencedGroupInfo.GroupId",
            "fromPort": lambda r: None if r.get("IpProtocol") == "-1" else r.get("FromPort"),
            "toPort": lambda r: None if r.get("IpProtocol") == "-1" else r.get("ToPort"),
        },
        outputs={"arn": ec2_arn("security-group-rule"), "securityGroupRuleId": "{id}"},
        kept=_RULE_INPUTS,
        check=_rule_check,
    )


SPECS = (SECURITY_GROUP, DEFAULT_SECURITY_GROUP, _rule("ingress", "Ingress"), _rule("egress", "Egress"))
