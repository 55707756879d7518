"""An emulator of the tests' own, and the stand-in in this process, without an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from providers.base import Context, Created
from providers.base.engine import EngineLog
from sandbox.aws.engine import SpecHandler
from sandbox.aws.provider import StandIn, stand_in
from sandbox.emulator import EmulatorProcess
from sandbox.isolation import isolated

REGION = "us-west-2"
ACCOUNT = "111122223333"
URN = "urn:pulumi:fa16::semesterhub::{type}::{name}"


@dataclass
class Cloud:
    """A running emulator and the stand-in that talks to it."""

    url: str
    folder: Path
    provider: StandIn

    def client(self, service: str) -> Any:
        """A client beside the stand-in: somebody else's hand."""
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.url, aws_access_key_id="a", aws_secret_access_key="b"
        )

    def handler(self, token: str) -> SpecHandler:
        found = self.provider.handler(token)
        assert isinstance(found, SpecHandler)
        return found

    def check(
        self, token: str, name: str = "it", /, olds: Mapping[str, Any] | None = None, **inputs: Any
    ) -> tuple[dict[str, Any], list[str]]:
        """Inputs with defaults, and what is wrong: `property: reason`."""
        values, wrong = self.handler(token).check(ctx(token, name), olds or {}, inputs, frozenset())
        return values, [f"{w.property}: {w.reason}" for w in wrong]

    def make(self, token: str, name: str = "it", /, **inputs: Any) -> tuple[Created, dict[str, Any]]:
        """Check and create; the resource and its inputs."""
        values, wrong = self.check(token, name, **inputs)
        assert wrong == []
        return self.handler(token).create(ctx(token, name), values), values


def ctx(token: str, name: str = "it") -> Context:
    return Context(urn=URN.format(type=token, name=name), log=EngineLog(), random_seed=b"seed")


def start(folder: Path, faults: str = "") -> tuple[EmulatorProcess, str]:
    """An emulator on `folder`; give it `stop()` at the end."""
    emulator = EmulatorProcess("aws", "sandbox.aws.server", f"test-{folder.name}-{os.getpid()}")
    away = isolated(folder / "home", folder / "state")
    environment = {name: value for name, value in {**os.environ, **away}.items() if value is not None}
    environment |= {
        "SEMESTERHUB_SANDBOX_STACK": f'{{"account": "{ACCOUNT}", "zone": "campus.edu"}}',
        "SEMESTERHUB_SANDBOX_FAULTS": faults,
    }
    return emulator, emulator.start(folder / "cloud", environment)["aws"]


def plug(url: str, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in, configured as a stack's provider would be."""
    monkeypatch.setenv("SEMESTERHUB_SANDBOX_AWS", url)
    monkeypatch.setenv("SEMESTERHUB_SANDBOX_STACK", f'{{"account": "{ACCOUNT}"}}')
    provider = stand_in("7.0.0")
    provider.configure(
        {"region": REGION, "defaultTags": '{"tags": {"course": "data8"}}', "allowedAccountIds": f'["{ACCOUNT}"]'}
    )
    return provider


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One emulator a module; tests use names of their own."""
    folder = tmp_path_factory.mktemp("aws")
    emulator, url = start(folder)
    with pytest.MonkeyPatch.context() as patch:
        yield Cloud(url, folder, plug(url, patch))
    emulator.stop()
