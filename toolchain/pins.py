"""Reads pins.toml into types."""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class GoBuild:
    """One binary built from a wrapper module in toolchain/go/. `minutes`: measured on 2 cores with empty caches."""

    output: str
    module: str
    package: str
    ldflags: str
    minutes: int


@dataclass(frozen=True)
class GoCopy:
    """Files taken as they are from a module that the wrapper module requires."""

    module: str
    from_module: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Tool:
    """One engine: its version, its files, and the places it may come from."""

    name: str
    version: str
    files: tuple[str, ...]
    release: str
    checksums: str
    arch_names: dict[str, str]
    strip_prefix: str
    sha256: dict[str, str]
    builds: tuple[GoBuild, ...]
    copies: tuple[GoCopy, ...]

    def release_url(self) -> str | None:
        """The official release for this machine, or None where there is none."""
        machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
            platform.machine().lower()
        )
        if machine is None or machine not in self.arch_names:
            return None
        return self.release.format(version=self.version, os=platform.system().lower(), arch=self.arch_names[machine])

    def checksums_url(self) -> str:
        return self.checksums.format(version=self.version)


@dataclass(frozen=True)
class GoPin:
    """The Go distribution used when none on PATH is new enough."""

    version: str
    wheel_sha256: tuple[str, ...]


@cache
def load(path: Path = HERE / "pins.toml") -> tuple[dict[str, Tool], GoPin]:
    """Every tool by name, and the Go pin."""
    data = tomllib.loads(path.read_text("utf-8"))
    go = data.pop("go")
    tools = {
        name: Tool(
            name=name,
            version=entry["version"],
            files=tuple(entry["files"]),
            release=entry["release"],
            checksums=entry["checksums"],
            arch_names=dict(entry["arch_names"]),
            strip_prefix=entry["strip_prefix"],
            sha256=dict(entry.get("sha256", {})),
            builds=tuple(GoBuild(**build) for build in entry.get("build", ())),
            copies=tuple(GoCopy(c["module"], c["from_module"], tuple(c["paths"])) for c in entry.get("copy", ())),
        )
        for name, entry in data.items()
    }
    return tools, GoPin(go["version"], tuple(go["wheel_sha256"]))
