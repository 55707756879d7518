"""A small Pulumi project in a folder of its own against the real provider `localcloud` and the real Docker."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from operations.paths import CACHE, ROOT

PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import json, pathlib, pulumi
from components.local import resources as local
wanted = json.loads(pathlib.Path("wanted.json").read_text())
made = {{}}

def value(v):
    if isinstance(v, str) and v.startswith("$"):
        name, _, attribute = v[1:].partition(".")
        return getattr(made[name], attribute or "id")
    if isinstance(v, dict):
        return {{k: value(x) for k, x in v.items()}}
    if isinstance(v, list):
        return [value(x) for x in v]
    return v

for name, (kind, inputs, after) in wanted.items():
    opts = pulumi.ResourceOptions(depends_on=[made[a] for a in after])
    made[name] = getattr(local, kind)(name, **value(inputs), opts=opts)
    pulumi.export(name, {{k: v for k, v in vars(made[name]).items() if isinstance(v, pulumi.Output)}} | {{"id": made[name].id}})
"""


def pulumi_folder() -> Path:
    """Where the Pulumi CLI is; the launcher obtains it before tests run."""
    found = shutil.which("pulumi")
    if found:
        return Path(found).parent
    for path in sorted((CACHE / "pulumi").glob("*/pulumi")) + sorted((CACHE / "pulumi").glob("*/bin/pulumi")):
        return path.parent
    pytest.fail("the Pulumi CLI is not here: run the tests by `./hub test`, or `./hub --setup` once")


@dataclass
class Outcome:
    """How a Pulumi command ended: its text, and what it did to each resource (name -> operation)."""

    code: int
    text: str
    steps: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, str]:
        """Only what was not left alone."""
        return {name: op for name, op in self.steps.items() if op not in ("same", "refresh")}


@dataclass
class Stack:
    """A project with one stack. `wanted`: resource name -> (class, inputs, names it depends on)."""

    folder: Path
    name: str
    subnet: str
    env: dict[str, str]
    wanted: dict[str, tuple[str, dict[str, Any], list[str]]] = field(default_factory=dict)

    def docker_name(self, name: str) -> str:
        return f"semesterhub-{self.name}-{name}"

    def ip(self, host: int) -> str:
        return f"{self.subnet}.{host}"

    def add(self, resource: str, kind: str, /, *, after: Sequence[str] = (), **inputs: Any) -> None:
        """Add or replace a resource of the program."""
        self.wanted[resource] = (kind, inputs, list(after))

    def write(self) -> None:
        (self.folder / "wanted.json").write_text(json.dumps(self.wanted), "utf-8")

    def command(self, *arguments: str) -> list[str]:
        return [
            str(pulumi_folder() / "pulumi"),
            *arguments,
            "--stack",
            self.name,
            "--non-interactive",
            "--color",
            "never",
        ]

    def run(self, action: str, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """`pulumi <action>`; the steps come from the engine's event log."""
        self.write()
        events = self.folder / f"events-{secrets.token_hex(3)}.json"
        approve = [] if action == "preview" else ["--yes", "--skip-preview"]
        done = subprocess.run(
            self.command(action, *approve, "--event-log", str(events), *arguments),
            cwd=self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        steps: dict[str, str] = {}
        for line in events.read_text("utf-8").splitlines() if events.exists() else []:
            event = json.loads(line)
            meta = (event.get("resOutputsEvent") or event.get("resourcePreEvent") or {}).get("metadata")
            if meta and "localcloud:" in meta["type"] and meta["op"] != "refresh":
                name = meta["urn"].rpartition("::")[2]
                # A replacement shows as several operations; `replace` says it all.
                if steps.get(name) not in ("replace", "create-replacement"):
                    steps[name] = "replace" if meta["op"] in ("create-replacement", "delete-replaced") else meta["op"]
        return Outcome(done.returncode, done.stdout + done.stderr, steps)

    def up(self, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """`pulumi up --refresh`, which must succeed."""
        outcome = self.run("up", "--refresh", *arguments, env=env)
        assert outcome.code == 0, outcome.text
        return outcome

    def outputs(self, name: str) -> dict[str, Any]:
        done = subprocess.run(
            self.command("stack", "output", "--json", "--show-secrets"),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)[name]

    def exported(self) -> dict[str, Any]:
        """The state as it is stored, secrets encrypted."""
        done = subprocess.run(
            self.command("stack", "export"),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)


def make_stack(folder: Path) -> Stack:
    """A new, empty stack with a name and a subnet that nobody else has."""
    name = f"t{secrets.token_hex(3)}"
    (folder / "Pulumi.yaml").write_text(
        "name: providertest\nruntime: python\nplugins:\n  providers:\n"
        f"    - {{name: localcloud, path: {ROOT / 'providers' / 'localcloud'}}}\n",
        "utf-8",
    )
    (folder / "__main__.py").write_text(PROGRAM, "utf-8")
    (folder / "state").mkdir()
    cli = pulumi_folder()
    env = {
        **os.environ,
        "PATH": f"{cli}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_PYTHON_CMD": sys.executable,
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DEBUG_COMMANDS": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "SEMESTERHUB_LOGS_DIR": str(folder / "logs"),
        "SEMESTERHUB_BOOT_TIMEOUT_S": "60",
    }
    env.pop("SEMESTERHUB_DELETE_HOMES", None)
    env.pop("SEMESTERHUB_DRAIN_TIMEOUT_S", None)
    number = secrets.randbelow(200)
    stack = Stack(folder, name, f"10.{214 + number // 50}.{number % 50 + 100}", env)
    subprocess.run(
        [str(cli / "pulumi"), "stack", "init", name, "--non-interactive"],
        cwd=folder,
        env=env,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return stack
