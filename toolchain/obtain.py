"""One engine, from the first source that has it, checked and put into the cache in one step.

A source fills a scratch folder or says why it cannot (`Unavailable`). Only a folder whose programs answer with the
pinned version is renamed into the cache, so a killed run leaves nothing that a later one could mistake for complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from operations.errors import UserError
from operations.locks import file_lock
from operations.paths import CACHE
from operations.progress import note, step
from toolchain import golang, release
from toolchain.pins import Tool, load
from toolchain.sources import Source, Unavailable

VERSION_CHECK_TIMEOUT_S = 60.0
SCRATCH_MAX_AGE_S = 6 * 3600.0


@dataclass(frozen=True)
class Engine:
    """An engine ready to run. `folder` holds all its files; `source` says where it came from."""

    name: str
    version: str
    folder: Path
    source: str
    seconds: float

    @property
    def program(self) -> Path:
        return self.folder / self.name


def version_of(program: Path) -> str | None:
    """What `<program> version` answers (`3.250.0`), or None if it does not run."""
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "CHECKPOINT_DISABLE": "1"}
    try:
        answer = subprocess.run(
            [str(program), "version"],
            capture_output=True,
            text=True,
            timeout=VERSION_CHECK_TIMEOUT_S,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v?(\d+\.\d+\.\d+\S*)", answer.stdout) if answer.returncode == 0 else None
    return found.group(1) if found else None


def fault(tool: Tool, folder: Path, version: Callable[[Path], str | None] = version_of) -> str | None:
    """Why `folder` is not this tool at this version, or None when it is."""
    for name in tool.files:
        if not os.access(folder / name, os.X_OK):
            return f"{name} is missing"
    answered = version(folder / tool.name)
    if answered != tool.version:
        return f"{tool.name} answers version {answered or 'nothing'}, wanted {tool.version}"
    return None


def on_path(tool: Tool, version: Callable[[Path], str | None] = version_of) -> Path | None:
    """The folder on PATH that holds the tool, complete and at the pinned version."""
    for entry in os.get_exec_path():
        program = Path(entry) / tool.name
        if os.access(program, os.X_OK) and not program.is_dir():
            # Shims and symlinks: the files that belong beside the program are beside the real one.
            for folder in (program.parent, program.resolve().parent):
                if fault(tool, folder, version) is None:
                    return folder
    return None


def default_sources() -> Sequence[Source]:
    """Official release first, then the build."""
    return (release.Release(), golang.GoModules())


def obtain(
    name: str,
    *,
    cache: Path = CACHE,
    sources: Sequence[Source] | None = None,
    version: Callable[[Path], str | None] = version_of,
    tool: Tool | None = None,
) -> Engine:
    """The engine `name` (`pulumi`, `tofu`), obtained if need be. Raises UserError when no source has it."""
    began = time.monotonic()
    tool = tool or load()[0][name]
    kept = cache / tool.name / tool.version

    def engine(folder: Path, source: str) -> Engine:
        return Engine(tool.name, tool.version, folder, source, time.monotonic() - began)

    # The receipt is written into the scratch folder before the rename: where it is, the check has passed.
    receipt = kept / "receipt.json"
    if receipt.exists() and all(os.access(kept / f, os.X_OK) for f in tool.files):
        return engine(kept, "cache")
    if found := on_path(tool, version):
        return engine(found, "PATH")

    with file_lock(cache / "locks" / tool.name, f"obtaining {tool.name} {tool.version}", say=note):
        if receipt.exists() and fault(tool, kept, version) is None:
            return engine(kept, "cache")  # the other process made it
        _sweep(cache / tool.name)
        reasons: list[str] = []
        for source in default_sources() if sources is None else sources:
            scratch = cache / tool.name / f".new-{os.getpid()}-{source.name.replace(' ', '-')}"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            try:
                with step(f"{tool.name} {tool.version}: {source.name}") as tell:
                    source.fill(tool, scratch, cache, tell)
                    wrong = fault(tool, scratch, version)
                    if wrong:
                        raise Unavailable(wrong)
            except Unavailable as reason:
                reasons.append(f"{source.name}: {reason}")
                note(f"{source.name} has no usable {tool.name}: {reason}")
                shutil.rmtree(scratch, ignore_errors=True)
                continue
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
            (scratch / "receipt.json").write_text(
                json.dumps({"tool": tool.name, "version": tool.version, "source": source.name}), "utf-8"
            )
            shutil.rmtree(kept, ignore_errors=True)
            scratch.rename(kept)
            return engine(kept, source.name)
    raise UserError(
        f"{tool.name} {tool.version} could not be obtained:\n"
        + "".join(f"  - {reason}\n" for reason in reasons)
        + f"Put {tool.name} {tool.version} on PATH ({tool.release_url() or tool.release}), or let this machine reach a Go module proxy."
    )


def _sweep(folder: Path) -> None:
    """Scratch folders of killed runs. The caller holds the lock, so none is in use; age is a second belt."""
    for left in folder.glob(".new-*"):
        pid = left.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists() or time.time() - left.stat().st_mtime > SCRATCH_MAX_AGE_S:
            shutil.rmtree(left, ignore_errors=True)
