"""Logs, alarms, topics, parameters, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ACCOUNT, ID, PROVIDER_DOCS, TAG_KEYS, TAG_MAP, TAGS, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import known, tag_calls
from sandbox.aws.types.iam import policy_check

_DAYS = (0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


def _retention(scope: Any) -> None:
    days = scope.inputs.get("retentionInDays")
    if days:
        scope.api.call(
            "logs", "put_retention_policy", {"logGroupName": scope.id, "retentionInDays": days}, scope.region
        )
    else:
        scope.api.call("logs", "delete_retention_policy", {"logGroupName": scope.id}, scope.region)


def _log_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    if known(values, "retentionInDays") and values["retentionInDays"] not in _DAYS:
        return [
            (
                "retentionInDays",
                f"{values['retentionInDays']} days are not possible; allowed are {', '.join(map(str, _DAYS))}",
            )
        ]
    return []


def _group_arn(scope: Any) -> str:
    return f"arn:aws:logs:{scope.region}:{scope.api.account}:log-group:{scope.id}"


LOG_GROUP = Spec(
    type="aws:cloudwatch/logGroup:LogGroup",
    docs=PROVIDER_DOCS + "cloudwatch_log_group",
    create=Call(
        "logs", "create_log_group", {"logGroupName": In("name"), "tags": TAG_MAP}, take="kmsKeyId logGroupClass"
    ),
    id="{name}",
    looks=(
        Look(
            Call("logs", "describe_log_groups", {"logGroupNamePrefix": ID}),
            lambda answer, s: next((g for g in answer["logGroups"] if g["logGroupName"] == s.id), None),
        ),
        Look(Call("logs", "list_tags_for_resource", {"resourceArn": _group_arn}), "tags", under="Tags"),
    ),
    updates=(
        Update("retentionInDays", (_retention,), create=True),
        Update("kmsKeyId", (Call("logs", "associate_kms_key", {"logGroupName": ID}, take="kmsKeyId"),)),
    ),
    delete=Call("logs", "delete_log_group", {"logGroupName": ID}),
    tagging=Tagging(
        set=Call("logs", "tag_resource", {"resourceArn": _group_arn, "tags": TAG_MAP}),
        unset=Call("logs", "untag_resource", {"resourceArn": _group_arn, "tagKeys": TAG_KEYS}),
    ),
    force_new="name namePrefix logGroupClass",
    seen={"name": "logGroupName"},
    outputs={"arn": lambda _g, s: _group_arn(s)},
    kept="skipDestroy",
    autoname="name",
    check=_log_check,
)

_ALARM_INPUTS = (
    "alarmDescription namespace metricName dimensions statistic period evaluationPeriods comparisonOperator threshold treatMissingData "
    "alarmActions okActions=OKActions insufficientDataActions datapointsToAlarm actionsEnabled unit"
)


def _dimensions(scope: Any) -> Any:
    return [{"Name": k, "Value": v} for k, v in sorted((scope.inputs.get("dimensions") or {}).items())]


_PUT_ALARM = Call(
    "cloudwatch",
    "put_metric_alarm",
    {"AlarmName": In("name"), "Tags": TAGS, "Dimensions": _dimensions, "Threshold": In("threshold")},
    take=_ALARM_INPUTS.replace("dimensions ", ""),
)
ALARM = Spec(
    type="aws:cloudwatch/metricAlarm:MetricAlarm",
    docs=PROVIDER_DOCS + "cloudwatch_metric_alarm",
    create=_PUT_ALARM,
    id="{name}",
    looks=(
        Look(Call("cloudwatch", "describe_alarms", {"AlarmNames": [ID]}), "MetricAlarms[0]"),
        Look(
            Call(
                "cloudwatch",
                "list_tags_for_resource",
                {"ResourceARN": lambda s: f"arn:aws:cloudwatch:{s.region}:{s.api.account}:alarm:{s.id}"},
            ),
            "Tags",
            under="Tags",
        ),
    ),
    updates=(Update(_ALARM_INPUTS.replace("=OKActions", ""), (_PUT_ALARM,)),),
    delete=Call("cloudwatch", "delete_alarms", {"AlarmNames": [ID]}),
    tagging=tag_calls("cloudwatch", "tag_resource", "untag_resource", "ResourceARN", lambda s: s.state["arn"]),
    force_new="name",
    seen={
        "name": "AlarmName",
        "okActions": "OKActions",
        "dimensions": lambda a: {d["Name"]: d["Value"] for d in a.get("Dimensions") or []},
    },
    outputs={"arn": "AlarmArn"},
    kept="dimensions threshold",
    autoname="name",
)

TOPIC = Spec(
    type="aws:sns/topic:Topic",
    docs=PROVIDER_DOCS + "sns_topic",
    create=Call(
        "sns",
        "create_topic",
        {
            "Name": In("name"),
            "Tags": TAGS,
            "Attributes": {"DisplayName": In("displayName"), "KmsMasterKeyId": In("kmsMasterKeyId")},
        },
    ),
    id="TopicArn",
    looks=(
        Look(Call("sns", "get_topic_attributes", {"TopicArn": ID}), "Attributes"),
        Look(Call("sns", "list_tags_for_resource", {"ResourceArn": ID}), "Tags", under="Tags"),
    ),
    updates=(
        Update(
            "displayName",
            (
                Call(
                    "sns",
                    "set_topic_attributes",
                    {"TopicArn": ID, "AttributeName": "DisplayName", "AttributeValue": In("displayName")},
                ),
            ),
        ),
        Update(
            "kmsMasterKeyId",
            (
                Call(
                    "sns",
                    "set_topic_attributes",
                    {"TopicArn": ID, "AttributeName": "KmsMasterKeyId", "AttributeValue": In("kmsMasterKeyId")},
                ),
            ),
        ),
    ),
    delete=Call("sns", "delete_topic", {"TopicArn": ID}),
    tagging=tag_calls("sns", "tag_resource", "untag_resource", "ResourceArn", ID),
    force_new="name namePrefix fifoTopic",
    seen={"name": lambda t: t["TopicArn"].rpartition(":")[2]},
    outputs={"arn": "TopicArn", "owner": "Owner"},
    autoname="name",
)

_SET_POLICY = Call(
    "sns",
    "set_topic_attributes",
    {"TopicArn": In("arn"), "AttributeName": "Policy", "AttributeValue": In("policy", via=policy_text)},
)
TOPIC_POLICY = Spec(
    type="aws:sns/topicPolicy:TopicPolicy",
    docs=PROVIDER_DOCS + "sns_topic_policy",
    create=_SET_POLICY,
    id="{arn}",
    looks=(Look(Call("sns", "get_topic_attributes", {"TopicArn": ID}), "Attributes"),),
    updates=(Update("policy", (_SET_POLICY,)),),
    # The official provider puts the default policy back, which is the topic's own affair; the topic goes next.
    delete=None,
    force_new="arn",
    seen={"arn": "TopicArn"},
    outputs={"owner": "Owner"},
    check=policy_check("policy"),
)

SUBSCRIPTION = Spec(
    type="aws:sns/topicSubscription:TopicSubscription",
    docs=PROVIDER_DOCS + "sns_topic_subscription",
    create=Call("sns", "subscribe", {"TopicArn": In("topic"), "ReturnSubscriptionArn": True}, take="protocol endpoint"),
    id="SubscriptionArn",
    looks=(Look(Call("sns", "get_subscription_attributes", {"SubscriptionArn": ID}), "Attributes"),),
    delete=Call("sns", "unsubscribe", {"SubscriptionArn": ID}),
    force_new="topic protocol endpoint",
    seen={"topic": "TopicArn"},
    outputs={"arn": "{id}", "ownerId": "Owner"},
    kept="confirmationTimeoutInMinutes endpointAutoConfirms",
)


def _value(scope: Any) -> Any:
    """The value, or the write-only one, which the state never holds."""
    return scope.inputs.get("value") or scope.inputs.get("valueWo") or scope.inputs.get("insecureValue")


def _put_parameter(scope: Any) -> None:
    names = {
        "description": "Description",
        "keyId": "KeyId",
        "tier": "Tier",
        "allowedPattern": "AllowedPattern",
        "dataType": "DataType",
    }
    more = {api: scope.inputs[name] for name, api in names.items() if scope.inputs.get(name) is not None}
    call = {"Name": scope.id, "Type": scope.inputs["type"], "Value": _value(scope), "Overwrite": True, **more}
    scope.api.call("ssm", "put_parameter", call, scope.region)


def _parameter_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = [name for name in ("value", "valueWo", "insecureValue") if values.get(name) is not None]
    wrong = (
        []
        if len(given) == 1
        else [("value", f"exactly one of value, valueWo and insecureValue, not {given or 'none'}")]
    )
    if values.get("valueWo") is not None and values.get("valueWoVersion") is None:
        wrong.append(("valueWoVersion", "goes with valueWo: a new number writes the value again"))
    if known(values, "type") and values["type"] not in ("String", "StringList", "SecureString"):
        wrong.append(("type", f"{values['type']!r} is not String, StringList or SecureString"))
    return wrong


PARAMETER = Spec(
    type="aws:ssm/parameter:Parameter",
    docs=PROVIDER_DOCS + "ssm_parameter",
    create=Call(
        "ssm",
        "put_parameter",
        {"Name": In("name"), "Value": _value, "Tags": TAGS},
        take="type description keyId tier allowedPattern dataType",
    ),
    id="{name}",
    looks=(
        Look(Call("ssm", "get_parameter", {"Name": ID, "WithDecryption": True}), "Parameter"),
        Look(
            Call("ssm", "describe_parameters", {"ParameterFilters": [{"Key": "Name", "Values": [ID]}]}),
            "Parameters[0].{Description: Description, KeyId: KeyId}",
        ),
        Look(
            Call("ssm", "list_tags_for_resource", {"ResourceType": "Parameter", "ResourceId": ID}),
            "TagList",
            under="Tags",
        ),
    ),
    updates=(
        Update(
            "value valueWoVersion insecureValue description keyId type tier allowedPattern dataType", (_put_parameter,)
        ),
    ),
    delete=Call("ssm", "delete_parameter", {"Name": ID}, missing=("ParameterNotFound",)),
    tagging=Tagging(
        set=Call("ssm", "add_tags_to_resource", {"ResourceType": "Parameter", "ResourceId": ID, "Tags": TAGS}),
        unset=Call(
            "ssm", "remove_tags_from_resource", {"ResourceType": "Parameter", "ResourceId": ID, "TagKeys": TAG_KEYS}
        ),
    ),
    force_new="name dataType",
    # A write-only value is never read back: another one in the store (the hub VM's token) is no drift.
    seen={"valueWo": None, "valueWoVersion": None, "keyId": None, "insecureValue": "Value"},
    outputs={"arn": "arn:aws:ssm:{region}:{account}:parameter{name}", "version": "Version", "hasValueWo": None},
    kept="value valueWo insecureValue valueWoVersion overwrite",
    volatile="version",
    check=_parameter_check,
)


def _budget(scope: Any) -> dict[str, Any]:
    given = scope.inputs
    filters = {f["name"]: list(f["values"]) for f in given.get("costFilters") or []}
    budget: dict[str, Any] = {
        "BudgetName": given["name"],
        "BudgetType": given["budgetType"],
        "TimeUnit": given["timeUnit"],
        "BudgetLimit": {"Amount": given["limitAmount"], "Unit": given["limitUnit"]},
    }
    return {**budget, **({"CostFilters": filters} if filters else {})}


def _notifications(scope: Any) -> list[dict[str, Any]]:
    made = []
    for item in scope.inputs.get("notifications") or []:
        subscribers = [{"SubscriptionType": "SNS", "Address": a} for a in item.get("subscriberSnsTopicArns") or []]
        subscribers += [{"SubscriptionType": "EMAIL", "Address": a} for a in item.get("subscriberEmailAddresses") or []]
        kind = {
            "NotificationType": item["notificationType"],
            "ComparisonOperator": item["comparisonOperator"],
            "Threshold": float(item["threshold"]),
            "ThresholdType": item["thresholdType"],
        }
        made.append({"Notification": kind, "Subscribers": subscribers})
    return made


def _renew_notifications(scope: Any) -> None:
    of = {"AccountId": scope.api.account, "BudgetName": scope.inputs["name"]}
    for old in scope.api.call("budgets", "describe_notifications_for_budget", of, scope.region).get(
        "Notifications", []
    ):
        scope.api.call(
            "budgets",
            "delete_notification",
            {**of, "Notification": {k: v for k, v in old.items() if k != "NotificationState"}},
            scope.region,
        )
    for new in _notifications(scope):
        scope.api.call("budgets", "create_notification", {**of, **new}, scope.region)


def _budget_name(scope: Any) -> str:
    return scope.id.partition(":")[2]


BUDGET = Spec(
    type="aws:budgets/budget:Budget",
    docs=PROVIDER_DOCS + "budgets_budget",
    create=Call(
        "budgets",
        "create_budget",
        {"AccountId": ACCOUNT, "Budget": _budget, "NotificationsWithSubscribers": _notifications, "ResourceTags": TAGS},
    ),
    id="{account}:{name}",
    looks=(
        Look(Call("budgets", "describe_budget", {"AccountId": ACCOUNT, "BudgetName": _budget_name}), "Budget"),
        Look(
            Call("budgets", "describe_notifications_for_budget", {"AccountId": ACCOUNT, "BudgetName": _budget_name}),
            "Notifications",
            under="Notifications",
        ),
    ),
    updates=(
        Update(
            "limitAmount limitUnit timeUnit costFilters",
            (
                lambda s: s.api.call(
                    "budgets", "update_budget", {"AccountId": s.api.account, "NewBudget": _budget(s)}, s.region
                ),
            ),
        ),
        Update("notifications", (_renew_notifications,)),
    ),
    delete=Call("budgets", "delete_budget", {"AccountId": ACCOUNT, "BudgetName": _budget_name}),
    force_new="name namePrefix budgetType",
    seen={
        "name": "BudgetName",
        "limitAmount": lambda b, s: (
            s.inputs["limitAmount"]
            if float(b["BudgetLimit"]["Amount"]) == float(s.inputs["limitAmount"])
            else b["BudgetLimit"]["Amount"]
        ),
        "limitUnit": "BudgetLimit.Unit",
        "costFilters": None,
        "notifications": None,
    },
    outputs={"arn": "arn:aws:budgets::{account}:budget/{name}"},
    kept="name budgetType timeUnit limitAmount limitUnit costFilters notifications tags",
    autoname="name",
)

SPECS = (LOG_GROUP, ALARM, TOPIC, TOPIC_POLICY, SUBSCRIPTION, PARAMETER, BUDGET)
