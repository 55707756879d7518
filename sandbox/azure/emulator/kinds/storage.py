"""Microsoft.Storage: accounts, containers, NFS shares.

Rules: https://learn.microsoft.com/azure/storage/common/storage-account-overview (names, kinds),
https://learn.microsoft.com/azure/storage/files/files-nfs-protocol (NFS only in premium file accounts),
https://learn.microsoft.com/azure/storage/files/storage-files-scale-targets (share sizes).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from sandbox.azure.emulator import ids, paths
from sandbox.azure.emulator.errors import ArmError, bad
from sandbox.azure.emulator.kind import Call, Kind, Reference, between, one_of
from sandbox.azure.emulator.store import Resource

if TYPE_CHECKING:
    from sandbox.azure.emulator.arm import Arm

ACCOUNT = "Microsoft.Storage/storageAccounts"
SKUS = (
    *("Standard_LRS", "Standard_GRS", "Standard_RAGRS", "Standard_ZRS", "Standard_GZRS", "Standard_RAGZRS"),
    *("Premium_LRS", "Premium_ZRS", "PremiumV2_LRS", "PremiumV2_ZRS"),
)
_PREMIUM_KINDS = ("FileStorage", "BlockBlobStorage")


def _check_account(call: Call) -> None:
    sku = one_of(call, "sku.name", SKUS, required=True)
    kind = one_of(call, "kind", ("StorageV2", "Storage", "BlobStorage", *_PREMIUM_KINDS), required=True)
    premium = sku.startswith("Premium")
    if kind in _PREMIUM_KINDS and not premium:
        raise bad(
            f"Storage account '{call.id.name}' of kind {kind} needs a Premium sku, not {sku}.", code="InvalidSkuForKind"
        )
    if kind != "FileStorage" and sku.startswith("PremiumV2"):
        raise bad(f"sku {sku} is for kind FileStorage only.", code="InvalidSkuForKind")
    if kind == "FileStorage" and paths.get(call.body, "properties.accessTier"):
        raise bad(
            f"Storage account '{call.id.name}' of kind FileStorage has no accessTier.", code="AccessTierNotSupported"
        )
    one_of(call, "properties.minimumTlsVersion", ("TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3"))
    one_of(call, "properties.networkAcls.defaultAction", ("Allow", "Deny"))
    for _, subnet in paths.values_at(call.body, "properties.networkAcls.virtualNetworkRules[].id"):
        found = call.arm.need(subnet)
        services = [v.lower() for _, v in paths.values_at(found.body, "properties.serviceEndpoints[].service")]
        if not any(s.startswith("microsoft.storage") for s in services):
            raise ArmError(
                400,
                "NetworkAclsValidationFailure",
                f"Subnet '{subnet}' has no service endpoint Microsoft.Storage, so '{call.id.name}' cannot let it in.",
            )


def _fill_account(call: Call, body: dict[str, Any]) -> None:
    name = call.id.name
    what = ("file",) if body["kind"] == "FileStorage" else ("blob", "dfs", "file", "queue", "table", "web")
    body["properties"]["primaryEndpoints"] = {part: f"https://{name}.{part}.core.windows.net/" for part in what}
    body["properties"]["primaryLocation"] = body["location"]
    body["properties"]["statusOfPrimary"] = "available"
    body["sku"]["tier"] = body["sku"]["name"].split("_")[0].replace("V2", "")


def key_of(account: str, number: int) -> str:
    """An account's key; worth nothing anywhere else."""
    return base64.b64encode(hashlib.sha512(f"sandbox/{account.lower()}/{number}".encode()).digest()).decode()


def _list_keys(arm: Arm, account: Resource, body: dict[str, Any]) -> dict[str, Any]:
    if account.at("properties.allowSharedKeyAccess") is False:
        raise ArmError(409, "KeyBasedAuthenticationNotPermitted", f"'{account.name}' does not allow access by keys.")
    return {"keys": [{"keyName": f"key{n}", "permissions": "FULL", "value": key_of(account.name, n)} for n in (1, 2)]}


