"""Stand-ins installed as provider plugins, in a PULUMI_HOME of the sandbox's own that no real run reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from operations.paths import ROOT, VENV_PYTHON
from sandbox.clouds import Cloud

_SCRIPT = """\
#!/bin/sh
# Made by sandbox/plugins.py: the sandbox's stand-in for `{plugin}`, not the official provider.
PYTHONPATH='{root}' exec '{python}' -P -m {main} "$@"
"""


def install_plugins(home: Path, clouds: Iterable[Cloud]) -> list[Path]:
    """Put the clouds' stand-ins where the engine looks for the SDK's exact version. May be run again at any time."""
    installed = []
    for cloud in clouds:
        folder = home / "plugins" / f"resource-{cloud.plugin}-v{cloud.version}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"pulumi-resource-{cloud.plugin}"
        text = _SCRIPT.format(plugin=cloud.plugin, root=ROOT, python=VENV_PYTHON, main=cloud.main)
        if not path.exists() or path.read_text("utf-8") != text:
            fresh = folder / f".{path.name}.{os.getpid()}"
            fresh.write_text(text, "utf-8")
            fresh.chmod(0o755)
            fresh.replace(path)
        installed.append(path)
    return installed
