"""What a machine lacks is installed, or the exact command is said."""

from __future__ import annotations

import shutil

import pytest

from operations import packages, setup
from operations.errors import UserError

pytestmark = pytest.mark.unit


def test_every_program_that_the_tests_run_is_installed_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = {"git"}
    asked: list[str] = []

    def install(names: list[str], why: str) -> None:
        asked.extend(names)
        there.update({"openssh-client": "ssh-keygen"}.get(name, name) for name in names)

    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}" if name in there else None)
    monkeypatch.setattr(packages, "install", install)
    setup.testing_programs()
    assert asked == ["rsync", "openssh-client", "curl"]
    setup.testing_programs()
    assert len(asked) == 3


def test_who_may_not_install_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError, match=r"sudo apt-get install --no-install-recommends rsync\n"):
        setup.testing_programs()
