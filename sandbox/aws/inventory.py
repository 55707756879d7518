"""What is in an offline account, kind by kind: a destroy must leave nothing. The VPC that every account has, the campus'
own DNS zone and what AWS only marks as deleted do not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.session
import jmespath
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.isolation import require_loopback

KINDS: tuple[tuple[str, str, str], ...] = (
    ("ec2", "describe_vpcs", "Vpcs[?!IsDefault].VpcId"),
    ("ec2", "describe_subnets", "Subnets[?!DefaultForAz].SubnetId"),
    ("ec2", "describe_internet_gateways", "InternetGateways[].InternetGatewayId"),
    ("ec2", "describe_nat_gateways", "NatGateways[?State!='deleted'].NatGatewayId"),
    ("ec2", "describe_addresses", "Addresses[].AllocationId"),
    ("ec2", "describe_network_interfaces", "NetworkInterfaces[].NetworkInterfaceId"),
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints[?State!='deleted'].VpcEndpointId"),
    ("ec2", "describe_flow_logs", "FlowLogs[].FlowLogId"),
    ("ec2", "describe_security_groups", "SecurityGroups[?GroupName!='default'].GroupId"),
    ("ec2", "describe_route_tables", "RouteTables[?length(Associations[?Main])==`0`].RouteTableId"),
    ("ec2", "describe_launch_templates", "LaunchTemplates[].LaunchTemplateName"),
    ("ec2", "describe_instances", "Reservations[].Instances[?State.Name!='terminated'][].InstanceId"),
    ("ec2", "describe_volumes", "Volumes[].VolumeId"),
    ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups[].AutoScalingGroupName"),
    ("autoscaling", "describe_launch_configurations", "LaunchConfigurations[].LaunchConfigurationName"),
    ("autoscaling", "describe_scheduled_actions", "ScheduledUpdateGroupActions[].ScheduledActionName"),
    ("efs", "describe_file_systems", "FileSystems[].FileSystemId"),
    ("efs", "describe_access_points", "AccessPoints[].AccessPointId"),
    ("s3", "list_buckets", "Buckets[].Name"),
    ("ecr", "describe_repositories", "repositories[].repositoryName"),
    ("eks", "list_clusters", "clusters[]"),
    ("iam", "list_roles", "Roles[?!starts_with(Path, '/aws-service-role/')].RoleName"),
    ("iam", "list_policies", "Policies[].PolicyName"),
    ("iam", "list_instance_profiles", "InstanceProfiles[].InstanceProfileName"),
    ("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList[].Arn"),
    ("kms", "list_aliases", "Aliases[?!starts_with(AliasName, 'alias/aws/')].AliasName"),
    ("backup", "list_backup_plans", "BackupPlansList[].BackupPlanName"),
    ("backup", "list_backup_vaults", "BackupVaultList[].BackupVaultName"),
    ("route53", "list_hosted_zones", 'HostedZones[?Config.Comment!=`"the campus\' own zone"`].Name'),
    ("route53", "list_health_checks", "HealthChecks[].Id"),
    ("logs", "describe_log_groups", "logGroups[].logGroupName"),
    ("cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName"),
    ("sns", "list_topics", "Topics[].TopicArn"),
    ("sns", "list_subscriptions", "Subscriptions[].SubscriptionArn"),
    ("ssm", "describe_parameters", "Parameters[].Name"),
)
"""Service, call, JMESPath to the names. `test_everything_a_table_makes_is_listed` holds it against the tables."""

_PARAMETERS: dict[str, dict[str, Any]] = {"list_policies": {"Scope": "Local"}}
ELSEWHERE = ("sns", "cloudwatch")
"""Services that a stack also uses in us-east-1, where Route 53 reports."""


def inventory(endpoint: str, region: str, account: str) -> list[str]:
    """`ec2 vpc-…` and so on, of everything that is there. `endpoint` must be loopback."""
    require_loopback(endpoint, "the endpoint")
    session = botocore.session.Session()
    session.set_credentials("sandbox", "sandbox")
    clients: dict[tuple[str, str], Any] = {}

    def client(service: str, at: str) -> Any:
        if (service, at) not in clients:
            config = Config(proxies={}, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
            clients[service, at] = session.create_client(service, region_name=at, endpoint_url=endpoint, config=config)
        return clients[service, at]

    found: list[str] = []
    for service, operation, path in KINDS:
        regions = {region, "us-east-1"} if service in ELSEWHERE else {region}
        for at in sorted(regions):
            answer = getattr(client(service, at), operation)(**_PARAMETERS.get(operation, {}))
            found += [f"{service} {name}" for name in jmespath.search(path, answer) or []]
    keys = client("kms", region)
    for key in keys.list_keys()["Keys"]:
        about = keys.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if about["KeyState"] != "PendingDeletion" and about["KeyManager"] == "CUSTOMER":
            found.append(f"kms {key['KeyId']}")
    found += [f"budgets {b['BudgetName']}" for b in _budgets(client("budgets", region), account)]
    found += _records(client("route53", region))
    return sorted(found)


def _budgets(client: Any, account: str) -> list[Mapping[str, Any]]:
    try:
        return client.describe_budgets(AccountId=account).get("Budgets", [])
    except ClientError:
        return []


def _records(client: Any) -> list[str]:
    found = []
    for zone in client.list_hosted_zones()["HostedZones"]:
        records = client.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
        found += [f"route53 {r['Name']} {r['Type']}" for r in records if r["Type"] not in ("NS", "SOA")]
    return found
