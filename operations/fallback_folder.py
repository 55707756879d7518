"""What this checkout keeps of a fallback, in `.semesterhub/fallback/<stack>/`: with the stack file all that a failover needs when
the cloud and Pulumi's backend are dead. The machine's host key, what goes to it, OpenTofu's state.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations.paths import WORK_DIR


@dataclass(frozen=True)
class Folder:
    """Paths below `.semesterhub/fallback/<stack>/`."""

    stack: str

    @property
    def path(self) -> Path:
        return WORK_DIR / "fallback" / self.stack

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"

    @property
    def brief(self) -> Path:
        """What goes to the machine: files, settings, bundle, digests, where images come from. No secret."""
        return self.path / "brief.json"

    @property
    def built(self) -> Path:
        """Which digest each image has on a machine that there is no cloud beside."""
        return self.path / "built.json"

    @property
    def state(self) -> Path:
        """OpenTofu's."""
        return self.path / "terraform.tfstate"

    @property
    def data(self) -> Path:
        """OpenTofu's working data; made anew when it is lost."""
        return self.path / "tofu"

    @property
    def variables(self) -> Path:
        return self.path / "fallback.tfvars.json"

    @property
    def failure(self) -> Path:
        """Why a step failed, in the words for a person."""
        return self.path / "failed.txt"

    @property
    def told(self) -> Path:
        """What the running step is at."""
        return self.path / "told.log"

    def make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def remove(self) -> None:
        """All of it, the keys that were made here included."""
        shutil.rmtree(self.path, ignore_errors=True)


def write_json(path: Path, document: Any) -> None:
    """Atomically, with equal bytes for equal content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    fresh.replace(path)
