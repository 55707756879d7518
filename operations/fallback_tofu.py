"""OpenTofu's module `fallback/` for one stack, through python-terraform. State and working data are the stack's own folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations import setup
from operations.errors import UserError
from operations.fallback_folder import Folder, write_json
from operations.paths import ROOT

MODULE = ROOT / "fallback"
CHANGES = 2
"""Exit status of `plan -detailed-exitcode` when there is something to do."""
LOOK_EVERY_S = 0.5
_SIGNS: dict[tuple[str, ...], str] = {("create",): "+", ("delete",): "-", ("update",): "~"}


@dataclass(frozen=True)
class Change:
    """A step that is to run. `because`: which of its inputs changed; empty when it is made for the first time."""

    name: str
    actions: tuple[str, ...]
    because: tuple[str, ...] = ()

    @property
    def sign(self) -> str:
        return _SIGNS.get(self.actions, "±")


class Tofu:
    """The module with the stack's state. Every method raises UserError with OpenTofu's words, or with the failed step's own."""

    def __init__(self, folder: Folder) -> None:
        from python_terraform import Terraform

        self.folder = folder
        # It logs every exit status that is not 0 as an error, a plan with changes (2) as well.
        logging.getLogger("python_terraform").setLevel(logging.CRITICAL)
        self._tofu = Terraform(working_dir=str(MODULE), terraform_bin_path=str(setup.tofu().program))
        self._initialised = False

    def plan(self, variables: Mapping[str, Any] | None = None, replace: Sequence[str] = ()) -> list[Change]:
        """What `apply` would do. `variables`: instead of those written down."""
        drawn, given = self.folder.path / "plan.tfplan", self.folder.variables
        if variables is not None:
            given = self.folder.path / "preview.tfvars.json"
            write_json(given, variables)
        options = {"out": str(drawn), "var_file": str(given), "replace": list(replace)}
        code, _, _ = self._run("plan", options, allowed=(0, CHANGES))
        try:
            return self._changes(drawn) if code == CHANGES else []
        finally:
            drawn.unlink(missing_ok=True)

    def apply(self, tell: Callable[[str], None], replace: Sequence[str] = (), only: Sequence[str] = ()) -> None:
        """Run the steps that are due; `only` some, and what they need."""
        options = {
            "skip_plan": True, "var_file": str(self.folder.variables), "replace": list(replace), "target": list(only),
        }  # fmt: skip
        with self._told(tell):
            self._run("apply", options)

    def destroy(self, tell: Callable[[str], None]) -> None:
        """Undo them all."""
        from python_terraform import IsNotFlagged

        options = {"force": IsNotFlagged, "auto_approve": True, "var_file": str(self.folder.variables)}
        with self._told(tell):
            self._run("destroy", options)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _changes(self, drawn: Path) -> list[Change]:
        from python_terraform import IsFlagged

        with self._surroundings():
            code, out, said = self._tofu.cmd("show", str(drawn), json=IsFlagged)
        if code:
            raise UserError(f"OpenTofu cannot show its plan: {_last(said or '')}")
        found = []
        for resource in json.loads(out or "{}").get("resource_changes", []):
            change = resource["change"]
            if change["actions"] == ["no-op"]:
                continue
            before, after = (_triggers(change[when]) for when in ("before", "after"))
            # What is known only afterwards (the id of a step that runs before this one) is missing in `after`.
            because = sorted(key for key in {*before, *after} if before and before.get(key) != after.get(key))
            found.append(Change(resource["name"], tuple(change["actions"]), tuple(because)))
        return found

    def _run(self, command: str, options: Mapping[str, Any], allowed: Sequence[int] = (0,)) -> tuple[int, str, str]:
        self.folder.failure.unlink(missing_ok=True)
        with self._surroundings():
            self._initialise()
            run: Any = getattr(self._tofu, command)
            code, out, said = run(capture_output=True, **options)
        if code in allowed:
            return code, out or "", said or ""
        if self.folder.failure.exists():
            raise UserError(self.folder.failure.read_text("utf-8").strip())
        raise UserError(f"OpenTofu's {command} failed: {_last(said or out or '')}")

    def _initialise(self) -> None:
        if self._initialised:
            return
        code, out, said = self._tofu.init(capture_output=True, backend_config={"path": str(self.folder.state)})
        if code:
            # Working data of another version, or cut off: it is made anew from the module.
            shutil.rmtree(self.folder.data, ignore_errors=True)
            code, out, said = self._tofu.init(capture_output=True, backend_config={"path": str(self.folder.state)})
        if code:
            raise UserError(f"OpenTofu cannot begin: {_last(said or out or '')}")
        self._initialised = True

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """python-terraform hands its own environment down."""
        self.folder.make()
        empty = self.folder.path / "tofu.rc"
        # Of its own: a warning about somebody's configuration would come before the JSON.
        empty.touch()
        given = {
            "TF_DATA_DIR": str(self.folder.data),
            "TF_CLI_CONFIG_FILE": str(empty),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        before = {name: os.environ.get(name) for name in (*given, "TF_CLI_ARGS", "TF_WORKSPACE")}
        os.environ.update(given)
        for name in ("TF_CLI_ARGS", "TF_WORKSPACE"):
            os.environ.pop(name, None)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    @contextlib.contextmanager
    def _told(self, tell: Callable[[str], None]) -> Iterator[None]:
        """What the running step writes down is told."""
        told = self.folder.told
        told.write_text("", "utf-8")
        done = threading.Event()

        def follow() -> None:
            while not done.wait(LOOK_EVERY_S):
                lines = told.read_text("utf-8").splitlines()
                if lines:
                    tell(lines[-1])

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _triggers(values: Any) -> dict[str, Any]:
    found = (values or {}).get("triggers_replace")
    return found if isinstance(found, dict) else {}


def _last(said: str) -> str:
    """OpenTofu's error without its frame."""
    lines = [line.strip("│╷╵ ").strip() for line in said.splitlines()]
    return " ".join(line for line in lines if line)[-600:] or "it said nothing"
