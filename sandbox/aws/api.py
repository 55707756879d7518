"""Calls of the AWS API, to the emulator and nowhere else, each checked by botocore's model and named in errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from providers.base import ProviderError
from sandbox.isolation import NotLoopbackError, require_loopback

ENDPOINT = "SEMESTERHUB_SANDBOX_AWS"
CALL_HEADER = "X-Semesterhub-Call"


class ApiError(ProviderError):
    """An error that the API answered. `code` is AWS's own."""

    def __init__(self, call: str, code: str, message: str) -> None:
        super().__init__(f"{call}: {code}: {message}")
        self.code = code


class Api:
    """Clients of one plugin process, made when first used. Threads may share it."""

    def __init__(self, region: str = "us-east-1") -> None:
        self.region = region
        self.account = ""
        self._session = botocore.session.Session(profile=None)
        self._session.set_credentials("sandbox", "sandbox")
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """The emulator's address. Raises ProviderError when it is missing or not loopback."""
        try:
            return require_loopback(os.environ.get(ENDPOINT, ""), ENDPOINT)
        except NotLoopbackError as error:
            raise ProviderError(str(error)) from None

    def client(self, service: str, region: str = "") -> Any:
        """The botocore client of a service, named as boto3 names it."""
        key = (service, region or self.region)
        with self._lock:
            if key not in self._clients:
                client = self._session.create_client(
                    service,
                    region_name=key[1],
                    endpoint_url=self.endpoint,
                    config=Config(
                        retries={"mode": "standard", "max_attempts": 4},
                        connect_timeout=10,
                        read_timeout=30,
                        max_pool_connections=64,
                        proxies={},
                        parameter_validation=True,
                        s3={"addressing_style": "path"},
                    ),
                )
                client.meta.events.register("before-call", _name_call)
                self._clients[key] = client
            return self._clients[key]

    def shape(self, service: str, operation: str) -> Any:
        """The model of a call's input."""
        client = self.client(service)
        return client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape

    def call(self, service: str, operation: str, parameters: Mapping[str, Any], region: str = "") -> dict[str, Any]:
        """One call. Raises ApiError for what the API refuses, ProviderError for what the model does or no answer."""
        client = self.client(service, region)
        name = f"{service}:{client.meta.method_to_api_mapping[operation]}"
        try:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except ClientError as error:
            said = error.response.get("Error", {})
            raise ApiError(name, str(said.get("Code", "Unknown")), str(said.get("Message", error))) from None
        except ParamValidationError as error:
            raise ProviderError(f"{name}: {error}") from None
        except BotoCoreError as error:
            raise ProviderError(f"{name}: no answer ({error}); run it again") from None
        answer.pop("ResponseMetadata", None)
        return answer


def _name_call(model: Any, params: dict[str, Any], **_: Any) -> None:
    """Tells the emulator which operation it is: in REST protocols the request alone does not say it simply."""
    params["headers"][CALL_HEADER] = f"{model.service_model.service_name}:{model.name}"
