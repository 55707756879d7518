"""Everything a task needs of the machine, obtained when it is first needed."""

from __future__ import annotations

import os
from pathlib import Path

from operations import docker_engine, packages
from operations.errors import UserError
from operations.paths import CACHE
from toolchain import Engine, obtain

TEST_PROGRAMS = (
    ("rsync", "rsync", "rsync, which copies homes from site to site"),
    ("ssh-keygen", "openssh-client", "ssh-keygen, which makes the key of the bare metal"),
    ("git", "git", "git, which brings course content and previewed versions"),
    ("curl", "curl", "curl, which asks a site at its own address"),
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pulumi() -> Engine:
    """The Pulumi CLI with its Python language host."""
    return obtain("pulumi", cache=CACHE)


def tofu() -> Engine:
    """OpenTofu. Only the fallback needs it, so nothing obtains it before that is asked for."""
    return obtain("tofu", cache=CACHE)


def docker() -> docker_engine.StartedDaemon | None:
    """A Docker daemon that answers; the result is not None when this call started it."""
    return docker_engine.ensure()


def debootstrap() -> Path:
    """The program that makes a Debian base image where none can be pulled."""
    return packages.program(("debootstrap",), package="debootstrap", why="debootstrap, which makes the base image")


def chromium() -> Path:
    """A Chromium for the browser tests: SEMESTERHUB_CHROMIUM, the one on PATH, or the Debian package."""
    named = os.environ.get("SEMESTERHUB_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise UserError(f"SEMESTERHUB_CHROMIUM={named} is not a program. Unset it, or name an installed Chromium.")
        return Path(named)
    return packages.program(CHROMIUM_NAMES, package="chromium", why="Chromium, which the browser tests drive")


def testing_programs() -> None:
    """What the tests run besides: a machine where nothing was installed by hand has none of these."""
    for name, package, why in TEST_PROGRAMS:
        packages.program((name,), package=package, why=why)
