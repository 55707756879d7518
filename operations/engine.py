"""Runs Pulumi: its environment, its stacks, and `up`, `preview`, `destroy` with progress and one clear error.

The committed stack files are never written: Pulumi adds its encryption salt to the stack file it is given, so it is
given a copy (`--config-file`). The salt itself is kept in the state, from where the engine takes it back
(PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER). An admin who commits a salt or a `secretsprovider` has it respected.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from operations import leftovers, state
from operations.engine_events import Resource, Run, explain_failure
from operations.engine_view import View
from operations.errors import UserError
from operations.locks import break_stale_locks, file_lock
from operations.paths import (
    BYTECODE,
    CACHE,
    CONFIG_DIR,
    LOCKS_DIR,
    LOGS_DIR,
    PASSPHRASE_FILE,
    ROOT,
    STATE_DIR,
    VENV_PYTHON,
    stack_file,
)
from operations.progress import note

Action = Literal["up", "preview", "destroy", "refresh"]
Observer = Callable[[dict[str, Any]], None]
DOING = {"up": "bringing up", "preview": "previewing", "destroy": "destroying", "refresh": "refreshing"}
POLL_S = 0.1
KEPT_LOGS = 60
"""Runs whose logs are kept, all stacks together."""


@dataclass(frozen=True)
class Result:
    """What a run did. `changes` counts by operation (create, update, delete, replace, same)."""

    action: Action
    stack: str
    changes: dict[str, int]
    resources: tuple[Resource, ...]
    seconds: float
    record: Path
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many resources are not as they were."""
        return sum(count for op, count in self.changes.items() if op not in {"same", "refresh", "read"})