def _drop_blobs(arm: Arm, resource: Resource) -> None:
    account = ids.parse(resource.id).names[0].lower()
    container = resource.name.lower() if resource.type.endswith("/containers") else ""
    prefix = f"{account}/{container}/" if container else f"{account}/"
    arm.store.state.blobs = {k: v for k, v in arm.store.state.blobs.items() if not k.startswith(prefix)}


def _check_share(call: Call) -> None:
    account = call.arm.need(_account_of(call))
    protocol = one_of(call, "properties.enabledProtocols", ("SMB", "NFS"))
    premium = account.body.get("kind") == "FileStorage"
    if protocol == "NFS" and not premium:
        raise bad(
            f"Share '{call.id.name}': NFS needs an account of kind FileStorage; '{account.name}' is {account.body.get('kind')}.",
            code="NfsNotSupportedForAccountKind",
        )
    if paths.get(call.body, "properties.rootSquash") and protocol != "NFS":
        raise bad(
            f"Share '{call.id.name}' has rootSquash, which only NFS shares have.", code="InvalidRequestPropertyValue"
        )
    one_of(call, "properties.rootSquash", ("NoRootSquash", "RootSquash", "AllSquash"))
    one_of(call, "properties.accessTier", ("Premium",) if premium else ("TransactionOptimized", "Hot", "Cool"))
    low = 32 if str(paths.get(account.body, "sku.name")).startswith("PremiumV2") else 100 if premium else 1
    between(call, "properties.shareQuota", low, 262144 if low == 32 else 102400)


def _account_of(call: Call) -> str:
    return call.id.text.rsplit("/", 4)[0]


def _container_in_account(call: Call) -> None:
    account = call.arm.need(_account_of(call))
    if account.body.get("kind") == "FileStorage":
        raise bad(f"Account '{account.name}' of kind FileStorage has no blobs.", code="FeatureNotSupportedForAccount")
    open_ = one_of(call, "properties.publicAccess", ("None", "Blob", "Container")) in ("Blob", "Container")
    if open_ and account.at("properties.allowBlobPublicAccess") is not True:
        raise ArmError(409, "PublicAccessNotPermitted", f"Public access is not permitted on account '{account.name}'.")


_NETWORK_RULE = Reference(
    "properties.networkAcls.virtualNetworkRules[].id", "Microsoft.Network/virtualNetworks/subnets", holds=False
)
KINDS = (
    Kind(
        ACCOUNT,
        r"[a-z0-9]{3,24}",
        "3 to 24 small letters and digits",
        references=(_NETWORK_RULE,),
        fixed=("kind", "properties.isHnsEnabled", "properties.encryption.requireInfrastructureEncryption"),
        global_name="StorageAccountAlreadyTaken",
        slow=True,
        check=_check_account,
        fill=_fill_account,
        after_delete=_drop_blobs,
        actions={"listKeys": _list_keys},
    ),
    Kind(f"{ACCOUNT}/blobServices", "default", "default", location=False, implicit="default", no_arm_delete=True),
    Kind(f"{ACCOUNT}/fileServices", "default", "default", location=False, implicit="default", no_arm_delete=True),
    Kind(
        f"{ACCOUNT}/blobServices/containers",
        r"\$root|\$web|\$logs|[a-z0-9](?:-?[a-z0-9]){2,62}",
        "3 to 63 small letters, digits and single hyphens",
        location=False,
        check=_container_in_account,
        after_delete=_drop_blobs,
    ),
    Kind(
        f"{ACCOUNT}/fileServices/shares",
        r"[a-z0-9](?:-?[a-z0-9]){2,62}",
        "3 to 63 small letters, digits and single hyphens",
        location=False,
        fixed=("properties.enabledProtocols",),
        check=_check_share,
    ),
    Kind(
        f"{ACCOUNT}/managementPolicies",
        "default",
        "default",
        location=False,
        required=("properties.policy.rules",),
    ),
)
