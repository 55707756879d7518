"""The stand-in as a provider: its configuration, its types and functions made when first asked for."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from operations.state import STAND_IN
from providers.base import CheckFailure, Context, Function, Handler, Provider, ProviderError
from sandbox.azure.plugin import functions, sdk, table
from sandbox.azure.plugin.client import Client
from sandbox.azure.plugin.resource import ArmHandler, Session
from sandbox.azure.plugin.special import BlobHandler, SecretHandler
from sandbox.isolation import NotLoopbackError, require_loopback

ENDPOINT = "SEMESTERHUB_SANDBOX_AZURE"
"""Where the emulator answers; set by sandbox/session.py."""
SUBSCRIPTION = "00000000-0000-4000-8000-000000000000"
"""Used when neither stack nor program names one."""
# fmt: off
KNOWN = frozenset(
    {
        "auxiliaryTenantIds", "clientCertificatePassword", "clientCertificatePath", "clientId", "clientSecret",
        "disableInstanceDiscovery", "disablePulumiPartnerId", "environment", "location", "metadataHost",
        "msiEndpoint", "oidcAudience", "oidcRequestToken", "oidcRequestUrl", "oidcToken", "oidcTokenFilePath",
        "partnerId", "subscriptionId", "tenantId", "useDefaultAzureCredential", "useMsi", "useOidc",
    }
)
# fmt: on
"""Configuration of the official provider. Credentials among it are not looked at: there is nobody to show them to."""


class StandIn(Provider):
    """`azure-native`, as far as components/azure uses it."""

    _arm_handler: Callable[[str], ArmHandler | None]
    _function: Callable[[str], Function | None]

    def __init__(self) -> None:
        super().__init__(name=sdk.PLUGIN, version=sdk.version(), handlers=())
        object.__setattr__(self, "_session", None)
        # Of this instance: a cache on the class would mix providers up, since they are equal as dataclasses.
        object.__setattr__(self, "_arm_handler", functools.cache(self._make_handler))
        object.__setattr__(self, "_function", functools.cache(self._make_function))

    def handler(self, token: str) -> Handler | None:
        """The handler of a type that the table has. Raises ProviderError for one that Azure's SDK lacks too."""
        if token == BlobHandler.token:
            return BlobHandler(self.session)
        return self._arm_handler(token)

    def _make_handler(self, token: str) -> ArmHandler | None:
        arm = table.find(token)
        if arm is None:
            try:
                sdk.resource(token)
            except sdk.UnknownTypeError as error:
                raise ProviderError(str(error)) from None
            raise ProviderError(
                f"the offline Azure has no resource type `{token}` yet. Add a row to sandbox/azure/plugin/table.py and a kind to "
                "sandbox/azure/emulator/kinds, or leave --sandbox out."
            )
        kind = SecretHandler if token == "azure-native:keyvault:Secret" else ArmHandler
        return kind(token, arm, self.session)

    def function(self, token: str) -> Function | None:
        """The function of a token; None for one that the stand-in does not have."""
        return self._function(token)

    def _make_function(self, token: str) -> Function | None:
        name = token.removeprefix("azure-native:")
        if token == functions.ClientConfig.token:
            return functions.ClientConfig(self.session)
        looked_at = functions.GETS.get(name) or functions.LISTS.get(name, ("",))[0]
        handler = self._arm_handler(f"azure-native:{looked_at}") if looked_at else None
        if handler is None:
            return None
        if name in functions.GETS:
            return functions.Get(name, handler, self.session)
        _, action, secret = functions.LISTS[name]
        return functions.ListSecrets(name, handler, action, secret, self.session)

    def check_config(self, ctx: Context, news: Mapping[str, Any]) -> list[CheckFailure]:
        wrong: list[CheckFailure] = []
        for name, value in news.items():
            if name.startswith("__") or name in ("version", "pluginDownloadURL", "pluginDownloadUrl"):
                continue
            if name not in KNOWN:
                wrong.append(CheckFailure(name, f"the provider `azure-native` has no option `{name}`; remove it."))
            if name == "metadataHost" and isinstance(value, str):
                try:
                    require_loopback(value if "//" in value else f"https://{value}", "azure-native:metadataHost")
                except NotLoopbackError as error:
                    wrong.append(CheckFailure(name, str(error)))
            if name == "subscriptionId" and isinstance(value, str) and not re.fullmatch(r"[0-9a-fA-F-]{36}", value):
                wrong.append(CheckFailure(name, f"{value!r} is no subscription id: a UUID."))
        return wrong

    def configure(self, config: Mapping[str, Any]) -> None:
        endpoint = os.environ.get(ENDPOINT, "")
        if not endpoint:
            raise ProviderError(
                "this is the sandbox's stand-in for `azure-native`, and no offline Azure runs. "
                "Use ./hub … --sandbox; for the real Azure leave the sandbox's PULUMI_HOME."
            )
        try:
            client = Client(endpoint)
        except NotLoopbackError as error:
            raise ProviderError(str(error)) from None
        made = Session(client, str(config.get("subscriptionId") or SUBSCRIPTION), str(config.get("location") or ""))
        object.__setattr__(self, "_session", made)

    def mark(self) -> Mapping[str, Any]:
        """So that the official plugin never takes this for a stack of its own (operations/state.py)."""
        return {STAND_IN: "sandbox"}

    def session(self) -> Session:
        """What the configuration gave. ProviderError before it was given."""
        session: Session | None = getattr(self, "_session", None)
        if session is None:
            raise ProviderError("the provider `azure-native` was asked for something before it was configured")
        return session
