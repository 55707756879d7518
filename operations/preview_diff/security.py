"""Which changes a reviewer must look at first: who may reach what, who may do what, what is encrypted, who sees secrets."""

from __future__ import annotations

import json
import re
from typing import Final

_HOMES: Final = re.compile(
    r"^(aws:efs/fileSystem:|aws:fsx/|aws:backup/vault:|azure-native:storage[^:]*:FileShare$|localcloud:index:Volume)"
)
"""Types that hold students' files or their copies."""


def holds_homes(kind: str, account_kind: object) -> bool:
    """Whether a resource holds students' files; of Azure's storage accounts only those for file shares do."""
    if re.match(r"^azure-native:storage[^:]*:StorageAccount$", kind):
        return account_kind == "FileStorage"
    return _HOMES.search(kind) is not None


_TYPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        (
            "network access",
            r"^(aws:ec2/(securityGroup|networkAcl|defaultSecurityGroup|defaultNetworkAcl)|aws:vpc/securityGroup|"
            r"aws:ec2/internetGateway|azure-native:network[^:]*:(NetworkSecurityGroup|SecurityRule|BastionHost|FirewallPolicy))",
        ),
        (
            "identity and permissions",
            r"^(aws:iam/|aws:eks/(accessEntry|accessPolicyAssociation|podIdentityAssociation)|"
            r"azure-native:(authorization|managedidentity)[^:]*:|.*:[A-Za-z]*Policy(Attachment|Document)?$)",
        ),
        (
            "encryption",
            r"^(aws:kms/|azure-native:keyvault[^:]*:(Key|Vault)|azure-native:compute[^:]*:DiskEncryptionSet)",
        ),
        ("secrets", r"^(aws:secretsmanager/|azure-native:keyvault[^:]*:Secret)"),
        (
            "public access",
            r"(PublicAccessBlock|PublicIPAddress|:ec2/eip:Eip|BucketAcl[A-Za-z0-9]*|BucketOwnershipControls[A-Za-z0-9]*)$",
        ),
    )
)
_PROPERTIES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        ("encryption", r"encrypt|kms|keyVaultKey|minimumTls|httpsTrafficOnly|sslPolicy|tlsPolicy|securityProfile"),
        (
            "public access",
            r"public(lyAccessible|Access|NetworkAccess|Ip)|associatePublic|allowBlobPublic|blockPublic|restrictPublic|"
            r"ignorePublic|anonymous|mapPublicIpOnLaunch|authorizedIp|privateCluster|(^|\.)acl$",
        ),
        ("instance metadata", r"metadataOptions|httpTokens|hopLimit"),
        (
            "network access",
            r"(^|\.)(in|e)gress|cidr(Blocks|Ipv[46])|securityGroup|securityRules|networkAcls|networkRuleSet|"
            r"networkSecurityGroup|sourceAddress|sourceDest",
        ),
        (
            "identity and permissions",
            r"(^|\.)(policy|assumeRolePolicy|inlinePolic(y|ies)|managedPolicyArns?|permissionsBoundary|identity|"
            r"roleDefinition|principal|iamInstanceProfile|roleArn|serviceAccount)",
        ),
        ("secrets", r"password|secret|(?<!creation)(?<!client)token|credential|privateKey|sshKey|publicKey|keyData"),
        (
            "protection",
            r"deletionProtection|softDelete|purgeProtection|immutab|versioning|disableApi(Stop|Termination)",
        ),
    )
)
_WHOLE_INTERNET: Final = re.compile(r"(?<![\d.])0\.0\.0\.0/0|(?<![\w:])::/0|\bInternet\b|^\*$|\"\*\"")
_SOURCES: Final = re.compile(r"cidr|source|ingress|authorizedIp|securityRules|ipRules|allowedIp", re.IGNORECASE)
_ADMINISTRATORS: Final = re.compile(
    r"AdministratorAccess|PowerUserAccess|IAMFullAccess|8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)
"""AWS's managed policies for administrators, and Azure's role Owner."""
_OFF: Final = re.compile(r"^(false|disabled|none|null|optional)$", re.IGNORECASE)
_ON: Final = re.compile(r"^(true|enabled|required)$", re.IGNORECASE)


def wide_actions(document: str) -> frozenset[str]:
    """The actions that a policy document allows for a whole service (`s3:*`) or for all (`*`)."""
    try:
        statements = json.loads(document).get("Statement")
    except (ValueError, AttributeError):
        return frozenset()
    found: set[str] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        if isinstance(statement, dict) and statement.get("Effect") == "Allow":
            actions = statement.get("Action")
            found |= {
                str(a)
                for a in (actions if isinstance(actions, list) else [actions])
                if str(a).rpartition(":")[2] == "*"
            }
    return frozenset(found)


def of_type(kind: str) -> str:
    """Why a resource of this type is a matter of security as such, else empty."""
    return next((reason for reason, pattern in _TYPES if pattern.search(kind)), "")


def of_property(kind: str, path: str, *, secret: bool, follows: bool = False) -> str:
    """Why a change of this property is a matter of security, else empty. Tags and names never are, nor is a reference
    that only `follows` another resource's new id."""
    top = re.split(r"[.\[ ]", path, maxsplit=1)[0]
    if top in {"tags", "tagsAll", "name", "description", "timeouts"} and not secret:
        return ""
    if secret:
        return "secrets"
    if follows:
        return ""
    return next((reason for reason, pattern in _PROPERTIES if pattern.search(path)), "") or of_type(kind)


def alarm(kind: str, reason: str, path: str, before: str | None, after: str | None) -> str:
    """What is worse than before, in two or three words; empty where nothing is seen to be."""
    old, new = before or "", after or ""
    if reason in {"network access", "public access"} and "egress" not in (kind + path).lower():
        opened = _WHOLE_INTERNET.search(new) and not _WHOLE_INTERNET.search(old)
        if opened and (_SOURCES.search(path) or re.search(r"0\.0\.0\.0/0|::/0|Internet", new)):
            return "open to the whole internet"
    wider = wide_actions(new) - wide_actions(old) or (_ADMINISTRATORS.search(new) and not _ADMINISTRATORS.search(old))
    if (
        reason == "identity and permissions" and wider and not kind.startswith("aws:kms/")
    ):  # there `*` is the key itself
        return "more rights than before"
    blocks = re.search(r"block|restrict|ignore", path, re.IGNORECASE) is not None
    if reason == "public access" and ((_ON.match(new) and not blocks) or (_OFF.match(new) and blocks and before)):
        return "public"
    if reason in {"encryption", "protection"} and (_OFF.match(new) or (before and after is None)):
        return "switched off"
    if reason == "instance metadata" and (_OFF.match(new) or (path.endswith("opLimit") and new not in {"", "1"})):
        return "within reach of students' servers"
    return ""
