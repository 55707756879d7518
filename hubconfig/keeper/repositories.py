"""Where a site's copies go, and what restic needs to get there: nothing for a folder, an identity or credentials for a cloud.

- a path: a disk of this machine;
- `s3:https://s3.<region>.amazonaws.com/<bucket>/<prefix>`: the role of the EC2 instance, which restic asks for itself, or
  credentials that were handed over;
- `azure:<container>:/<prefix>`: a token for that one container, made with the machine's identity
  (:mod:`.azure_sas`), or credentials that were handed over.

Handed over means: `./hub backup.credentials`, which writes a file that root of this machine alone may read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .config import KeeperConfig, Snapshots
from .errors import KeeperError

CREDENTIALS_FILE = "restic_credentials"
"""In the hub's folder of secrets: lines NAME=value. Goes to the other site with the secrets."""
PASSWORD_FILE = "restic_password"
CREDENTIAL_NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
)
DEFAULT_FOLDER = "backups"
_REGION = re.compile(r"^s3:(?:https://)?s3[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com")

AzureToken = Callable[[str, str, str], str]
"""(account, container, client id of the identity) -> shared access signature."""


def repository(config: KeeperConfig) -> str:
    """The site's repository; without one in the configuration, a folder beside the hub's state."""
    return config.snapshots.repository or str(config.state_path / DEFAULT_FOLDER)


def kept(snapshots: Snapshots) -> bool:
    """Whether any copies are kept at all."""
    return bool(snapshots.keep_hourly or snapshots.keep_daily or snapshots.keep_weekly)


def is_folder(where: str) -> bool:
    """Whether the repository is on a disk of this machine."""
    return where.startswith("/")


def environment(config: KeeperConfig, azure_token: AzureToken) -> dict[str, str]:
    """restic's environment for this repository. KeeperError: no way in is known."""
    where = repository(config)
    if is_folder(where):
        return {}
    given = credentials(config.secrets_path)
    if where.startswith("s3:"):
        found = _REGION.match(where)
        return {**({"AWS_DEFAULT_REGION": found["region"]} if found else {}), **given}
    if where.startswith("azure:"):
        if "AZURE_ACCOUNT_NAME" in given:
            return given
        account = config.snapshots.azure_account
        if not account:
            raise KeeperError(
                f"no credentials are known for {where}: hand over AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY (or AZURE_ACCOUNT_SAS) "
                "with ./hub backup.credentials"
            )
        token = azure_token(account, where.split(":")[1], config.snapshots.identity_client_id)
        return {"AZURE_ACCOUNT_NAME": account, "AZURE_ACCOUNT_SAS": token}
    kind = where.partition(":")[0]
    raise KeeperError(f"copies cannot go to a repository of kind {kind!r}: allowed are a path, s3:… and azure:…")


def credentials(secrets_path: Path) -> dict[str, str]:
    """What was handed over; {} without."""
    try:
        lines = (secrets_path / CREDENTIALS_FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return checked_credentials(lines)


def checked_credentials(lines: Iterable[str]) -> dict[str, str]:
    """Lines NAME=value as a mapping. KeeperError names a wrong name, never a value."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip().strip("'\"")
        if not equals or name not in CREDENTIAL_NAMES or not value:
            shown = f" ({name})" if equals and re.fullmatch(r"[A-Z_]{1,40}", name) else ""
            raise KeeperError(
                f"line {number} of the credentials{shown} is not understood: write NAME=value, with one of {', '.join(CREDENTIAL_NAMES)}."
            )
        found[name] = value
    return found


def complete(found: Mapping[str, str]) -> bool:
    """Whether these are enough to get in somewhere."""
    aws = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= found.keys()
    azure = "AZURE_ACCOUNT_NAME" in found and bool({"AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS"} & found.keys())
    return aws or azure
