"""`python3 -m hubconfig.keeper COMMAND`: JSON on stdout and exit 0; a refusal is one sentence on stderr and exit 3."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from . import config as configuration
from .errors import KeeperError

MODULES = ("commands", "backup", "peer", "replicate")
"""Modules of this package with `register(subparsers)`, which adds parsers with `set_defaults(run=f(config, arguments))`."""
REFUSED = 3


def parser() -> argparse.ArgumentParser:
    """All commands."""
    root = argparse.ArgumentParser(prog="python3 -m hubconfig.keeper", description=__doc__)
    root.add_argument("--config", metavar="FILE", help=f"default: {configuration.CONFIG_FILE}")
    subparsers = root.add_subparsers(dest="command", required=True)
    for name in MODULES:
        importlib.import_module(f".{name}", __package__).register(subparsers)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. What it returns is printed as JSON, None prints nothing."""
    parsed = parser().parse_args(arguments)
    try:
        result = parsed.run(configuration.load(parsed.config), parsed)
    except KeeperError as error:
        print(error, file=sys.stderr)
        return REFUSED
    if result is not None:
        print(json.dumps(result, sort_keys=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
