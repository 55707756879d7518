"""The stand-in for the provider `aws`: its configuration, its types and functions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operations.state import STAND_IN
from providers.base import CheckFailure, Context, Provider, ProviderError
from providers.base.handler import Function, Handler
from sandbox.aws import types
from sandbox.aws.api import Api
from sandbox.aws.engine import SpecHandler
from sandbox.aws.scope import Settings
from sandbox.sdk import Sdk, UnknownTypeError


@dataclass(frozen=True)
class StandIn(Provider):
    """The provider. Made by `stand_in()`."""

    api: Api = field(default_factory=Api)
    settings: Settings = field(default_factory=lambda: Settings({}))
    sdk: Sdk = field(default_factory=lambda: Sdk("pulumi_aws", "aws"))

    made: dict[str, Any] = field(default_factory=dict, compare=False)

    def handler(self, token: str) -> Handler | None:
        """The handler of a type; made when the program first uses it."""
        if token not in self.made:
            self.made[token] = self._handler(token)
        return self.made[token]

    def _handler(self, token: str) -> Handler:
        spec = types.SPECS.get(token)
        if spec is not None:
            return SpecHandler(spec, self.sdk, self.api, self.settings)
        try:
            self.sdk.resource(token)
        except UnknownTypeError as error:
            raise ProviderError(f"{error}.") from None
        raise ProviderError(
            f"the sandbox's stand-in for AWS has no `{token}` yet: it knows what components/aws uses. "
            f"Add a table for it to sandbox/aws/types. It has: {', '.join(sorted(types.SPECS))}."
        )

    def function(self, token: str) -> Function | None:
        """The function of a token."""
        from sandbox.aws.functions import FUNCTIONS

        made = FUNCTIONS.get(token)
        return made(self.sdk, self.api, self.settings) if made else None

    def check_config(self, ctx: Context, news: Mapping[str, Any]) -> list[CheckFailure]:
        """As the SDK's own constructor says; and only on loopback."""
        fields = self.sdk.provider().schema.fields
        known = {*fields, "version", "pluginDownloadURL", STAND_IN}
        return [
            CheckFailure(name, f"the provider aws takes no `{name}`.")
            for name in news
            if name not in known and not name.startswith("__")
        ]

    def configure(self, config: Mapping[str, Any]) -> None:
        """Region, default tags, and the accounts that may be touched."""
        self.settings.region = self.api.region = str(config.get("region") or "us-east-1")
        tags = nested(config.get("defaultTags")) or {}
        self.settings.default_tags |= {str(k): str(v) for k, v in (tags.get("tags") or {}).items()}
        self.api.account = str(
            json.loads(os.environ.get("SEMESTERHUB_SANDBOX_STACK") or "{}").get("account") or "123456789012"
        )
        allowed = nested(config.get("allowedAccountIds")) or []
        if allowed and self.api.account not in allowed:
            raise ProviderError(
                f"AWS account ID not allowed: {self.api.account} (allowedAccountIds: {', '.join(allowed)})"
            )

    def mark(self) -> Mapping[str, Any]:
        """So that no official plugin takes this for a stack of its own (operations/state.py)."""
        return {STAND_IN: "sandbox"}


def nested(value: Any) -> Any:
    """A configuration value that is no text arrives as JSON."""
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value


def stand_in(version: str) -> StandIn:
    """The provider, under the version that the SDK asks for."""
    return StandIn("aws", version, ())
