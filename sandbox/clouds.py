"""Which clouds can be had offline: the plugin that stands in, the emulator it talks to, what both need told."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from operations.errors import UserError
from sandbox.emulator import Emulator, EmulatorProcess


@dataclass(frozen=True)
class Cloud:
    """One offline cloud.

    `plugin`: the provider's name, as in `pulumi-resource-<plugin>`. `package`: the SDK whose exact version the stand-in
    must carry, or the engine looks elsewhere. `main`: module of the stand-in (run with `python -m`). `emulator`: makes
    the emulator, given its mark in the list of processes. `environment`: what program and stand-in get for its endpoints.
    """

    name: str
    plugin: str
    package: str
    main: str
    emulator: Callable[[str], Emulator]
    environment: Callable[[Mapping[str, str]], dict[str, str]]
    inventory: Callable[[Mapping[str, str], Mapping[str, str], Path], list[str]]
    """What is there, given the endpoints, the facts of the stack (sandbox/session.py) and the emulator's folder."""

    @property
    def version(self) -> str:
        """The installed SDK's version."""
        return importlib.metadata.version(self.package)


def _aws(endpoints: Mapping[str, str]) -> dict[str, str]:
    return {
        "SEMESTERHUB_SANDBOX_AWS": endpoints["aws"],
        # Whatever else in the program uses an AWS SDK meets the emulator too, with these words for credentials.
        "AWS_ENDPOINT_URL": endpoints["aws"],
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    }


def _azure(endpoints: Mapping[str, str]) -> dict[str, str]:
    return {"SEMESTERHUB_SANDBOX_AZURE": endpoints["azure"]}


def _aws_inventory(endpoints: Mapping[str, str], facts: Mapping[str, str], _state_dir: Path) -> list[str]:
    from sandbox.aws.inventory import inventory

    return inventory(endpoints["aws"], facts["region"] or "us-east-1", facts["account"] or "123456789012")


def _azure_inventory(_endpoints: Mapping[str, str], _facts: Mapping[str, str], state_dir: Path) -> list[str]:
    from sandbox.azure.inventory import inventory

    return inventory(state_dir)


CLOUDS = {
    "aws": Cloud(
        name="aws",
        plugin="aws",
        package="pulumi-aws",
        main="sandbox.aws.main",
        emulator=lambda mark: EmulatorProcess("aws", "sandbox.aws.server", mark),
        environment=_aws,
        inventory=_aws_inventory,
    ),
    "azure": Cloud(
        name="azure",
        plugin="azure-native",
        package="pulumi-azure-native",
        main="sandbox.azure.main",
        emulator=lambda mark: EmulatorProcess("azure", "sandbox.azure.server", mark),
        environment=_azure,
        inventory=_azure_inventory,
    ),
}


def cloud(name: str) -> Cloud:
    """The offline cloud of a stack's `cloud:`. Raises UserError for one that needs or has none."""
    found = CLOUDS.get(name)
    if found is None:
        raise UserError(
            f"--sandbox is for stacks of {' and '.join(CLOUDS)}; this one is `cloud: {name}`, which runs on this machine anyway. "
            "Leave the option out."
        )
    if importlib.util.find_spec(found.main.rpartition(".")[0]) is None:
        raise UserError(f"there is no offline {name} in this version; leave --sandbox out, or use another stack.")
    return found
