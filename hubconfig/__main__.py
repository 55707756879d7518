"""Starts JupyterHub with this configuration: `python -m hubconfig`. Further arguments go to JupyterHub.

Half of JupyterHub's start, 2 of 3.5 CPU-seconds, is spent on `rfc3987_syntax`, which builds a parser when it is imported.
jsonschema only uses it to check the string formats `iri` and `iri-reference`, which no event of the hub has, and does
without it where it is not installed. A hub that was killed must answer again within seconds, so it starts without it.

Where the semester has a fallback, $SEMESTERHUB_LEASE names the site's lease: the hub waits for it and ends with it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

CONFIG = Path(__file__).with_name("jupyterhub_config.py")


def main() -> None:
    """Runs the hub; does not return before it ends."""
    faulthandler.enable()  # a crash of the interpreter says where; without it the log just ends
    if lease := os.environ.get("SEMESTERHUB_LEASE"):
        from hubconfig.keeper import gate

        gate.wait(Path(lease))
        gate.watch(Path(lease))
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # makes its import fail, as if not installed
    from jupyterhub.app import main as jupyterhub

    jupyterhub(["-f", str(CONFIG), *sys.argv[1:]])


if __name__ == "__main__":
    main()
