"""What keeps an offline run offline: no credentials, no account, no address but loopback."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

STRIPPED = (
    "AWS_", "ARM_", "AZURE_", "AAD_", "MSI_", "IDENTITY_", "BOTO_", "GOOGLE_", "GCLOUD_", "KUBE", "PULUMI_", "TF_",
)  # fmt: skip
"""Beginnings of the names of variables that lead to accounts, identities, other backends or other plugins."""

KEPT = frozenset({"PULUMI_PYTHON_CMD"})
SALT_PASSPHRASE = "sandbox"
"""Encrypts the sandbox's state. Nothing in there is secret."""


class NotLoopbackError(ValueError):
    """An endpoint outside this machine."""


def require_loopback(url: str, what: str) -> str:
    """`url` itself, if it is http(s) on a loopback address. Raises NotLoopbackError: names are refused too, since a
    name may lead anywhere tomorrow."""
    parts = urlsplit(url)
    try:
        address = ipaddress.ip_address(parts.hostname or "")
        good = address.is_loopback and parts.scheme in {"http", "https"} and parts.port is not None
    except ValueError:
        good = False
    if not good:
        raise NotLoopbackError(
            f"{what} is {url!r}, but the sandbox talks only to loopback (such as http://127.0.0.1:41000). "
            "Run `./hub up --stack NAME --sandbox`, which sets it."
        )
    return url


def stripped(environment: Mapping[str, str]) -> dict[str, str | None]:
    """For every variable that may lead to an account: its removal."""
    return {name: None for name in environment if name.upper().startswith(STRIPPED) and name not in KEPT}


def isolated(home: Path, state: Path, environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """What is put over an environment so that nothing in it leads out: None removes a variable.

    `home`: the sandbox's PULUMI_HOME. `state`: folder of its file:// backend.
    """
    empty = home / "nothing"
    empty.mkdir(parents=True, exist_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    return {
        **stripped(os.environ if environment is None else environment),
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": SALT_PASSPHRASE,
        "PULUMI_CONFIG_PASSPHRASE_FILE": None,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_DEBUG_COMMANDS": "true",
        # The SDKs look into the user's home for accounts, and on the network for a machine's identity.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AZURE_CONFIG_DIR": str(empty),
        "NO_PROXY": "127.0.0.1,::1,localhost",
        "no_proxy": "127.0.0.1,::1,localhost",
    }
