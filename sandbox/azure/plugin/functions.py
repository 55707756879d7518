"""The functions (`get_...`, `list_...`) that components/azure may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.base import Context, Function
from sandbox.azure.emulator.arm_types import CALLER, CLIENT, TENANT
from sandbox.azure.plugin import bodies, sdk
from sandbox.azure.plugin.resource import ArmHandler, Session

GETS = {
    "storage:getStorageAccount": "storage:StorageAccount",
    "network:getVirtualNetwork": "network:VirtualNetwork",
    "dns:getZone": "dns:Zone",
    "resources:getResourceGroup": "resources:ResourceGroup",
    "keyvault:getVault": "keyvault:Vault",
    "managedidentity:getUserAssignedIdentity": "managedidentity:UserAssignedIdentity",
    "containerservice:getManagedCluster": "containerservice:ManagedCluster",
}
"""Functions that look at a resource -> the type they look at."""
LISTS = {
    "storage:listStorageAccountKeys": ("storage:StorageAccount", "listKeys", "keys"),
    "containerservice:listManagedClusterUserCredentials": (
        "containerservice:ManagedCluster",
        "listClusterUserCredential",
        "kubeconfigs",
    ),
    "containerservice:listManagedClusterAdminCredentials": (
        "containerservice:ManagedCluster",
        "listClusterAdminCredential",
        "kubeconfigs",
    ),
    "containerregistry:listRegistryCredentials": ("containerregistry:Registry", "listCredentials", "passwords"),
}
"""Functions that give secrets -> the type, ARM's action, the result that is secret."""


class ClientConfig(Function):
    """`authorization.get_client_config()`: who deploys, and where."""

    token = "azure-native:authorization:getClientConfig"

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self.schema = sdk.function_arguments(self.token)  # pyright: ignore[reportAttributeAccessIssue]

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "clientId": CLIENT,
            "objectId": CALLER,
            "tenantId": TENANT,
            "subscriptionId": self._session().subscription,
        }


class Get(Function):
    """A function that looks at one resource."""

    def __init__(self, token: str, handler: ArmHandler, session: Callable[[], Session]) -> None:
        self.token = f"azure-native:{token}"  # pyright: ignore[reportAttributeAccessIssue]
        self.schema = sdk.function_arguments(self.token)  # pyright: ignore[reportAttributeAccessIssue]
        self._handler, self._session = handler, session

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        handler = self._handler
        body = self._session().client.arm(ctx, "GET", handler.id_of(arguments), handler.version).json()
        return {"id": body["id"], **bodies.from_arm(handler.info, handler.arm, body)}


class ListSecrets(Function):
    """A function that gives keys or credentials."""

    def __init__(
        self, token: str, handler: ArmHandler, action: str, secret: str, session: Callable[[], Session]
    ) -> None:
        self.token = f"azure-native:{token}"  # pyright: ignore[reportAttributeAccessIssue]
        self.schema = sdk.function_arguments(self.token)  # pyright: ignore[reportAttributeAccessIssue]
        self.secret_results = frozenset({secret})  # pyright: ignore[reportAttributeAccessIssue]
        self._handler, self._action, self._session = handler, action, session

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        handler = self._handler
        id = f"{handler.id_of(arguments)}/{self._action}"
        return self._session().client.arm(ctx, "POST", id, handler.version, {}).json()