def passphrase_file() -> Path:
    """The file whose content encrypts secrets in the state; made on first use, mode 0600."""
    if not PASSPHRASE_FILE.exists():
        PASSPHRASE_FILE.parent.mkdir(parents=True, exist_ok=True)
        fresh = PASSPHRASE_FILE.with_name(f".passphrase.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(fresh, PASSPHRASE_FILE)  # fails if another process was first: then its passphrase counts
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return PASSPHRASE_FILE


def environment(folder: Path, *, fetch_plugins: bool = False) -> dict[str, str]:
    """What Pulumi needs in its environment; `folder` holds the CLI and the language host. `fetch_plugins`: whether
    the CLI may download provider plugins, which the local cloud does not use."""
    backend = state.backend_url()
    if backend == f"file://{STATE_DIR}":
        STATE_DIR.mkdir(parents=True, exist_ok=True)
        STATE_DIR.parent.chmod(0o700)
    settings = {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), str(VENV_PYTHON.parent), os.environ.get("PATH", os.defpath)]),
        "PULUMI_HOME": str(CACHE / "pulumi" / "home"),
        "PULUMI_BACKEND_URL": backend,
        "PULUMI_PYTHON_CMD": str(VENV_PYTHON),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The host reports every pulumi_* package of the environment as a plugin to fetch, hundreds of MB.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "false" if fetch_plugins else "true",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_DEBUG_COMMANDS": "true",  # shows --event-log
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "").removeprefix(str(ROOT)).strip(":")])
        ),
        "SEMESTERHUB_CACHE": str(CACHE),
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
    }
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    if "PULUMI_CONFIG_PASSPHRASE" not in settings and "PULUMI_CONFIG_PASSPHRASE_FILE" not in settings:
        settings["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
    return settings


@dataclass(frozen=True)
class Place:
    """What tells one kind of run from another: where its configuration is copied to, how it is named beside others.

    `suffix` is added to the stack's name in locks, logs and marks, so that a run offline and a real one of the same
    stack do not meet. `environment` is put over the run's environment (None takes a variable away). `edit` gets the
    text of the stack's file and returns what Pulumi is given. `stand_ins`: whether stand-ins of the cloud providers
    serve it (see sandbox/). `program_dir`: whose program and stack file are run, this checkout's or another version's.
    """

    suffix: str = ""
    config_dir: Path = CONFIG_DIR
    environment: Mapping[str, str | None] = field(default_factory=dict)
    edit: Callable[[str], str] | None = None
    stand_ins: bool = False
    after: Callable[[Result], None] | None = None
    """Gets the result of each run that went well."""
    program_dir: Path = ROOT


REAL = Place()


def config_copy(stack: str, place: Place = REAL) -> Path:
    """A fresh copy of the stack's file, which Pulumi may write to. See the module's text."""
    project = place.config_dir / "Pulumi.yaml"
    copy = place.config_dir / "stacks" / f"Pulumi.{stack}.yaml"
    copy.parent.mkdir(parents=True, exist_ok=True)
    _write(project, f"name: {state.PROJECT}\nruntime: python\nstackConfigDir: stacks\n")
    source = place.program_dir / "stacks" / stack_file(stack).name
    # A stack whose file was deleted can still be destroyed.
    text = source.read_text("utf-8") if source.exists() else "config: {}\n"
    _write(copy, place.edit(text) if place.edit else text)
    return copy


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


class Pulumi:
    """The engine for one stack. `folder` holds the Pulumi CLI (see operations.setup.pulumi)."""

    def __init__(
        self,
        stack: str,
        folder: Path,
        extra_environment: dict[str, str] | None = None,
        *,
        fetch_plugins: bool = False,
        place: Place = REAL,
    ) -> None:
        self.stack = stack
        self.place = place
        self.key = stack + place.suffix
        self.program = str(folder / "pulumi")
        own = environment(folder, fetch_plugins=fetch_plugins)
        over = {**own, **(extra_environment or {}), **place.environment, leftovers.MARK: leftovers.mark(self.key)}
        self.environment = {name: value for name, value in over.items() if value is not None}
        self.local = state.local_folder(self.environment["PULUMI_BACKEND_URL"])

    def run(
        self,
        action: Action,
        arguments: Sequence[str] = (),
        observe: Observer | None = None,
        *,
        refresh: bool = True,
        release: bool = False,
    ) -> Result:
        """Run the action to its end and return what it did. Raises UserError with the one message when it fails.
        `observe` gets every event of the engine as it comes, also those of a run that fails. `refresh`: whether `up` and
        `preview` look first at what is really there. `release`: before that, nothing in the state is protected or
        retained any more."""
        with file_lock(LOCKS_DIR / f"stack-{self.key}", f"{DOING[action]} stack '{self.key}'", wait=False):
            leftovers.end(self.key, note)
            if self.local:
                break_stale_locks(state.lock_folder(self.local, self.stack), self.stack, note)
                state.repair(self.local, self.stack, note)
                state.refuse_others(self.local, self.stack, stand_ins=self.place.stand_ins)
            config = config_copy(self.stack, self.place)
            self.create()
            self._forget_pending()
            if refresh and action in {"up", "preview"}:
                arguments = ["--refresh", *arguments]
            if release:
                self._release()
            result = self._run(action, config, arguments, observe)
        if self.place.after:
            self.place.after(result)
        if action in {"up", "refresh"}:
            result = Result(**{**result.__dict__, "outputs": self.outputs()})
        return result

    @staticmethod
    def known(stack: str) -> bool:
        """Whether the file:// state has this stack, with or without a stack file."""
        local = state.local_folder(state.backend_url())
        return local is not None and state.state_file(local, stack).exists()

    def exists(self) -> bool:
        """Whether the state knows this stack (of other backends than file:// it is not asked)."""
        return self.local is None or state.state_file(self.local, self.stack).exists()

    def output(self, name: str) -> Any:
        """One output that is no secret, of the deployment that is there; None where there is none."""
        if self.local:
            return state.output(self.local, self.stack, name)
        config_copy(self.stack, self.place)
        try:
            return json.loads(self._aside("stack", "output", "--json", "--stack", self.stack) or "{}").get(name)
        except UserError:
            return None  # no such stack yet

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in plain text: for the terminal of the person who deployed it."""
        if not self.exists():
            return {}
        config_copy(self.stack, self.place)
        return json.loads(self._aside("stack", "output", "--json", "--show-secrets", "--stack", self.stack) or "{}")

    def secret(self, path: str) -> str:
        """A secret of the stack file, decrypted, such as `semesterhub:fallback.dns.key_secret`. Never log or print it."""
        config_copy(self.stack, self.place)
        self.create()
        return self._aside("config", "get", "--path", path, "--stack", self.stack).rstrip("\n")

    def create(self) -> None:
        """Make the stack in the backend if it is not there."""
        if self.local and self.exists():
            return
        copy = self.place.config_dir / "stacks" / f"Pulumi.{self.stack}.yaml"
        provider = _yaml(copy).get("secretsprovider") if copy.exists() else None
        extra = ["--secrets-provider", str(provider)] if provider else []
        try:
            self._aside("stack", "init", self.stack, "--no-select", *extra)
        except UserError as error:
            if "already exists" not in str(error):
                raise
        # The copy holds the new salt now; the engine takes it from the state, whatever the copy says.

    def _forget_pending(self) -> None:
        """Drop what a killed run noted as begun: creates adopt what exists, and the refresh sees the rest."""
        if self.local:
            pending = state.pending_operations(self.local, self.stack)
        else:
            exported = json.loads(self._aside("stack", "export", "--stack", self.stack))
            pending = state.describe_pending(exported["deployment"].get("pending_operations") or [])
        if not pending:
            return
        exported = json.loads(self._aside("stack", "export", "--stack", self.stack))
        exported["deployment"]["pending_operations"] = []
        self._import(exported)
        note(f"an earlier run was killed while {', '.join(pending)}; this run takes over what exists")

    def _release(self) -> None:
        """Take protection and retention from every resource in the state."""
        exported = json.loads(self._aside("stack", "export", "--stack", self.stack))
        if state.release(exported["deployment"].get("resources") or []):
            self._import(exported)

    def _import(self, exported: dict[str, Any]) -> None:
        """Make an edited export the state."""
        edited = self.place.config_dir / f".{self.stack}.import.json"
        handle = os.open(edited, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            json.dump(exported, out)
        try:
            self._aside("stack", "import", "--stack", self.stack, "--file", str(edited))
        finally:
            edited.unlink(missing_ok=True)

    def _aside(self, *arguments: str) -> str:
        """A command that needs no program, run in the copied project so that no committed file is touched."""
        done = subprocess.run(
            [self.program, *arguments, "--non-interactive", "--color", "never"],
            cwd=self.place.config_dir,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise UserError(
                f"`pulumi {' '.join(arguments[:2])}` for stack '{self.stack}' failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def _command(self, action: Action, config: Path, events: Path, arguments: Sequence[str]) -> list[str]:
        command = [self.program, action, "--stack", self.stack, "--config-file", str(config), "--non-interactive"]
        command += ["--color", "never", "--event-log", str(events)]
        if action != "preview":
            command += ["--yes", "--skip-preview"]
        if action == "up":
            command.append("--suppress-outputs")  # the password is printed once, by us
        return [*command, *arguments]

    def _run(self, action: Action, config: Path, arguments: Sequence[str], observe: Observer | None) -> Result:
        LOGS_DIR.mkdir(parents=True, exist_ok=True)
        _sweep_logs()
        base = LOGS_DIR / f"{self.key}-{time.strftime('%Y%m%d-%H%M%S')}-{action}"
        # Not with_suffix: the key may hold a dot (`fa16.sandbox`).
        log, events, record = (base.with_name(base.name + end) for end in (".log", ".events", ".json"))
        events.touch(mode=0o600)
        run = Run()
        with log.open("w", encoding="utf-8") as out:
            log.chmod(0o600)
            process = subprocess.Popen(
                self._command(action, config, events, arguments),
                cwd=self.place.program_dir,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through _follow only, once
                preexec_fn=_end_with_parent,  # noqa: PLW1509 (no thread of ours runs yet)
            )
            title, planning = f"{DOING[action]} {self.key}", action == "preview"
            interrupted = _follow(process, events, run, title, planning=planning, observe=observe)
        seconds = time.monotonic() - run.began
        result = Result(action, self.stack, run.changes, tuple(run.finished), seconds, record)
        record.write_text(json.dumps(_record(result, process.returncode), indent=1), "utf-8")
        events.unlink(missing_ok=True)
        if interrupted:
            raise UserError(
                f"interrupted. Nothing is lost: ./hub {action} --stack {self.stack} goes on from here.", exit_code=130
            )
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            raise UserError(
                f"the engine was killed from outside ({name}; memory running out does that, too).\n"
                f"  Nothing is lost: ./hub {action} --stack {self.stack} goes on from here."
            )
        if process.returncode != 0:
            reason = explain_failure(run, log.read_text("utf-8", "replace").splitlines())
            raise UserError(
                f"{action} of stack '{self.stack}' failed.\n{_indent(reason)}\n  Everything the engine said: {log}"
            )
        return result


def _end_with_parent() -> None:
    """In the child, before it becomes Pulumi: if the parent is killed, end as after Ctrl-C (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
    # A parent that ignores SIGINT (a background job of a shell) would pass that on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _follow(
    process: subprocess.Popen[bytes],
    events: Path,
    run: Run,
    title: str,
    *,
    planning: bool,
    observe: Observer | None = None,
) -> bool:
    """Show the run until it ends. Returns whether it was interrupted: the first Ctrl-C (or SIGTERM) asks the engine to
    finish its current steps, the second one ends it."""
    asked = 0

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked += 1
        if process.poll() is None:
            process.send_signal(signal.SIGINT if asked <= 2 else signal.SIGKILL)
        if asked == 1:
            note(
                "stopping: the steps under way are finished first, so that nothing is lost. Ctrl-C again to stop at once"
            )

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with events.open(encoding="utf-8", errors="replace") as lines, View(run, title, planning=planning) as view:
            rest = ""
            while True:
                ended = process.poll() is not None  # before reading: what is written until now is then read below
                chunk = lines.read()
                rest += chunk
                *whole, rest = rest.split("\n")
                for line in whole:
                    if line.strip():
                        event = json.loads(line)
                        view.show(run.take(event))
                        if observe:
                            observe(event)
                if ended and not chunk:
                    break
                if not chunk:
                    time.sleep(POLL_S)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()
    return asked > 0


def _record(result: Result, status: int) -> dict[str, Any]:
    """The run for `.semesterhub/logs/`: where its time went, resource by resource."""
    return {
        "stack": result.stack,
        "action": result.action,
        "status": status,
        "seconds": round(result.seconds, 1),
        "changes": result.changes,
        "resources": [
            {
                "type": r.type,
                "name": r.name,
                "op": r.op,
                "failed": r.failed,
                "began_s": round(r.began_s, 1),
                "seconds": round((r.ended_s or r.began_s) - r.began_s, 1),
            }
            for r in result.resources
        ],
    }


def _sweep_logs() -> None:
    runs = sorted(LOGS_DIR.glob("*-*.log"), key=lambda p: p.stat().st_mtime)
    for old in runs[:-KEPT_LOGS]:
        for suffix in (".log", ".json", ".events"):
            old.with_suffix(suffix).unlink(missing_ok=True)


def _yaml(path: Path) -> dict[str, Any]:
    data = yaml.safe_load(path.read_text("utf-8"))
    return data if isinstance(data, dict) else {}


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
