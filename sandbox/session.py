"""One command's stay in an offline cloud: lock, emulator, plugins, environment, and the end of all that."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.panel import Panel

from operations import leftovers
from operations.engine import Place, Result
from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import LOCKS_DIR, WORK_DIR, stack_file
from operations.progress import console, note
from sandbox.clouds import cloud
from sandbox.faults import VARIABLE as FAULTS
from sandbox.isolation import isolated, require_loopback
from sandbox.plugins import install_plugins
from sandbox.stackfile import offline

SUFFIX = ".sandbox"
BANNER = (
    "Offline {cloud}: an emulator on this machine, no account, nothing real is made.\n"
    "A stand-in re-implements the provider's logic here: a green sandbox does\n"
    "not prove that the official provider agrees."
)


FACTS = {
    "account": "account",
    "region": "region",
    "zone": "fallback.dns.zone",
    "zone_group": "fallback.dns.resource_group",
}
"""What an emulator is told of the stack: whose account it plays, and which DNS zone the campus has already."""


@dataclass(frozen=True)
class Session:
    """What a run needs. `place` is for `operations.engine.Pulumi`; `state_dir` keeps what the cloud knows."""

    stack: str
    cloud: str
    endpoints: Mapping[str, str]
    state_dir: Path
    place: Place
    facts: Mapping[str, str]

    def inventory(self) -> list[str]:
        """What is in the cloud now."""
        return cloud(self.cloud).inventory(self.endpoints, self.facts, self.state_dir)


def folder(stack: str, root: Path | None = None) -> Path:
    """Where a stack's offline cloud keeps what it knows."""
    return (root or WORK_DIR / "sandbox") / "clouds" / stack


def semester_key(stack: str, name: str) -> str:
    """A plain key of the stack's file, unchecked; "" where there is none. The emulator plays the stack's account."""
    path = stack_file(stack)
    document = (yaml.safe_load(path.read_text("utf-8")) if path.exists() else None) or {}
    first, *rest = name.split(".")
    value = (document.get("config") or {}).get(f"semesterhub:{first}")
    for key in rest:
        value = value.get(key) if isinstance(value, dict) else None
    return str(value or "")


@contextlib.contextmanager
def session(
    stack: str, cloud_name: str, *, root: Path | None = None, faults: str | None = None, banner: bool = True
) -> Iterator[Session]:
    """The offline cloud of a stack, for as long as the block runs.

    `root`: keeps everything of the sandbox (default `.semesterhub/sandbox`); a folder of one's own makes a sandbox that
    meets no other. `faults`: see sandbox/faults.py; None takes the environment's. Raises UserError when the stack is in
    use, or its cloud has no emulator.
    """
    chosen = cloud(cloud_name)
    suffix = SUFFIX
    if root is not None:  # locks and marks of two sandboxes must differ, too
        suffix += "-" + hashlib.sha256(str(root).encode()).hexdigest()[:6]
    root = root or WORK_DIR / "sandbox"
    key = stack + suffix
    if banner:
        text = BANNER.format(cloud={"aws": "AWS", "azure": "Azure"}[chosen.name])
        console().print(Panel(text, title="sandbox", title_align="left", border_style="yellow", expand=False))
    # Before anything of this run carries the mark: what an earlier, killed run left is ended, its engine first.
    with file_lock(LOCKS_DIR / f"offline-{key}", f"using the offline cloud of stack '{stack}'", wait=False):
        leftovers.end(key, note)
        home = root / "home"
        install_plugins(home, [chosen])
        away = isolated(home, root / "state")
        wanted = os.environ.get(FAULTS, "") if faults is None else faults
        facts = {name: semester_key(stack, key) for name, key in FACTS.items()}
        away |= {FAULTS: wanted or None, "SEMESTERHUB_SANDBOX": key, "SEMESTERHUB_SANDBOX_STACK": json.dumps(facts)}
        state_dir = folder(stack, root)
        emulator = chosen.emulator(f"{key}.emulator")
        base = {name: value for name, value in {**os.environ, **away}.items() if value is not None}
        empty = False

        def after(result: Result) -> None:
            """A destroy is done when the cloud itself says so; then the next `up` begins with a new one."""
            nonlocal empty
            empty = False
            if result.action == "destroy":
                left = chosen.inventory(endpoints, facts, state_dir)
                empty = not left
                note(
                    f"left in the offline cloud: {', '.join(left)}" if left else "nothing is left in the offline cloud"
                )

        try:
            endpoints = emulator.start(state_dir, base)
            for name, url in endpoints.items():
                require_loopback(url, f"the endpoint of {name}")
            place = Place(
                suffix=suffix,
                config_dir=root / "config",
                environment={**away, **chosen.environment(endpoints)},
                edit=offline,
                stand_ins=True,
                after=after,
            )
            try:
                yield Session(stack, chosen.name, endpoints, state_dir, place, facts)
            except UserError as error:
                problem = emulator.problem()
                if problem:
                    raise UserError(f"{error}\n  {problem}") from None
                raise
        finally:
            emulator.stop()
            if empty:
                shutil.rmtree(state_dir, ignore_errors=True)
